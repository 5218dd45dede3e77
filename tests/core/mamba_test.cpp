#include "core/layers/mamba.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "core/layers/registry.h"
#include "kernels/causal_conv1d/causal_conv1d.h"
#include "kernels/selective_scan/selective_scan.h"

namespace strandwave {
namespace {

using torch::Tensor;

constexpr int64_t kModel = 20;

MambaConfig small_config() {
  MambaConfig config;
  config.d_state = 5;
  config.dt_rank = 3;
  config.bias = true;
  return config;
}

// The layer from operators that have their own autograd: the plain equation of the header.
struct Composed {
  Tensor y, conv_state, ssm_state;
};

Composed composed(const Mamba& mamba, const Tensor& x, const std::optional<Tensor>& conv_state,
                  const std::optional<Tensor>& ssm_state, const SequenceLayout* layout) {
  const auto p = mamba.named_parameters();
  const int64_t d_inner = mamba.d_inner();
  const int64_t rank = mamba.dt_rank();
  const bool complex = mamba.config().complex;
  const int64_t n = (complex ? 2 : 1) * mamba.config().d_state;
  Tensor A = -p["A_log"].exp();
  if (complex) A = torch::complex(A, p["A_imag"]);
  std::optional<Tensor> cu_seqlens;
  if (layout != nullptr) cu_seqlens = layout->cu_seqlens();
  const Tensor xz = torch::linear(x, p["in_proj.weight"], p["in_proj.bias"]);
  const auto conv =
      causal_conv1d(xz.narrow(2, 0, d_inner).contiguous(), p["conv1d.weight"].squeeze(1),
                    p["conv1d.bias"], conv_state, cu_seqlens);
  const Tensor x_dbl = torch::linear(conv.out, p["x_proj.weight"]);
  const auto scan = selective_scan(
      conv.out, torch::linear(x_dbl.narrow(2, 0, rank), p["dt_proj.weight"]), A,
      x_dbl.narrow(2, rank, n).contiguous(), x_dbl.narrow(2, rank + n, n).contiguous(), p["D"],
      xz.narrow(2, d_inner, d_inner).contiguous(), p["dt_proj.bias"], ssm_state, cu_seqlens);
  return {torch::linear(scan.out, p["out_proj.weight"], p["out_proj.bias"]), conv.final_state,
          scan.final_state};
}

// Complex numbers become pairs.
Tensor doubles(const Tensor& values) {
  const Tensor x = values.detach().cpu();
  return (x.is_complex() ? torch::view_as_real(x.resolve_conj()) : x).to(torch::kDouble);
}

double relative_error(const Tensor& a, const Tensor& b) {
  const Tensor x = doubles(a);
  const Tensor y = doubles(b);
  if (x.numel() == 0) return 0;
  return ((x - y).abs().max() / (y.abs().max() + 1e-30)).item<double>();
}

// Device, type of inputs and weights, largest relative error, whether states are complex.
struct Setting {
  torch::DeviceType device;
  torch::ScalarType type;
  double tolerance;
  bool complex;
};

class MambaTest : public testing::TestWithParam<Setting> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA && !torch::cuda::is_available())
      GTEST_SKIP() << "no CUDA device";
    MambaConfig config = small_config();
    config.complex = GetParam().complex;
    mamba_ = std::make_shared<Mamba>(config, kModel, 0, 11);
    mamba_->to(GetParam().device);
    mamba_->to(GetParam().type);
    torch::NoGradGuard no_grad;
    for (auto& item : mamba_->named_parameters())  // so that no term of the equation is trivial
      if (item.key() == "D" || item.key() == "in_proj.bias" || item.key() == "out_proj.bias")
        item.value().copy_(values(item.value().sizes(), 99));
  }

  Tensor values(at::IntArrayRef shape, uint64_t seed) const {
    return normal_tensor(shape, 1.0, RandomStream(seed, RandomPurpose::kSynthetic))
        .to(GetParam().device)
        .to(GetParam().type);
  }

  MixerState state(int64_t sequences, uint64_t seed) const {
    return {{{"conv", values({sequences, 3, mamba_->d_inner()}, seed)},
             {"ssm", states({sequences, mamba_->d_inner(), 5}, seed + 1)}},
            {}};
  }

  // Of the type of states.
  Tensor states(at::IntArrayRef shape, uint64_t seed) const {
    if (!GetParam().complex) return values(shape, seed);
    return torch::complex(values(shape, seed), values(shape, seed + 100));
  }

  double tolerance() const { return GetParam().tolerance; }
  torch::Device device() const { return {GetParam().device}; }

  std::shared_ptr<Mamba> mamba_;
};

TEST_P(MambaTest, OutputsAndGradientsEqualTheComposition) {
  const auto packed = SequenceLayout::from_lengths({7, 0, 1, 9}, device());
  for (const SequenceLayout* layout : {static_cast<const SequenceLayout*>(nullptr), &packed}) {
    for (const bool recompute : {false, true}) {
      const int64_t batch = layout != nullptr ? 1 : 2;
      const int64_t sequences = layout != nullptr ? 4 : 2;
      std::vector<Tensor> leaves = mamba_->parameters();
      Tensor x = values({batch, 17, kModel}, 1).requires_grad_();
      MixerState initial = state(sequences, 2);
      for (auto& [name, tensor] : initial.tensors) tensor.requires_grad_();
      leaves.insert(leaves.end(), {x, initial.tensors["conv"], initial.tensors["ssm"]});

      MixerInput input;
      input.layout = layout;
      input.initial_state = &initial;
      input.want_final_state = true;
      input.recompute_projections = recompute;
      const MixerOutput out = mamba_->forward(x, input);
      const Composed expected =
          composed(*mamba_, x, initial.tensors["conv"], initial.tensors["ssm"], layout);
      EXPECT_LT(relative_error(out.y, expected.y), tolerance());
      const auto& final_state = out.final_state->tensors;
      EXPECT_LT(relative_error(final_state.at("conv"), expected.conv_state), tolerance());
      EXPECT_LT(relative_error(final_state.at("ssm"), expected.ssm_state), tolerance());

      const std::vector<Tensor> directions = {values(out.y.sizes(), 5),
                                              values(expected.conv_state.sizes(), 6),
                                              states(expected.ssm_state.sizes(), 7)};
      const auto ours = torch::autograd::grad(
          {out.y, final_state.at("conv"), final_state.at("ssm")}, leaves, directions);
      const auto theirs = torch::autograd::grad(
          {expected.y, expected.conv_state, expected.ssm_state}, leaves, directions);
      for (size_t i = 0; i < leaves.size(); ++i) {
        EXPECT_EQ(ours[i].scalar_type(), leaves[i].scalar_type());
        EXPECT_LT(relative_error(ours[i], theirs[i]), 10 * tolerance())
            << "gradient " << i << (layout ? " packed" : "") << (recompute ? " recompute" : "");
      }
    }
  }
}

TEST_P(MambaTest, GradientOfTheFinalStateAlone) {
  Tensor x = values({2, 6, kModel}, 1).requires_grad_();
  MixerInput input;
  input.want_final_state = true;
  const MixerOutput out = mamba_->forward(x, input);
  const Composed expected = composed(*mamba_, x, {}, {}, nullptr);
  const Tensor direction = states(expected.ssm_state.sizes(), 3);
  const auto ours = torch::autograd::grad({out.final_state->tensors.at("ssm")}, {x}, {direction});
  const auto theirs = torch::autograd::grad({expected.ssm_state}, {x}, {direction});
  EXPECT_LT(relative_error(ours[0], theirs[0]), 10 * tolerance());
}

TEST_P(MambaTest, StepEqualsForwardAtEveryPosition) {
  const torch::NoGradGuard no_grad;
  const Tensor x = values({3, 12, kModel}, 4);
  MixerInput input;
  input.want_final_state = true;
  const MixerOutput whole = mamba_->forward(x, input);
  MixerState state = mamba_->allocate_state(3, 12, x.options());
  const void* address = state.tensors["ssm"].data_ptr();
  for (int64_t t = 0; t < 12; ++t)
    EXPECT_LT(relative_error(mamba_->step(x.select(1, t), state), whole.y.select(1, t)),
              tolerance())
        << "position " << t;
  for (const auto& [name, tensor] : state.tensors)
    EXPECT_LT(relative_error(tensor, whole.final_state->tensors.at(name)), tolerance()) << name;
  EXPECT_EQ(state.tensors["ssm"].data_ptr(), address);
  EXPECT_TRUE((state.positions == 12).all().item<bool>());
  EXPECT_TRUE(torch::equal(state.positions, whole.final_state->positions));
}

TEST_P(MambaTest, PackedEqualsSeparate) {
  const torch::NoGradGuard no_grad;
  const std::vector<int64_t> lengths = {5, 1, 0, 11, 2};
  const auto layout = SequenceLayout::from_lengths(lengths, device());
  const Tensor x = values({1, layout.total_length(), kModel}, 4);
  const MixerState initial = state(5, 8);
  MixerInput input;
  input.layout = &layout;
  input.initial_state = &initial;
  input.want_final_state = true;
  const MixerOutput packed = mamba_->forward(x, input);
  for (int64_t s = 0; s < 5; ++s) {
    const int64_t begin = layout.offsets()[static_cast<size_t>(s)];
    const int64_t length = lengths[static_cast<size_t>(s)];
    MixerState own = initial;
    for (auto& [name, tensor] : own.tensors) tensor = tensor.narrow(0, s, 1);
    MixerInput alone;
    alone.initial_state = &own;
    alone.want_final_state = true;
    const MixerOutput out = mamba_->forward(x.narrow(1, begin, length), alone);
    EXPECT_LT(relative_error(packed.y.narrow(1, begin, length), out.y), tolerance());
    for (const auto& [name, tensor] : out.final_state->tensors)
      EXPECT_LT(relative_error(packed.final_state->tensors.at(name).narrow(0, s, 1), tensor),
                tolerance())
          << name << " of sequence " << s;
  }
  EXPECT_TRUE(
      torch::equal(packed.final_state->positions.cpu(), torch::tensor(lengths, torch::kLong)));
}

TEST_P(MambaTest, PassingTheStateEqualsOneShot) {
  const torch::NoGradGuard no_grad;
  const Tensor x = values({2, 15, kModel}, 4);
  const Tensor whole = mamba_->forward(x, {}).y;
  for (const int64_t cut : {0, 1, 2, 3, 8, 15}) {
    MixerInput first;
    first.want_final_state = true;
    const MixerOutput head = mamba_->forward(x.narrow(1, 0, cut), first);
    MixerInput second;
    second.initial_state = &*head.final_state;
    const MixerOutput tail = mamba_->forward(x.narrow(1, cut, 15 - cut), second);
    EXPECT_LT(relative_error(torch::cat({head.y, tail.y}, 1), whole), tolerance())
        << "cut at " << cut;
  }
}

TEST_P(MambaTest, TheFutureHasNoInfluence) {
  const torch::NoGradGuard no_grad;
  const Tensor x = values({1, 10, kModel}, 4);
  Tensor changed = x.clone();
  changed.narrow(1, 6, 4).fill_(std::nan(""));
  const Tensor before = mamba_->forward(x, {}).y.narrow(1, 0, 6);
  const Tensor after = mamba_->forward(changed, {}).y.narrow(1, 0, 6);
  EXPECT_LT(relative_error(after, before), tolerance());
}

TEST_P(MambaTest, HasNoDoubleBackward) {
  Tensor x = values({1, 4, kModel}, 4).requires_grad_();
  const Tensor y = mamba_->forward(x, {}).y.sum();
  try {
    torch::autograd::grad({y}, {x}, {}, /*retain_graph=*/true, /*create_graph=*/true);
    FAIL() << "no error";
  } catch (const c10::Error& error) {
    EXPECT_NE(std::string(error.what()).find("no double backward"), std::string::npos);
  }
}

TEST_P(MambaTest, RefusesWhatDoesNotFit) {
  EXPECT_THROW(mamba_->forward(values({2, 3, kModel + 1}, 1), {}), c10::Error);
  EXPECT_THROW(mamba_->forward(values({2, 3, kModel}, 1).to(torch::kBFloat16), {}), c10::Error);
  MixerState wrong;
  MixerInput input;
  input.initial_state = &wrong;
  EXPECT_THROW(mamba_->forward(values({2, 3, kModel}, 1), input), c10::Error);
}

INSTANTIATE_TEST_SUITE_P(Cpu, MambaTest,
                         testing::Values(Setting{torch::kCPU, torch::kDouble, 1e-11, false},
                                         Setting{torch::kCPU, torch::kFloat, 2e-5, false},
                                         Setting{torch::kCPU, torch::kDouble, 1e-11, true},
                                         Setting{torch::kCPU, torch::kFloat, 2e-5, true}));
INSTANTIATE_TEST_SUITE_P(Cuda, MambaTest,
                         testing::Values(Setting{torch::kCUDA, torch::kFloat, 5e-5, false},
                                         Setting{torch::kCUDA, torch::kFloat, 5e-5, true}));

class MambaLoweredTest : public testing::TestWithParam<std::tuple<torch::DeviceType, bool>> {};

TEST_P(MambaLoweredTest, MatricesInBfloat16AndTheRestExact) {
  const auto [device, complex] = GetParam();
  if (device == torch::kCUDA && !torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
  MambaConfig config = small_config();
  config.complex = complex;
  Mamba mamba(config, 64, 0, 3);
  mamba.to(device);
  Tensor x = normal_tensor({2, 40, 64}, 1.0, RandomStream(1, RandomPurpose::kSynthetic)).to(device);
  const Tensor exact = mamba.forward(x, {}).y;
  for (const char* name :
       {"in_proj.weight", "x_proj.weight", "dt_proj.weight", "out_proj.weight"}) {
    Tensor parameter = mamba.named_parameters()[name];
    parameter.set_data(parameter.to(torch::kBFloat16));
  }
  Tensor low = x.to(torch::kBFloat16).requires_grad_();
  const Tensor y = mamba.forward(low, {}).y;
  EXPECT_EQ(y.scalar_type(), torch::kBFloat16);
  EXPECT_LT(relative_error(y, exact), 0.03);
  y.sum().backward();
  for (const auto& item : mamba.named_parameters()) {
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    EXPECT_EQ(item.value().grad().scalar_type(), item.value().scalar_type()) << item.key();
    EXPECT_TRUE(torch::isfinite(item.value().grad()).all().item<bool>()) << item.key();
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, MambaLoweredTest,
                         testing::Combine(testing::Values(torch::kCPU), testing::Bool()));
INSTANTIATE_TEST_SUITE_P(Cuda, MambaLoweredTest,
                         testing::Combine(testing::Values(torch::kCUDA), testing::Bool()));

TEST(MambaInitialisation, NamesShapesAndDistributions) {
  MambaConfig config;
  const Mamba mamba(config, 64, 2, 5);
  const auto p = mamba.named_parameters();
  const std::map<std::string, std::vector<int64_t>> shapes = {
      {"A_log", {128, 16}},           {"D", {128}},
      {"in_proj.weight", {256, 64}},  {"conv1d.weight", {128, 1, 4}},
      {"conv1d.bias", {128}},         {"x_proj.weight", {4 + 32, 128}},
      {"dt_proj.weight", {128, 4}},   {"dt_proj.bias", {128}},
      {"out_proj.weight", {64, 128}},
  };
  ASSERT_EQ(p.size(), shapes.size());
  for (const auto& [name, shape] : shapes) {
    ASSERT_TRUE(p.contains(name)) << name;
    EXPECT_EQ(p[name].sizes().vec(), shape) << name;
    EXPECT_EQ(p[name].scalar_type(), torch::kFloat) << name;
  }
  const std::map<std::string, double> bounds = {
      {"in_proj.weight", 1 / 8.0}, {"conv1d.weight", 0.5},
      {"conv1d.bias", 0.5},        {"x_proj.weight", 1 / std::sqrt(128.0)},
      {"dt_proj.weight", 0.5},     {"out_proj.weight", 1 / std::sqrt(128.0)}};
  for (const auto& [name, bound] : bounds) {
    const double largest = p[name].abs().max().item<double>();
    EXPECT_LE(largest, bound * 1.000001) << name;
    EXPECT_GT(largest, bound * 0.9) << name;
    EXPECT_LT(std::abs(p[name].mean().item<double>()), bound * 0.2) << name;
  }
  EXPECT_LT(relative_error(p["A_log"].exp()[77], torch::arange(1, 17)), 1e-6);
  EXPECT_TRUE((p["D"] == 1).all().item<bool>());
  const Tensor dt = torch::softplus(p["dt_proj.bias"].to(torch::kDouble));
  EXPECT_GE(dt.min().item<double>(), 1e-3 * 0.9999);
  EXPECT_LE(dt.max().item<double>(), 0.1 * 1.0001);
  EXPECT_NEAR(dt.log().mean().item<double>(), std::log(0.01), 0.4);  // log-uniform
}

TEST(MambaInitialisation, ComplexStates) {
  for (const std::string init : {"n", "lin"}) {
    const nlohmann::json options = {{"complex", true}, {"complex_init", init}, {"d_state", 6}};
    const MambaConfig config = MambaConfig::from_json(options);
    const Mamba mamba(config, 64, 2, 5);
    const auto p = mamba.named_parameters();
    EXPECT_EQ(p["x_proj.weight"].sizes(), at::IntArrayRef({4 + 4 * 6, 128}));
    EXPECT_LT(relative_error(p["A_log"].exp(), torch::full({128, 6}, 0.5)), 1e-7);
    const double step = init == "lin" ? std::acos(-1.0) : 1;
    EXPECT_LT(relative_error(p["A_imag"][77], torch::arange(6, torch::kDouble) * step), 1e-7);
    EXPECT_EQ(MambaConfig::from_json(config.to_json()).to_json(), config.to_json());
    EXPECT_EQ(config.to_json().at("complex_init"), init);
    EXPECT_EQ(mamba.allocate_state(2, 1, torch::kBFloat16).tensors.at("ssm").scalar_type(),
              torch::kComplexFloat);
  }
  EXPECT_FALSE(MambaConfig{}.to_json().contains("complex"));
}

// With imaginary parts zero, twice the state's term of the real layer.
TEST(MambaInitialisation, ComplexStatesWithoutImaginaryPartsAreRealOnes) {
  const torch::NoGradGuard no_grad;
  MambaConfig config = small_config();
  config.bias = false;
  Mamba real(config, kModel, 0, 11);
  config.complex = true;
  Mamba complex(config, kModel, 0, 11);
  const auto from = real.named_parameters();
  for (auto& item : complex.named_parameters()) {
    if (item.key() == "A_imag") {
      item.value().zero_();
    } else if (item.key() == "x_proj.weight") {
      item.value().zero_();
      item.value().narrow(0, 0, 3).copy_(from["x_proj.weight"].narrow(0, 0, 3));
      for (int64_t row = 0; row < 10; ++row)
        item.value()[3 + 2 * row].copy_(from["x_proj.weight"][3 + row]);
    } else {
      item.value().copy_(from[item.key()]);
    }
    if (item.key() == "D") item.value().zero_();
  }
  from["D"].zero_();
  const Tensor x = normal_tensor({2, 30, kModel}, 1.0, RandomStream(1, RandomPurpose::kSynthetic));
  EXPECT_LT(relative_error(complex.forward(x, {}).y, 2 * real.forward(x, {}).y), 1e-5);
}

// A state that turns must not drift from the scan's over two seconds of audio.
TEST(MambaInitialisation, ComplexStepsEqualForwardOverALongSequence) {
  const torch::NoGradGuard no_grad;
  constexpr int64_t kSteps = 16'001;
  for (const auto& [type, tolerance] :
       {std::pair{torch::kFloat, 1e-4}, std::pair{torch::kDouble, 1e-9}}) {
    Mamba mamba(MambaConfig::from_json({{"complex", true}, {"complex_init", "lin"}}), 8, 0, 3);
    mamba.to(type);
    const Tensor x =
        normal_tensor({1, kSteps, 8}, 1.0, RandomStream(4, RandomPurpose::kSynthetic)).to(type);
    const Tensor whole = mamba.forward(x, {}).y;
    MixerState state = mamba.allocate_state(1, kSteps, x.options());
    std::vector<Tensor> steps;
    for (int64_t t = 0; t < kSteps; ++t) steps.push_back(mamba.step(x.select(1, t), state));
    EXPECT_LT(relative_error(torch::stack(steps, 1), whole), tolerance) << type;
  }
}

TEST(MambaInitialisation, DependsOnSeedAndLayerOnly) {
  const auto weight = [](int64_t layer, uint64_t seed) {
    return Mamba({}, 32, layer, seed).named_parameters()["in_proj.weight"];
  };
  torch::manual_seed(1);
  const Tensor first = weight(0, 7);
  torch::manual_seed(2);
  EXPECT_TRUE(torch::equal(first, weight(0, 7)));
  EXPECT_FALSE(torch::equal(first, weight(1, 7)));
  EXPECT_FALSE(torch::equal(first, weight(0, 8)));
}

TEST(MixerRegistry, MakesAndRefuses) {
  const auto mixer = make_mixer({"mamba", {{"d_state", 4}}}, 16, 0, 1);
  EXPECT_EQ(mixer->named_parameters()["A_log"].size(1), 4);
  const auto message = [](const LayerConfig& config) -> std::string {
    try {
      check_layer(config);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message({"mamba", nlohmann::json::object()}), "");
  EXPECT_NE(message({"mambo", {}}).find("did you mean \"mamba\""), std::string::npos);
  EXPECT_NE(message({"mamba", {{"d_sate", 4}}}).find("did you mean \"d_state\""),
            std::string::npos);
  EXPECT_NE(message({"mamba", {{"d_state", 257}}}).find("from 1 to 256, got 257"),
            std::string::npos);
  EXPECT_NE(message({"mamba", {{"d_conv", 5}}}).find("from 2 to 4, got 5"), std::string::npos);
  EXPECT_NE(message({"mamba", {{"complex_init", "lin"}}}).find("needs \"complex\": true"),
            std::string::npos);
  EXPECT_NE(message({"mamba", {{"dt_min", 0.5}, {"dt_max", 0.1}}}).find("got 0.1"),
            std::string::npos);
  const std::vector<std::string> kinds = mixer_kinds();
  EXPECT_EQ(std::count(kinds.begin(), kinds.end(), "mamba"), 1);
}

}  // namespace
}  // namespace strandwave
