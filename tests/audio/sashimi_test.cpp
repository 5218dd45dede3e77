#include "audio/models/sashimi.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "core/base/error.h"
#include "core/layers/parameters.h"
#include "core/runtime/accelerator.h"

namespace strandwave::audio {
namespace {

using torch::Tensor;

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
  return "";
}

double difference(const Tensor& a, const Tensor& b) {
  return a.numel() == 0 ? 0 : (a.detach() - b.detach()).abs().max().item<double>();
}

// Small blocks of every kind a stage may have.
std::vector<LayerConfig> blocks_of(const std::string& name) {
  std::vector<LayerConfig> blocks = stage_blocks(name);
  for (LayerConfig& block : blocks) {
    if (block.kind == "mamba" || block.kind == "mamba_lti") block.options["d_state"] = 4;
    if (block.kind == "s4") block.options["l_kernel"] = 12;  // shorter and longer inputs exist
    if (block.kind == "s4" || block.kind == "s4d") block.options["d_state"] = 8;
    if (block.kind == "attention") block.options["heads"] = 2;
  }
  return blocks;
}

// Three widths of `outer`, `outer` and `centre`: 3 x 2 samples per innermost frame.
SashimiConfig small_config(const std::string& outer, const std::string& centre,
                           SashimiConfig::Skips skips, int64_t layers = 1) {
  SashimiConfig config;
  config.d_model = 8;
  config.pool = {3, 2};
  config.expand = 2;
  config.skips = skips;
  config.stages = {
      {layers, blocks_of(outer)}, {layers, blocks_of(outer)}, {layers, blocks_of(centre)}};
  config.vocab_size = 17;
  config.classes = {"yes", "no", "perhaps"};
  return config;
}

Tensor tokens(int64_t batch, int64_t length, uint64_t seed, int64_t vocabulary = 17) {
  const Tensor uniform = uniform_tensor({batch, length}, 0.5, initialization_stream(seed, 9, 0));
  return ((uniform + 0.5) * static_cast<double>(vocabulary))
      .to(torch::kLong)
      .clamp_max(vocabulary - 1);
}

struct Mix {
  std::string outer, centre;
  SashimiConfig::Skips skips;
};

std::string mix_name(const testing::TestParamInfo<Mix>& info) {
  std::string name = info.param.outer + "_" + info.param.centre +
                     (info.param.skips == SashimiConfig::Skips::kPools ? "_pools" : "_layers");
  for (char& c : name)
    if (c == '+' || c == '-') c = '_';
  return name;
}

class SashimiMixTest : public testing::TestWithParam<Mix> {
 protected:
  static constexpr int64_t kBatch = 3;

  // In double: what differs is the logic, not rounding.
  SashimiMixTest()
      : model_(std::make_shared<Sashimi>(
            small_config(GetParam().outer, GetParam().centre, GetParam().skips), 5)) {
    model_->to(torch::kDouble);
  }

  std::shared_ptr<Sashimi> model_;
  const std::vector<int64_t> classes_ = {2, -1, 0};
};

// Changing sample t changes no logit before t, and some at t.
TEST_P(SashimiMixTest, IsStrictlyCausal) {
  const torch::NoGradGuard no_grad;
  const Tensor ids = tokens(1, 26, 1);
  const Tensor before = model_->logits(ids);
  for (int64_t t = 0; t < ids.size(1); ++t) {
    Tensor changed = ids.clone();
    changed[0][t] = (changed[0][t] + 5) % 17;
    const Tensor change = (model_->logits(changed) - before).abs().amax({0, 2});
    if (t > 0) EXPECT_LT(change.narrow(0, 0, t).max().item<double>(), 1e-11) << "sample " << t;
    EXPECT_GT(change[t].item<double>(), 1e-6) << "sample " << t;
  }
}

// A logit depends on every sample before it, through all widths.
TEST_P(SashimiMixTest, SeesTheWholePast) {
  const Tensor ids = tokens(1, 30, 2);
  const Tensor table = model_->named_parameters()["encoder.weight"];
  const Tensor one_hot = torch::zeros({30, 17}, torch::kDouble);
  // Every sample gets a table row of its own: the gradient then says what it contributes.
  Sashimi wide(
      [&] {
        SashimiConfig config = model_->config();
        config.vocab_size = 30;
        return config;
      }(),
      7);
  wide.to(torch::kDouble);
  const Tensor all = torch::arange(30).unsqueeze(0);
  wide.logits(all).select(1, 29).sum().backward();
  const Tensor gradient = wide.named_parameters()["encoder.weight"].grad();
  EXPECT_GT(gradient.abs().amax(1).min().item<double>(), 0);
}

TEST_P(SashimiMixTest, StepsEqualForwardAtOddLengths) {
  const torch::NoGradGuard no_grad;
  const auto generator = make_generator(model_);
  for (const int64_t batch : {int64_t{1}, kBatch}) {
    const std::vector<int64_t> classes(classes_.begin(), classes_.begin() + batch);
    const Tensor class_ids = torch::tensor(classes, torch::kLong);
    for (const int64_t length : {1, 5, 6, 7, 31}) {
      const Tensor ids = tokens(batch, length, static_cast<uint64_t>(length));
      const Tensor whole = model_->logits(ids, class_ids);
      EXPECT_EQ(whole.sizes(), (std::vector<int64_t>{batch, length, 17}));
      GeneratorState state = generator->allocate(batch, length, classes);
      for (int64_t t = 0; t < length; ++t)
        ASSERT_LT(difference(generator->step(ids.select(1, t), state), whole.select(1, t)), 1e-9)
            << "length " << length << ", sample " << t;
      EXPECT_EQ(state.position, length);
    }
  }
}

// Any division of a sequence into prefills and steps gives the logits of the whole.
TEST_P(SashimiMixTest, PrefillsAtAnyPositionEqualForward) {
  const torch::NoGradGuard no_grad;
  const auto generator = make_generator(model_);
  const int64_t length = 29;
  const Tensor ids = tokens(kBatch, length, 3);
  const Tensor whole = model_->logits(ids, torch::tensor(classes_, torch::kLong));
  for (const std::vector<int64_t>& parts : {std::vector<int64_t>{29},
                                            {1, 28},
                                            {2, 1, 1, 7, 18},
                                            {5, 1, 6, 3, 14},
                                            {6, 12, 11},
                                            {13, 1, 1, 1, 1, 1, 1, 10}}) {
    GeneratorState state = generator->allocate(kBatch, length, classes_);
    int64_t position = 0;
    for (const int64_t part : parts) {
      const Tensor logits = part == 1 ? generator->step(ids.select(1, position), state)
                                      : generator->prefill(ids.narrow(1, position, part), state);
      position += part;
      ASSERT_LT(difference(logits, whole.select(1, position - 1)), 1e-9)
          << "after " << position << " samples";
    }
  }
}

TEST_P(SashimiMixTest, ASavedStateContinuesExactly) {
  const torch::NoGradGuard no_grad;
  const auto generator = make_generator(model_);
  const Tensor ids = tokens(kBatch, 40, 4);
  for (const int64_t cut : {1, 8, 17}) {
    GeneratorState state = generator->allocate(kBatch, 40, classes_);
    generator->prefill(ids.narrow(1, 0, cut), state);
    std::map<std::string, Tensor> saved;
    for (const auto& [name, tensor] : state.tensors()) saved[name] = tensor.clone();
    GeneratorState restored = generator->allocate(kBatch, 40, {0, 0, 0});
    restored.restore(saved, "test");
    for (int64_t t = cut; t < 40; ++t)
      ASSERT_TRUE(torch::equal(generator->step(ids.select(1, t), state),
                               generator->step(ids.select(1, t), restored)));
  }
}

// Carrying the state from chunk to chunk changes neither losses nor gradients.
TEST_P(SashimiMixTest, ChunksWithCarriedStateEqualOneShot) {
  const Tensor ids = tokens(kBatch, 31, 5), targets = tokens(kBatch, 31, 6);
  const Tensor classes = torch::tensor(classes_, torch::kLong);
  const auto gradients = [&](const std::vector<int64_t>& parts, bool recompute) {
    model_->zero_grad();
    model_->set_recompute(recompute);
    SashimiInput input;
    input.classes = classes;
    input.want_final_state = true;
    GeneratorState state;
    Tensor sum = torch::zeros({}, torch::kDouble);
    int64_t position = 0;
    for (const int64_t part : parts) {
      SashimiLoss loss =
          model_->loss(ids.narrow(1, position, part), targets.narrow(1, position, part), {}, input);
      sum = sum + loss.loss.sum();
      state = std::move(*loss.final_state);
      input.initial_state = &state;
      position += part;
      EXPECT_EQ(state.position, position);
    }
    sum.backward();
    model_->set_recompute(false);
    std::vector<Tensor> all = {sum.detach()};
    for (const auto& item : model_->named_parameters()) {
      const Tensor& grad = item.value().grad();
      all.push_back(grad.defined() ? grad.clone() : torch::zeros_like(item.value()));
    }
    return all;
  };
  const std::vector<Tensor> expected = gradients({31}, false);
  for (const bool recompute : {false, true})
    for (const std::vector<int64_t>& parts :
         {std::vector<int64_t>{31}, {12, 19}, {1, 3, 9, 2, 16}}) {
      const std::vector<Tensor> actual = gradients(parts, recompute);
      for (size_t i = 0; i < expected.size(); ++i)
        ASSERT_LT(difference(actual[i], expected[i]),
                  1e-9 * std::max(1.0, expected[i].abs().max().item<double>()))
            << "tensor " << i;
    }
}

const SashimiConfig::Skips kPools = SashimiConfig::Skips::kPools;
const SashimiConfig::Skips kLayers = SashimiConfig::Skips::kLayers;
INSTANTIATE_TEST_SUITE_P(
    All, SashimiMixTest,
    testing::Values(Mix{"mamba", "mamba", kLayers}, Mix{"mamba", "mha+mlp", kPools},
                    Mix{"s4+ff", "s4+ff", kPools}, Mix{"s4+ff", "mha+mlp", kLayers},
                    Mix{"s4d+ff", "mamba-complex", kLayers}, Mix{"mamba-lti", "mamba", kLayers}),
    mix_name);

TEST(SashimiTest, ParameterCountsAreThoseOfThePublicModels) {
  const auto count = [](const SashimiConfig& config) {
    return Sashimi(config, 1).parameter_count();
  };
  SashimiConfig sashimi = sashimi_preset("sashimi"), unet = sashimi_preset("unet");
  const auto with = [](SashimiConfig config, const char* option, const nlohmann::json& value) {
    for (StageConfig& stage : config.stages) stage.blocks[0].options[option] = value;
    return config;
  };
  EXPECT_EQ(count(sashimi), 4'751'072);
  EXPECT_EQ(count(with(sashimi, "postact", "none")), 4'059'360);
  EXPECT_EQ(count(with(sashimi, "n_ssm", 0)), 5'434'592);
  EXPECT_EQ(count(unet), 6'820'512);
  EXPECT_EQ(count(with(unet, "n_ssm", 1)), 5'845'152);
  const Sashimi mamba(sashimi_preset("mamba"), 1);
  EXPECT_EQ(mamba.parameter_count(), 6'260'224);
  int64_t without = mamba.parameter_count();
  for (const auto& [name, tensor] : mamba.named_tensors())
    if (name.ends_with("A_log")) without -= tensor.numel();
  EXPECT_EQ(without, 6'096'384);
}

// Pooling by hand: without layers the model is encoder, linear maps, one frame of delay, norm.
TEST(SashimiTest, PoolsGroupByChannelAndDelayByOneFrame) {
  const torch::NoGradGuard no_grad;
  SashimiConfig config;
  config.d_model = 2;
  config.pool = {3};
  config.stages = {{0, {}}, {0, {}}};
  config.vocab_size = 5;
  config.weight_norm = true;
  for (const auto skips : {kPools, kLayers}) {
    config.skips = skips;
    Sashimi model(config, 3);
    auto named = model.named_parameters();
    named["stages.0.down_pool.weight_g"].mul_(1.5);
    const Tensor ids = tokens(1, 7, 8, 5);
    const Tensor x = named["encoder.weight"].index({ids[0]});  // (7, 2)
    const auto weight = [&](const std::string& name) {
      const Tensor v = named[name + ".weight_v"];
      return named[name + ".weight_g"] * v / v.square().sum(1, true).sqrt();
    };
    Tensor y = x.clone();
    for (int64_t frame = 0; frame < 2; ++frame) {
      Tensor group = torch::empty({6});
      for (int64_t h = 0; h < 2; ++h)
        for (int64_t s = 0; s < 3; ++s) group[h * 3 + s] = x[frame * 3 + s][h];
      const Tensor pooled =
          weight("stages.0.down_pool").mv(group) + named["stages.0.down_pool.bias"];
      const Tensor up = weight("stages.0.up_pool").mv(pooled * 2) + named["stages.0.up_pool.bias"];
      for (int64_t s = 0; s < 3; ++s) {
        const int64_t t = (frame + 1) * 3 + s;
        if (t >= 7) continue;
        for (int64_t h = 0; h < 2; ++h) y[t][h] += up[h * 3 + s];
      }
    }
    if (skips == kPools) y = y * 2;  // an empty stack adds its input to itself
    const Tensor centred = y - y.mean(1, true);
    const Tensor normed = centred / (centred.square().mean(1, true) + 1e-5).sqrt();
    const Tensor expected = normed.matmul(named["decoder.weight"].t()) + named["decoder.bias"];
    EXPECT_LT(difference(model.logits(ids)[0], expected), 1e-5);
  }
}

TEST(SashimiTest, LossIsTheCrossEntropyOfTheLogits) {
  Sashimi model(small_config("mamba", "mamba", kLayers), 11);
  const Tensor ids = tokens(2, 23, 1);
  Tensor targets = tokens(2, 23, 2);
  targets[1][4] = -100;
  const Tensor weight = torch::rand({2, 23});
  const Tensor loss = model.loss(ids, targets, weight).loss;
  const Tensor log_p = torch::log_softmax(model.logits(ids), -1);
  const Tensor expected =
      -log_p.gather(2, targets.clamp_min(0).unsqueeze(2)).squeeze(2) * weight * (targets >= 0);
  EXPECT_LT(difference(loss, expected), 2e-5);
  EXPECT_EQ(loss[1][4].item<float>(), 0);
}

TEST(SashimiTest, ClassesShiftTheEncoder) {
  const torch::NoGradGuard no_grad;
  Sashimi model(small_config("mamba", "mamba", kLayers), 11);
  const Tensor ids = tokens(4, 12, 1).narrow(0, 0, 1).expand({4, 12}).contiguous();
  const Tensor logits = model.logits(ids, torch::tensor({0, 1, 2, -1}, torch::kLong));
  for (int64_t i = 0; i < 4; ++i)
    for (int64_t j = 0; j < i; ++j) EXPECT_GT(difference(logits[i], logits[j]), 1e-3);
  EXPECT_LT(difference(logits[3], model.logits(ids)[3]), 1e-5);  // none given: the null class
}

TEST(SashimiTest, ConfigurationSurvivesJson) {
  SashimiConfig config = small_config("mamba", "mamba", kPools, 2);
  config.norm = NormKind::kScalar;
  config.weight_norm = true;
  config.audio = {{"sample_rate", 8000}};
  const nlohmann::json json = config.to_json();
  EXPECT_EQ(json["kind"], "sashimi");
  EXPECT_EQ(SashimiConfig::from_json(json).to_json(), json);
}

TEST(SashimiTest, ErrorsNameWhatIsWrong) {
  nlohmann::json json = small_config("mamba", "mamba", kLayers).to_json();
  const auto with = [&](const char* key, const nlohmann::json& value) {
    nlohmann::json changed = json;
    changed[key] = value;
    return message_of([&] { SashimiConfig::from_json(changed, "here.json"); });
  };
  EXPECT_NE(with("weight_nrm", true).find("weight_norm"), std::string::npos);
  EXPECT_NE(with("pool", {4}).find("one entry more than \"pool\": 2, got 3"), std::string::npos);
  EXPECT_NE(with("pool", "4,4").find("must be a list of numbers"), std::string::npos);
  EXPECT_NE(with("pool", {0, 4}).find("\"pool\" must be from 1"), std::string::npos);
  EXPECT_NE(with("skips", "all").find("skips"), std::string::npos);
  EXPECT_NE(with("d_model", 32768).find("stages[2]: \"width\""), std::string::npos);
  EXPECT_NE(with("kind", "sequence").find("kind"), std::string::npos);
  json["stages"][1]["blocks"][0]["kind"] = "mamab";
  EXPECT_NE(message_of([&] { SashimiConfig::from_json(json); }).find("mamba"), std::string::npos);
  EXPECT_NE(message_of([&] { stage_blocks("s5"); }).find("s4+ff"), std::string::npos);
  EXPECT_NE(message_of([&] { sashimi_preset("large"); }).find("unet"), std::string::npos);

  SashimiConfig plain = small_config("mamba", "mamba", kLayers);
  plain.classes.clear();
  const auto model = std::make_shared<Sashimi>(plain, 1);
  const auto generator = make_generator(model);
  EXPECT_NE(message_of([&] { generator->allocate(1, 8, {0}); }).find("knows no classes"),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              model->logits(tokens(1, 4, 1), torch::zeros({1}, torch::kLong));
            }).find("knows no classes"),
            std::string::npos);
  const auto by_class =
      make_generator(std::make_shared<Sashimi>(small_config("mamba", "mamba", kLayers), 1));
  EXPECT_NE(message_of([&] { by_class->allocate(1, 8, {3}); }).find("class 3 is none"),
            std::string::npos);
  EXPECT_NE(message_of([&] { by_class->allocate(2, 8, {1}); }).find("2 streams"),
            std::string::npos);
  GeneratorState state = generator->allocate(2, 8);
  std::map<std::string, Tensor> tensors = state.tensors();
  tensors.erase("position");
  EXPECT_NE(message_of([&] { state.restore(tensors, "state.bin"); }).find("\"position\""),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              state.restore(generator->allocate(3, 8).tensors(), "state.bin");
            }).find("another shape"),
            std::string::npos);
}

// The whole of a clip in float32: what rounding adds up to.
TEST(SashimiTest, StepsEqualForwardOver16001Samples) {
  const torch::NoGradGuard no_grad;
  constexpr int64_t kSamples = 16'001;
  SashimiConfig config = small_config("s4+ff", "mamba", kPools);
  config.pool = {4, 4};
  config.set_clip_length(16'000);
  EXPECT_EQ(config.stages[1].blocks[0].options.at("l_kernel"), 4'000);
  const auto model = std::make_shared<Sashimi>(config, 21);
  const Tensor ids = tokens(1, kSamples, 22);
  const Tensor whole = model->logits(ids)[0];
  const auto generator = make_generator(model);
  GeneratorState state = generator->allocate(1, kSamples);
  Tensor steps = torch::empty_like(whole);
  for (int64_t t = 0; t < kSamples; ++t)
    steps[t].copy_(generator->step(ids.select(1, t), state)[0]);
  EXPECT_LT(difference(steps, whole), 1e-4 * std::max(1.0, whole.abs().max().item<double>()));
}

class SashimiDeviceTest : public testing::TestWithParam<torch::DeviceType> {
 protected:
  void SetUp() override {
    if (GetParam() == torch::kCUDA && !torch::cuda::is_available())
      GTEST_SKIP() << "no CUDA device";
    torch::globalContext().setAllowTF32CuBLAS(false);
  }

  static constexpr const char* kOuter[] = {"s4+ff", "mamba", "mamba-lti"};
  static constexpr const char* kCentre[] = {"mha+mlp", "s4d+ff", "mamba-complex"};
};

TEST_P(SashimiDeviceTest, GivesWhatTheCpuGivesAndStepsAgree) {
  const torch::NoGradGuard no_grad;
  for (size_t i = 0; i < std::size(kOuter); ++i) {
    const SashimiConfig config = small_config(kOuter[i], kCentre[i], kLayers);
    const auto model = std::make_shared<Sashimi>(config, 31);
    const Tensor ids = tokens(2, 61, 32), classes = torch::tensor({1, -1}, torch::kLong);
    const Tensor expected = model->logits(ids, classes);
    model->to(GetParam());
    const Tensor actual = model->logits(ids.to(GetParam()), classes.to(GetParam())).cpu();
    const double bound = 1e-4 * std::max(1.0, expected.abs().max().item<double>());
    EXPECT_LT(difference(actual, expected), bound) << kOuter[i];
    const auto generator = make_generator(model);
    GeneratorState state = generator->allocate(2, 61, {1, -1});
    generator->prefill(ids.narrow(1, 0, 20).to(GetParam()), state);
    for (int64_t t = 20; t < 61; ++t)
      ASSERT_LT(difference(generator->step(ids.select(1, t).to(GetParam()), state).cpu(),
                           expected.select(1, t)),
                bound)
          << kOuter[i] << ", sample " << t;
  }
}

// Lowered as the Trainer lowers: losses stay close, every gradient is finite, bits repeat (those of
// recomputation differ: gradients are summed in another order).
TEST_P(SashimiDeviceTest, ComputesInBfloat16) {
  make_deterministic();
  const torch::Device device(GetParam());
  for (size_t i = 0; i < std::size(kOuter); ++i) {
    Sashimi model(small_config(kOuter[i], kCentre[i], kLayers), 41);
    model.to(device);
    const Tensor ids = tokens(2, 64, 42).to(device), targets = tokens(2, 64, 43).to(device);
    const double expected = model.loss(ids, targets).loss.mean().item<double>();
    for (const auto& [name, tensor] : model.named_tensors())
      if (Sashimi::lowered(name, tensor))
        model.replace_parameter(name, tensor.detach().to(torch::kBFloat16));
    EXPECT_EQ(model.compute_type(), torch::kBFloat16);
    std::vector<std::vector<std::pair<std::string, Tensor>>> runs;
    for (const bool recompute : {false, false, true}) {
      model.zero_grad();
      model.set_recompute(recompute);
      const Tensor loss = model.loss(ids, targets).loss.mean();
      EXPECT_NEAR(loss.item<double>(), expected, 0.03) << kOuter[i];
      loss.backward();
      runs.emplace_back();
      for (const auto& item : model.named_parameters()) {
        if (item.key() == "class_embedding.weight" && !item.value().grad().defined()) continue;
        ASSERT_TRUE(item.value().grad().defined()) << item.key();
        EXPECT_TRUE(torch::isfinite(item.value().grad()).all().item<bool>()) << item.key();
        runs.back().emplace_back(item.key(), item.value().grad().clone());
      }
    }
    for (size_t k = 0; k < runs[0].size(); ++k) {
      const auto& [name, gradient] = runs[0][k];
      EXPECT_TRUE(torch::equal(gradient, runs[1][k].second))
          << kOuter[i] << ", " << kCentre[i] << ", gradient of " << name << ": "
          << (gradient != runs[1][k].second).sum().item<int64_t>() << " of " << gradient.numel()
          << " values differ, by up to " << difference(gradient, runs[1][k].second) << " where "
          << gradient.abs().max().item<double>() << " is the largest";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, SashimiDeviceTest, testing::Values(torch::kCPU));
INSTANTIATE_TEST_SUITE_P(Cuda, SashimiDeviceTest, testing::Values(torch::kCUDA));

// Constant vectors have no deviation.
TEST(SashimiTest, ScalarNormsOfConstantVectorsAreFinite) {
  SashimiConfig config = small_config("mamba", "mamba", kPools);
  config.norm = NormKind::kScalar;
  Sashimi model(config, 1);
  {
    const torch::NoGradGuard no_grad;
    for (const auto& item : model.named_parameters())
      if (item.key() == "encoder.weight" || item.key() == "class_embedding.weight")
        item.value().fill_(0.25);
  }
  const Tensor loss = model.loss(tokens(1, 13, 1), tokens(1, 13, 2)).loss.sum();
  loss.backward();
  EXPECT_TRUE(std::isfinite(loss.item<double>()));
  for (const auto& item : model.named_parameters())
    if (item.value().grad().defined())
      EXPECT_TRUE(torch::isfinite(item.value().grad()).all().item<bool>()) << item.key();
}

}  // namespace
}  // namespace strandwave::audio
