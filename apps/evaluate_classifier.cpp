#include "apps/evaluate_classifier.h"

#include <memory>
#include <optional>
#include <ostream>

#include "apps/classifier_report.h"
#include "apps/options.h"
#include "apps/table.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "core/base/signals.h"
#include "genomics/labelled_test_set.h"
#include "genomics/training_data.h"

namespace strandwave::apps {
namespace {

ClassifierOptions classifier_options(const LoadedModel& model, const std::string& model_path,
                                     const ClassifierEvaluation& evaluation, int64_t batch_bases) {
  ClassifierOptions options;
  options.batch_bases = batch_bases;
  if (const auto text = read_companion(model_path, kCalibrationFile))
    options.calibration = parse_calibration(*text, model_path + ": " + kCalibrationFile);
  options.prior =
      read_prior(evaluation.prior, model.model->config().head.classes, options.calibration);
  return options;
}

void warn_of_seen(const std::string& model_path, const TestSet& set, const TestOptions& test,
                  nlohmann::json& report) {
  std::vector<std::vector<uint8_t>> sequences;
  for (LabelledFragment& fragment : set.fragments({test.lengths.front(), 0}))
    sequences.push_back(std::move(fragment.ids));
  const auto seen = seen_in_training(model_path, sequences);
  if (!seen) return;
  report["seen_in_training"] = seen->to_json();
  if (seen->notable()) warn(seen->sentence("training"));
}

// Accuracy against bases read, under "decide_at" in the figures.
void decide_early(const PrefixClassifier& classifier,
                  const std::vector<LabelledFragment>& fragments, nlohmann::json& report,
                  std::ostream& out) {
  const PrefixEvaluation result =
      evaluate_prefixes(classifier, fragments, [] { throw_if_interrupted(); });
  report["decide_at"] = result.to_json();
  out << '\n';
  print_table(out, decision_table(result));
  out << decision_sentence(result) << '\n';
}

}  // namespace

void add_test_cell_options(CLI::App& command, TestOptions& test, const std::string& lengths_help) {
  command.add_option("--test-lengths", test.lengths, lengths_help)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(non_negative_number())
      ->capture_default_str();
  command
      .add_option("--test-error-rates", test.error_rates,
                  "... and with each of these shares of substituted bases")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(number_between(0, 1))
      ->capture_default_str();
}

void add_classifier_evaluation_options(CLI::App& command, ClassifierEvaluation& evaluation) {
  command
      .add_option(
          "--length", evaluation.length,
          "Bases per fragment of a classifier's test; needed for genomes; 0: whole sequences")
      ->check(non_negative_number())
      ->capture_default_str();
  command.add_option("--test-per-class", evaluation.per_class, "Fragments per class, at most")
      ->check(positive_number())
      ->capture_default_str();
  add_test_cell_options(command, evaluation.test,
                        "Test a classifier at each of these lengths, in bases; 0: --length");
  command
      .add_option("--prior", evaluation.prior,
                  "Classes to expect: uniform, train (as in the training data), or a file of lines "
                  "label<TAB>weight")
      ->capture_default_str();
  command
      .add_option("--decide-at", evaluation.decide.lengths,
                  "Also decide a classifier's reads early, with one strand, after so many bases: "
                  "accuracy against bases read, and what a decision costs")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(positive_number());
  command
      .add_option("--min-prob", evaluation.decide.min_prob,
                  "With --decide-at: probability of the class at which a read is decided")
      ->check(number_between(0, 1))
      ->capture_default_str();
  command.add_option("--predictions", evaluation.predictions,
                     "Write a TSV with the prediction for each sequence of a classifier's test");
}

nlohmann::json evaluate_classifier(const LoadedModel& model, const std::string& model_path,
                                   const std::string& data, const ClassifierEvaluation& evaluation,
                                   int64_t batch_bases, const std::string& cache, bool quiet,
                                   std::ostream& out) {
  TestSetOptions reading;
  reading.kind = label_kind(model.model->config().head.kind);
  reading.labels = model.model->config().head.classes;
  reading.cache_dir = cache;
  reading.length = evaluation.length;
  reading.per_class = evaluation.per_class;
  const TestSet set = open_test_set(data, reading);
  Progress progress(stderr, quiet);
  const SequenceClassifier classifier(
      model.model, classifier_options(model, model_path, evaluation, batch_bases));
  std::optional<PrefixClassifier> early;
  if (!evaluation.decide.lengths.empty()) early.emplace(classifier, evaluation.decide);
  Predictors predictors;
  predictors.push_back(
      std::make_unique<ModelPredictor>(classifier, [](int64_t) { throw_if_interrupted(); }));
  if (!evaluation.baseline.empty()) {
    if (reading.kind != LabelKind::kClass)
      throw usage_error("--baseline is for classifiers; this model is a " +
                        kind_name(reading.kind) + " model");
    FragmentOptions training;
    training.labels = reading.labels;
    training.cache_dir = cache;
    progress.update("counting for the baselines", true);
    for (auto& baseline :
         train_baselines({reading.kind, reading.labels, evaluation.test.lengths, evaluation.length},
                         training_of(evaluation.baseline, training)))
      predictors.push_back(std::move(baseline));
  }
  TestReport report =
      test_predictors(set, predictors, evaluation.test,
                      [&](const std::string& what) { progress.update("testing " + what); });
  progress.finish();
  warn_of_seen(model_path, set, evaluation.test, report.json);
  if (!evaluation.predictions.empty())
    write_file_atomically(evaluation.predictions, report.predictions);
  print_classifier_report(report.json, data, out);
  if (early)
    decide_early(*early, set.fragments({evaluation.test.lengths.front(), 0}), report.json, out);
  return report.json;
}

}  // namespace strandwave::apps
