// Bits per base of a model and of what it is compared with.
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "core/base/error.h"
#include "core/base/random.h"
#include "genomics/base_predictor.h"
#include "genomics/bits_per_base.h"
#include "genomics/io/tokenizer.h"
#include "genomics/language_model_report.h"
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

class BitsPerBaseTest : public ::testing::Test {
 protected:
  BitsPerBaseTest()
      : letters(random_letters(700, 1) + std::string(60, 'N') + random_letters(240, 2)),
        genome(Genome::open({folder.write("g.fa", ">a\n" + letters + "\n")},
                            (folder.path() / "cache").string())) {}

  testing::TemporaryFolder folder;
  std::string letters;
  Genome genome;
};

TEST_F(BitsPerBaseTest, ScoresEqualOneStepAtATime) {
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

TEST_F(BitsPerBaseTest, BatchingDoesNotChangeScores) {
  const auto model = tiny_model();
  const std::vector<Window> windows = tile_windows(genome, whole_genome(genome), 128, 128);
  const ScoredWindows together = score_windows(*model, genome, windows, 1 << 20);
  const ScoredWindows apart = score_windows(*model, genome, windows, 1);
  ASSERT_EQ(together.bits.size(), 1000U);
  for (size_t i = 0; i < 1000; ++i)
    if (!std::isnan(apart.bits[i])) EXPECT_NEAR(together.bits[i], apart.bits[i], 1e-4);
  EXPECT_EQ(together.positions(), 940);
}

TEST_F(BitsPerBaseTest, PiecesCarryTheState) {
  const auto model = tiny_model();
  const std::vector<Window> windows = {{0, 0, 1000, false}, {0, 500, 900, true}};
  const ScoredWindows whole = score_windows(*model, genome, windows, 1 << 20);
  for (const int64_t piece : {1, 7, 64, 400, 999}) {
    std::vector<int64_t> done;
    const ScoredWindows pieces = score_windows(*model, genome, windows, piece,
                                               [&](int64_t bases) { done.push_back(bases); });
    EXPECT_EQ(done.back(), 1400);
    EXPECT_GE(done.size(), 2U + static_cast<size_t>(1000 / piece > 1));
    ASSERT_EQ(pieces.bits.size(), whole.bits.size());
    for (size_t i = 0; i < whole.bits.size(); ++i) {
      ASSERT_EQ(std::isnan(pieces.bits[i]), std::isnan(whole.bits[i])) << piece << ' ' << i;
      if (!std::isnan(whole.bits[i])) {
        ASSERT_NEAR(pieces.bits[i], whole.bits[i], 1e-4) << piece << ' ' << i;
      }
    }
  }
}

TEST_F(BitsPerBaseTest, WindowZeroIsTheWholeIntervals) {
  const Intervals test = {{0, 100, 300, "", '.'}, {0, 400, 950, "", '.'}};
  EXPECT_EQ(evaluation_windows(genome, test, 0, 0),
            (std::vector<Window>{{0, 100, 300, false}, {0, 400, 950, false}}));
  EXPECT_EQ(evaluation_windows(genome, test, 0, 250),
            (std::vector<Window>{{0, 100, 300, false}, {0, 400, 450, false}}));
  EXPECT_EQ(evaluation_windows(genome, test, 0, 200), (std::vector<Window>{{0, 100, 300, false}}));
}

TEST_F(BitsPerBaseTest, ContextBucketsAddUp) {
  const auto model = tiny_model();
  const ScoredWindows scored =
      score_windows(*model, genome, {{0, 0, 700, false}, {0, 800, 900, false}}, 1 << 20);
  const std::vector<ContextBits> buckets = bits_by_context(scored);
  ASSERT_EQ(buckets.size(), 2U);
  EXPECT_EQ(buckets[0].positions, 228);
  EXPECT_EQ(buckets[1].positions, 572);
  EXPECT_EQ(buckets[1].last, 700);
  EXPECT_NEAR(buckets[0].bits_per_base * 228 + buckets[1].bits_per_base * 572, scored.total_bits(),
              1e-2);
}

TEST(ContextBucketsTest, ReachBeyondAMillionBases) {
  constexpr int64_t kLength = 1200000;
  ScoredWindows scored{{{0, 0, kLength, false}}, std::vector<float>(kLength, 1.0F)};
  scored.bits[600000] = 3;
  const std::vector<ContextBits> buckets = bits_by_context(scored);
  std::vector<int64_t> firsts;
  for (const ContextBits& bucket : buckets) firsts.push_back(bucket.first);
  EXPECT_EQ(firsts, (std::vector<int64_t>{0, 128, 1024, 8192, 131072, 524288, 1048576}));
  EXPECT_EQ(buckets.back().last, kLength);
  EXPECT_EQ(buckets.back().bits_per_base, 1);
  EXPECT_NEAR(buckets[5].bits_per_base, 1 + 2.0 / 524288, 1e-9);
}

TEST_F(BitsPerBaseTest, MarkovIsScoredOnTheSamePositions) {
  const auto model = tiny_model();
  const Intervals test = {{0, 600, 1000, "", '.'}};
  const std::vector<Window> windows = evaluation_windows(genome, test, 100, 0);
  const ScoredWindows scored = score_windows(*model, genome, windows, 1 << 20);
  MarkovModel markov(3);
  markov.count(genome, {{0, 0, 600, "", '.'}});
  // The context reaches over window borders: as if the interval was scored in one piece.
  const std::vector<int> orders = {0, 3};
  const auto comparisons = compare_with(MarkovPredictor(markov, orders), scored, genome, test);
  const auto whole = markov.score(genome, test, orders);
  EXPECT_EQ(scored.positions(), whole[0].positions);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(comparisons[i].name, i == 0 ? "Markov order 0" : "Markov order 3");
    EXPECT_NEAR(comparisons[i].bits_per_base, whole[i].bits_per_base(), 1e-5);
    EXPECT_NEAR(comparisons[i].difference.value, scored.bits_per_base() - whole[i].bits_per_base(),
                1e-5);
    EXPECT_TRUE(comparisons[i].regions.empty());  // no soft mask
  }
}

TEST_F(BitsPerBaseTest, EvaluationWindowsAreSpreadEvenly) {
  const std::vector<Window> few = evaluation_windows(genome, {{0, 0, 700, "", '.'}}, 10, 50);
  ASSERT_EQ(few.size(), 5U);
  EXPECT_EQ(few[0].start, 70);
  EXPECT_EQ(few[4].start, 630);
}

// Two contigs of 120,000 bases, the first with lower-case stretches, the second all lower case.
class LanguageModelReportTest : public ::testing::Test {
 protected:
  LanguageModelReportTest() {
    std::string masked = random_letters(120000, 3), lower = random_letters(120000, 4);
    for (size_t i = 30000; i < 60000; ++i) masked[i] = static_cast<char>(std::tolower(masked[i]));
    for (char& letter : lower) letter = static_cast<char>(std::tolower(letter));
    genome.emplace(Genome::open({folder.write("g.fa", ">m\n" + masked + "\n>l\n" + lower + "\n")},
                                (folder.path() / "cache").string()));
  }
  testing::TemporaryFolder folder;
  std::optional<Genome> genome;
  const std::shared_ptr<SequenceModel> model = tiny_model();
};

TEST_F(LanguageModelReportTest, RegionsAndBlocksAreSumsOfTheBits) {
  const ScoredWindows scored =
      score_windows(*model, *genome, {{0, 20000, 110000, false}, {1, 0, 5000, false}}, 1 << 14);
  const ModelBits summary = summarise(scored, *genome);
  ASSERT_EQ(summary.regions.size(), 2U);
  double repeats = 0;
  for (size_t i = 10000; i < 40000; ++i) repeats += scored.bits[i];
  EXPECT_EQ(summary.regions[0].name, "repeats");
  EXPECT_EQ(summary.regions[0].positions, 30000);
  EXPECT_NEAR(summary.regions[0].bits_per_base, repeats / 30000, 1e-6);
  EXPECT_EQ(summary.regions[1].name, "non-repeats");
  EXPECT_EQ(summary.regions[1].positions, 60000);  // nothing of the contig without a mask
  EXPECT_EQ(summary.blocks.positions, (std::vector<double>{80000, 10000, 5000}));
  double bits = 0;
  for (const double sum : summary.blocks.bits) bits += sum;
  EXPECT_NEAR(bits, scored.total_bits(), 1e-3);
}

TEST_F(LanguageModelReportTest, AllFiguresAreThere) {
  Splits splits;
  splits.train = {{0, 0, 20000, "", '.'}, {1, 0, 120000, "", '.'}};
  splits.test = {{0, 20000, 120000, "", '.'}};
  LanguageModelTest test;
  test.window = 2000;
  test.max_bases = 40000;
  test.batch_tokens = 8000;
  test.orders = {2, 4};
  test.training.emplace();
  test.training->add(*genome, splits.train);
  test.training->add_seen(*genome, {{1, 0, 50000, "", '.'}});
  const nlohmann::json result = test_language_model(*model, *genome, splits, test);
  EXPECT_EQ(result.at("kind"), "language_model");
  EXPECT_EQ(result.at("window"), 2000);
  EXPECT_EQ(result.at("positions"), 40000);
  EXPECT_EQ(result.at("seen_in_training"),
            (nlohmann::json{{"fraction", 0.0}, {"by", "intervals"}, {"compared", 0}}));
  EXPECT_EQ(result.at("regions").size(), 2U);
  std::vector<std::string> names;
  for (const auto& baseline : result.at("baselines")) {
    names.push_back(baseline.at("name").get<std::string>() + " " +
                    baseline.at("training").get<std::string>());
    EXPECT_NEAR(
        baseline.at("difference")[0].get<double>(),
        result.at("bits_per_base").get<double>() - baseline.at("bits_per_base").get<double>(),
        1e-5);
    EXPECT_EQ(baseline.at("regions").size(), 2U);
    EXPECT_EQ(baseline.at("blocks"), 2);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"Markov order 2 all", "Markov order 4 all",
                                             "Markov order 2 seen", "Markov order 4 seen"}));
  // Counted on fewer bases, all of them noise: order 4 is worse.
  EXPECT_GT(result["baselines"][3]["bits_per_base"], result["baselines"][1]["bits_per_base"]);
  EXPECT_EQ(result.at("block_sums").at("positions").size(), 2U);

  // Once the model has read everything there is one kind of Markov model.
  test.training->add_seen(*genome, splits.train);
  EXPECT_EQ(test_language_model(*model, *genome, splits, test).at("baselines").size(), 2U);
  // Tested where it was trained: said.
  splits.test = {{1, 0, 1000, "", '.'}};
  EXPECT_EQ(test_language_model(*model, *genome, splits, test)["seen_in_training"]["fraction"], 1);
  test.training.reset();
  EXPECT_FALSE(test_language_model(*model, *genome, splits, test).contains("seen_in_training"));
  splits.test.clear();
  EXPECT_THROW(test_language_model(*model, *genome, splits, test), Error);
}

TEST_F(LanguageModelReportTest, SecondsOfTrainingComeFromTheLog) {
  EXPECT_FALSE(training_seconds(folder.path()));
  folder.write("log.jsonl",
               "{\"type\":\"run\",\"step\":0}\n"
               "{\"type\":\"train\",\"tokens\":1000,\"tokens_per_second\":500.0}\n"
               "{\"type\":\"eval\",\"step\":1}\n"
               "{\"type\":\"train\",\"tokens\":3000,\"tokens_per_second\":100.0}\n");
  std::filesystem::create_directories(folder.path() / "best");
  std::filesystem::create_directories(folder.path() / "checkpoints" / "step-000000001");
  for (const char* of : {"", "best", "best/", "checkpoints/step-000000001"})
    EXPECT_NEAR(training_seconds(folder.path() / of).value_or(0), 22, 1e-9) << of;
}

TEST_F(LanguageModelReportTest, RandomWindowsBeginWithTheStartToken) {
  const auto windows = random_training_windows(*genome, {{0, 100, 1100, "", '.'}}, 8192, 4000, 5);
  const torch::Tensor first = windows(0);
  EXPECT_EQ(first.sizes(), (std::vector<int64_t>{4, 1001}));  // the interval is that short
  EXPECT_TRUE((first.select(1, 0) == static_cast<int>(dna::kBos)).all().item<bool>());
  EXPECT_TRUE(torch::equal(first, windows(0)));
  EXPECT_FALSE(torch::equal(first, windows(1)));
}

}  // namespace
}  // namespace strandwave
