#include "core/models/sequence_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "core/base/error.h"
#include "core/layers/parameters.h"
#include "core/models/layer_string.h"

namespace strandwave {
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

ModelConfig small_config() {
  ModelConfig config;
  config.d_model = 24;
  config.stack = "M{5}";
  config.layers['M'].options = {{"d_state", 4}};
  config.vocab_size = 16;
  config.valid_vocab_size = 11;
  config.initializer.embedding_std = 1.0;
  return config;
}

HeadConfig classifier(HeadConfig::Pooling pooling = HeadConfig::Pooling::kMean) {
  HeadConfig head;
  head.kind = HeadConfig::Kind::kClassifier;
  head.classes = {"a", "b", "c"};
  head.pooling = pooling;
  return head;
}

double difference(const Tensor& a, const Tensor& b) {
  return a.numel() == 0 ? 0 : (a.detach() - b.detach()).abs().max().item<double>();
}

class SequenceModelTest : public testing::TestWithParam<torch::DeviceType> {
 protected:
  void SetUp() override {
    if (GetParam() == torch::kCUDA && !torch::cuda::is_available())
      GTEST_SKIP() << "no CUDA device";
    torch::globalContext().setAllowTF32CuBLAS(false);
  }

  std::shared_ptr<SequenceModel> model(const ModelConfig& config = small_config()) const {
    auto made = std::make_shared<SequenceModel>(config, 3);
    made->to(torch::Device(GetParam()));
    return made;
  }

  Tensor ids(int64_t batch, int64_t length, uint64_t seed = 1) const {
    const RandomStream stream(seed, RandomPurpose::kSynthetic);
    Tensor tensor = torch::empty({batch, length}, torch::kLong);
    for (int64_t i = 0; i < tensor.numel(); ++i)
      tensor.data_ptr<int64_t>()[i] =
          static_cast<int64_t>(stream.below(static_cast<uint64_t>(i), 11));
    return tensor.to(torch::Device(GetParam()));
  }

  torch::Device device() const { return {GetParam()}; }
};

TEST_P(SequenceModelTest, StepEqualsForwardAtEveryPosition) {
  const torch::NoGradGuard no_grad;
  const auto lm = model();
  const Tensor tokens = ids(3, 14);
  const Tensor whole = lm->logits(lm->hidden(tokens).hidden);
  EXPECT_EQ(whole.sizes(), at::IntArrayRef({3, 14, 11}));
  ModelState state = lm->allocate_state(3, 14);
  for (int64_t t = 0; t < 14; ++t)
    EXPECT_LT(difference(lm->step(tokens.select(1, t), state), whole.select(1, t)), 2e-5)
        << "position " << t;
}

TEST_P(SequenceModelTest, PassingTheStateEqualsOneShot) {
  const torch::NoGradGuard no_grad;
  const auto lm = model();
  const Tensor tokens = ids(2, 12);
  const Tensor whole = lm->hidden(tokens).hidden;
  ModelInput first;
  first.want_final_state = true;
  const HiddenOutput head = lm->hidden(tokens.narrow(1, 0, 5), first);
  ModelInput second;
  second.initial_state = &*head.final_state;
  const HiddenOutput tail = lm->hidden(tokens.narrow(1, 5, 7), second);
  EXPECT_LT(difference(torch::cat({head.hidden, tail.hidden}, 1), whole), 2e-5);
  EXPECT_FALSE(tail.final_state.has_value());
}

TEST_P(SequenceModelTest, PackedEqualsSeparate) {
  const torch::NoGradGuard no_grad;
  const auto lm = model();
  const std::vector<int64_t> lengths = {4, 0, 9, 1};
  const auto layout = SequenceLayout::from_lengths(lengths, device());
  const Tensor tokens = ids(1, layout.total_length());
  ModelInput packed;
  packed.layout = &layout;
  const Tensor hidden = lm->hidden(tokens, packed).hidden;
  for (const auto pooling : {HeadConfig::Pooling::kMean, HeadConfig::Pooling::kLast}) {
    const auto head = with_new_head(*lm, classifier(pooling), 5);
    const Tensor scores = head->classify(tokens, packed);
    ASSERT_EQ(scores.sizes(), at::IntArrayRef({4, 3}));
    for (size_t s = 0; s < lengths.size(); ++s) {
      const Tensor own = tokens.narrow(1, layout.offsets()[s], lengths[s]);
      EXPECT_LT(
          difference(hidden.narrow(1, layout.offsets()[s], lengths[s]), lm->hidden(own).hidden),
          2e-5);
      EXPECT_LT(difference(scores[static_cast<int64_t>(s)], head->classify(own)[0]), 2e-5)
          << "sequence " << s;
    }
  }
}

TEST_P(SequenceModelTest, PaddingNeverEntersTheScores) {
  const torch::NoGradGuard no_grad;
  for (const auto pooling : {HeadConfig::Pooling::kMean, HeadConfig::Pooling::kLast}) {
    const auto head = with_new_head(*model(), classifier(pooling), 5);
    Tensor tokens = ids(3, 8);
    tokens.narrow(1, 3, 5).fill_(15);  // padding, where a sequence is shorter
    ModelInput input;
    input.lengths = torch::tensor({3, 8, 0}, torch::kLong).to(device());
    // The embedding of the padding token is poison.
    Tensor embedding = head->named_parameters()["backbone.embedding.weight"];
    const Tensor clean = head->classify(tokens.narrow(1, 0, 3).narrow(0, 0, 1));
    embedding[15].fill_(std::numeric_limits<float>::quiet_NaN());
    const Tensor scores = head->classify(tokens, input);
    EXPECT_LT(difference(scores[0], clean[0]), 2e-5);
    EXPECT_TRUE(torch::isnan(scores[1]).all().item<bool>());  // there the token is real
    EXPECT_LT(difference(scores[2], head->named_parameters()["score.bias"]), 1e-6);
  }
}

TEST_P(SequenceModelTest, LossIsTheCrossEntropyOfTheLogits) {
  const auto lm = model();
  const Tensor tokens = ids(2, 9);
  Tensor targets = ids(2, 9, 2);
  targets[0][3] = -100;
  targets[1][0] = -1;
  const Tensor weight = torch::rand({2, 9}).to(device());
  const Tensor loss = lm->language_model_loss(tokens, targets, weight).loss;
  const Tensor log_p = torch::log_softmax(lm->logits(lm->hidden(tokens).hidden), 2);
  const Tensor expected =
      torch::where(targets < 0, 0.0,
                   -log_p.gather(2, targets.clamp_min(0).unsqueeze(2)).squeeze(2)) *
      weight;
  EXPECT_LT(difference(loss, expected), 2e-5);

  const auto leaves = lm->parameters();
  const auto ours = torch::autograd::grad({loss.sum()}, leaves);
  const auto theirs = torch::autograd::grad({expected.sum()}, leaves);
  for (size_t i = 0; i < leaves.size(); ++i)
    EXPECT_LT(difference(ours[i], theirs[i]), 1e-4 * (1 + theirs[i].abs().max().item<double>()))
        << lm->named_tensors()[i].first;
}

TEST_P(SequenceModelTest, RecomputationChangesNothing) {
  const auto lm = model();
  const auto layout = SequenceLayout::from_lengths({5, 8}, device());
  const Tensor tokens = ids(1, 13);
  const auto run = [&](std::vector<Recomputation> levels) {
    lm->set_recomputation(std::move(levels));
    ModelState initial = lm->allocate_state(2, 13);
    std::vector<Tensor> leaves = lm->parameters();
    for (MixerState& layer : initial.layers)
      for (auto& [name, tensor] : layer.tensors) {
        tensor.add_(0.1).requires_grad_();
        leaves.push_back(tensor);
      }
    HiddenOutput out;
    {
      const SequenceLayout own = layout;  // may be gone before the backward pass
      ModelInput input;
      input.layout = &own;
      input.initial_state = &initial;
      input.want_final_state = true;
      out = lm->hidden(tokens, input);
    }
    Tensor sum = out.hidden.square().sum() * 0.5 + out.hidden.narrow(2, 0, 3).sum();
    for (const MixerState& layer : out.final_state->layers)
      for (const auto& [name, tensor] : layer.tensors) sum = sum + tensor.square().sum();
    auto result = torch::autograd::grad({sum}, leaves);
    result.push_back(out.hidden.detach());
    result.push_back(out.final_state->layers[2].positions);
    return result;
  };
  const auto expected = run(std::vector<Recomputation>(5, Recomputation::kNone));
  for (const std::vector<Recomputation>& levels :
       {std::vector<Recomputation>(5, Recomputation::kProjections),
        std::vector<Recomputation>(5, Recomputation::kLayer),
        {Recomputation::kNone, Recomputation::kLayer, Recomputation::kLayer, Recomputation::kLayer,
         Recomputation::kProjections}}) {
    const auto actual = run(levels);
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_TRUE(torch::equal(actual[i], expected[i])) << "tensor " << i;
  }
  EXPECT_THROW(lm->set_recomputation(std::vector<Recomputation>(2)), c10::Error);
}

TEST_P(SequenceModelTest, RecomputationOfPlainBatches) {
  const auto lm = model();
  const auto gradients = [&](Recomputation recomputation) {
    lm->set_recomputation(recomputation);
    return torch::autograd::grad({lm->language_model_loss(ids(2, 9), ids(2, 9, 2)).loss.sum()},
                                 lm->parameters());
  };
  const auto expected = gradients(Recomputation::kNone);
  for (const auto recomputation : {Recomputation::kProjections, Recomputation::kLayer}) {
    const auto actual = gradients(recomputation);
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_TRUE(torch::equal(actual[i], expected[i])) << lm->named_tensors()[i].first;
  }
}

TEST_P(SequenceModelTest, ClassifierGradientsReachEveryParameter) {
  const auto head = with_new_head(*model(), classifier(), 5);
  const auto layout = SequenceLayout::from_lengths({5, 0, 8}, device());
  ModelInput input;
  input.layout = &layout;
  head->classify(ids(1, 13), input).square().sum().backward();
  for (const auto& [name, tensor] : head->named_tensors()) {
    ASSERT_TRUE(tensor.grad().defined()) << name;
    EXPECT_GT(tensor.grad().abs().max().item<double>(), 0) << name;
  }
}

TEST_P(SequenceModelTest, AClassifierMayKeepItsLanguageModel) {
  ModelConfig config = small_config();
  config.head = classifier();
  config.head.language_model = true;
  const auto both = model(config);
  const auto language_model = model();  // same seed, same backbone
  const Tensor ids = torch::randint(11, {2, 9}, torch::kLong).to(both->device());
  const Tensor targets = torch::randint(11, {2, 9}, torch::kLong).to(both->device());
  const Tensor hidden = both->hidden(ids).hidden;
  EXPECT_EQ(difference(both->classify_hidden(hidden), both->classify(ids)), 0);
  EXPECT_EQ(difference(both->language_model_loss_of(hidden, targets).loss,
                       language_model->language_model_loss(ids, targets).loss),
            0);
  EXPECT_EQ(difference(both->logits(hidden), language_model->logits(hidden)), 0);

  config.tie_embeddings = false;
  EXPECT_NE(message_of([&] { config.validate(); }).find("\"tie_embeddings\": true"),
            std::string::npos);
}

TEST_P(SequenceModelTest, RegressionInTheUnitsOfTheData) {
  ModelConfig config = small_config();
  config.head = classifier();
  config.head.kind = HeadConfig::Kind::kRegression;
  const Tensor ids = torch::randint(11, {2, 9}, torch::kLong).to(torch::Device(GetParam()));
  const Tensor plain = model(config)->classify(ids).cpu();
  config.head.offsets = {1, -2, 100};
  config.head.scales = {3, 0.5, 10};
  const ModelConfig read = ModelConfig::from_json(config.to_json());
  const Tensor scaled = model(read)->classify(ids).cpu();
  const Tensor expected = plain * torch::tensor({3.0, 0.5, 10.0}, torch::kFloat) +
                          torch::tensor({1.0, -2.0, 100.0}, torch::kFloat);
  EXPECT_LT(difference(scaled, expected), 1e-5);
  config.head.scales = {3, 0.5};
  EXPECT_NE(message_of([&] { config.validate(); }).find("one number per output (3), got 2"),
            std::string::npos);
}

TEST_P(SequenceModelTest, ParametersCanBecomeViewsAndBfloat16) {
  const auto lm = model();
  const Tensor tokens = ids(2, 20);
  const Tensor exact = lm->logits(lm->hidden(tokens).hidden);
  std::vector<Tensor> buckets;
  for (const auto& [name, tensor] : lm->named_tensors()) {
    const auto type = SequenceModel::lowered(name, tensor) ? torch::kBFloat16 : torch::kFloat;
    buckets.push_back(tensor.detach().flatten().to(type).clone());
    lm->replace_parameter(name, buckets.back().view(tensor.sizes()));
  }
  EXPECT_EQ(lm->compute_type(), torch::kBFloat16);
  const Tensor low = lm->logits(lm->hidden(tokens).hidden);
  EXPECT_EQ(low.scalar_type(), torch::kFloat);
  EXPECT_LT(difference(low, exact), 0.05 * exact.abs().max().item<double>());
  EXPECT_GT(difference(low, exact), 0);

  const Tensor loss = lm->language_model_loss(tokens, tokens).loss;
  EXPECT_EQ(loss.scalar_type(), torch::kFloat);
  loss.sum().backward();
  for (const auto& [name, tensor] : lm->named_tensors())
    EXPECT_EQ(tensor.grad().scalar_type(), tensor.scalar_type()) << name;

  for (Tensor& bucket : buckets) bucket.zero_();  // the model looks at the buckets themselves
  EXPECT_EQ(lm->logits(lm->hidden(tokens).hidden).abs().max().item<double>(), 0);
  EXPECT_THROW(lm->replace_parameter("nothing", buckets[0]), Error);
  EXPECT_THROW(lm->replace_parameter("backbone.norm_f.weight", buckets[0]), c10::Error);
}

TEST_P(SequenceModelTest, ShortInputs) {
  const torch::NoGradGuard no_grad;
  const auto lm = model();
  EXPECT_EQ(lm->hidden(ids(2, 0)).hidden.sizes(), at::IntArrayRef({2, 0, 24}));
  EXPECT_EQ(lm->hidden(ids(0, 5)).hidden.sizes(), at::IntArrayRef({0, 5, 24}));
  EXPECT_EQ(lm->language_model_loss(ids(1, 0), ids(1, 0)).loss.numel(), 0);
  const Tensor bytes = ids(2, 6).to(torch::kByte);
  EXPECT_TRUE(torch::equal(lm->hidden(bytes).hidden, lm->hidden(ids(2, 6)).hidden));
}

TEST_P(SequenceModelTest, UntiedHead) {
  ModelConfig config = small_config();
  config.tie_embeddings = false;
  const auto lm = model(config);
  EXPECT_EQ(lm->named_tensors().back().first, "lm_head.weight");
  lm->language_model_loss(ids(1, 6), ids(1, 6)).loss.sum().backward();
  EXPECT_GT(lm->named_tensors().back().second.grad().abs().max().item<double>(), 0);
}

TEST_P(SequenceModelTest, ErrorsNameTheFact) {
  const auto lm = model();
  const auto layout = SequenceLayout::from_lengths({3, 3}, device());
  const auto with = [](const std::function<void(ModelInput&)>& set) {
    ModelInput input;
    set(input);
    return input;
  };
  const ModelInput packed = with([&](ModelInput& i) { i.layout = &layout; });
  EXPECT_NE(message_of([&] { lm->hidden(ids(1, 7), packed); }).find("covers 6"), std::string::npos);
  EXPECT_NE(message_of([&] { lm->hidden(ids(2, 3), packed); }).find("batch of 1"),
            std::string::npos);
  EXPECT_NE(message_of([&] { lm->hidden(ids(1, 3).to(torch::kInt)); }).find("int64 or uint8"),
            std::string::npos);
  EXPECT_NE(message_of([&] { lm->hidden(ids(1, 3)[0]); }).find("(batch, length)"),
            std::string::npos);
  const ModelInput lengths = with([&](ModelInput& i) {
    i.lengths = torch::tensor({1, 2}, torch::kLong);
  });
  EXPECT_NE(message_of([&] { lm->hidden(ids(1, 3), lengths); }).find("lengths must be"),
            std::string::npos);
  const ModelState wrong;
  const ModelInput state = with([&](ModelInput& i) { i.initial_state = &wrong; });
  EXPECT_NE(message_of([&] { lm->hidden(ids(1, 3), state); }).find("0 layers"), std::string::npos);
  EXPECT_NE(message_of([&] { lm->classify(ids(1, 3)); }).find("language model"), std::string::npos);
  const auto head = with_new_head(*lm, classifier(), 1);
  EXPECT_NE(message_of([&] { head->logits(head->hidden(ids(1, 3)).hidden); }).find("classifier"),
            std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Cpu, SequenceModelTest, testing::Values(torch::kCPU));
INSTANTIATE_TEST_SUITE_P(Cuda, SequenceModelTest, testing::Values(torch::kCUDA));

TEST(SequenceModel, HasTheReferenceNamesAndNumberOfParameters) {
  ModelConfig config;
  config.d_model = 768;
  config.stack = "M{24}";
  config.vocab_size = 50280;
  EXPECT_EQ(SequenceModel(config, 0).parameter_count(), 129'135'360);

  std::vector<std::string> names;
  config = small_config();
  config.stack = "M";
  for (const auto& [name, tensor] : SequenceModel(config, 0).named_tensors()) names.push_back(name);
  const std::vector<std::string> expected = {
      "backbone.embedding.weight",
      "backbone.layers.0.norm.weight",
      "backbone.layers.0.mixer.A_log",
      "backbone.layers.0.mixer.D",
      "backbone.layers.0.mixer.in_proj.weight",
      "backbone.layers.0.mixer.conv1d.weight",
      "backbone.layers.0.mixer.conv1d.bias",
      "backbone.layers.0.mixer.x_proj.weight",
      "backbone.layers.0.mixer.dt_proj.weight",
      "backbone.layers.0.mixer.dt_proj.bias",
      "backbone.layers.0.mixer.out_proj.weight",
      "backbone.norm_f.weight",
  };
  EXPECT_EQ(names, expected);
}

TEST(SequenceModel, InitialisationFollowsTheReference) {
  ModelConfig config = small_config();
  config.stack = "M{4}";
  config.initializer.embedding_std = 0.02;
  const SequenceModel scaled(config, 9);
  config.initializer.rescale_residual = false;
  const SequenceModel plain(config, 9);
  const auto a = scaled.named_parameters();
  const auto b = plain.named_parameters();
  for (const auto& item : a) {
    const bool rescaled = item.key().ends_with("out_proj.weight");
    EXPECT_LT(difference(item.value() * (rescaled ? 2.0 : 1.0), b[item.key()]), 1e-7) << item.key();
  }
  EXPECT_NEAR(a["backbone.embedding.weight"].std().item<double>(), 0.02, 0.003);
  EXPECT_FALSE(torch::equal(a["backbone.layers.0.mixer.in_proj.weight"],
                            a["backbone.layers.1.mixer.in_proj.weight"]));
}

TEST(SequenceModel, WhatDecaysAndWhatIsLowered) {
  ModelConfig config = small_config();
  config.head = classifier();
  const std::map<std::string, std::pair<bool, bool>> expected = {
      // name                     decays  lowered
      {"embedding.weight", {true, true}},      {"norm.weight", {false, false}},
      {"mixer.A_log", {false, false}},         {"mixer.D", {false, false}},
      {"mixer.in_proj.weight", {true, true}},  {"mixer.conv1d.weight", {true, false}},
      {"mixer.conv1d.bias", {false, false}},   {"mixer.x_proj.weight", {true, true}},
      {"mixer.dt_proj.weight", {true, true}},  {"mixer.dt_proj.bias", {false, false}},
      {"mixer.out_proj.weight", {true, true}}, {"norm_f.weight", {false, false}},
      {"score.weight", {true, false}},         {"score.bias", {false, false}},
  };
  std::map<std::string, int> seen;
  for (const auto& [name, tensor] : SequenceModel(config, 0).named_tensors())
    for (const auto& [end, flags] : expected)
      if (name.ends_with(end)) {
        ++seen[end];
        EXPECT_EQ(SequenceModel::decays(name, tensor), flags.first) << name;
        EXPECT_EQ(SequenceModel::lowered(name, tensor), flags.second) << name;
      }
  EXPECT_EQ(seen.size(), expected.size());
}

TEST(SequenceModel, StateSpacesNeitherDecayNorAreLowered) {
  ModelConfig config = small_config();
  config.layers = {{'M', {"s4", {{"n_ssm", 2}}}}};
  int matrices = 0;
  for (const auto& [name, tensor] : SequenceModel(config, 0).named_tensors()) {
    if (name.find(".mixer.") == std::string::npos) continue;
    const bool matrix = name.ends_with("output_linear.weight");
    matrices += matrix;
    EXPECT_EQ(SequenceModel::decays(name, tensor), matrix) << name;
    EXPECT_EQ(SequenceModel::lowered(name, tensor), matrix) << name;
  }
  EXPECT_GT(matrices, 0);
}

TEST(SequenceModel, NewHeadsKeepTheBackbone) {
  const SequenceModel lm(small_config(), 1);
  const auto head = with_new_head(lm, classifier(), 2);
  for (const auto& [name, tensor] : lm.named_tensors())
    EXPECT_TRUE(torch::equal(head->named_parameters()[name], tensor)) << name;
  EXPECT_EQ(head->config().head.classes.size(), 3U);
}

TEST(SequenceModel, LoadingNamesWhatDoesNotFit) {
  SequenceModel lm(small_config(), 1);
  NamedTensors tensors = SequenceModel(small_config(), 2).named_tensors();
  lm.load_tensors(tensors, "f");
  EXPECT_TRUE(torch::equal(lm.named_tensors()[4].second, tensors[4].second));
  NamedTensors extra = tensors;
  extra.emplace_back("surplus", torch::zeros({1}));
  EXPECT_NE(message_of([&] { lm.load_tensors(extra, "f"); }).find("\"surplus\""),
            std::string::npos);
  lm.load_tensors(extra, "f", /*backbone_only=*/true);
  NamedTensors reshaped = tensors;
  reshaped[1].second = torch::zeros({7});
  EXPECT_NE(message_of([&] { lm.load_tensors(reshaped, "f"); }).find("has shape (7)"),
            std::string::npos);
  tensors.erase(tensors.begin());
  EXPECT_NE(message_of([&] {
              lm.load_tensors(tensors, "f");
            }).find("\"backbone.embedding.weight\" of shape (16, 24) is missing"),
            std::string::npos);
}

TEST(LayerString, Table) {
  const std::pair<const char*, const char*> good[] = {
      {"M{3}", "MMM"},
      {"(M-){2}", "M-M-"},
      {"M-M*", "M-M*"},
      {"M{0}A", "A"},
      {"((AB){2}C){2}D", "ABABCABABCD"},
      {" M {2} - ", "MM-"},
      {"", ""},
  };
  for (const auto& [text, expected] : good) EXPECT_EQ(expand_layer_string(text), expected) << text;
  const std::pair<const char*, const char*> bad[] = {
      {"M{", "expected \"{count}\""},
      {"M{}", "expected"},
      {"M{2", "expected"},
      {"M{-1}", "expected"},
      {"{2}", "must follow"},
      {"M}", "must follow"},
      {"(M", "\")\" is missing"},
      {"M)", "no \"(\""},
      {"M{10001}", "at most 10000"},
      {"(M{9999}M){2}", "more than"},
      {"M{99999999999999999999}", "at most"},
      {"M\n", "position 2"},
      {"\xc3\xa9", "position 1"},
      {"M{2}{2}", "must follow"},
  };
  for (const auto& [text, expected] : bad) {
    const std::string message = message_of([&, t = text] { expand_layer_string(t); });
    EXPECT_NE(message.find(expected), std::string::npos) << text << " -> " << message;
  }
  EXPECT_NE(message_of([] { expand_layer_string(std::string(100000, '(')); }).find("nested"),
            std::string::npos);
}

TEST(ModelConfig, RoundTrip) {
  ModelConfig config = small_config();
  config.stack = "(MN){2}";
  config.layers['N'] = {"mamba", {{"d_state", 8}}};
  config.head = classifier(HeadConfig::Pooling::kLast);
  config.tokenizer = "dna-nucleotide";
  config.norm_eps = 1e-6;
  config.initializer.rescale_residual = false;
  const nlohmann::json json = config.to_json();
  EXPECT_EQ(ModelConfig::from_json(json).to_json(), json);
  EXPECT_EQ(ModelConfig::from_json(json).layer_list().size(), 4U);
  const ModelConfig lm = small_config();
  EXPECT_EQ(ModelConfig::from_json(lm.to_json()).to_json(), lm.to_json());
}

TEST(ModelConfig, ErrorsNameKeyAndValue) {
  struct Row {
    const char* patch;  // merged into a good configuration
    const char* expected;
  };
  const Row rows[] = {
      {R"({"d_modle": 5})", "unknown key \"d_modle\"; did you mean \"d_model\"?"},
      {R"({"d_model": 0})", "\"d_model\" must be an integer from 1 to 65536, got 0"},
      {R"({"d_model": "x"})", "got \"x\""},
      {R"({"vocab_size": -4})", "got -4"},
      {R"({"valid_vocab_size": 17})",
       "\"valid_vocab_size\" must be an integer from 0 to 16, got 17"},
      {R"({"norm_eps": 0})", "\"norm_eps\""},
      {R"({"stack": "MX"})", "no layer is defined for \"X\""},
      {R"({"stack": "M{0}"})", "\"stack\" has no layers, got \"M{0}\""},
      {R"({"stack": "M{"})", "expected \"{count}\""},
      {R"({"layers": {"M": {"d_state": 4}}})", "layers.M: key \"kind\" is missing"},
      {R"({"layers": {"M": {"kind": "mmaba"}}})", "did you mean \"mamba\""},
      {R"({"layers": {"M": {"kind": "mamba", "d_state": 0}}})", "\"d_state\""},
      {R"({"layers": {"MM": {"kind": "mamba"}}})", "got \"MM\""},
      {R"({"layers": 5})", "layers: expected an object"},
      {R"({"head": {"kind": "clasifier"}})", "got \"clasifier\""},
      {R"({"head": {"kind": "classifier"}})", "needs \"classes\""},
      {R"({"head": {"kind": "classifier", "classes": ["a"]}})", "at least two classes"},
      {R"({"head": {"kind": "classifier", "classes": ["a", "a"]}})", "\"a\" is listed twice"},
      {R"({"head": {"kind": "classifier", "classes": ["a", "b"], "pooling": "max"}})",
       "got \"max\""},
      {R"({"head": {"kind": "language_model", "classes": ["a", "b"]}})", "unknown key \"classes\""},
      {R"({"initializer": {"embeding_std": 1}})", "did you mean \"embedding_std\""},
      {R"({"format_version": 2})", "\"format_version\""},
      {R"({"format": "other"})", "got \"other\""},
      {R"({"tie_embeddings": 1})", "true or false, got 1"},
  };
  for (const Row& row : rows) {
    nlohmann::json json = small_config().to_json();
    const auto patch = nlohmann::json::parse(row.patch);
    for (const auto& [key, value] : patch.items()) json[key] = value;
    const std::string message = message_of([&] { ModelConfig::from_json(json, "x/config.json"); });
    EXPECT_NE(message.find(row.expected), std::string::npos) << row.patch << " -> " << message;
  }
  nlohmann::json json = small_config().to_json();
  json.erase("vocab_size");
  EXPECT_NE(message_of([&] { ModelConfig::from_json(json); }).find("\"vocab_size\" is missing"),
            std::string::npos);
}

}  // namespace
}  // namespace strandwave
