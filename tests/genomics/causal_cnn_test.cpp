// The causal convolutional baseline.
#include "genomics/causal_cnn.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"
#include "core/base/random.h"
#include "genomics/io/tokenizer.h"
#include "tests/support/temporary_folder.h"

namespace strandwave {
namespace {

torch::Tensor random_tokens(int64_t length, uint64_t seed) {
  const RandomStream stream(seed, RandomPurpose::kSynthetic);
  torch::Tensor tokens = torch::empty({1, length}, torch::kUInt8);
  for (int64_t i = 0; i < length; ++i)
    tokens[0][i] = static_cast<int64_t>(dna::kA + stream.below(static_cast<uint64_t>(i), 4));
  return tokens;
}

TEST(CausalCnnTest, IsAsLargeAsItSays) {
  const CausalCnn cnn(CausalCnnConfig{}, 0);
  EXPECT_EQ(cnn.parameter_count(), 464132);
  EXPECT_EQ(cnn.receptive_field(), 2187);
}

TEST(CausalCnnTest, SeesTheLastReceptiveFieldAndNothingElse) {
  CausalCnn cnn({8, 3}, 1);  // 27 tokens
  const torch::NoGradGuard no_grad;
  const torch::Tensor tokens = random_tokens(100, 2);
  const torch::Tensor logits = cnn.forward(tokens);
  EXPECT_EQ(logits.sizes(), (std::vector<int64_t>{1, 100, 4}));
  const int64_t at = 40;
  torch::Tensor changed = tokens.clone();
  changed[0][at] = static_cast<int64_t>(dna::kN);
  const torch::Tensor differs = (cnn.forward(changed) - logits).abs().amax(2)[0] > 0;
  for (int64_t i = 0; i < 100; ++i) EXPECT_EQ(differs[i].item<bool>(), i >= at && i < at + 27) << i;
}

// A genome with a law that a Markov model of low order cannot see: each base repeats the one 30
// bases before, one in eight is random.
class CausalCnnGenomeTest : public ::testing::Test {
 protected:
  CausalCnnGenomeTest() {
    at::set_num_threads(1);  // tensors this small gain nothing from more
    const RandomStream stream(3, RandomPurpose::kSynthetic);
    std::string letters;
    for (size_t i = 0; i < 30000; ++i)
      letters += i < 30 || stream.below(i, 8) == 0 ? "ACGT"[stream.below(i + 1000000, 4)]
                                                   : letters[i - 30];
    letters.replace(25000, 50, std::string(50, 'N'));
    genome.emplace(Genome::open({folder.write("g.fa", ">a\n" + letters + "\n")},
                                (folder.path() / "cache").string()));
  }

  CausalCnnPredictor trained(int64_t steps, int64_t piece = 1 << 14) const {
    CausalCnnTraining training;
    training.steps = steps;
    training.piece = piece;
    training.lr = 1e-2;
    training.windows = [this](int64_t step) {
      torch::Tensor windows = torch::empty({4, 201}, torch::kUInt8);
      for (int64_t row = 0; row < 4; ++row) {
        uint8_t* ids = windows.data_ptr<uint8_t>() + row * 201;
        const RandomStream stream(4, RandomPurpose::kWindow, static_cast<uint64_t>(step));
        const auto start = static_cast<int64_t>(stream.below(static_cast<uint64_t>(row), 19800));
        ids[0] = dna::kBos;
        genome->fetch(0, start, start + 200, ids + 1);
      }
      return windows;
    };
    return CausalCnnPredictor::train({16, 4}, training);
  }

  testing::TemporaryFolder folder;
  std::optional<Genome> genome;
};

TEST_F(CausalCnnGenomeTest, LearnsWhatLiesInItsField) {
  const CausalCnnPredictor cnn = trained(150);
  EXPECT_EQ(cnn.steps(), 150);
  EXPECT_GT(cnn.seconds(), 0);
  const std::vector<float> bits = cnn.bits(*genome, {0, 20000, 30000, "", '.'});
  ASSERT_EQ(bits.size(), 10000U);
  double sum = 0;
  int64_t positions = 0;
  for (size_t i = 0; i < bits.size(); ++i) {
    EXPECT_EQ(std::isnan(bits[i]), i >= 5000 && i < 5050) << i;
    if (std::isnan(bits[i])) continue;
    sum += bits[i];
    ++positions;
  }
  // The law itself gives 0.83 bits, the frequencies of bases 2.
  EXPECT_LT(sum / static_cast<double>(positions), 1.3);
}

TEST_F(CausalCnnGenomeTest, PiecesOfAnIntervalLeaveNoTrace) {
  const CausalCnnPredictor cnn = trained(2);
  // More than one piece of 16,384 bases, against a shorter interval that begins a field earlier.
  const std::vector<float> whole = cnn.bits(*genome, {0, 0, 17000, "", '.'});
  const int64_t from = 16300 - cnn.context();
  const std::vector<float> part = cnn.bits(*genome, {0, from, 17000, "", '.'});
  for (int64_t i = 16300; i < 17000; ++i)
    EXPECT_NEAR(whole[static_cast<size_t>(i)], part[static_cast<size_t>(i - from)], 1e-4) << i;
}

TEST_F(CausalCnnGenomeTest, LongWindowsAreLearntInPieces) {
  const Interval interval{0, 20000, 20400, "", '.'};
  const std::vector<float> whole = trained(3).bits(*genome, interval);
  for (const int64_t piece : {90, 400}) {
    const std::vector<float> pieces = trained(3, piece).bits(*genome, interval);
    for (size_t i = 0; i < whole.size(); ++i) EXPECT_NEAR(pieces[i], whole[i], 1e-3) << i;
  }
}

TEST_F(CausalCnnGenomeTest, TrainsForTheTimeThatItIsGiven) {
  CausalCnnTraining training;
  EXPECT_THROW(CausalCnnPredictor::train({}, training), Error);
  training.seconds = 0.2;
  training.windows = [](int64_t step) { return random_tokens(65, static_cast<uint64_t>(step)); };
  double last = 0;
  training.progress = [&](double way) { last = way; };
  const CausalCnnPredictor cnn = CausalCnnPredictor::train({8, 2}, training);
  EXPECT_GE(cnn.seconds(), 0.2);
  EXPECT_LT(cnn.seconds(), 5);
  EXPECT_GT(cnn.steps(), 1);
  EXPECT_EQ(last, 1);
}

}  // namespace
}  // namespace strandwave
