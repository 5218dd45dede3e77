// Deciding reads early.
#include "genomics/prefix_classifier.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"
#include "genomics/labelled_fragments.h"
#include "tests/support/tiny_classifier.h"

namespace strandwave {
namespace {

using testing::head;
using testing::random_bases;
using testing::tiny_classifier;
using Kind = HeadConfig::Kind;
using Pooling = HeadConfig::Pooling;
using Sequences = std::vector<std::vector<uint8_t>>;

Sequences reads_of_many_lengths() {
  Sequences reads;
  const int64_t lengths[] = {500, 100, 0, 20, 101, 333, 1, 150};
  for (uint64_t i = 0; i < 24; ++i)
    reads.push_back(random_bases(lengths[i % std::size(lengths)], i, i % 2 == 0 ? 17 : 0));
  return reads;
}

ClassifierOptions options_of(int64_t batch_bases) {
  ClassifierOptions options;
  options.batch_bases = batch_bases;
  options.want_out_of_distribution = true;
  options.prior = {0.2, 0.5, 0.3};
  options.calibration.labels = {"x", "y", "z"};
  options.calibration.one_strand = {{32, 10, 1.5, 0, 0, {}}, {256, 10, 0.7, 0, 0, {}}};
  options.calibration.both_strands = {{32, 10, 9, 0, 0, {}}};
  return options;
}

Prediction of_prefix(const std::shared_ptr<SequenceModel>& model, const std::vector<uint8_t>& read,
                     int64_t bases) {
  ClassifierOptions options = options_of(1 << 16);
  options.both_strands = false;
  const Sequences prefix = {{read.begin(), read.begin() + bases}};
  return SequenceClassifier(model, options).predict(prefix)[0];
}

void expect_equal(const Prediction& a, const Prediction& b) {
  for (size_t c = 0; c < 3; ++c) EXPECT_NEAR(a.probabilities[c], b.probabilities[c], 1e-5);
  if (std::isnan(b.out_of_distribution))
    EXPECT_TRUE(std::isnan(a.out_of_distribution));
  else
    EXPECT_NEAR(a.out_of_distribution, b.out_of_distribution, 1e-5);
}

TEST(PrefixClassifierTest, EqualsClassifyingThePrefixWithOneStrand) {
  const Sequences reads = reads_of_many_lengths();
  const std::vector<int64_t> lengths = {20, 100, 150};
  for (const auto pooling : {Pooling::kMean, Pooling::kLast})
    for (const int64_t batch_bases : {50, 600, 1 << 16}) {  // pieces, several groups, all at once
      const auto model = tiny_classifier(head(Kind::kClassifier, true, pooling));
      const PrefixClassifier early(SequenceClassifier(model, options_of(batch_bases)),
                                   {lengths, 1});
      const auto answers = early.all_prefixes(reads);
      ASSERT_EQ(answers.size(), reads.size());
      for (size_t i = 0; i < reads.size(); ++i) {
        const auto size = static_cast<int64_t>(reads[i].size());
        std::vector<int64_t> expected;
        for (const int64_t length : lengths)
          if (length < size) expected.push_back(length);
        expected.push_back(size);
        ASSERT_EQ(answers[i].size(), expected.size()) << size;
        for (size_t k = 0; k < expected.size(); ++k) {
          EXPECT_EQ(answers[i][k].bases, expected[k]);
          expect_equal(answers[i][k].prediction, of_prefix(model, reads[i], expected[k]));
        }
      }
    }
}

TEST(PrefixClassifierTest, DecidesAtTheFirstConfidentPrefix) {
  const Sequences reads = reads_of_many_lengths();
  const auto model = tiny_classifier(head(Kind::kClassifier, true));
  const SequenceClassifier classifier(model, options_of(600));
  // A bound that about half of the answers reach.
  std::vector<float> tops;
  const auto top = [](const PrefixDecision& one) {
    return *std::max_element(one.prediction.probabilities.begin(),
                             one.prediction.probabilities.end());
  };
  const auto answers = PrefixClassifier(classifier, {{20, 100, 150}, 1}).all_prefixes(reads);
  for (const auto& own : answers)
    for (const PrefixDecision& one : own) tops.push_back(top(one));
  std::sort(tops.begin(), tops.end());
  const double bound = (tops[tops.size() / 2] + tops[tops.size() / 2 + 1]) / 2.0;
  const auto decisions = PrefixClassifier(classifier, {{20, 100, 150}, bound}).decide(reads);
  int early = 0, late = 0, never = 0;
  for (size_t i = 0; i < reads.size(); ++i) {
    size_t k = 0;
    while (k + 1 < answers[i].size() && top(answers[i][k]) < bound) ++k;
    EXPECT_EQ(decisions[i].bases, answers[i][k].bases);
    EXPECT_EQ(decisions[i].confident, top(answers[i][k]) >= bound);
    expect_equal(decisions[i].prediction, answers[i][k].prediction);
    early += k + 1 < answers[i].size();
    late += k > 0;
    never += !decisions[i].confident;
  }
  EXPECT_GT(early, 2);
  EXPECT_GT(late, 2);
  EXPECT_GT(never, 0);
}

TEST(PrefixClassifierTest, WrongSettingsAreRefused) {
  const SequenceClassifier classifier(tiny_classifier(), {});
  const std::vector<std::vector<int64_t>> lengths = {{}, {0}, {100, 100}, {200, 100}};
  for (const auto& wrong : lengths) EXPECT_THROW(PrefixClassifier(classifier, {wrong, 0.9}), Error);
  for (const double wrong : {0.0, 1.01, std::nan("")})
    EXPECT_THROW(PrefixClassifier(classifier, {{100}, wrong}), Error);
  EXPECT_THROW(
      PrefixClassifier(SequenceClassifier(tiny_classifier(head(Kind::kMultiLabel, false)), {}),
                       {{100}, 0.9}),
      Error);
}

TEST(PrefixEvaluationTest, CountsAgreeWithTheAnswers) {
  const auto model = tiny_classifier();
  const SequenceClassifier classifier(model, {});
  std::vector<LabelledFragment> fragments;
  Sequences reads;
  for (uint64_t i = 0; i < 40; ++i) {
    LabelledFragment fragment;
    fragment.ids = random_bases(i % 2 == 0 ? 200 : 60, i);
    fragment.label = static_cast<int32_t>(i % 3);
    reads.push_back(fragment.ids);
    fragments.push_back(fragment);
  }
  const PrefixClassifier early(classifier, {{50, 100}, 0.4});
  int64_t calls = 0;
  const PrefixEvaluation result = evaluate_prefixes(early, fragments, [&] { ++calls; });
  EXPECT_GT(calls, 0);
  ASSERT_EQ(result.steps.size(), 3U);
  EXPECT_EQ(result.steps[0].reads, 40);
  EXPECT_EQ(result.steps[1].reads, 20);
  EXPECT_EQ(result.steps[2].reads, 40);
  double right = 0, bases = 0, confident = 0;
  std::vector<int64_t> decided(3);
  const auto decisions = early.decide(reads);
  for (size_t i = 0; i < reads.size(); ++i) {
    const auto& p = decisions[i].prediction.probabilities;
    right += std::max_element(p.begin(), p.end()) - p.begin() == fragments[i].label;
    bases += static_cast<double>(decisions[i].bases);
    confident += decisions[i].confident;
    if (!decisions[i].confident) continue;
    ++decided[decisions[i].bases == 50 ? 0 : decisions[i].bases == 100 ? 1 : 2];
  }
  EXPECT_NEAR(result.accuracy, right / 40, 1e-12);
  EXPECT_NEAR(result.mean_bases, bases / 40, 1e-12);
  EXPECT_NEAR(result.confident, confident / 40, 1e-12);
  for (size_t k = 0; k < 3; ++k) EXPECT_EQ(result.steps[k].decided, decided[k]);
  // At the ends: the plain accuracy of whole reads, one strand.
  ClassifierOptions one;
  one.both_strands = false;
  double whole = 0, loss = 0;
  const auto predictions = SequenceClassifier(model, one).predict(reads);
  for (size_t i = 0; i < reads.size(); ++i) {
    const auto& p = predictions[i].probabilities;
    whole += std::max_element(p.begin(), p.end()) - p.begin() == fragments[i].label;
    loss -= std::log(p[static_cast<size_t>(fragments[i].label)]);
  }
  EXPECT_NEAR(result.steps[2].accuracy, whole / 40, 1e-12);
  EXPECT_NEAR(result.steps[2].log_loss, loss / 40, 1e-5);
  const nlohmann::json json = result.to_json();
  EXPECT_EQ(json["steps"][0]["bases"], 50);
  EXPECT_TRUE(json["steps"][2]["bases"].is_null());
  EXPECT_GT(json["milliseconds_per_read"].get<double>(), 0);
  EXPECT_GT(json["latency_milliseconds"].get<double>(), 0);
  const auto table = decision_table(result);
  ASSERT_EQ(table.size(), 4U);
  EXPECT_EQ(table[2][0], "100");
  EXPECT_EQ(table[2][1], "20");
  EXPECT_EQ(table[3][0], "the read's end");
  EXPECT_NE(decision_sentence(result).find("at a probability of 0.4: "), std::string::npos);
  EXPECT_TRUE(evaluate_prefixes(early, {}).to_json()["accuracy"].is_null());
}

}  // namespace
}  // namespace strandwave
