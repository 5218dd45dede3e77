#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>

#include "apps/audio_clip_options.h"
#include "apps/audio_model_options.h"
#include "apps/commands.h"
#include "apps/table.h"
#include "apps/training_options.h"
#include "audio/next_sample_report.h"
#include "audio/training_samples.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "core/runtime/out_of_memory.h"

namespace strandwave::apps {
namespace {

namespace fs = std::filesystem;
using audio::AudioClip;

struct Options {
  ClipOptions clips;
  TrainingOptions training;
  AudioModelOptions model;
  audio::NextSampleOptions task;
  std::string start_from;
  std::string pad_loss = "on";
  bool by_class = false;
  int64_t samples = 4;
};

std::vector<AudioClip> clips_of(const audio::ClipDataset& dataset, Split split, bool by_class) {
  std::vector<AudioClip> clips;
  for (const size_t i : dataset.clips_of(split)) {
    const audio::ClipInfo& info = dataset.clip(i);
    clips.push_back({dataset.codes(i), info.real, by_class ? info.label : -1, info.name});
  }
  return clips;
}

// What the model's clips are: those of the data, of the length that training reads at once.
audio::AudioFormat model_format(const audio::ClipDataset& dataset, int64_t window,
                                const std::vector<AudioClip>& training) {
  audio::AudioFormat format = dataset.format();
  size_t longest = 0;
  for (const AudioClip& clip : training) longest = std::max(longest, clip.codes.size());
  if (window == 0 && format.clip_length > 0) return format;
  format.length = audio::LengthPolicy::kCrop;
  format.clip_length = static_cast<int64_t>(longest);
  if (window > 0) format.clip_length = std::min(window, format.clip_length);
  return format;
}

void require_same_sound(const audio::AudioFormat& model, const audio::AudioFormat& data,
                        const std::string& path) {
  if (model.sample_rate == data.sample_rate && model.companding == data.companding &&
      model.scale == data.scale)
    return;
  const auto text = [](const audio::AudioFormat& format) {
    return std::to_string(format.sample_rate) + " Hz, " + to_string(format.companding) +
           ", scale " + to_string(format.scale);
  };
  throw usage_error("the model in " + path + " is for " + text(model) + "; the data are " +
                    text(data) + ": read them as the model needs them");
}

// Sets the hash of the model that it starts from, if any.
std::shared_ptr<audio::Sashimi> make_model(const Options& options,
                                           const audio::ClipDataset& dataset,
                                           const audio::AudioFormat& format,
                                           std::string& start_hash) {
  if (options.by_class && dataset.labels().empty())
    throw usage_error("--by-class: the clips have no classes; see --label");
  if (!options.start_from.empty()) {
    audio::LoadedAudioModel loaded = audio::load_audio_model(options.start_from);
    require_same_sound(loaded.format, dataset.format(), options.start_from);
    const std::vector<std::string> wanted =
        options.by_class ? dataset.labels() : std::vector<std::string>();
    if (loaded.classes() != wanted)
      throw usage_error("the model in " + options.start_from + " has " +
                        std::to_string(loaded.classes().size()) + " classes, this training has " +
                        std::to_string(wanted.size()) +
                        (loaded.classes().size() == wanted.size() ? " others" : "") +
                        ": give or leave out --by-class, or start from another model");
    start_hash = loaded.hash;
    return loaded.model;
  }
  audio::SashimiConfig config = audio_model_config(options.model);
  if (options.by_class) config.classes = dataset.labels();
  config.audio = format.to_json();
  // Kernels of S4 are best made for what training sees; a given configuration says it itself.
  if (options.model.config.empty()) config.set_clip_length(format.clip_length);
  return std::make_shared<audio::Sashimi>(config, options.training.trainer.seed);
}

TrainableModel trainable_audio(const std::shared_ptr<audio::Sashimi>& model) {
  TrainableModel result;
  result.module = model;
  result.decays = &audio::Sashimi::decays;
  result.lowered = &audio::Sashimi::lowered;
  result.config = model->config().to_json();
  result.set_recompute = [raw = model.get()](bool on) { raw->set_recompute(on); };
  return result;
}

std::string bits_text(const nlohmann::json& figures, const char* key) {
  return format_number("%.4f", figures.at(key).get<double>());
}

void print_test(const nlohmann::json& result, std::ostream& out) {
  const bool padded = result.at("padding_samples").get<int64_t>() > 0;
  out << result.at("split").get<std::string>() << ": " << result.at("clips").get<int64_t>()
      << " clips, " << result.at("samples").get<int64_t>() << " samples"
      << (padded ? " and " + std::to_string(result.at("padding_samples").get<int64_t>()) +
                       " of padding"
                 : "")
      << "; all predictors on the same ones\n";
  std::vector<std::vector<std::string>> rows = {{"predictor", "bits per sample"}};
  if (padded) rows[0].emplace_back("with padding");
  const auto add = [&](const std::string& name, const nlohmann::json& figures) {
    rows.push_back({name, bits_text(figures, "bits_per_sample")});
    if (padded) rows.back().push_back(bits_text(figures, "bits_per_sample_all"));
  };
  add("this model", result);
  for (const nlohmann::json& baseline : result.at("baselines")) add(baseline.at("name"), baseline);
  print_table(out, rows);
  if (const std::string lost = audio::lost_to_baselines(result); !lost.empty()) warn(lost);
}

void test(const Options& options, const TrainingResult& trained,
          const std::vector<AudioClip>& training, const audio::ClipDataset& dataset,
          c10::Device device) {
  const bool held_out = !dataset.clips_of(Split::kTest).empty();
  const std::vector<AudioClip> clips =
      clips_of(dataset, held_out ? Split::kTest : Split::kValidation, options.by_class);
  if (clips.empty()) {
    warn("no clip is held out: nothing says how good the model is (--validation-fraction)");
    return;
  }
  audio::NextSampleTest test;
  test.split = held_out ? "test" : "validation";
  test.scoring.chunk = options.task.window;
  test.scoring.carry_state = options.task.carry_state;
  test.pad_loss = options.task.pad_loss;
  Progress progress(stderr, options.training.common.quiet);
  test.progress = [&](const std::string& text) { progress.update(text); };
  nlohmann::json result;
  explain_out_of_memory(device, "lower --window", [&] {
    const audio::LoadedAudioModel best = audio::load_audio_model(trained.best_model);
    best.model->to(device);
    result = audio::test_next_sample(*best.model, dataset.format(), training, clips, test);
  });
  progress.finish();
  print_test(result, std::cout);
  result["command"] = command_line();
  write_file_atomically(fs::path(options.training.output) / "test.json", result.dump(2) + "\n");
}

void run(Options options) {
  const c10::Device device = options.training.common.prepare();
  const audio::ClipDataset dataset =
      open_clips(options.clips, options.training.common.threads, options.training.common.quiet);
  print_clip_facts(dataset.facts(), std::cout);
  for (const std::string& warning : clip_warnings(dataset.facts())) warn(warning);

  const std::vector<AudioClip> training = clips_of(dataset, Split::kTrain, options.by_class);
  const audio::AudioFormat format = model_format(dataset, options.task.window, training);
  std::string start_hash;
  const std::shared_ptr<audio::Sashimi> model = make_model(options, dataset, format, start_hash);
  options.task.accumulation = options.training.trainer.accumulation;
  options.task.seed = options.training.trainer.seed;
  options.task.pad_loss = options.pad_loss == "on";
  audio::NextSampleTask task(model, training,
                             clips_of(dataset, Split::kValidation, options.by_class), options.task,
                             {{"clips", dataset.hash()}, {"start_model", start_hash}});
  audio::TrainingSamples samples{fs::path(options.training.output) / "samples", options.samples,
                                 format.clip_length, options.training.trainer.seed};
  if (options.samples > 0 && !model->has_step())
    warn("a layer of this model cannot generate step by step: no clips are written");
  else if (options.samples > 0)
    task.on_evaluation = [&](int64_t step) {
      audio::write_training_samples(model, format, step, samples);
    };
  const TrainingResult result = train(trainable_audio(model), task, options.training, device);
  std::cout << "run: " << options.training.output << ", step " << result.step << '\n';
  test(options, result, training, dataset, device);
}

void add_task_options(CLI::App& command, Options& options) {
  audio::NextSampleOptions& task = options.task;
  command.add_option("--batch", task.batch, "Clips or windows per micro-batch")
      ->check(positive_number())
      ->capture_default_str();
  CLI::Option* window =
      command
          .add_option("--window", task.window,
                      "Train on so many samples at a time, from random places of the clips (for "
                      "music); 0: clips whole")
          ->check(non_negative_number())
          ->capture_default_str();
  command
      .add_flag("--carry-state", task.carry_state,
                "Windows follow one another, each from the state in which the one before ended; "
                "bits per sample then do not depend on --window")
      ->needs(window);
  command
      .add_option("--pad-loss", options.pad_loss,
                  "Whether padding counts in the loss, so that the model learns to stop: on or off")
      ->check(CLI::IsMember({"on", "off"}))
      ->capture_default_str();
  command.add_flag("--by-class", options.by_class,
                   "Learn each class of clips, so that clips of a class can be generated");
  command
      .add_option("--null-class", task.null_class,
                  "Share of clips whose class is hidden from the model (for --guidance)")
      ->check(number_between(0, 1))
      ->capture_default_str();
  command
      .add_option("--eval-samples", task.evaluation_samples,
                  "Validation on about so many samples, evenly spread; 0: all")
      ->check(non_negative_number())
      ->capture_default_str();
  command
      .add_option("--samples", options.samples,
                  "Clips to generate at each evaluation into OUT/samples, with spectrograms and "
                  "players; 0: none")
      ->check(number_between(0, 64))
      ->capture_default_str();
}

}  // namespace

void add_audio_train(CLI::App& audio) {
  CLI::App* command =
      audio.add_subcommand("train", "Learn to predict the next sample of audio clips");
  auto options = std::make_shared<Options>();
  options->task.evaluation_samples = 1 << 20;
  add_clip_options(*command, options->clips);
  add_task_options(*command, *options);
  command->add_option("--model", options->start_from,
                      "Start from this run or model instead of a new one");
  add_audio_model_options(*command, options->model);
  add_training_options(*command, options->training);
  command->callback([options] { run(*options); });
}

}  // namespace strandwave::apps
