#include "audio/clip_streams.h"

#include <gtest/gtest.h>

#include <cmath>

#include "audio/io/companding.h"
#include "core/base/error.h"
#include "core/runtime/accelerator.h"
#include "tests/audio/tiny_sashimi.h"

namespace strandwave::audio {
namespace {

constexpr int64_t kCodes = 256;

// A linear recurrence: quick, with a state and classes that matter. Rows do not influence one
// another's bits.
class LeakyGenerator : public Generator {
 public:
  LeakyGenerator() {
    torch::manual_seed(4);
    table_ = torch::randn({kCodes, 8});
    weight_ = torch::randn({8, kCodes});
    bias_ = torch::randn({4, kCodes});
  }
  int64_t vocabulary() const override { return kCodes; }
  torch::Device device() const override { return torch::kCPU; }
  GeneratorState allocate(int64_t streams, int64_t /*max_length*/,
                          const std::vector<int64_t>& classes) const override {
    GeneratorState state;
    state.layers.push_back(
        {{{"memory", torch::zeros({streams, 8})}}, torch::zeros({streams}, torch::kLong)});
    if (!classes.empty()) state.classes = torch::tensor(classes, torch::kLong);
    return state;
  }
  torch::Tensor prefill(const torch::Tensor& ids, GeneratorState& state) override {
    torch::Tensor logits;
    for (int64_t t = 0; t < ids.size(1); ++t) logits = step(ids.select(1, t), state);
    return logits;
  }
  torch::Tensor step(const torch::Tensor& ids, GeneratorState& state) override {
    torch::Tensor memory = state.layers[0].tensors.at("memory");
    memory.mul_(0.9).add_(table_.index_select(0, ids));
    torch::Tensor logits = (memory.unsqueeze(2) * weight_).sum(1);
    if (state.classes.defined()) logits = logits + bias_.index_select(0, state.classes + 1);
    if (broken) logits = logits * NAN;
    ++state.position;
    return logits;
  }
  bool broken = false;

 private:
  torch::Tensor table_, weight_, bias_;
};

ClipStreamOptions options_for(int64_t length) {
  ClipStreamOptions options;
  options.length = length;
  options.seed = 11;
  return options;
}

TEST(ClipStreams, AClipDoesNotDependOnItsBatch) {
  LeakyGenerator generator;
  ClipStreams all(generator, 0, 5, {}, options_for(300));
  all.advance(1000);
  EXPECT_TRUE(all.done());
  ClipStreams some(generator, 3, 2, {}, options_for(300));
  while (!some.done()) some.advance(7);
  EXPECT_EQ(all.codes(3), some.codes(0));
  EXPECT_EQ(all.codes(4), some.codes(1));
  EXPECT_EQ(all.log_likelihoods()[4], some.log_likelihoods()[1]);
  EXPECT_NE(all.codes(0), all.codes(1));
  ClipStreamOptions other = options_for(300);
  other.seed = 12;
  ClipStreams reseeded(generator, 0, 1, {}, other);
  reseeded.advance(300);
  EXPECT_NE(all.codes(0), reseeded.codes(0));
}

TEST(ClipStreams, GoesOnFromASavedStateBitByBit) {
  LeakyGenerator generator;
  ClipStreamOptions options = options_for(200);
  options.sampling = {0.9, 0.95};
  options.guidance = 2;
  const std::vector<int64_t> classes = {0, 2, -1};
  ClipStreams whole(generator, 0, 3, classes, options);
  whole.advance(200);
  ClipStreams first(generator, 0, 3, classes, options);
  first.advance(77);
  std::map<std::string, torch::Tensor> saved;
  for (const auto& [name, tensor] : first.tensors()) saved.emplace(name, tensor.clone());
  first.advance(50);  // what is saved does not change any more
  ClipStreams second(generator, 0, 3, classes, options);
  second.restore(saved, "a file");
  EXPECT_EQ(77, second.position());
  second.advance(200);
  for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(whole.codes(i), second.codes(i));
  EXPECT_EQ(whole.log_likelihoods(), second.log_likelihoods());
}

TEST(ClipStreams, AStateThatDoesNotFitIsNamed) {
  LeakyGenerator generator;
  ClipStreams streams(generator, 0, 3, {}, options_for(50));
  std::map<std::string, torch::Tensor> saved = streams.tensors();
  saved.erase("codes");
  try {
    streams.restore(saved, "unfinished.safetensors");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string::npos, std::string(error.what()).find("unfinished.safetensors"));
    EXPECT_NE(std::string::npos, std::string(error.what()).find("codes"));
  }
  ClipStreams fewer(generator, 0, 2, {}, options_for(50));
  EXPECT_THROW(streams.restore(fewer.tensors(), "a file"), Error);
}

// The log-likelihood is that of the distribution drawn from, sample by sample.
TEST(ClipStreams, RecordsTheLikelihoodOfWhatItDrawsFrom) {
  LeakyGenerator generator;
  ClipStreamOptions options = options_for(60);
  options.sampling = {0.7, 0.8};
  options.guidance = 1.5;
  options.prefix = {1, 2, 3};
  ClipStreams streams(generator, 4, 1, {2}, options);
  EXPECT_EQ(3, streams.position());
  streams.advance(60);
  const std::vector<uint8_t> codes = streams.codes(0);
  EXPECT_EQ(1, codes[0]);
  EXPECT_EQ(3, codes[2]);
  GeneratorState with = generator.allocate(1, 60, {2});
  GeneratorState without = generator.allocate(1, 60, {-1});
  double expected = 0;
  int64_t before = kSilence;
  for (size_t t = 0; t < codes.size(); ++t) {
    const torch::Tensor id = torch::tensor({before});
    const torch::Tensor conditional = generator.step(id, with);
    const torch::Tensor plain = generator.step(id, without);
    const torch::Tensor p =
        drawn_distribution(plain + 1.5 * (conditional - plain), options.sampling);
    if (t >= 3) expected += std::log(p[0][codes[t]].item<double>());
    before = codes[t];
  }
  EXPECT_NEAR(expected, streams.log_likelihoods()[0], 1e-6);
}

TEST(ClipStreams, APrefixOfItsOwnSamplesChangesNothing) {
  LeakyGenerator generator;
  ClipStreams whole(generator, 0, 1, {}, options_for(100));
  whole.advance(100);
  ClipStreamOptions options = options_for(100);
  const std::vector<uint8_t> codes = whole.codes(0);
  options.prefix.assign(codes.begin(), codes.begin() + 40);
  ClipStreams continued(generator, 0, 1, {}, options);
  continued.advance(100);
  EXPECT_EQ(codes, continued.codes(0));
}

TEST(ClipStreams, ClassesAndGuidanceMatter) {
  LeakyGenerator generator;
  const auto codes = [&](int64_t label, double guidance) {
    ClipStreamOptions options = options_for(200);
    options.guidance = guidance;
    ClipStreams streams(generator, 0, 1, {label}, options);
    streams.advance(200);
    return streams.codes(0);
  };
  EXPECT_NE(codes(0, 1), codes(1, 1));
  EXPECT_NE(codes(0, 1), codes(0, 3));
  EXPECT_EQ(codes(-1, 1), codes(0, 0));  // guidance 0 is the model without the class
}

TEST(ClipStreams, RefusesWhatMakesNoSense) {
  LeakyGenerator generator;
  ClipStreamOptions options = options_for(3);
  options.prefix = {1, 2, 3};
  EXPECT_THROW(ClipStreams(generator, 0, 1, {}, options), Error);
  options = options_for(10);
  options.guidance = 2;
  EXPECT_THROW(ClipStreams(generator, 0, 1, {}, options), Error);
  options = options_for(10);
  options.sampling.temperature = -1;
  EXPECT_THROW(ClipStreams(generator, 0, 1, {}, options), Error);
}

TEST(ClipStreams, SaysWhenTheModelHasDiverged) {
  LeakyGenerator generator;
  generator.broken = true;
  ClipStreams streams(generator, 0, 2, {}, options_for(10));
  EXPECT_THROW(streams.advance(10), Error);
}

// Recorded blocks against steps, with every kind of layer.
class ClipStreamsCuda : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!cuda_available()) GTEST_SKIP() << "needs a GPU";
    model_ = tiny_sashimi({"a", "b"}, GetParam());
    model_->to(torch::kCUDA);
    generator_ = make_generator(model_);
    options_ = options_for(203);
    options_.sampling = {0.9, 0.95};
    options_.guidance = 1.5;
    options_.prefix = {7, 9, 130};
  }

  ClipStreams begun(bool recorded, int64_t first_clip = 0) {
    ClipStreamOptions options = options_;
    options.recorded = recorded;
    return {*generator_, first_clip, 3, {0, 1, -1}, options};
  }

  static void expect_equal(const ClipStreams& a, const ClipStreams& b) {
    EXPECT_EQ(a.position(), b.position());
    for (int64_t i = 0; i < a.streams(); ++i) EXPECT_EQ(a.codes(i), b.codes(i)) << "stream " << i;
    EXPECT_EQ(a.log_likelihoods(), b.log_likelihoods());
    const auto other = b.tensors();
    for (const auto& [name, tensor] : a.tensors())
      EXPECT_TRUE(torch::equal(tensor, other.at(name))) << name;
  }

  std::shared_ptr<Sashimi> model_;
  std::unique_ptr<Generator> generator_;
  ClipStreamOptions options_;
};

TEST_P(ClipStreamsCuda, RecordedBlocksGiveTheBitsOfSteps) {
  ClipStreams steps = begun(false), blocks = begun(true);
  steps.advance(150);
  blocks.advance(150);
  expect_equal(steps, blocks);
  // Others that begin in between leave what was recorded valid; blocks may be cut anywhere.
  ClipStreams others = begun(true, 3);
  others.advance(100);
  steps.advance(1000);
  blocks.advance(5);
  blocks.advance(1000);
  expect_equal(steps, blocks);
  ClipStreams alone = begun(false, 3);
  alone.advance(100);
  expect_equal(alone, others);
}

TEST_P(ClipStreamsCuda, RecordedBlocksGoOnFromASavedState) {
  ClipStreams whole = begun(false), blocks = begun(true);
  whole.advance(1000);
  blocks.advance(81);
  std::map<std::string, torch::Tensor> saved;
  for (const auto& [name, tensor] : blocks.tensors()) saved.emplace(name, tensor.cpu().clone());
  blocks.advance(70);
  blocks.restore(saved, "a file");  // the object whose block is recorded, then a new one
  blocks.advance(1000);
  ClipStreams restored = begun(true);
  restored.restore(saved, "a file");
  restored.advance(1000);
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(whole.codes(i), blocks.codes(i));
    EXPECT_EQ(whole.codes(i), restored.codes(i));
  }
  EXPECT_EQ(whole.log_likelihoods(), blocks.log_likelihoods());
  EXPECT_EQ(whole.log_likelihoods(), restored.log_likelihoods());
}

INSTANTIATE_TEST_SUITE_P(Cuda, ClipStreamsCuda,
                         testing::Values("s4+ff", "s4d+ff", "mamba", "mamba-complex", "mamba-lti",
                                         "mha+mlp"));

}  // namespace
}  // namespace strandwave::audio
