// Pretraining batches and bits per base.
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "core/base/random.h"
#include "genomics/bits_per_base.h"
#include "genomics/io/tokenizer.h"
#include "genomics/pretrain_task.h"
#include "tests/support/temporary_folder.h"

namespace strandwave {
namespace {

std::string random_letters(int64_t length, uint64_t seed) {
  const RandomStream stream(seed, RandomPurpose::kSynthetic);
  std::string letters;
  for (int64_t i = 0; i < length; ++i) letters += "ACGT"[stream.below(static_cast<uint64_t>(i), 4)];
  return letters;
}

std::shared_ptr<SequenceModel> tiny_model() {
  ModelConfig config;
  config.d_model = 8;
  config.stack = "MM";
  config.layers = {{'M', LayerConfig{"mamba", {{"d_state", 4}}}}};
  config.vocab_size = dna::kPaddedVocabulary;
  config.valid_vocab_size = dna::kVocabulary;
  return std::make_shared<SequenceModel>(config, 3);
}

class LanguageModelTest : public ::testing::Test {
 protected:
  LanguageModelTest()
      : letters(random_letters(700, 1) + std::string(60, 'N') + random_letters(240, 2)),
        genome(Genome::open({folder.write("g.fa", ">a\n" + letters + "\n")},
                            (folder.path() / "cache").string())) {}

  testing::TemporaryFolder folder;
  std::string letters;
  Genome genome;
};

TEST_F(LanguageModelTest, ScoresEqualOneStepAtATime) {
  const auto model = tiny_model();
  const torch::NoGradGuard no_grad;
  const ScoredWindows scored =
      score_windows(*model, genome, {{0, 690, 790, false}, {0, 10, 110, true}}, 1 << 20);
  ASSERT_EQ(scored.bits.size(), 200U);
  EXPECT_EQ(scored.positions(), 140);
  size_t at = 0;
  for (const Window& window : scored.windows) {
    std::vector<uint8_t> ids(100);
    genome.fetch(window.contig, window.start, window.end, ids.data(), window.reverse);
    ModelState state = model->allocate_state(1, 100);
    int64_t token = dna::kBos;
    for (const uint8_t id : ids) {
      const torch::Tensor logits = model->step(torch::full({1}, token, torch::kLong), state);
      const double bits =
          -torch::log_softmax(logits, 1)[0][id].item<double>() * std::numbers::log2e;
      if (dna::is_base(id)) {
        EXPECT_NEAR(scored.bits[at], bits, 1e-4);
      } else {
        EXPECT_TRUE(std::isnan(scored.bits[at]));
      }
      token = id;
      ++at;
    }
  }
}

TEST_F(LanguageModelTest, BatchingDoesNotChangeScores) {
  const auto model = tiny_model();
  const std::vector<Window> windows = tile_windows(genome, whole_genome(genome), 128, 128);
  const ScoredWindows together = score_windows(*model, genome, windows, 1 << 20);
  const ScoredWindows apart = score_windows(*model, genome, windows, 1);
  ASSERT_EQ(together.bits.size(), 1000U);
  for (size_t i = 0; i < 1000; ++i)
    if (!std::isnan(apart.bits[i])) EXPECT_NEAR(together.bits[i], apart.bits[i], 1e-4);
  EXPECT_EQ(together.positions(), 940);
}

TEST_F(LanguageModelTest, ContextBucketsAddUp) {
  const auto model = tiny_model();
  const ScoredWindows scored = score_windows(*model, genome, {{0, 0, 700, false}}, 1 << 20);
  const std::vector<ContextBits> buckets = bits_by_context(scored);
  ASSERT_EQ(buckets.size(), 2U);
  EXPECT_EQ(buckets[0].positions, 128);
  EXPECT_EQ(buckets[1].positions, 572);
  EXPECT_NEAR(buckets[0].bits_per_base * 128 + buckets[1].bits_per_base * 572, scored.total_bits(),
              1e-2);
}

TEST_F(LanguageModelTest, MarkovIsScoredOnTheSamePositions) {
  const auto model = tiny_model();
  const Intervals test = {{0, 600, 1000, "", '.'}};
  const std::vector<Window> windows = evaluation_windows(genome, test, 100, 0);
  const ScoredWindows scored = score_windows(*model, genome, windows, 1 << 20);
  MarkovModel markov(3);
  markov.count(genome, {{0, 0, 600, "", '.'}});
  const auto comparisons = compare_with_markov(scored, genome, test, markov, {0, 3});
  // The context reaches over window borders: as if the interval was scored in one piece.
  const std::vector<int> orders = {0, 3};
  const auto whole = markov.score(genome, test, orders);
  EXPECT_EQ(scored.positions(), whole[0].positions);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(comparisons[i].bits_per_base, whole[i].bits_per_base(), 1e-5);
    EXPECT_NEAR(comparisons[i].difference.value, scored.bits_per_base() - whole[i].bits_per_base(),
                1e-5);
  }
}

TEST_F(LanguageModelTest, EvaluationWindowsAreSpreadEvenly) {
  const std::vector<Window> few = evaluation_windows(genome, {{0, 0, 700, "", '.'}}, 10, 50);
  ASSERT_EQ(few.size(), 5U);
  EXPECT_EQ(few[0].start, 70);
  EXPECT_EQ(few[4].start, 630);
}

TEST_F(LanguageModelTest, BatchesArePureFunctionsAndUnknownBasesNeverCount) {
  const Splits splits{{{0, 0, 1000, "", '.'}}, {}, {}};
  PretrainOptions options;
  options.window = 100;
  options.batch = 16;
  const PretrainTask task(tiny_model(), genome, splits, options);
  const Batch a = task.batch(3, 0), b = task.batch(3, 0), c = task.batch(4, 0);
  EXPECT_TRUE(torch::equal(a.at("ids"), b.at("ids")));
  EXPECT_FALSE(torch::equal(a.at("ids"), c.at("ids")));
  const torch::Tensor targets = base_targets(a.at("ids"));
  EXPECT_EQ(a.weight, (targets >= 0).sum().item<int64_t>());
  EXPECT_TRUE(torch::equal(targets < 0, a.at("ids") == static_cast<int>(dna::kN)));
  const torch::Tensor inputs = shifted_inputs(a.at("ids"));
  EXPECT_TRUE((inputs.select(1, 0) == static_cast<int>(dna::kBos)).all().item<bool>());
  EXPECT_TRUE(torch::equal(inputs.slice(1, 1), a.at("ids").slice(1, 0, 99)));
}

TEST_F(LanguageModelTest, WarmupWindowsKeepTheTokensOfAStep) {
  const Splits splits{{{0, 0, 1000, "", '.'}}, {}, {}};
  PretrainOptions options;
  options.window = 128;
  options.batch = 2;
  options.warmup_window = 32;
  options.warmup_steps = 20;
  const PretrainTask task(tiny_model(), genome, splits, options);
  EXPECT_EQ(task.batch(0, 0).at("ids").sizes(), (std::vector<int64_t>{8, 32}));
  EXPECT_EQ(task.batch(30, 0).at("ids").sizes(), (std::vector<int64_t>{2, 128}));
}

TEST_F(LanguageModelTest, RunConfigurationNamesWhatDecidesTheResult) {
  Splits splits{{{0, 0, 400, "", '.'}}, {{0, 450, 600, "", '.'}}, {{0, 800, 900, "", '.'}}};
  PretrainOptions options;
  options.window = 100;
  const auto config = [&] { return PretrainTask(tiny_model(), genome, splits, options).config(); };
  const nlohmann::json first = config();
  EXPECT_EQ(first, config());
  // Intervals of the same length elsewhere.
  for (Intervals* split : {&splits.train, &splits.validation, &splits.test}) {
    const Intervals kept = *split;
    (*split)[0].start += 5;
    (*split)[0].end += 5;
    EXPECT_NE(first, config());
    *split = kept;
  }
  const PretrainOptions kept = options;
  options.start_model = "abc";
  EXPECT_NE(first, config());
  options = kept;
  options.evaluation_bases = 100;
  EXPECT_NE(first, config());
  options = kept;
  options.evaluation_window = 50;
  EXPECT_NE(first, config());
  options = kept;
  options.reverse_complement = false;
  EXPECT_NE(first, config());
}

}  // namespace
}  // namespace strandwave
