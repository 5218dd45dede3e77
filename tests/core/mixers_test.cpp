// What every kind of layer promises, whatever it computes.
#include <gtest/gtest.h>

#include <set>

#include "core/base/error.h"
#include "core/layers/parameters.h"
#include "core/layers/registry.h"

namespace strandwave {
namespace {

using torch::Tensor;

constexpr int64_t kModel = 12;

Tensor normal(at::IntArrayRef shape, uint64_t seed) {
  return normal_tensor(shape, 1.0, RandomStream(seed, RandomPurpose::kSynthetic));
}

double relative_error(const Tensor& a, const Tensor& b) {
  const auto type = b.is_complex() ? torch::kComplexDouble : torch::kDouble;
  const Tensor x = a.detach().cpu().to(type), y = b.detach().cpu().to(type);
  if (x.numel() == 0) return 0;
  return ((x - y).abs().max() / (y.abs().max() + 1e-30)).item<double>();
}

struct Setting {
  const char* kind;
  const char* options;
  torch::DeviceType device;
  torch::ScalarType type;
  double tolerance;

  friend void PrintTo(const Setting& s, std::ostream* out) { *out << s.kind << " " << s.options; }
};

class MixerTest : public testing::TestWithParam<Setting> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA && !torch::cuda::is_available())
      GTEST_SKIP() << "no CUDA device";
    mixer_ = make(7, 0);
    mixer_->to(GetParam().device);
    mixer_->to(GetParam().type);
  }

  static std::shared_ptr<Mixer> make(uint64_t seed, int64_t layer) {
    return make_mixer({GetParam().kind, nlohmann::json::parse(GetParam().options)}, kModel, layer,
                      seed);
  }
  static double tolerance() { return GetParam().tolerance; }
  static Tensor values(at::IntArrayRef shape, uint64_t seed) {
    return normal(shape, seed).to(GetParam().device).to(GetParam().type);
  }
  // As a first and a second part of a sequence.
  MixerOutput with_state(const Tensor& x, const MixerState* initial) {
    MixerInput input;
    input.initial_state = initial;
    input.want_final_state = true;
    return mixer_->forward(x, input);
  }

  std::shared_ptr<Mixer> mixer_;
};

TEST_P(MixerTest, StepEqualsForwardAtEveryPosition) {
  const torch::NoGradGuard no_grad;
  const Tensor x = values({3, 40, kModel}, 4);
  const MixerOutput whole = with_state(x, nullptr);
  ASSERT_EQ(whole.y.sizes(), x.sizes());
  MixerState state = mixer_->allocate_state(3, 40, x.options());
  std::map<std::string, const void*> addresses;
  for (const auto& [name, tensor] : state.tensors) addresses[name] = tensor.data_ptr();
  for (int64_t t = 0; t < 40; ++t)
    EXPECT_LT(relative_error(mixer_->step(x.select(1, t), state), whole.y.select(1, t)),
              tolerance())
        << "position " << t;
  ASSERT_EQ(state.tensors.size(), whole.final_state->tensors.size());
  for (const auto& [name, tensor] : state.tensors) {
    EXPECT_LT(relative_error(tensor, whole.final_state->tensors.at(name)), tolerance()) << name;
    EXPECT_EQ(tensor.data_ptr(), addresses[name]) << name;
    EXPECT_EQ(tensor.scalar_type(), whole.final_state->tensors.at(name).scalar_type()) << name;
  }
  EXPECT_TRUE((state.positions == 40).all().item<bool>());
  EXPECT_TRUE(torch::equal(state.positions, whole.final_state->positions));
}

TEST_P(MixerTest, PassingTheStateEqualsOneShotGradientsIncluded) {
  constexpr int64_t kLength = 130;
  Tensor x = values({2, kLength, kModel}, 4).requires_grad_();
  std::vector<Tensor> leaves = mixer_->parameters();
  leaves.push_back(x);
  const Tensor direction = values({2, kLength, kModel}, 5);
  const MixerOutput whole = with_state(x, nullptr);
  const auto gradients = torch::autograd::grad({whole.y}, leaves, {direction});
  for (const int64_t cut : {int64_t{0}, int64_t{1}, int64_t{63}, int64_t{64}, kLength - 1}) {
    const MixerOutput head = with_state(x.narrow(1, 0, cut), nullptr);
    const MixerOutput tail = with_state(x.narrow(1, cut, kLength - cut), &*head.final_state);
    const Tensor y = torch::cat({head.y, tail.y}, 1);
    EXPECT_LT(relative_error(y, whole.y), tolerance()) << "cut at " << cut;
    EXPECT_TRUE(torch::equal(tail.final_state->positions, whole.final_state->positions));
    for (const auto& [name, tensor] : whole.final_state->tensors)
      EXPECT_LT(relative_error(tail.final_state->tensors.at(name), tensor), tolerance()) << name;
    const auto split = torch::autograd::grad({y}, leaves, {direction});
    for (size_t i = 0; i < leaves.size(); ++i)
      EXPECT_LT(relative_error(split[i], gradients[i]), 10 * tolerance())
          << "gradient " << i << ", cut at " << cut;
  }
}

TEST_P(MixerTest, StepsContinueAfterForward) {
  const torch::NoGradGuard no_grad;
  const Tensor x = values({2, 20, kModel}, 4);
  const Tensor whole = mixer_->forward(x, {}).y;
  const MixerOutput head = with_state(x.narrow(1, 0, 17), nullptr);
  // Into the beginning of a state with room for more.
  MixerState state = mixer_->allocate_state(2, 20, x.options());
  for (auto& [name, tensor] : state.tensors) {
    const Tensor& from = head.final_state->tensors.at(name);
    tensor.narrow(1, 0, from.size(1)).copy_(from);
  }
  state.positions.copy_(head.final_state->positions);
  for (int64_t t = 17; t < 20; ++t)
    EXPECT_LT(relative_error(mixer_->step(x.select(1, t), state), whole.select(1, t)), tolerance());
}

TEST_P(MixerTest, TheFutureHasNoInfluence) {
  Tensor x = values({1, 33, kModel}, 4).requires_grad_();
  const Tensor y = mixer_->forward(x, {}).y;
  const Tensor gradient = torch::autograd::grad({y.select(1, 12).sum()}, {x})[0];
  EXPECT_GT(gradient.narrow(1, 0, 13).abs().max().item<double>(), 0.01);
  EXPECT_LT(gradient.narrow(1, 13, 20).abs().max().item<double>(), tolerance());
}

TEST_P(MixerTest, SequencesOfABatchDoNotMeet) {
  const torch::NoGradGuard no_grad;
  const Tensor x = values({3, 21, kModel}, 4);
  const Tensor together = mixer_->forward(x, {}).y;
  for (int64_t i = 0; i < 3; ++i)
    EXPECT_LT(relative_error(together.narrow(0, i, 1), mixer_->forward(x.narrow(0, i, 1), {}).y),
              tolerance());
}

TEST_P(MixerTest, TakesPackedSequencesOrSaysNo) {
  const torch::NoGradGuard no_grad;
  const std::vector<int64_t> lengths = {5, 1, 0, 11, 2};
  const auto layout = SequenceLayout::from_lengths(lengths, torch::Device(GetParam().device));
  const Tensor x = values({1, layout.total_length(), kModel}, 4);
  MixerInput input;
  input.layout = &layout;
  if (!mixer_->traits().packed) {
    EXPECT_THROW(mixer_->forward(x, input), c10::Error);
    return;
  }
  const Tensor packed = mixer_->forward(x, input).y;
  for (size_t s = 0; s < lengths.size(); ++s) {
    const int64_t begin = layout.offsets()[s];
    EXPECT_LT(relative_error(packed.narrow(1, begin, lengths[s]),
                             mixer_->forward(x.narrow(1, begin, lengths[s]), {}).y),
              tolerance());
  }
}

TEST_P(MixerTest, EmptySequencesAndBatches) {
  const torch::NoGradGuard no_grad;
  for (const auto& [batch, length] : {std::pair{2, 0}, std::pair{0, 5}}) {
    const MixerOutput out = with_state(values({batch, length, kModel}, 1), nullptr);
    EXPECT_EQ(out.y.sizes(), (std::vector<int64_t>{batch, length, kModel}));
    EXPECT_EQ(out.final_state->positions.size(0), batch);
  }
}

TEST_P(MixerTest, RefusesWhatDoesNotFit) {
  EXPECT_THROW(mixer_->forward(values({2, 3, kModel + 1}, 1), {}), c10::Error);
  EXPECT_THROW(mixer_->forward(values({2, 3, kModel}, 1).to(torch::kHalf), {}), c10::Error);
  if (mixer_->allocate_state(1, 1, torch::kFloat).tensors.empty()) return;
  MixerState wrong;
  wrong.positions = torch::ones({2}, torch::kLong).to(GetParam().device);
  EXPECT_THROW(with_state(values({2, 3, kModel}, 1), &wrong), c10::Error);
}

TEST_P(MixerTest, InitialValuesDependOnSeedAndLayerOnly) {
  torch::manual_seed(1);
  const auto first = make(7, 0)->named_parameters();
  torch::manual_seed(2);
  const auto same = make(7, 0)->named_parameters(), other_seed = make(8, 0)->named_parameters(),
             other_layer = make(7, 1)->named_parameters();
  bool seed_matters = false, layer_matters = false;
  for (const auto& item : first) {
    EXPECT_EQ(item.value().scalar_type(), torch::kFloat) << item.key();
    EXPECT_TRUE(torch::equal(item.value(), same[item.key()])) << item.key();
    seed_matters |= !torch::equal(item.value(), other_seed[item.key()]);
    layer_matters |= !torch::equal(item.value(), other_layer[item.key()]);
  }
  EXPECT_TRUE(seed_matters && layer_matters);
}

// Matrices in bfloat16, everything else exact, as a model keeps them on a GPU.
TEST_P(MixerTest, WorksWithLoweredMatrices) {
  auto mixer = make(7, 0);
  mixer->to(GetParam().device);
  Tensor x = normal({2, 40, kModel}, 3).to(GetParam().device);
  const Tensor exact = mixer->forward(x, {}).y;
  for (auto& item : mixer->named_parameters())
    if (item.key().ends_with(".weight") && item.value().dim() == 2)
      item.value().set_data(item.value().to(torch::kBFloat16));
  const Tensor low = x.to(torch::kBFloat16);
  const Tensor y = mixer->forward(low, {}).y;
  EXPECT_EQ(y.scalar_type(), torch::kBFloat16);
  EXPECT_LT(relative_error(y, exact), 0.06);
  y.sum().backward();
  for (const auto& item : mixer->named_parameters()) {
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    EXPECT_EQ(item.value().grad().scalar_type(), item.value().scalar_type()) << item.key();
    EXPECT_TRUE(torch::isfinite(item.value().grad()).all().item<bool>()) << item.key();
  }
  MixerState state = mixer->allocate_state(2, 1, low.options());
  const Tensor step = mixer->step(low.select(1, 0), state);
  EXPECT_EQ(step.scalar_type(), torch::kBFloat16);
  EXPECT_LT(relative_error(step, exact.select(1, 0)), 0.06);
}

std::vector<Setting> settings(torch::DeviceType device, torch::ScalarType type, double tolerance) {
  std::vector<Setting> all;
  for (const auto& [kind, options] : std::vector<std::pair<const char*, const char*>>{
           {"s4d", R"({"d_state": 8, "init": "lin"})"},
           {"s4", R"({"d_state": 8, "l_kernel": 130})"},
           {"s4", R"({"d_state": 8, "l_kernel": 50, "n_ssm": 1, "postact": "none"})"},
           {"mamba", R"({"d_state": 5})"},
           {"mamba_lti", R"({"d_state": 6, "bias": true})"},
           {"mlp", R"({"gated": true, "activation": "silu"})"},
           {"mlp", R"({"hidden_factor": 1.5})"},
           {"attention", R"({"heads": 3})"},
           {"attention", R"({"heads": 4, "kv_heads": 2, "head_dim": 8, "rope": true})"}})
    all.push_back({kind, options, device, type, tolerance});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Cpu, MixerTest,
                         testing::ValuesIn(settings(torch::kCPU, torch::kDouble, 1e-9)));
INSTANTIATE_TEST_SUITE_P(CpuFloat, MixerTest,
                         testing::ValuesIn(settings(torch::kCPU, torch::kFloat, 1e-4)));
INSTANTIATE_TEST_SUITE_P(Cuda, MixerTest,
                         testing::ValuesIn(settings(torch::kCUDA, torch::kFloat, 2e-4)));

// Over a second of sound, where errors had time to grow.
class LongStepTest : public testing::TestWithParam<Setting> {};

TEST_P(LongStepTest, StepEqualsForward) {
  constexpr int64_t kLength = 16001;
  if (GetParam().device == torch::kCUDA && !torch::cuda::is_available())
    GTEST_SKIP() << "no CUDA device";
  const torch::NoGradGuard no_grad;
  for (const bool trained : {true, false}) {
    if (!trained && GetParam().type == torch::kDouble) continue;
    auto mixer = make_mixer({GetParam().kind, nlohmann::json::parse(GetParam().options)}, 4, 0, 3);
    uint64_t seed = 20;
    if (trained)  // parameters some way from where they began
      for (Tensor& parameter : mixer->parameters())
        parameter.add_(0.2 * normal(parameter.sizes(), ++seed) * parameter.abs());
    mixer->to(GetParam().device);
    mixer->to(GetParam().type);
    const Tensor x = normal({1, kLength, 4}, 9).to(GetParam().device).to(GetParam().type);
    const Tensor whole = mixer->forward(x, {}).y.squeeze(0);
    MixerState state = mixer->allocate_state(1, kLength, x.options());
    std::vector<Tensor> steps;
    for (int64_t t = 0; t < kLength; ++t) steps.push_back(mixer->step(x.select(1, t), state));
    const double largest = std::max(1.0, whole.abs().max().item<double>());
    EXPECT_LE((torch::cat(steps) - whole).abs().max().item<double>(),
              GetParam().tolerance * largest)
        << (trained ? "trained" : "random");
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cpu, LongStepTest,
    testing::Values(Setting{"s4d", "{}", torch::kCPU, torch::kFloat, 1e-4},
                    Setting{"s4d", R"({"init": "inv", "discretization": "bilinear"})", torch::kCPU,
                            torch::kFloat, 1e-4},
                    Setting{"s4d", R"({"init": "lin"})", torch::kCPU, torch::kDouble, 1e-9},
                    Setting{"s4", R"({"l_kernel": 16000})", torch::kCPU, torch::kFloat, 1e-4},
                    Setting{"s4", R"({"l_kernel": 16000})", torch::kCPU, torch::kDouble, 1e-9}));

INSTANTIATE_TEST_SUITE_P(Cuda, LongStepTest,
                         testing::Values(Setting{"s4d", "{}", torch::kCUDA, torch::kFloat, 1e-4},
                                         Setting{"s4", R"({"l_kernel": 16000})", torch::kCUDA,
                                                 torch::kFloat, 1e-4}));

TEST(MixerRegistry, KnowsAllKindsAndTheirOptions) {
  EXPECT_EQ(mixer_kinds(),
            (std::vector<std::string>{"attention", "mamba", "mamba_lti", "mlp", "s4", "s4d"}));
  const auto message = [](const LayerConfig& config) -> std::string {
    try {
      make_mixer(config, kModel, 0, 1);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
      return error.what();
    }
    return "";
  };
  using Options = nlohmann::json;
  for (const std::string& kind : mixer_kinds())
    EXPECT_EQ(message({kind, Options::object()}), "") << kind;
  const std::vector<std::tuple<LayerConfig, std::string>> refused = {
      {{"s4", {{"d_state", 7}}}, "d_state must be even"},
      {{"s4", {{"n_ssm", 5}}}, "n_ssm must divide the 12 channels"},
      {{"s4", {{"discretization", "zoh"}}}, "bilinear"},
      {{"s4d", {{"l_kernel", 10}}}, "l_kernel"},
      {{"s4d", {{"init", "leg"}}}, "legs"},
      {{"s4d", {{"dt_min", 0.2}}}, "dt_max must be at least dt_min, got 0.1 below 0.2"},
      {{"s4d", {{"postact", "gelu"}}}, "glu"},
      {{"mamba_lti", {{"d_conv", 5}}}, "from 2 to 4, got 5"},
      {{"mlp", {{"activation", "tanh"}}}, "silu"},
      {{"mlp", {{"hiden_factor", 2}}}, "did you mean \"hidden_factor\""},
      {{"attention", {{"heads", 5}}}, "5 heads do not divide d_model 12"},
      {{"attention", {{"heads", 4}, {"kv_heads", 3}}}, "kv_heads must divide the 4 heads"},
      {{"attention", {{"heads", 4}, {"rope", true}}}, "even head_dim, got 3"},
  };
  for (const auto& [config, expected] : refused)
    EXPECT_NE(message(config).find(expected), std::string::npos)
        << config.kind << config.options << ": " << message(config);
}

// The names a released SaShiMi has, so that importing it is a renaming.
TEST(MixerParameters, NamesAndShapesOfS4) {
  const auto shapes = [](const char* kind, const char* options) {
    std::map<std::string, std::vector<int64_t>> result;
    const auto mixer = make_mixer({kind, nlohmann::json::parse(options)}, 12, 0, 1);
    for (const auto& item : mixer->named_parameters())
      result[item.key()] = item.value().sizes().vec();
    return result;
  };
  using Shapes = std::map<std::string, std::vector<int64_t>>;
  Shapes expected = {{"D", {1, 12}},
                     {"kernel.C", {1, 12, 32, 2}},
                     {"kernel.B", {1, 3, 32, 2}},
                     {"kernel.P", {1, 3, 32, 2}},
                     {"kernel.A_real", {3, 32}},
                     {"kernel.A_imag", {3, 32}},
                     {"kernel.inv_dt", {12, 1}},
                     {"output_linear.weight", {24, 12}},
                     {"output_linear.bias", {24}}};
  EXPECT_EQ(shapes("s4", R"({"n_ssm": 3})"), expected);
  expected.erase("kernel.P");
  expected["output_linear.weight"] = {12, 12};
  expected["output_linear.bias"] = {12};
  EXPECT_EQ(shapes("s4d", R"({"n_ssm": 3, "postact": "none"})"), expected);
}

}  // namespace
}  // namespace strandwave
