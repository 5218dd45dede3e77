#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <optional>

#include "apps/audio_clip_options.h"
#include "apps/commands.h"
#include "apps/table.h"
#include "apps/training_options.h"
#include "audio/classifier/classifier_measures.h"
#include "audio/classifier/classifier_task.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "core/base/signals.h"
#include "core/checkpoint/checkpoint.h"
#include "core/runtime/out_of_memory.h"

namespace strandwave::apps {
namespace {

namespace fs = std::filesystem;

struct Options {
  ClipOptions clips;
  TrainingOptions training;
  audio::ClassifierTaskOptions task;
  std::string network = "small", profile = "librosa";
  std::string start_from, translation;
};

// A network and what it is.
struct Start {
  audio::AudioClassifierConfig config;
  std::shared_ptr<audio::ClassifierNetwork> network;
  std::string hash;  // of the model that it began as
};

// The classes of the data in the order of its labels; several labels may become one class.
std::vector<std::string> classes_of(const audio::ClipDataset& data,
                                    const std::map<std::string, std::string>& translation) {
  std::vector<std::string> classes;
  for (const std::string& label : data.labels()) {
    const auto found = translation.find(label);
    const std::string& name = found == translation.end() ? label : found->second;
    if (std::find(classes.begin(), classes.end(), name) == classes.end()) classes.push_back(name);
  }
  if (classes.size() < 2)
    throw usage_error("a classifier needs clips of two classes at least; these have " +
                      (classes.empty() ? std::string("no labels (see --label)")
                                       : "one, \"" + classes.front() + "\""));
  return classes;
}

// A model that knows all these classes keeps its own, in its order.
bool knows_all(const std::vector<std::string>& known, const std::vector<std::string>& classes) {
  return std::all_of(classes.begin(), classes.end(), [&](const std::string& name) {
    return std::find(known.begin(), known.end(), name) != known.end();
  });
}

Start make_start(const Options& options, const audio::ClipDataset& data,
                 const std::vector<std::string>& classes) {
  Start start;
  const uint64_t seed = options.training.trainer.seed;
  if (options.start_from.empty()) {
    const audio::AudioFormat& format = data.format();
    start.config = audio::AudioClassifierConfig::of_rate(format.sample_rate);
    if (format.clip_length > 0) start.config.clip_length = format.clip_length;
    start.config.network = options.network;
    start.config.profile = options.profile;
    start.config.classes = classes;
    start.config.validate("the classifier");
    start.network = audio::make_classifier_network(start.config, seed);
    return start;
  }
  const audio::AudioClassifier model = audio::load_audio_classifier(options.start_from);
  start.config = model.config();
  start.hash = model.hash();
  if (!knows_all(start.config.classes, classes)) start.config.classes = classes;
  start.network = audio::with_classes(model, start.config.classes, seed);
  return start;
}

nlohmann::json measure(const audio::AudioClassifier& classifier, const audio::ClipDataset& data,
                       const audio::LabelledClips& clips) {
  return audio::classifier_measures(
      classifier.labels(), clips.classes,
      classifier.predict(audio::samples_of(data, clips), [](int64_t) { throw_if_interrupted(); })
          .log_probabilities);
}

// Fits the temperature on validation and measures both held-out splits with it.
nlohmann::json calibrate_and_test(audio::AudioClassifier& classifier,
                                  const audio::ClipDataset& data,
                                  const audio::LabelledClips& validation,
                                  const audio::LabelledClips& test) {
  const auto output = classifier.predict(audio::samples_of(data, validation),
                                         [](int64_t) { throw_if_interrupted(); });
  const nlohmann::json raw =
      audio::classifier_measures(classifier.labels(), validation.classes, output.log_probabilities);
  classifier.set_temperature(
      audio::fit_clip_temperature(validation.classes, output.log_probabilities));
  nlohmann::json result = {{"temperature", classifier.temperature()},
                           {"validation", measure(classifier, data, validation)},
                           {"test", nullptr}};
  result["validation"]["raw_log_loss"] = raw.at("log_loss");
  result["validation"]["raw_ece"] = raw.at("ece");
  if (!test.clips.empty()) result["test"] = measure(classifier, data, test);
  return result;
}

void print_measures(const nlohmann::json& result, std::ostream& out) {
  std::vector<std::vector<std::string>> rows = {
      {"split", "clips", "accuracy", "macro F1", "log loss", "ECE"}};
  for (const char* split : {"validation", "test"}) {
    const nlohmann::json& measures = result.at(split);
    if (measures.is_null()) continue;
    rows.push_back({split, std::to_string(measures.at("n").get<int64_t>())});
    for (const char* key : {"accuracy", "macro_f1", "log_loss", "ece"})
      rows.back().push_back(format_number("%.4f", measures.at(key).get<double>()));
  }
  print_table(out, rows);
  out << "temperature " << format_number("%.3f", result.at("temperature").get<double>()) << '\n';
}

void run(Options options) {
  if (options.training.trainer.ema_decay > 0)
    throw usage_error(
        "--ema: the running statistics of batch normalisation belong to the trained parameters, "
        "not "
        "to their average; leave it out");
  const c10::Device device = options.training.common.prepare();
  const auto data = std::make_shared<const audio::ClipDataset>(
      open_clips(options.clips, options.training.common.threads, options.training.common.quiet));
  print_clip_facts(data->facts(), std::cout);
  for (const std::string& warning : clip_warnings(data->facts())) warn(warning);
  const auto translation = options.translation.empty()
                               ? std::map<std::string, std::string>()
                               : audio::read_translation(options.translation);
  const Start start = make_start(options, *data, classes_of(*data, translation));
  const std::vector<int64_t> class_of_label =
      audio::classes_of_labels(data->labels(), start.config.classes, translation);

  options.task.accumulation = options.training.trainer.accumulation;
  options.task.seed = options.training.trainer.seed;
  options.task.start_model = start.hash;
  audio::ClassifierTask task(start.config, start.network, data, class_of_label, options.task);
  const TrainingResult trained =
      train(audio::trainable(start.config, start.network), task, options.training, device);
  std::cout << "run: " << options.training.output << ", step " << trained.step << '\n';

  const SignalGuard signals;
  nlohmann::json result;
  explain_out_of_memory(device, task.memory_advice(), [&] {
    audio::AudioClassifier best = audio::load_audio_classifier(trained.best_model);
    best.to(device);
    result = calibrate_and_test(best, *data, task.validation(),
                                audio::labelled_clips(*data, Split::kTest, class_of_label));
  });
  add_companion(trained.best_model, audio::kClassifierFile, result.dump(2) + "\n");
  print_measures(result, std::cout);
  result["command"] = command_line();
  write_file_atomically(fs::path(options.training.output) / "test.json", result.dump(2) + "\n");
}

void add_network_options(CLI::App& command, Options& options) {
  CLI::Option* start =
      command.add_option("--model", options.start_from,
                         "Start from this classifier instead of a new one; other classes get a new "
                         "last layer");
  command
      .add_option("--network", options.network,
                  "small (four convolutions, 64 features) or resnext (the SC09 metrics' ResNeXt, "
                  "34 M parameters)")
      ->check(CLI::IsMember({"small", "resnext"}))
      ->excludes(start)
      ->capture_default_str();
  command
      .add_option("--profile", options.profile,
                  "Mel spectrogram as librosa makes it, or as librosa-0.8 did (ends mirrored)")
      ->check(CLI::IsMember({"librosa", "librosa-0.8"}))
      ->excludes(start)
      ->capture_default_str();
  command.add_option("--map", options.translation,
                     "File of lines label<TAB>class: what labels of the data are called");
}

void add_learning_options(CLI::App& command, Options& options) {
  command.add_option("--batch", options.task.batch, "Clips per micro-batch")
      ->check(positive_number())
      ->capture_default_str();
  command
      .add_option("--shift", options.task.augmentation.shift,
                  "Move each training clip by up to so many seconds either way")
      ->check(non_negative_number())
      ->capture_default_str();
  command
      .add_option("--gain", options.task.augmentation.gain,
                  "Make each training clip louder or softer by up to so many decibels")
      ->check(number_between(0, 120))
      ->capture_default_str();
  command
      .add_option("--noise", options.task.augmentation.noise,
                  "Add white noise of up to this part of a training clip's standard deviation")
      ->check(non_negative_number())
      ->capture_default_str();
}

}  // namespace

void add_audio_finetune(CLI::App& audio) {
  CLI::App* command = audio.add_subcommand("finetune", "Fit a classifier of audio clips");
  auto options = std::make_shared<Options>();
  options->task.augmentation = {.shift = 0.1, .gain = 6, .noise = 0.2};
  options->training.trainer.lr = 2e-3;
  add_clip_options(*command, options->clips);
  add_network_options(*command, *options);
  add_learning_options(*command, *options);
  add_training_options(*command, options->training);
  command->callback([options] { run(*options); });
}

}  // namespace strandwave::apps
