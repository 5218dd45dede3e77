// Simple predictors that every classifier is printed beside.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "genomics/classifier_metrics.h"
#include "genomics/labelled_fragments.h"

namespace strandwave {

class Predictor {
 public:
  virtual ~Predictor() = default;
  virtual std::string name() const = 0;
  // One row per fragment. `length`: FixedOptions::length that the fragments were cut with.
  virtual PredictionTable predict(const std::vector<LabelledFragment>& fragments,
                                  int64_t length) const = 0;
};
using Predictors = std::vector<std::unique_ptr<Predictor>>;

// Calls its argument with each training sequence, whole: ids, and label or targets.
using VisitTraining = std::function<void(const std::function<void(const LabelledFragment&)>&)>;
VisitTraining training_of(const LabelledFragments& data);
// What for_each_labelled_sequence visits of a file: classes only.
VisitTraining training_of(const std::string& path, const FragmentOptions& options);

struct BaselineOptions {
  LabelKind kind = LabelKind::kClass;
  std::vector<std::string> labels;
  // Lengths that predict() will be called with. The spread of GC content depends on the length, so
  // it is learnt from training windows of each.
  std::vector<int64_t> lengths = {0};
  int64_t usual_length = 0;  // what a length of 0 means; 0: whole sequences
  int64_t window(int64_t length) const { return length > 0 ? length : usual_length; }
};

// Trained in one pass over the training data:
//   classes      "majority", "GC content" (one Gaussian per class), "6-mer naive Bayes" (both
//                strands, uniform prior), "31-mer lookup" (canonical; most hits; ties and sequences
//                without a hit are unclassified, hence wrong)
//   multi-label  "majority" (share of present labels), "GC content", "6-mer naive Bayes", each
//                label against the rest
//   regression   "mean", "GC content" (least squares)
Predictors train_baselines(const BaselineOptions& options, const VisitTraining& training);

}  // namespace strandwave
