// Measures of scores: how well they rank, how honest they are as probabilities, how near they come
// to a number.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/statistics/metrics.h"

namespace strandwave {

struct CurvePoint {
  double x = 0;
  double y = 0;
};

// Scores sorted once, for one class against the rest. `positive` says of each score whether its
// truth is the class; `weight` how often it counts (a bootstrap resample), empty: once.
class RankedScores {
 public:
  explicit RankedScores(std::span<const float> scores);

  // Probability that a positive scores higher than a negative, ties count half (Mann-Whitney).
  // NaN without a positive or without a negative.
  double auroc(std::span<const uint8_t> positive, std::span<const int32_t> weight = {}) const;
  // Average precision, sum over thresholds of (recall gained) * precision: the area under the
  // precision-recall steps, without interpolation. NaN without a positive.
  double average_precision(std::span<const uint8_t> positive,
                           std::span<const int32_t> weight = {}) const;
  // False-positive rate against recall, and recall against precision, from the highest threshold to
  // the lowest; thinned to about max_points. Empty where the area is NaN.
  std::vector<CurvePoint> roc_curve(std::span<const uint8_t> positive, size_t max_points) const;
  std::vector<CurvePoint> precision_recall_curve(std::span<const uint8_t> positive,
                                                 size_t max_points) const;

 private:
  // visit(true positives, false positives) after each group of equal scores; returns the totals.
  template <class Visit>
  std::pair<double, double> for_each_threshold(std::span<const uint8_t> positive,
                                               std::span<const int32_t> weight, Visit visit) const;

  std::vector<uint32_t> order_;  // indices by descending score
  std::vector<uint8_t> last_;    // order_[i] ends a group of equal scores
};

struct ReliabilityBin {
  double confidence = 0;  // mean in the bin
  double accuracy = 0;
  int64_t n = 0;
};
struct Reliability {
  // Expected calibration error: sum over bins of n_b / n |accuracy_b - confidence_b| (Naeini et al.
  // 2015; Guo et al. 2017). NaN without data.
  double expected_error = 0;
  std::vector<ReliabilityBin> bins;  // those that are not empty, ascending
};
// Equal-width bins of the confidence, ((b - 1) / bins, b / bins].
Reliability reliability(std::span<const double> confidence, std::span<const uint8_t> right,
                        int bins = 15);

struct RegressionMeasures {
  double r2 = 0;  // 1 - residual / total sum of squares; NaN when the truth is constant
  double pearson = 0;
  double spearman = 0;  // Pearson of the ranks, ties share their mean rank
  double mae = 0;
  double rmse = 0;
};
RegressionMeasures regression_measures(std::span<const double> truth,
                                       std::span<const double> prediction,
                                       std::span<const int32_t> weight = {});

// Percentile bootstrap over blocks: rows of one block (>= 0) are drawn together, a row of block -1
// is one of its own. statistics(weight) measures the rows, counted weight[row] times; the result
// has one interval per statistic. A resample whose statistic is NaN is left out of that statistic.
std::vector<BootstrapInterval> bootstrap_over_blocks(
    std::span<const int32_t> block, int resamples, uint64_t seed,
    const std::function<std::vector<double>(std::span<const int32_t> weight)>& statistics);

}  // namespace strandwave
