#include "core/statistics/score_metrics.h"

#include <gtest/gtest.h>

#include <cmath>

namespace strandwave {
namespace {

std::vector<std::pair<double, double>> pairs(const std::vector<CurvePoint>& points) {
  std::vector<std::pair<double, double>> result;
  for (const CurvePoint& point : points) result.emplace_back(point.x, point.y);
  return result;
}

TEST(RankedScores, HandComputedAreas) {
  // Descending: 0.9+, 0.8-, 0.7+, {0.6+, 0.6-}, 0.1-
  const std::vector<float> scores = {0.6F, 0.9F, 0.1F, 0.7F, 0.8F, 0.6F};
  const std::vector<uint8_t> positive = {1, 1, 0, 1, 0, 0};
  const RankedScores ranked(scores);
  // Pairs won: 0.9 beats 3, 0.7 beats 2, 0.6 beats 1 and ties with 1: 6.5 of 9.
  EXPECT_DOUBLE_EQ(ranked.auroc(positive), 6.5 / 9);
  // Thresholds 0.9, 0.7 and 0.6 each gain a third of the recall at precisions 1, 2/3 and 3/5.
  EXPECT_DOUBLE_EQ(ranked.average_precision(positive), (1 + 2.0 / 3 + 3.0 / 5) / 3);
  using Points = std::vector<std::pair<double, double>>;
  const double third = 1.0 / 3;
  EXPECT_EQ(
      pairs(ranked.roc_curve(positive, 100)),
      (Points{{0, 0}, {0, third}, {third, third}, {third, 2 * third}, {2 * third, 1}, {1, 1}}));
  EXPECT_EQ(pairs(ranked.precision_recall_curve(positive, 100)),
            (Points{{third, 1}, {third, 0.5}, {2 * third, 2 * third}, {1, 0.6}, {1, 0.5}}));
  EXPECT_EQ(ranked.roc_curve(positive, 3).size(), 3U);
}

TEST(RankedScores, WeightsAreRepetitions) {
  const std::vector<float> scores = {0.9F, 0.5F, 0.5F, 0.2F};
  const std::vector<uint8_t> positive = {0, 1, 0, 1};
  const std::vector<int32_t> weight = {2, 3, 0, 1};
  const std::vector<float> repeated = {0.9F, 0.9F, 0.5F, 0.5F, 0.5F, 0.2F};
  const std::vector<uint8_t> repeated_positive = {0, 0, 1, 1, 1, 1};
  EXPECT_DOUBLE_EQ(RankedScores(scores).auroc(positive, weight),
                   RankedScores(repeated).auroc(repeated_positive));
  EXPECT_DOUBLE_EQ(RankedScores(scores).average_precision(positive, weight),
                   RankedScores(repeated).average_precision(repeated_positive));
}

TEST(RankedScores, OneSided) {
  const std::vector<float> scores = {0.1F, 0.2F};
  const RankedScores ranked(scores);
  EXPECT_TRUE(std::isnan(ranked.auroc(std::vector<uint8_t>{1, 1})));
  EXPECT_TRUE(std::isnan(ranked.average_precision(std::vector<uint8_t>{0, 0})));
  EXPECT_DOUBLE_EQ(ranked.average_precision(std::vector<uint8_t>{1, 1}), 1);
  EXPECT_TRUE(ranked.roc_curve(std::vector<uint8_t>{1, 1}, 9).empty());
  EXPECT_TRUE(std::isnan(RankedScores({}).auroc({})));
}

TEST(Reliability, HandComputedBins) {
  // Two bins: (0, 0.5], (0.5, 1].
  const std::vector<double> confidence = {0.5, 0.3, 0.9, 0.7, 1.0};
  const std::vector<uint8_t> right = {1, 0, 1, 0, 1};
  const Reliability found = reliability(confidence, right, 2);
  ASSERT_EQ(found.bins.size(), 2U);
  EXPECT_DOUBLE_EQ(found.bins[0].confidence, 0.4);
  EXPECT_DOUBLE_EQ(found.bins[0].accuracy, 0.5);
  EXPECT_EQ(found.bins[1].n, 3);
  EXPECT_NEAR(found.bins[1].confidence, 2.6 / 3, 1e-12);
  EXPECT_NEAR(found.expected_error, 2.0 / 5 * 0.1 + 3.0 / 5 * (2.6 / 3 - 2.0 / 3), 1e-12);
  EXPECT_EQ(reliability(std::vector<double>{0, 1}, std::vector<uint8_t>{0, 1}).expected_error, 0);
}

TEST(RegressionMeasures, HandComputed) {
  const std::vector<double> truth = {1, 2, 3, 4};
  const std::vector<double> prediction = {1, 3, 2, 6};
  const RegressionMeasures m = regression_measures(truth, prediction);
  EXPECT_DOUBLE_EQ(m.r2, 1 - 6.0 / 5);  // residuals 0, 1, 1, 4; total 5
  EXPECT_DOUBLE_EQ(m.mae, 1);
  EXPECT_DOUBLE_EQ(m.rmse, std::sqrt(1.5));
  // Deviations -1.5 -0.5 0.5 1.5 and -2 0 -1 3: products 3 + 0 - 0.5 + 4.5 = 7; squares 5 and 14.
  EXPECT_NEAR(m.pearson, 7 / std::sqrt(5.0 * 14), 1e-12);
  EXPECT_NEAR(m.spearman, 1 - 6 * 2.0 / (4 * 15), 1e-12);  // ranks differ by 1 twice
}

TEST(RegressionMeasures, TiesWeightsAndConstants) {
  // Truth ranks 1.5 1.5 3, prediction ranks 1 2 3.
  const RegressionMeasures tied =
      regression_measures(std::vector<double>{5, 5, 9}, std::vector<double>{0, 1, 2});
  EXPECT_NEAR(tied.spearman, 1.5 / std::sqrt(1.5 * 2), 1e-12);
  const std::vector<double> truth = {1, 2, 4}, prediction = {2, 2, 3};
  const RegressionMeasures weighted =
      regression_measures(truth, prediction, std::vector<int32_t>{2, 0, 1});
  const RegressionMeasures repeated =
      regression_measures(std::vector<double>{1, 1, 4}, std::vector<double>{2, 2, 3});
  EXPECT_DOUBLE_EQ(weighted.r2, repeated.r2);
  EXPECT_DOUBLE_EQ(weighted.rmse, repeated.rmse);
  EXPECT_NEAR(weighted.spearman, repeated.spearman, 1e-12);
  const RegressionMeasures constant =
      regression_measures(std::vector<double>{3, 3}, std::vector<double>{3, 4});
  EXPECT_TRUE(std::isnan(constant.r2));
  EXPECT_TRUE(std::isnan(constant.pearson));
  EXPECT_DOUBLE_EQ(constant.mae, 0.5);
}

// Mean of the rows, each weighted.
std::function<std::vector<double>(std::span<const int32_t>)> mean_of(std::vector<double> values) {
  return [values](std::span<const int32_t> weight) {
    double sum = 0, n = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      sum += weight[i] * values[i];
      n += weight[i];
    }
    return std::vector<double>{n > 0 ? sum / n : NAN};
  };
}

TEST(BootstrapOverBlocks, BlocksWidenTheInterval) {
  // 400 rows that agree within 20 groups: as good as 20 values.
  std::vector<double> values;
  std::vector<int32_t> groups;
  for (int i = 0; i < 400; ++i) {
    values.push_back(std::sin(12.9898 * (i / 20)));
    groups.push_back(i / 20);
  }
  const std::vector<int32_t> none(400, -1);
  const BootstrapInterval by_group = bootstrap_over_blocks(groups, 1000, 0, mean_of(values))[0];
  const BootstrapInterval by_row = bootstrap_over_blocks(none, 1000, 0, mean_of(values))[0];
  EXPECT_EQ(by_group.blocks, 20);
  EXPECT_EQ(by_row.blocks, 400);
  EXPECT_DOUBLE_EQ(by_group.value, by_row.value);
  // sqrt(20) times as wide.
  EXPECT_NEAR((by_group.high - by_group.low) / (by_row.high - by_row.low), std::sqrt(20.0), 0.6);
  const BootstrapInterval again = bootstrap_over_blocks(groups, 1000, 0, mean_of(values))[0];
  EXPECT_EQ(again.low, by_group.low);
}

TEST(BootstrapOverBlocks, Nothing) {
  EXPECT_TRUE(std::isnan(bootstrap_over_blocks({}, 10, 0, mean_of({}))[0].value));
}

}  // namespace
}  // namespace strandwave
