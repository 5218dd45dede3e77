// A classifier (or multi-label or regression model) and its baselines on labelled fragments: the
// content of test.json, the tables that are printed and the file of predictions.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "genomics/classifier_baselines.h"
#include "genomics/classifier_metrics.h"
#include "genomics/sequence_classifier.h"

namespace strandwave {

LabelKind label_kind(HeadConfig::Kind head);  // Error(kUsage) for a language model
std::string kind_name(LabelKind kind);  // as in test.json: classifier, multi_label, regression

// The model among the baselines.
class ModelPredictor : public Predictor {
 public:
  ModelPredictor(SequenceClassifier classifier, std::function<void(int64_t)> progress = {})
      : classifier_(std::move(classifier)), progress_(std::move(progress)) {}
  std::string name() const override { return "this model"; }
  PredictionTable predict(const std::vector<LabelledFragment>& fragments,
                          int64_t length) const override;

 private:
  SequenceClassifier classifier_;
  std::function<void(int64_t)> progress_;
};

// What is tested on.
struct TestSet {
  LabelKind kind = LabelKind::kClass;
  std::vector<std::string> labels, groups;
  std::function<std::vector<LabelledFragment>(const FixedOptions&)> fragments;
  int64_t length = 0;  // what FixedOptions::length 0 gives; 0: whole sequences, or several lengths
};
TestSet test_set(const LabelledFragments& data, Split split, int64_t per_class);

// The cells of the test: every length with every error rate.
struct TestOptions {
  std::vector<int64_t> lengths = {0};  // 0: as trained
  std::vector<double> error_rates = {0};
  MeasureOptions measure;
};

struct TestReport {
  nlohmann::json json;      // "kind", "labels", "results", "curves" (docs/formats.md)
  std::string predictions;  // TSV: the first predictor in the first cell
};
// Tests every predictor in every cell; the first one is the model, whose curves are kept. Where
// fragments overlap the training data a second result leaves them out ("set": "without overlap").
// Throws Error(kInput) when there is nothing to test on. progress(what is tested) per predictor and
// cell.
TestReport test_predictors(const TestSet& set, const Predictors& predictors,
                           const TestOptions& options,
                           const std::function<void(const std::string&)>& progress = {});

// For people: the first row is the header.
using TextTable = std::vector<std::vector<std::string>>;
TextTable results_table(const nlohmann::json& report);
// Of the first result; empty where it has none, or more than 12 classes.
TextTable confusion_table(const nlohmann::json& report);
// Of the first result; empty without groups.
TextTable group_table(const nlohmann::json& report);

// Mean, standard deviation (of the sample) and values of each figure over the reports of k folds:
//   {"kind", "labels", "folds", "results": [{"name", "set", "length", "error_rate",
//    "accuracy": {"mean", "deviation", "values"}, ...}]}
nlohmann::json fold_summary(const std::vector<nlohmann::json>& reports);
TextTable fold_table(const nlohmann::json& summary);

}  // namespace strandwave
