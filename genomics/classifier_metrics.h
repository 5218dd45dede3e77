// Everything that is measured of predictions with known truth.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "genomics/labelled_fragments.h"

namespace strandwave {

// What is known of each row.
struct Truths {
  LabelKind kind = LabelKind::kClass;
  std::vector<std::string> labels;  // classes, or names of the outputs of a regression
  std::vector<std::string> groups;
  std::vector<int32_t> label;               // classes only
  std::vector<std::vector<float>> targets;  // multi-label and regression only
  std::vector<int32_t> group;               // index into groups, -1: none
  size_t rows() const { return group.size(); }
};
Truths truths_of(LabelKind kind, const std::vector<std::string>& labels,
                 const std::vector<std::string>& groups,
                 const std::vector<LabelledFragment>& fragments);

// What a predictor says of each row.
struct PredictionTable {
  // Per class or label a score, larger: more likely; per output of a regression the value.
  std::vector<std::vector<float>> values;
  std::vector<int32_t> classes;  // the class decided for, -1: none; classes only
  // The values are probabilities, so that calibration error and log loss mean something.
  bool probabilities = true;
};
// The class of the largest value, the first on ties.
int32_t largest(const std::vector<float>& values);
// With the class of the largest value.
PredictionTable decided(std::vector<std::vector<float>> values);
// The rows for which keep[row] is set.
Truths selected(const Truths& truths, const std::vector<uint8_t>& keep);
PredictionTable selected(const PredictionTable& table, const std::vector<uint8_t>& keep);

struct MeasureOptions {
  int resamples = 500;  // of the bootstrap, fewer (to 100) of very large sets; 0: no intervals
  uint64_t seed = 0;
};

// The figures of one predictor on one set, as they stand in test.json (docs/formats.md). Undefined
// figures (an AUROC without a negative) are null. Intervals: percentile bootstrap, 95 %, over whole
// groups, or over rows where there are no groups.
//
//   classes      "n", "accuracy", "balanced_accuracy", "macro_f1", "matthews", "auroc" and "auprc"
//                (one class against the rest, mean over classes), "ece" (15 bins of the probability
//                of the decided class), "log_loss" (nats), "intervals", "per_class", "per_group",
//                "confusion", "unclassified" (per true class, where there are any)
//   multi-label  the same of the single decisions (row, label) at 0.5: "accuracy" is the share of
//                right ones, "exact" that of rows with all right; "macro_f1", "matthews", "auroc",
//                "auprc" are means over labels; no confusion
//   regression   "n", "r2", "pearson", "spearman", "mae", "rmse" (means over outputs),
//                "intervals", "per_class" (an entry per output), "per_group" (mean absolute error)
nlohmann::json measure(const Truths& truths, const PredictionTable& predictions,
                       const MeasureOptions& options = {});

// "roc", "pr": [{"label", "points": [[x, y], ...]}]; "reliability": [{"confidence", "accuracy",
// "n"}]; empty for a regression.
nlohmann::json curves(const Truths& truths, const PredictionTable& predictions);

}  // namespace strandwave
