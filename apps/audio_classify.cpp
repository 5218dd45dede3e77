#include <cmath>
#include <iostream>
#include <map>
#include <memory>
#include <optional>

#include "apps/audio_clip_options.h"
#include "apps/commands.h"
#include "apps/options.h"
#include "apps/table.h"
#include "apps/version.h"
#include "audio/classifier/classifier_measures.h"
#include "audio/io/clip_dataset.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "core/base/signals.h"
#include "core/runtime/out_of_memory.h"

namespace strandwave::apps {
namespace {

struct Options {
  CommonOptions common;
  std::string model, output = "-", translation, bad_files = "refuse";
  std::vector<std::string> inputs;
  audio::ClipFileOptions files;
  bool truth = false, force = false, no_pg = false;
};

// Classifies clips in groups and keeps a line for each.
class ClipTable {
 public:
  ClipTable(const audio::AudioClassifier& classifier, bool truth, Progress& progress)
      : classifier_(classifier), truth_(truth), progress_(progress) {
    meter_.start(0);
  }

  // label: of the data; empty: none. target: its class, -1: none.
  void add(const std::string& name, std::vector<float> samples, const std::string& label,
           int64_t target) {
    if (truth_ && target < 0)
      throw input_error("--truth: clip " + name +
                        " has no label (folders named by class, a manifest with a column label or "
                        "class, or --label EXPRESSION)");
    clips_.push_back(std::move(samples));
    names_.push_back(name);
    labels_.push_back(label);
    targets_.push_back(target);
    if (clips_.size() == kGroup) flush();
  }

  void flush() {
    throw_if_interrupted();
    const auto output = classifier_.predict(clips_);
    for (size_t i = 0; i < clips_.size(); ++i)
      add_line(names_[i], labels_[i], output.log_probabilities[i]);
    all_.insert(all_.end(), output.log_probabilities.begin(), output.log_probabilities.end());
    all_targets_.insert(all_targets_.end(), targets_.begin(), targets_.end());
    clips_.clear();
    names_.clear();
    labels_.clear();
    targets_.clear();
    const auto done = static_cast<double>(all_.size());
    progress_.update("classified " + format_count(done) + " clips, " +
                     format_count(meter_.rate(done)) + " clips/s");
  }

  std::string header() const {
    std::string text = std::string("file\tlabel\tprobability") + (truth_ ? "\ttruth" : "");
    for (const std::string& name : classifier_.labels()) text += '\t' + name;
    return text + '\n';
  }
  const std::string& lines() const { return lines_; }
  size_t size() const { return all_.size(); }

  void print_measures() const {
    const nlohmann::json found =
        audio::classifier_measures(classifier_.labels(), all_targets_, all_);
    const auto text = [&](const char* key) {
      return format_number("%.4f", found.at(key).get<double>());
    };
    std::cerr << found.at("n").get<int64_t>() << " clips: accuracy " << text("accuracy")
              << ", macro F1 " << text("macro_f1") << ", log loss " << text("log_loss") << ", ECE "
              << text("ece") << '\n';
  }

 private:
  static constexpr size_t kGroup = 256;

  void add_line(const std::string& name, const std::string& label,
                const std::vector<float>& log_probabilities) {
    const auto best = static_cast<size_t>(audio::best_class(log_probabilities));
    const auto probability = [&](size_t c) {
      return format_number("%.6g", std::exp(static_cast<double>(log_probabilities[c])));
    };
    lines_ += name + '\t' + classifier_.labels()[best] + '\t' + probability(best);
    if (truth_) lines_ += '\t' + label;
    for (size_t c = 0; c < log_probabilities.size(); ++c) lines_ += '\t' + probability(c);
    lines_ += '\n';
  }

  const audio::AudioClassifier& classifier_;
  bool truth_;
  Progress& progress_;
  RateMeter meter_;
  std::vector<std::vector<float>> clips_;
  std::vector<std::string> names_, labels_;
  std::vector<int64_t> targets_, all_targets_;
  std::vector<std::vector<float>> all_;
  std::string lines_;
};

class Classification {
 public:
  Classification(const Options& options, const audio::AudioClassifier& classifier, ClipTable& table)
      : options_(options), classifier_(classifier), table_(table) {
    if (!options.translation.empty()) translation_ = audio::read_translation(options.translation);
  }

  void read(const std::string& input) {
    if (audio::ClipDataset::is_prepared(input))
      read_prepared(input);
    else
      read_files(input);
  }

 private:
  // The class of each label, -1 where it does not matter.
  std::vector<int64_t> targets_of(const std::vector<std::string>& labels) const {
    if (!options_.truth) return std::vector<int64_t>(labels.size(), -1);
    return audio::classes_of_labels(labels, classifier_.labels(), translation_);
  }

  void read_prepared(const std::string& input) {
    const audio::ClipDataset data = audio::ClipDataset::open(input);
    if (data.format().sample_rate != classifier_.sample_rate())
      throw input_error(input + " has " + std::to_string(data.format().sample_rate) +
                        " samples per second, the classifier is for " +
                        std::to_string(classifier_.sample_rate()) + ": prepare it with --rate " +
                        std::to_string(classifier_.sample_rate()));
    const std::vector<int64_t> targets = targets_of(data.labels());
    for (size_t i = 0; i < data.size(); ++i) {
      const int64_t label = data.clip(i).label;
      table_.add(data.clip(i).name, data.samples(i),
                 label < 0 ? "" : data.labels()[static_cast<size_t>(label)],
                 label < 0 ? -1 : targets[static_cast<size_t>(label)]);
    }
  }

  void read_files(const std::string& input) {
    audio::ClipFileOptions wanted = options_.files;
    if (!options_.truth) wanted.label = "none";
    const audio::ClipFiles found = audio::find_clip_files(input, wanted);
    const std::vector<int64_t> targets = targets_of(found.labels);
    std::map<std::string, int64_t> target_of = {{"", -1}};
    for (size_t i = 0; i < found.labels.size(); ++i) target_of[found.labels[i]] = targets[i];
    audio::AudioFormat format;
    format.sample_rate = classifier_.sample_rate();
    audio::ClipReaderOptions reading;
    reading.skip_bad = options_.bad_files == "skip";
    reading.threads = options_.common.threads;
    const audio::ReadingReport report =
        audio::read_clips(found.files, format, reading, [&](audio::WaveClip&& clip) {
          const std::string& label = found.files[clip.file].label;
          table_.add(clip.name, std::move(clip.samples), label, target_of.at(label));
        });
    for (const audio::BadFile& bad : report.bad) warn(bad.name + ": " + bad.reason + "; left out");
  }

  const Options& options_;
  const audio::AudioClassifier& classifier_;
  ClipTable& table_;
  std::map<std::string, std::string> translation_;
};

void classify(const Options& options, c10::Device device) {
  audio::AudioClassifier classifier = audio::load_audio_classifier(options.model);
  classifier.to(device);
  Progress progress(stderr, options.common.quiet);
  ClipTable table(classifier, options.truth, progress);
  Classification classification(options, classifier, table);
  for (const std::string& input : options.inputs) classification.read(input);
  table.flush();
  progress.message(std::to_string(table.size()) + " clips classified");
  progress.finish();
  std::string text;
  if (!options.no_pg)
    text = "##strandwave=" STRANDWAVE_VERSION "\n##command=" + command_line() +
           "\n##model=" + classifier.hash() + "\n";
  text += table.header() + table.lines();
  if (options.output == "-")
    std::cout << text;
  else
    write_file_atomically(options.output, text);
  if (options.truth) table.print_measures();
}

void run(const Options& options) {
  refuse_existing_file(options.output, options.force);
  if (!options.translation.empty() && !options.truth)
    throw usage_error("--map translates the labels of --truth: give that too");
  const c10::Device device = options.common.prepare();
  const SignalGuard signals;
  try {
    explain_out_of_memory(device, "give fewer inputs at once", [&] { classify(options, device); });
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kInterrupted) throw;
    throw runtime_failure(error.what() + std::string("; nothing was written"));
  }
}

}  // namespace

void add_audio_classify(CLI::App& audio) {
  CLI::App* command = audio.add_subcommand("classify", "Say which class audio clips are of");
  auto options = std::make_shared<Options>();
  command
      ->add_option("INPUT", options->inputs,
                   "Audio files, folders of them, manifests, or what `audio prepare` wrote")
      ->required();
  command->add_option("--model", options->model, "Run or model folder of `audio finetune`")
      ->required();
  command
      ->add_option("-o,--output", options->output,
                   "TSV to write: file, label, probability, and the probability of each class; - "
                   "is stdout")
      ->capture_default_str();
  command->add_flag("--force", options->force, "Overwrite the output");
  command->add_flag("--truth", options->truth,
                    "Compare with the labels that the clips have: a column more, and the accuracy "
                    "at the end");
  command
      ->add_option("--label", options->files.label,
                   "Where those labels come from: folder, none, or an expression with one group "
                   "that is searched for in names; auto: a manifest, folders, digit_speaker_take")
      ->capture_default_str();
  command->add_option("--map", options->translation,
                      "File of lines label<TAB>class: what those labels are called here");
  add_bad_files_option(*command, options->bad_files);
  command->add_flag("--no-PG", options->no_pg, "Leave out the lines that say where it comes from");
  add_common_options(*command, options->common);
  command->callback([options] { run(*options); });
}

}  // namespace strandwave::apps
