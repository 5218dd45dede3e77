// Measuring a Calibration on validation fragments.
#include <algorithm>
#include <cmath>
#include <set>

#include "core/base/error.h"
#include "core/statistics/temperature.h"
#include "genomics/calibration.h"
#include "genomics/labelled_fragments.h"
#include "genomics/sequence_classifier.h"

namespace strandwave {
namespace {

constexpr int64_t kShortest = 32;  // bases

std::vector<int64_t> measured_lengths(const std::vector<LabelledFragment>& fragments,
                                      const std::vector<int64_t>& wanted) {
  std::vector<int64_t> sizes;
  for (const LabelledFragment& fragment : fragments)
    sizes.push_back(static_cast<int64_t>(fragment.ids.size()));
  std::sort(sizes.begin(), sizes.end());
  const int64_t median = sizes[sizes.size() / 2];  // at least half are this long
  std::set<int64_t> lengths = {std::max<int64_t>(median, 1)};
  for (int64_t length = kShortest; length < median; length *= 2) lengths.insert(length);
  for (const int64_t length : wanted)
    if (length > 0 && length < median) lengths.insert(length);
  return {lengths.begin(), lengths.end()};
}

// The logits of all reads with the strands joined as asked, row by row.
std::vector<double> joined_logits(const std::vector<SequenceScores>& scores, bool both) {
  std::vector<double> logits;
  for (const SequenceScores& one : scores)
    for (size_t c = 0; c < one.forward.size(); ++c)
      logits.push_back(both ? one.logit(c) : static_cast<double>(one.forward[c]));
  return logits;
}

double class_log_loss(std::span<const double> logits, std::span<const int32_t> labels, double t) {
  const size_t classes = logits.size() / labels.size();
  double sum = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    const double* z = logits.data() + i * classes;
    const double top = *std::max_element(z, z + classes);
    double mass = 0;
    for (size_t c = 0; c < classes; ++c) mass += std::exp((z[c] - top) / t);
    sum += std::log(mass) - (z[labels[i]] - top) / t;
  }
  return sum / static_cast<double>(labels.size());
}

double sigmoid_log_loss(std::span<const double> logits, std::span<const float> targets, double t) {
  double sum = 0;
  for (size_t i = 0; i < targets.size(); ++i) {
    const double z = (targets[i] > 0.5F ? -logits[i] : logits[i]) / t;
    sum += std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z)));  // log(1 + exp(z))
  }
  return sum / static_cast<double>(targets.size());
}

// Of n + 1 exchangeable reads, n measured and one to come, the one to come exceeds the k-th largest
// measured one with a probability of at most k / (n + 1).
std::vector<double> upper_quantiles(std::vector<double> scores) {
  std::sort(scores.begin(), scores.end(), std::greater<>());
  std::vector<double> thresholds;
  for (const double rate : Calibration::kFalsePositiveRates) {
    const auto k = static_cast<size_t>(rate * static_cast<double>(scores.size() + 1) + 1e-9);
    if (k == 0) break;
    thresholds.push_back(scores[k - 1]);
  }
  return thresholds;
}

struct Truth {
  std::vector<int32_t> labels;
  std::vector<float> targets;
};

CalibrationPoint measure(const std::vector<SequenceScores>& scores, const Truth& truth,
                         HeadConfig::Kind kind, int64_t length, bool both) {
  CalibrationPoint point;
  point.length = length;
  point.reads = static_cast<int64_t>(scores.size());
  const std::vector<double> logits = joined_logits(scores, both);
  if (kind == HeadConfig::Kind::kClassifier) {
    point.temperature = fit_temperature(logits, truth.labels);
    point.log_loss = class_log_loss(logits, truth.labels, point.temperature);
    point.raw_log_loss = class_log_loss(logits, truth.labels, 1);
  } else if (kind == HeadConfig::Kind::kMultiLabel) {
    point.temperature = fit_sigmoid_temperature(logits, truth.targets);
    point.log_loss = sigmoid_log_loss(logits, truth.targets, point.temperature);
    point.raw_log_loss = sigmoid_log_loss(logits, truth.targets, 1);
  }
  std::vector<double> outside;
  for (SequenceScores one : scores) {
    if (!both) one.reverse_scored = 0;
    const float score = one.out_of_distribution();
    if (!std::isnan(score)) outside.push_back(score);
  }
  point.thresholds = upper_quantiles(std::move(outside));
  return point;
}

}  // namespace

Calibration fit_calibration(const SequenceClassifier& classifier,
                            const std::vector<LabelledFragment>& fragments,
                            const CalibrationOptions& options,
                            const std::function<void(double)>& progress) {
  Calibration calibration;
  calibration.labels = classifier.labels();
  calibration.class_frequencies = options.class_frequencies;
  if (fragments.empty()) return calibration;
  ClassifierOptions raw = classifier.options();
  raw.both_strands = true;
  raw.want_out_of_distribution = true;
  raw.calibration = {};
  raw.prior.clear();
  const SequenceClassifier measured(classifier.model(), raw);

  const std::vector<int64_t> lengths = measured_lengths(fragments, options.lengths);
  double all = 0, done = 0;
  for (const int64_t length : lengths)
    all += static_cast<double>(length) * static_cast<double>(fragments.size());
  constexpr size_t kGroup = 256;  // reads between two calls of progress
  for (const int64_t length : lengths) {
    std::vector<SequenceScores> scores;
    Truth truth;
    for (size_t first = 0; first < fragments.size(); first += kGroup) {
      std::vector<std::vector<uint8_t>> cut;
      for (size_t i = first; i < std::min(first + kGroup, fragments.size()); ++i) {
        const LabelledFragment& fragment = fragments[i];
        if (static_cast<int64_t>(fragment.ids.size()) < length) continue;
        cut.emplace_back(fragment.ids.begin(), fragment.ids.begin() + length);
        truth.labels.push_back(fragment.label);
        truth.targets.insert(truth.targets.end(), fragment.targets.begin(), fragment.targets.end());
      }
      for (SequenceScores& one : measured.scores(cut)) scores.push_back(std::move(one));
      done += static_cast<double>(length) *
              static_cast<double>(std::min(kGroup, fragments.size() - first));
      if (progress) progress(done / all);
    }
    calibration.both_strands.push_back(measure(scores, truth, classifier.kind(), length, true));
    calibration.one_strand.push_back(measure(scores, truth, classifier.kind(), length, false));
  }
  return calibration;
}

}  // namespace strandwave
