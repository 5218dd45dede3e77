// Predictions of sequences: batching, strands, heads, likelihood, long sequences.
#include "genomics/sequence_classifier.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"
#include "genomics/long_sequence.h"
#include "kernels/common/parallel.h"
#include "tests/support/tiny_classifier.h"

namespace strandwave {
namespace {

using testing::head;
using testing::random_bases;
using testing::tiny_classifier;
using Kind = HeadConfig::Kind;
using Pooling = HeadConfig::Pooling;
using Sequences = std::vector<std::vector<uint8_t>>;

Sequences mixed_reads(size_t count) {
  const int64_t lengths[] = {150, 1, 37, 150, 600, 2, 150, 0, 151};
  Sequences reads;
  for (size_t i = 0; i < count; ++i)
    reads.push_back(random_bases(lengths[i % std::size(lengths)], i, i % 3 == 0 ? 20 : 0));
  return reads;
}

ClassifierOptions with_likelihood(bool both_strands, int64_t batch_bases) {
  ClassifierOptions options;
  options.both_strands = both_strands;
  options.batch_bases = batch_bases;
  options.want_out_of_distribution = true;
  return options;
}

void expect_equal(const Prediction& a, const Prediction& b, double tolerance = 1e-5) {
  ASSERT_EQ(a.probabilities.size(), b.probabilities.size());
  for (size_t c = 0; c < a.probabilities.size(); ++c)
    EXPECT_NEAR(a.probabilities[c], b.probabilities[c], tolerance) << c;
  if (std::isnan(a.out_of_distribution))
    EXPECT_TRUE(std::isnan(b.out_of_distribution));
  else
    EXPECT_NEAR(a.out_of_distribution, b.out_of_distribution, tolerance);
}

void reverse(std::vector<uint8_t>& ids) { dna::reverse_complement(ids); }

TEST(SequenceClassifierTest, BatchesThreadsPackingAndPiecesAgree) {
  const Sequences reads = mixed_reads(64);
  for (const auto pooling : {Pooling::kMean, Pooling::kLast})
    for (const bool both : {true, false}) {
      const auto model = tiny_classifier(head(Kind::kClassifier, true, pooling));
      const SequenceClassifier classifier(model, with_likelihood(both, 1 << 16));
      const std::vector<Prediction> together = classifier.predict(reads);
      ASSERT_EQ(together.size(), reads.size());
      float low = 1, high = 0;
      for (const Prediction& one : together) {
        low = std::min(low, one.probabilities[0]);
        high = std::max(high, one.probabilities[0]);
        EXPECT_NEAR(one.probabilities[0] + one.probabilities[1] + one.probabilities[2], 1, 1e-6);
      }
      EXPECT_GT(high - low, 0.05);  // the reads are not all alike to the model
      for (const size_t batch : {1, 7})
        for (size_t first = 0; first < reads.size(); first += batch) {
          const auto some = classifier.predict(
              std::span(reads).subspan(first, std::min(batch, reads.size() - first)));
          for (size_t i = 0; i < some.size(); ++i) expect_equal(some[i], together[first + i]);
        }
      for (const int64_t batch_bases : {64, 1300}) {  // long ones in pieces
        const auto pieces =
            SequenceClassifier(model, with_likelihood(both, batch_bases)).predict(reads);
        for (size_t i = 0; i < reads.size(); ++i) expect_equal(pieces[i], together[i]);
      }
      const int threads = thread_count();
      for (const int n : {1, 2}) {
        set_thread_count(n);
        const auto again = classifier.predict(reads);
        for (size_t i = 0; i < reads.size(); ++i) expect_equal(again[i], together[i]);
      }
      set_thread_count(threads);
    }
}

TEST(SequenceClassifierTest, EqualLengthsAndPackedAgree) {
  const SequenceClassifier classifier(tiny_classifier(head(Kind::kClassifier, true)),
                                      with_likelihood(true, 1 << 16));
  Sequences reads;
  for (uint64_t i = 0; i < 5; ++i) reads.push_back(random_bases(90, i, 7));
  const auto equal = classifier.predict(reads);
  reads.push_back(random_bases(31, 9));
  const auto packed = classifier.predict(reads);
  for (size_t i = 0; i < equal.size(); ++i) expect_equal(equal[i], packed[i]);
}

TEST(SequenceClassifierTest, BothStrandsGiveTheSame) {
  std::vector<uint8_t> forward = random_bases(90, 1, 13), backward = forward;
  reverse(backward);
  const auto model = tiny_classifier(head(Kind::kClassifier, true));
  const auto both = SequenceClassifier(model, with_likelihood(true, 1 << 16))
                        .predict(Sequences{forward, backward});
  expect_equal(both[0], both[1], 2e-6);
  const auto one = SequenceClassifier(model, with_likelihood(false, 1 << 16))
                       .predict(Sequences{forward, backward});
  EXPECT_GT(std::abs(one[0].probabilities[0] - one[1].probabilities[0]), 1e-4);
  EXPECT_NEAR(both[0].out_of_distribution,
              (one[0].out_of_distribution + one[1].out_of_distribution) / 2, 1e-5);
}

TEST(SequenceClassifierTest, LikelihoodIsThatOfTheModelsOwnHead) {
  const auto model = tiny_classifier(head(Kind::kClassifier, true));
  const SequenceClassifier classifier(model, with_likelihood(false, 1 << 16));
  const std::vector<uint8_t> read = random_bases(57, 4, 10);
  const torch::NoGradGuard no_grad;
  const torch::Tensor hidden =
      model->hidden(pack_sequences({std::span(read)}, torch::kCPU).ids).hidden;
  const torch::Tensor log2 =
      torch::log_softmax(model->logits(hidden).to(torch::kDouble), 2)[0] / std::log(2.0);
  double bits = 0, entropy = 0, counts[4] = {0, 0, 0, 0}, scored = 0, bases = 0;
  for (size_t i = 0; i < read.size(); ++i) {
    if (!dna::is_base(read[i])) continue;
    ++counts[dna::base_code(read[i])];
    ++bases;
    if (i == 0) continue;
    bits -= log2[static_cast<int64_t>(i) - 1][read[i]].item<double>();
    ++scored;
  }
  for (const double n : counts) entropy -= n / bases * std::log2(n / bases);
  const auto result = classifier.predict(Sequences{read})[0];
  EXPECT_NEAR(result.out_of_distribution, bits / scored - entropy, 1e-5);
  EXPECT_GT(std::abs(result.out_of_distribution), 1e-2);
}

TEST(SequenceClassifierTest, NoScoreWithoutBasesOrHead) {
  const Sequences reads = {{}, {dna::kN, dna::kN, dna::kN}, {dna::kA}, {dna::kN, dna::kA}};
  const auto with =
      SequenceClassifier(tiny_classifier(head(Kind::kClassifier, true)), with_likelihood(true, 100))
          .predict(reads);
  for (const size_t i : {0, 1, 2}) EXPECT_TRUE(std::isnan(with[i].out_of_distribution)) << i;
  EXPECT_FALSE(std::isnan(with[3].out_of_distribution));
  const SequenceClassifier untrained(tiny_classifier(), with_likelihood(true, 100));
  EXPECT_FALSE(untrained.scores_likelihood());
  EXPECT_TRUE(std::isnan(untrained.predict(reads)[3].out_of_distribution));
  ClassifierOptions unasked;
  EXPECT_TRUE(std::isnan(SequenceClassifier(tiny_classifier(head(Kind::kClassifier, true)), unasked)
                             .predict(reads)[3]
                             .out_of_distribution));
}

TEST(SequenceClassifierTest, TemperatureAndPrior) {
  const Sequences reads = {random_bases(64, 1)};
  ClassifierOptions options;
  options.calibration.labels = {"x", "y", "z"};
  options.calibration.both_strands = {{64, 10, 2.5, 0, 0, {}}};
  options.calibration.one_strand = {{64, 10, 0.5, 0, 0, {}}};
  options.prior = {6, 0, 2};
  const SequenceClassifier classifier(tiny_classifier(), options);
  const SequenceScores scores = classifier.scores(reads)[0];
  const double x = std::exp(scores.logit(0) / 2.5) * 0.75;
  const double z = std::exp(scores.logit(2) / 2.5) * 0.25;
  const Prediction both = classifier.predict(reads)[0];
  EXPECT_NEAR(both.probabilities[0], x / (x + z), 1e-6);
  EXPECT_EQ(both.probabilities[1], 0);
  options.prior.clear();
  options.both_strands = false;
  const Prediction one = SequenceClassifier(tiny_classifier(), options).predict(reads)[0];
  double sum = 0;
  for (size_t c = 0; c < 3; ++c) sum += std::exp(scores.forward[c] / 0.5);
  EXPECT_NEAR(one.probabilities[1], std::exp(scores.forward[1] / 0.5) / sum, 1e-6);
}

TEST(SequenceClassifierTest, OtherHeads) {
  const Sequences reads = {random_bases(64, 1)};
  const SequenceClassifier multi(tiny_classifier(head(Kind::kMultiLabel, false)), {});
  const SequenceScores logits = multi.scores(reads)[0];
  const SequenceClassifier values(tiny_classifier(head(Kind::kRegression, false)), {});
  const SequenceScores outputs = values.scores(reads)[0];
  for (size_t c = 0; c < 3; ++c) {
    EXPECT_NEAR(multi.predict(reads)[0].probabilities[c], 1 / (1 + std::exp(-logits.logit(c))),
                1e-6);
    EXPECT_FLOAT_EQ(values.predict(reads)[0].probabilities[c],
                    (outputs.forward[c] + outputs.reverse[c]) / 2);
  }
}

TEST(SequenceClassifierTest, MatesMultiplyTheirEvidence) {
  ClassifierOptions options;
  options.prior = {0.5, 0.25, 0.25};
  const SequenceClassifier classifier(tiny_classifier(), options);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Prediction both = classifier.pair({{0.5F, 0.4F, 0.1F}, nan}, {{0.2F, 0.3F, 0.5F}, 0.25F});
  // p1 p2 / prior = 0.2, 0.48, 0.2
  EXPECT_NEAR(both.probabilities[1], 0.48 / 0.88, 1e-6);
  EXPECT_EQ(both.out_of_distribution, 0.25F);
  EXPECT_EQ(classifier.pair({{1, 0, 0}, 1}, {{1, 0, 0}, 2}).out_of_distribution, 1.5F);
  const SequenceClassifier multi(tiny_classifier(head(Kind::kMultiLabel, false)), {});
  const Prediction sum = multi.pair({{0.8F, 0.5F, 0}, nan}, {{0.8F, 0.5F, 1}, nan});
  EXPECT_NEAR(sum.probabilities[0], 16.0 / 17, 1e-6);
  EXPECT_NEAR(sum.probabilities[1], 0.5, 1e-6);
  EXPECT_NEAR(sum.probabilities[2], 0.5, 1e-3);
}

TEST(SequenceClassifierTest, WrongSettingsAreRefused) {
  ModelConfig language;
  language.d_model = 8;
  EXPECT_THROW(SequenceClassifier(std::make_shared<SequenceModel>(language, 0), {}), Error);
  const std::vector<std::vector<double>> priors = {
      {1, 1}, {1, 1, -1}, {0, 0, 0}, {1, 1, std::nan("")}};
  for (const auto& prior : priors) {
    ClassifierOptions options;
    options.prior = prior;
    EXPECT_THROW(SequenceClassifier(tiny_classifier(), options), Error);
  }
  ClassifierOptions options;
  options.prior = {1, 1, 1};
  EXPECT_THROW(SequenceClassifier(tiny_classifier(head(Kind::kRegression, false)), options), Error);
  options = {};
  options.calibration.labels = {"x", "y", "other"};
  EXPECT_THROW(SequenceClassifier(tiny_classifier(), options), Error);
}

TEST(NextBaseTargetsTest, NeverCrossSequencesNorNameN) {
  const std::vector<uint8_t> a = {dna::kA, dna::kC, dna::kN, dna::kT}, b = {dna::kG}, none,
                             c = {dna::kN, dna::kG, dna::kA};
  const torch::Tensor targets =
      next_base_targets(pack_sequences({none, a, none, b, c, none}, torch::kCPU));
  const torch::Tensor expected =
      torch::tensor({8, -1, 10, -1, -1, 9, 7, -1}, torch::kLong).unsqueeze(0);
  EXPECT_TRUE(targets.equal(expected)) << targets;
  const torch::Tensor rows = next_base_targets(pack_sequences({a, a}, torch::kCPU));
  EXPECT_TRUE(rows.equal(torch::tensor({{8, -1, 10, -1}, {8, -1, 10, -1}}, torch::kLong)));
  EXPECT_EQ(next_base_targets(pack_sequences({none, none}, torch::kCPU)).numel(), 0);
}

TEST(LongSequenceTest, PiecesOfAnySizeGiveTheWhole) {
  const std::vector<uint8_t> sequence = random_bases(1000, 5, 41);
  for (const auto pooling : {Pooling::kMean, Pooling::kLast})
    for (const bool both : {true, false}) {
      const auto model = tiny_classifier(head(Kind::kClassifier, true, pooling));
      const Prediction whole =
          SequenceClassifier(model, with_likelihood(both, 1 << 16)).predict(Sequences{sequence})[0];
      const SequenceClassifier classifier(model, with_likelihood(both, 128));
      LongSequence run(classifier);
      for (const size_t size : {1, 64, 999, 1000, 2000}) {
        for (size_t at = 0; at < sequence.size(); at += size)
          run.add(std::span(sequence).subspan(at, std::min(size, sequence.size() - at)));
        EXPECT_EQ(run.length(), 1000);
        expect_equal(run.finish(), whole);  // and begins anew
      }
      expect_equal(run.finish(),
                   SequenceClassifier(model, with_likelihood(both, 128)).predict(Sequences{{}})[0]);
    }
}

// Beyond a block the forward strand stays exact and the reverse strand is that of the blocks.
TEST(LongSequenceTest, ReverseStrandGoesBlockByBlock) {
  const std::vector<uint8_t> sequence = random_bases(730, 6, 41);
  for (const auto pooling : {Pooling::kMean, Pooling::kLast}) {
    const auto model = tiny_classifier(head(Kind::kClassifier, true, pooling));
    const SequenceClassifier exact(model, with_likelihood(true, 1 << 16));
    ClassifierOptions options = with_likelihood(true, 64);
    options.block_bases = 200;
    const SequenceClassifier classifier(model, options);
    const SequenceScores whole = exact.scores(Sequences{sequence})[0];
    for (const size_t size : {150, 730}) {
      LongSequence run(classifier);
      for (size_t at = 0; at < sequence.size(); at += size)
        run.add(std::span(sequence).subspan(at, std::min(size, sequence.size() - at)));
      const SequenceScores scores = run.finish_scores();
      EXPECT_EQ(scores.length, whole.length);
      EXPECT_EQ(scores.forward_scored, whole.forward_scored);
      EXPECT_NEAR(scores.forward_bits, whole.forward_bits, 1e-3);

      torch::Tensor sum = torch::zeros({1, 8}, torch::kDouble), first;
      double bits = 0;
      int64_t scored = 0;
      for (size_t at = 0; at < sequence.size(); at += 200) {
        Sequences block = {std::vector<uint8_t>(
            sequence.begin() + static_cast<ptrdiff_t>(at),
            sequence.begin() + static_cast<ptrdiff_t>(std::min(at + 200, sequence.size())))};
        const SequenceScores part = exact.scores(block)[0];
        bits += part.reverse_bits;
        scored += part.reverse_scored;
        reverse(block[0]);
        const torch::NoGradGuard no_grad;
        const torch::Tensor pooled = model->pool(
            model->hidden(pack_sequences({std::span(block[0])}, torch::kCPU).ids).hidden, {},
            pooling);
        if (!first.defined()) first = pooled;
        sum += pooled.to(torch::kDouble) * static_cast<double>(block[0].size());
      }
      const torch::NoGradGuard no_grad;
      const torch::Tensor expected =
          model->score(pooling == Pooling::kMean ? (sum / 730).to(torch::kFloat) : first);
      EXPECT_EQ(scores.reverse_scored, scored);
      EXPECT_NEAR(scores.reverse_bits, bits, 1e-3);
      for (int64_t c = 0; c < 3; ++c) {
        EXPECT_NEAR(scores.forward[static_cast<size_t>(c)], whole.forward[static_cast<size_t>(c)],
                    2e-5);
        EXPECT_NEAR(scores.reverse[static_cast<size_t>(c)], expected[0][c].item<float>(), 2e-5);
      }
    }
  }
}

}  // namespace
}  // namespace strandwave
