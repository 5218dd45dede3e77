#include "apps/finetune_run.h"

#include <cctype>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <optional>

#include "apps/classifier_report.h"
#include "apps/dna_model.h"
#include "apps/table.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "core/base/signals.h"
#include "core/runtime/out_of_memory.h"
#include "genomics/io/taxonomy.h"
#include "genomics/reference_cnn.h"
#include "genomics/training_data.h"
#include "genomics/without_class.h"

namespace strandwave::apps {
namespace {

namespace fs = std::filesystem;
using Data = std::shared_ptr<const LabelledFragments>;

// Whether the new model goes on predicting tokens: it must be tied, and either learn that here or
// keep what it starts with untouched.
bool keeps_language_model(const FinetuneCommand& command, const ModelConfig* start) {
  if (start == nullptr) return command.task.lm_weight > 0;
  if (!start->tie_embeddings) return false;
  return command.task.freeze ? start->predicts_tokens() : command.task.lm_weight > 0;
}

std::shared_ptr<SequenceModel> make_model(const FinetuneCommand& command, HeadConfig head,
                                          const LoadedModel* start) {
  if (start != nullptr) {
    head.language_model = keeps_language_model(command, &start->model->config());
    return with_new_head(*start->model, head, command.training.trainer.seed);
  }
  ModelConfig config = dna_model_config(command.model);
  head.language_model = keeps_language_model(command, nullptr);
  config.head = head;
  config.tie_embeddings = true;
  return std::make_shared<SequenceModel>(config, command.training.trainer.seed);
}

// What the new model was trained on: the sequences of these data and what its start was trained on.
std::string training_data_of(const FinetuneCommand& command, const LabelledFragments& data) {
  TrainingData record;
  if (!command.start_from.empty())
    if (const auto before = TrainingData::of_model(command.start_from)) record.merge(*before);
  training_of(data)([&](const LabelledFragment& sequence) { record.add(sequence.ids); });
  return record.to_bytes();
}

// The classes' taxids that the manifest gives, as a file beside the model; nothing without any.
std::optional<std::string> taxids_of(const LabelledFragments& data) {
  std::map<std::string, int64_t> taxids;
  for (const auto& [label, given] : data.taxids()) {
    if (given.size() == 1)
      taxids[label] = *given.begin();
    else
      warn("the class \"" + label + "\" has genomes of different taxids (" +
           std::to_string(*given.begin()) + ", " + std::to_string(*given.rbegin()) +
           "), of which none is kept with the model: `dna classify` will need --taxids for it");
  }
  if (taxids.empty()) return std::nullopt;
  return taxids_text(taxids);
}

// One training run and what is measured of it.
class FinetuneRun {
 public:
  FinetuneRun(const FinetuneCommand& command, c10::Device device, const LoadedModel* start,
              Data data)
      : command_(command),
        device_(device),
        start_(start),
        data_(std::move(data)),
        progress_(stderr, command.training.common.quiet) {}

  // Trains, calibrates and tests; the report, null without a test split.
  nlohmann::json run() {
    frequencies_ = class_frequencies();
    Calibration known;
    known.class_frequencies = frequencies_;
    prior_ = read_prior(command_.prior, data_->labels(), known);
    train_model();
    calibrate();
    std::cout << "run: " << folder().string() << ", step " << result_.step << '\n';
    if (data_->fixed(Split::kTest, 1).empty()) {
      warn(command_.data +
           " has no test split: the model is not tested (write test into the column split, or give "
           "train=FILE,test=FILE)");
      return nullptr;
    }
    nlohmann::json report = test();
    if (command_.leave_one_class_out) report["rejection"]["leave_one_class_out"] = left_out();
    report["command"] = command_line();
    write_file_atomically(folder() / "test.json", report.dump(2) + "\n");
    return report;
  }

 private:
  fs::path folder() const { return command_.training.output; }

  void train_model() {
    const std::shared_ptr<SequenceModel> model =
        make_model(command_, head_for(*data_, command_.pooling), start_);
    FinetuneOptions options = command_.task;
    options.class_weights = class_weights(command_.class_weights, *data_);
    options.companions[TrainingData::kCompanion] = training_data_of(command_, *data_);
    if (const auto taxids = taxids_of(*data_)) options.companions[kTaxidsFile] = *taxids;
    task_ = std::make_unique<FinetuneTask>(model, data_, options);
    result_ = train(model, *task_, command_.training, device_);
    best_ = load_model(result_.best_model);
    best_->to(device_);
  }

  // Of the training data; empty without classes.
  std::vector<double> class_frequencies() const {
    std::vector<double> frequencies;
    if (data_->task() != LabelKind::kClass) return frequencies;
    double sum = 0;
    for (const int64_t n : data_->class_counts(Split::kTrain)) {
      frequencies.push_back(static_cast<double>(n));
      sum += frequencies.back();
    }
    for (double& frequency : frequencies) frequency /= sum;
    return frequencies;
  }

  void calibrate() {
    if (task_->validation().empty()) {
      warn(command_.data + " has no validation split: probabilities are not calibrated");
      return;
    }
    CalibrationOptions options;
    options.lengths = command_.test.lengths;
    options.class_frequencies = frequencies_;
    explain_out_of_memory(device_, task_->memory_advice(), [&] {
      calibration_ = fit_calibration(SequenceClassifier(best_, {}), task_->validation(), options,
                                     [&](double done) {
                                       throw_if_interrupted();
                                       progress_.update("calibrating: " + percent(done));
                                     });
    });
    progress_.finish();
    add_companion(result_.best_model, kCalibrationFile, calibration_text(calibration_));
  }

  nlohmann::json test() {
    Predictors predictors;
    ClassifierOptions options;
    options.calibration = calibration_;
    options.prior = prior_;
    predictors.push_back(std::make_unique<ModelPredictor>(SequenceClassifier(best_, options),
                                                          [](int64_t) { throw_if_interrupted(); }));
    progress_.update("counting for the baselines", true);
    for (auto& baseline :
         train_baselines({data_->task(), data_->labels(), command_.test.lengths, usual_length()},
                         training_of(*data_)))
      predictors.push_back(std::move(baseline));
    TestReport report;
    double cnn_seconds = 0;
    explain_out_of_memory(device_, task_->memory_advice(), [&] {
      if (command_.cnn) predictors.push_back(reference_cnn(cnn_seconds));
      report = test_predictors(
          test_set(*data_, Split::kTest, command_.test_per_class), predictors, command_.test,
          [&](const std::string& what) { progress_.update("testing " + what); });
    });
    progress_.finish();
    warn_of_seen(report.json);
    write_file_atomically(folder() / "predictions.tsv", report.predictions);
    report.json["leakage"] = data_->leakage();
    report.json["prior"] = command_.prior;
    if (command_.cnn) report.json["cnn"] = {{"seconds", cnn_seconds}};
    const auto length = static_cast<int64_t>(data_->fixed(Split::kTest, 1).front().ids.size());
    if (!calibration_.empty() && data_->task() != LabelKind::kRegression)
      report.json["rejection"]["temperature"] = calibration_.temperature(length, true);
    print_classifier_report(report.json, "test split", std::cout);
    return report.json;
  }

  // Of a training fragment; 0: whole sequences.
  int64_t usual_length() const {
    const FragmentOptions& options = data_->options();
    return options.lengths.empty() ? options.length : std::llround(options.lengths.mean());
  }

  // How much of the test the start model was trained on.
  void warn_of_seen(nlohmann::json& report) const {
    if (command_.start_from.empty()) return;
    std::vector<std::vector<uint8_t>> targets;
    for (LabelledFragment& fragment : data_->fixed(Split::kTest, command_.test_per_class))
      targets.push_back(std::move(fragment.ids));
    const auto seen = seen_in_training(command_.start_from, targets);
    if (!seen) return;
    report["seen_in_training"] = seen->to_json();
    // A start that was a classifier was trained on labelled data, too.
    const bool pretrained = start_->model->config().head.kind == HeadConfig::Kind::kLanguageModel;
    if (seen->notable()) warn(seen->sentence(pretrained ? "pretraining" : "training"));
  }

  std::unique_ptr<Predictor> reference_cnn(double& seconds) {
    ReferenceCnnOptions options;
    options.fragments = result_.step * command_.training.trainer.accumulation * command_.task.batch;
    options.seed = command_.training.trainer.seed;
    options.device = device_;
    const auto start = std::chrono::steady_clock::now();
    auto cnn = std::make_unique<ReferenceCnn>(*data_, options, [&](int64_t done) {
      throw_if_interrupted();
      progress_.update("training the CNN: " +
                       percent(static_cast<double>(done) / static_cast<double>(options.fragments)));
    });
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return cnn;
  }

  // Trains again without each class and asks how well the model's own likelihood tells fragments of
  // that class from the others.
  nlohmann::json left_out() {
    const std::vector<LabelledFragment> fragments =
        data_->fixed(Split::kTest, command_.test_per_class);
    nlohmann::json list = nlohmann::json::array();
    std::vector<std::vector<std::string>> rows = {
        {"class left out", "AUROC of its out-of-distribution score"}};
    for (size_t label = 0; label < data_->labels().size(); ++label) {
      const std::string& name = data_->labels()[label];
      const float auroc = left_out_auroc(static_cast<int32_t>(label), fragments);
      list.push_back({{"label", name}, {"auroc", auroc}});
      rows.push_back({name, format_number("%.4f", auroc)});
    }
    print_table(std::cout, rows);
    return list;
  }

  float left_out_auroc(int32_t label, const std::vector<LabelledFragment>& fragments) {
    const auto data = std::make_shared<WithoutClass>(data_, label);
    FinetuneCommand command = command_;
    command.training.output =
        (folder() / ("left-out-" + file_name(data_->labels()[static_cast<size_t>(label)])))
            .string();
    command.task.companions.clear();
    const std::shared_ptr<SequenceModel> model =
        make_model(command, head_for(*data, command.pooling), start_);
    command.task.class_weights = {};
    FinetuneTask task(model, data, command.task);
    const TrainingResult result = train(model, task, command.training, device_);
    const std::shared_ptr<SequenceModel> best = load_model(result.best_model);
    best->to(device_);
    ClassifierOptions options;
    options.want_out_of_distribution = true;
    std::vector<float> inside, outside;
    const std::vector<Prediction> predictions = predict_fragments(
        SequenceClassifier(best, options), fragments, [](int64_t) { throw_if_interrupted(); });
    for (size_t i = 0; i < fragments.size(); ++i)
      (fragments[i].label == label ? outside : inside)
          .push_back(predictions[i].out_of_distribution);
    return static_cast<float>(rejection_auroc(inside, outside));
  }

  static std::string file_name(std::string label) {
    for (char& c : label)
      if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '.') c = '_';
    return label;
  }
  static std::string percent(double share) { return format_number("%.0f", 100 * share) + " %"; }

  const FinetuneCommand& command_;
  c10::Device device_;
  const LoadedModel* start_;
  Data data_;
  Progress progress_;
  std::unique_ptr<FinetuneTask> task_;
  TrainingResult result_;
  std::shared_ptr<SequenceModel> best_;
  Calibration calibration_;
  std::vector<double> frequencies_;  // of the classes in the training data
  std::vector<double> prior_;
};

void check(const FinetuneCommand& command) {
  if (command.task.freeze && command.start_from.empty())
    throw usage_error("--freeze trains the head only: give the model to stand on with --model");
  if (command.leave_one_class_out && command.fragments.kind != LabelKind::kClass)
    throw usage_error("--leave-one-class-out is for classes: --kind class");
  if (command.fragments.kind != LabelKind::kClass && command.prior != "uniform")
    throw usage_error("--prior is for classes: --kind class");
  if (command.task.patience > 0 && command.training.trainer.eval_every == 0)
    throw usage_error("--patience counts evaluations: give --eval-every");
}

Data open_data(const FinetuneCommand& command) {
  Data data = LabelledFragments::open(command.data, command.fragments);
  const LengthDistribution& lengths = command.fragments.lengths;
  const int64_t longest = data->longest_training_sequence();
  if (!lengths.empty() && lengths.length_at(0.5) > longest)
    warn("--length-dist: most of its lengths (" + lengths.description() + ") exceed the " +
         counted(longest, "base") +
         " of the longest training sequence: such fragments are whole sequences");
  return data;
}

void run_folds(FinetuneCommand command, c10::Device device, const LoadedModel* start) {
  const fs::path folder = command.training.output;
  if (fs::exists(folder / "config.json"))
    throw usage_error(folder.string() +
                      " holds a run without folds: choose another folder for --folds");
  std::vector<nlohmann::json> reports;
  for (int fold = 0; fold < command.fragments.folds; ++fold) {
    command.fragments.fold = fold;
    command.training.output = (folder / ("fold-" + std::to_string(fold + 1))).string();
    reports.push_back(FinetuneRun(command, device, start, open_data(command)).run());
  }
  nlohmann::json summary = fold_summary(reports);
  summary["command"] = command_line();
  write_file_atomically(folder / "folds.json", summary.dump(2) + "\n");
  std::cout << command.fragments.folds << " folds, mean and standard deviation\n";
  print_table(std::cout, fold_table(summary));
}

}  // namespace

void run_finetune(FinetuneCommand command) {
  check(command);
  const c10::Device device = command.training.common.prepare();
  command.task.accumulation = command.training.trainer.accumulation;
  command.task.seed = command.training.trainer.seed;
  std::optional<LoadedModel> start;
  if (!command.start_from.empty()) {
    start = load_dna_model(command.start_from);
    command.task.start_model = start->hash;
  }
  const LoadedModel* from = start ? &*start : nullptr;
  if (command.leave_one_class_out &&
      !keeps_language_model(command, from ? &from->model->config() : nullptr))
    throw usage_error(
        "--leave-one-class-out needs the model's likelihood: --lm-weight above 0 and "
        "a model with tied embeddings");
  if (command.fragments.folds > 0)
    run_folds(command, device, from);
  else
    FinetuneRun(command, device, from, open_data(command)).run();
}

}  // namespace strandwave::apps
