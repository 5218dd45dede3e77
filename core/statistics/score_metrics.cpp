#include "core/statistics/score_metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "core/base/random.h"

namespace strandwave {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double weight_of(std::span<const int32_t> weight, size_t i) {
  return weight.empty() ? 1.0 : static_cast<double>(weight[i]);
}

std::vector<CurvePoint> thinned(const std::vector<CurvePoint>& points, size_t most) {
  if (points.size() <= most) return points;
  std::vector<CurvePoint> kept;
  for (size_t i = 0; i < most; ++i) kept.push_back(points[i * (points.size() - 1) / (most - 1)]);
  return kept;
}

// Mean ranks from 1, each value counted `weight` times.
std::vector<double> ranks(std::span<const double> values, std::span<const int32_t> weight) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> result(values.size());
  double before = 0;
  for (size_t first = 0; first < order.size();) {
    size_t last = first;
    double tied = 0;
    for (; last < order.size() && values[order[last]] == values[order[first]]; ++last)
      tied += weight_of(weight, order[last]);
    for (; first < last; ++first) result[order[first]] = before + (tied + 1) / 2;
    before += tied;
  }
  return result;
}

double correlation(std::span<const double> x, std::span<const double> y,
                   std::span<const int32_t> weight) {
  double n = 0, sum_x = 0, sum_y = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double w = weight_of(weight, i);
    n += w;
    sum_x += w * x[i];
    sum_y += w * y[i];
  }
  double xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double w = weight_of(weight, i);
    const double dx = x[i] - sum_x / n, dy = y[i] - sum_y / n;
    xx += w * dx * dx;
    yy += w * dy * dy;
    xy += w * dx * dy;
  }
  return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : kNaN;
}

}  // namespace

RankedScores::RankedScores(std::span<const float> scores) : order_(scores.size()) {
  std::iota(order_.begin(), order_.end(), uint32_t{0});
  std::sort(order_.begin(), order_.end(),
            [&](uint32_t a, uint32_t b) { return scores[a] > scores[b]; });
  for (size_t i = 0; i < order_.size(); ++i)
    last_.push_back(i + 1 == order_.size() || scores[order_[i]] != scores[order_[i + 1]]);
}

template <class Visit>
std::pair<double, double> RankedScores::for_each_threshold(std::span<const uint8_t> positive,
                                                           std::span<const int32_t> weight,
                                                           Visit visit) const {
  double right = 0, wrong = 0;
  for (size_t i = 0; i < order_.size(); ++i) {
    (positive[order_[i]] ? right : wrong) += weight_of(weight, order_[i]);
    if (last_[i]) visit(right, wrong);
  }
  return {right, wrong};
}

double RankedScores::auroc(std::span<const uint8_t> positive,
                           std::span<const int32_t> weight) const {
  double area = 0, former_right = 0, former_wrong = 0;
  const auto [right, wrong] = for_each_threshold(positive, weight, [&](double r, double w) {
    area += (w - former_wrong) * (r + former_right) / 2;
    former_right = r;
    former_wrong = w;
  });
  return right > 0 && wrong > 0 ? area / (right * wrong) : kNaN;
}

double RankedScores::average_precision(std::span<const uint8_t> positive,
                                       std::span<const int32_t> weight) const {
  double area = 0, former = 0;
  const auto [right, wrong] = for_each_threshold(positive, weight, [&](double r, double w) {
    if (r > former) area += (r - former) * r / (r + w);
    former = r;
  });
  return right > 0 ? area / right : kNaN;
}

std::vector<CurvePoint> RankedScores::roc_curve(std::span<const uint8_t> positive,
                                                size_t max_points) const {
  std::vector<CurvePoint> points = {{0, 0}};
  const auto [right, wrong] = for_each_threshold(positive, {}, [&](double r, double w) {
    points.push_back({w, r});
  });
  if (right == 0 || wrong == 0) return {};
  for (CurvePoint& point : points) point = {point.x / wrong, point.y / right};
  return thinned(points, max_points);
}

std::vector<CurvePoint> RankedScores::precision_recall_curve(std::span<const uint8_t> positive,
                                                             size_t max_points) const {
  std::vector<CurvePoint> points;
  const auto totals = for_each_threshold(positive, {}, [&](double r, double w) {
    points.push_back({r, r / (r + w)});
  });
  if (totals.first == 0) return {};
  for (CurvePoint& point : points) point.x /= totals.first;
  return thinned(points, max_points);
}

Reliability reliability(std::span<const double> confidence, std::span<const uint8_t> right,
                        int bins) {
  std::vector<ReliabilityBin> all(static_cast<size_t>(bins));
  for (size_t i = 0; i < confidence.size(); ++i) {
    const auto at = static_cast<int>(std::ceil(confidence[i] * bins)) - 1;
    ReliabilityBin& bin = all[static_cast<size_t>(std::clamp(at, 0, bins - 1))];
    bin.confidence += confidence[i];
    bin.accuracy += right[i];
    ++bin.n;
  }
  Reliability result;
  for (ReliabilityBin& bin : all) {
    if (bin.n == 0) continue;
    result.expected_error += std::abs(bin.accuracy - bin.confidence);
    bin.confidence /= static_cast<double>(bin.n);
    bin.accuracy /= static_cast<double>(bin.n);
    result.bins.push_back(bin);
  }
  result.expected_error /= static_cast<double>(confidence.size());
  return result;
}

RegressionMeasures regression_measures(std::span<const double> truth,
                                       std::span<const double> prediction,
                                       std::span<const int32_t> weight) {
  double n = 0, sum = 0, absolute = 0, squared = 0;
  for (size_t i = 0; i < truth.size(); ++i) {
    const double w = weight_of(weight, i), error = prediction[i] - truth[i];
    n += w;
    sum += w * truth[i];
    absolute += w * std::abs(error);
    squared += w * error * error;
  }
  double spread = 0;
  for (size_t i = 0; i < truth.size(); ++i)
    spread += weight_of(weight, i) * (truth[i] - sum / n) * (truth[i] - sum / n);
  RegressionMeasures result;
  result.r2 = spread > 0 ? 1 - squared / spread : kNaN;
  result.pearson = correlation(truth, prediction, weight);
  result.spearman = correlation(ranks(truth, weight), ranks(prediction, weight), weight);
  result.mae = absolute / n;
  result.rmse = std::sqrt(squared / n);
  return result;
}

std::vector<BootstrapInterval> bootstrap_over_blocks(
    std::span<const int32_t> block, int resamples, uint64_t seed,
    const std::function<std::vector<double>(std::span<const int32_t> weight)>& statistics) {
  std::map<int32_t, uint64_t> number;
  std::vector<uint64_t> block_of(block.size());
  uint64_t blocks = 0;
  for (size_t i = 0; i < block.size(); ++i) {
    if (block[i] < 0) {
      block_of[i] = blocks++;
      continue;
    }
    const auto [entry, fresh] = number.try_emplace(block[i], blocks);
    blocks += fresh;
    block_of[i] = entry->second;
  }
  std::vector<int32_t> weight(block.size(), 1);
  std::vector<BootstrapInterval> intervals;
  for (const double value : statistics(weight))
    intervals.push_back({value, kNaN, kNaN, static_cast<int64_t>(blocks)});
  std::vector<std::vector<double>> values(intervals.size());
  std::vector<int32_t> drawn(blocks);
  for (int r = 0; r < resamples && blocks > 0; ++r) {
    const RandomStream stream(seed, RandomPurpose::kBootstrap, static_cast<uint64_t>(r));
    std::fill(drawn.begin(), drawn.end(), 0);
    for (uint64_t i = 0; i < blocks; ++i) ++drawn[stream.below(i, blocks)];
    for (size_t i = 0; i < weight.size(); ++i) weight[i] = drawn[block_of[i]];
    const std::vector<double> sample = statistics(weight);
    for (size_t s = 0; s < sample.size(); ++s)
      if (!std::isnan(sample[s])) values[s].push_back(sample[s]);
  }
  for (size_t s = 0; s < intervals.size(); ++s) {
    if (values[s].empty()) continue;
    std::sort(values[s].begin(), values[s].end());
    const auto quantile = [&](double q) {
      return values[s][static_cast<size_t>(
          std::llround(q * static_cast<double>(values[s].size() - 1)))];
    };
    intervals[s].low = quantile(0.025);
    intervals[s].high = quantile(0.975);
  }
  return intervals;
}

}  // namespace strandwave
