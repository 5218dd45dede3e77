#include "core/statistics/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/base/random.h"

namespace strandwave {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

}  // namespace

ConfusionMatrix::ConfusionMatrix(int classes)
    : counts(classes, std::vector<int64_t>(classes, 0)), unclassified(classes, 0) {}

void ConfusionMatrix::add(int truth, int prediction, int64_t count) {
  (prediction < 0 ? unclassified.at(truth) : counts.at(truth).at(prediction)) += count;
}

int64_t ConfusionMatrix::truths(int truth) const {
  const auto& row = counts.at(truth);
  return std::accumulate(row.begin(), row.end(), unclassified.at(truth));
}

int64_t ConfusionMatrix::predictions(int prediction) const {
  int64_t sum = 0;
  for (const auto& row : counts) sum += row.at(prediction);
  return sum;
}

int64_t ConfusionMatrix::total() const {
  int64_t sum = 0;
  for (size_t i = 0; i < counts.size(); ++i) sum += truths(static_cast<int>(i));
  return sum;
}

double ConfusionMatrix::accuracy() const {
  int64_t right = 0;
  for (size_t i = 0; i < counts.size(); ++i) right += counts[i][i];
  const int64_t all = total();
  return all ? static_cast<double>(right) / static_cast<double>(all) : 0;
}

double ConfusionMatrix::recall(int truth) const {
  const int64_t all = truths(truth);
  return all ? static_cast<double>(counts[truth][truth]) / static_cast<double>(all) : kNaN;
}

double ConfusionMatrix::precision(int prediction) const {
  const int64_t all = predictions(prediction);
  return all ? static_cast<double>(counts[prediction][prediction]) / static_cast<double>(all)
             : kNaN;
}

double ConfusionMatrix::f1(int label) const {
  const int64_t all = truths(label) + predictions(label);
  return all ? 2.0 * static_cast<double>(counts[label][label]) / static_cast<double>(all) : kNaN;
}

double ConfusionMatrix::balanced_accuracy() const {
  return mean_of_numbers([this](int i) { return recall(i); });
}

double ConfusionMatrix::macro_f1() const {
  return mean_of_numbers([this](int i) { return f1(i); });
}

double ConfusionMatrix::mean_of_numbers(const std::function<double(int)>& measure) const {
  double sum = 0;
  int present = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double value = measure(static_cast<int>(i));
    if (std::isnan(value)) continue;
    sum += value;
    ++present;
  }
  return present ? sum / present : 0;
}

double ConfusionMatrix::matthews() const {
  const auto n = static_cast<double>(total());
  // "Unclassified" is one more prediction, which no truth agrees with.
  const auto none =
      static_cast<double>(std::accumulate(unclassified.begin(), unclassified.end(), int64_t{0}));
  double right = 0, truth_predicted = 0, truth_squares = 0, predicted_squares = none * none;
  for (size_t i = 0; i < counts.size(); ++i) {
    const auto truth = static_cast<double>(truths(static_cast<int>(i)));
    const auto predicted = static_cast<double>(predictions(static_cast<int>(i)));
    right += static_cast<double>(counts[i][i]);
    truth_predicted += truth * predicted;
    truth_squares += truth * truth;
    predicted_squares += predicted * predicted;
  }
  const double denominator = std::sqrt((n * n - predicted_squares) * (n * n - truth_squares));
  return denominator > 0 ? (right * n - truth_predicted) / denominator : 0;
}

BootstrapInterval block_bootstrap(std::span<const double> numerator,
                                  std::span<const double> denominator, int resamples,
                                  uint64_t seed) {
  const size_t blocks = numerator.size();
  BootstrapInterval result;
  result.blocks = static_cast<int64_t>(blocks);
  if (blocks == 0) return result;
  const auto sum = [](std::span<const double> values) {
    return std::accumulate(values.begin(), values.end(), 0.0);
  };
  result.value = sum(numerator) / sum(denominator);
  std::vector<double> values(resamples);
  for (int r = 0; r < resamples; ++r) {
    const RandomStream stream(seed, RandomPurpose::kBootstrap, static_cast<uint64_t>(r));
    double top = 0, bottom = 0;
    for (size_t i = 0; i < blocks; ++i) {
      const uint64_t block = stream.below(i, blocks);
      top += numerator[block];
      bottom += denominator[block];
    }
    values[r] = bottom != 0 ? top / bottom : result.value;
  }
  std::sort(values.begin(), values.end());
  const auto quantile = [&](double q) {
    return values[static_cast<size_t>(std::llround(q * static_cast<double>(resamples - 1)))];
  };
  result.low = quantile(0.025);
  result.high = quantile(0.975);
  return result;
}

}  // namespace strandwave
