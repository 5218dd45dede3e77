// What turns a classifier's raw scores into honest probabilities and a rejection threshold,
// measured on validation fragments after training.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

namespace strandwave {

class SequenceClassifier;
struct LabelledFragment;

// Measures at one length of reads. A short read carries less evidence than a long one, so one
// temperature for all lengths would overstate its confidence, and its likelihood spreads wider.
struct CalibrationPoint {
  int64_t length = 0;       // bases from the start of a read
  int64_t reads = 0;        // validation reads of at least this length that were used
  double temperature = 1;   // logits are divided by it
  double log_loss = 0;      // mean, nats, with the temperature
  double raw_log_loss = 0;  // mean, nats, without
  // Upper quantiles of the out-of-distribution score: thresholds[i] is exceeded by a share of at
  // most Calibration::kFalsePositiveRates[i] of reads like the validation reads. As many as the
  // number of reads supports; empty when the model gives no score.
  std::vector<double> thresholds;
};

// calibration.json beside a model:
// {
//   "format": "strandwave calibration", "format_version": 1,
//   "labels": ["a", "b"],                 in the order of the logits
//   "class_frequencies": [0.7, 0.3],      of the training data; absent: unknown
//   "both_strands": [{"length", "reads", "temperature", "log_loss", "raw_log_loss",
//                     "thresholds": [[false-positive rate, score], ...]}, ...],
//   "one_strand": [...]
// }
struct Calibration {
  // Descending; a threshold at rate r needs at least 1/r - 1 reads.
  static constexpr double kFalsePositiveRates[] = {0.5,  0.3,  0.2,  0.1,  0.05, 0.03, 0.02, 0.01,
                                                   5e-3, 3e-3, 2e-3, 1e-3, 5e-4, 3e-4, 2e-4, 1e-4};

  std::vector<std::string> labels;
  std::vector<double> class_frequencies;
  std::vector<CalibrationPoint> both_strands;  // by ascending length; empty: not measured
  std::vector<CalibrationPoint> one_strand;

  bool empty() const { return both_strands.empty() && one_strand.empty(); }
  bool has_thresholds() const;

  // Linear in log2(length) between points, constant beyond them; 1 when nothing was measured.
  double temperature(int64_t length, bool both) const;
  // The out-of-distribution score above which a read of this length is rejected, so that of reads
  // like the training data a share of at most false_positive_rate is; between lengths as above,
  // between rates linear in their logarithm. Throws Error(kUsage): no thresholds measured, a rate
  // outside (0, 0.5] or below what the number of validation reads supports.
  double threshold(int64_t length, double false_positive_rate, bool both) const;

  nlohmann::json to_json() const;
  // Throws Error(kInput) with `where`, key and value.
  static Calibration from_json(const nlohmann::json& value, const std::string& where);
};

// The text of calibration.json, and back.
inline constexpr const char* kCalibrationFile = "calibration.json";
std::string calibration_text(const Calibration& calibration);
Calibration parse_calibration(const std::string& text, const std::string& where);

struct CalibrationOptions {
  // Lengths to measure besides 32, 64, 128, ... and the median length of the fragments; those that
  // fewer than half of the fragments reach are left out.
  std::vector<int64_t> lengths;
  std::vector<double> class_frequencies;
};

// Cuts the fragments to each length and fits there; `classifier`'s own calibration and prior do not
// matter. Regression: thresholds only, temperature 1. progress(fraction done) may throw.
Calibration fit_calibration(const SequenceClassifier& classifier,
                            const std::vector<LabelledFragment>& fragments,
                            const CalibrationOptions& options = {},
                            const std::function<void(double)>& progress = {});

// Probability that a read of `outside` scores higher than one of `inside`, ties half (area under
// the ROC curve of rejection). Reads without a score (NaN) are left out; NaN when a side is empty.
double rejection_auroc(std::span<const float> inside, std::span<const float> outside);

// What `--prior` says: "uniform" (empty: as trained), "train" (the frequencies of the training
// data), or a file of lines "label<TAB>weight", one for each label; scaled to sum 1. Throws
// Error(kUsage, kInput) naming file, line and label.
std::vector<double> read_prior(const std::string& choice, const std::vector<std::string>& labels,
                               const Calibration& calibration);

}  // namespace strandwave
