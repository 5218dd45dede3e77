#include <cmath>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>

#include "apps/audio_clip_options.h"
#include "apps/commands.h"
#include "apps/options.h"
#include "apps/table.h"
#include "apps/version.h"
#include "audio/embed_clips.h"
#include "audio/io/audio_file.h"
#include "audio/io/clip_dataset.h"
#include "audio/quality.h"
#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/signals.h"

namespace strandwave::apps {
namespace {

using audio::EmbeddedClips;
using audio::NamedClips;

struct Options {
  CommonOptions common;
  std::vector<std::string> candidates;
  std::string reference, reference_split = "all";
  std::string embedding = "classifier", model, weights, fad_profile = "google";
  std::string profile = "exact", save_features, training, held_out, bad_files = "refuse";
  std::vector<double> keep;
  int rate = 0;
  audio::QualityOptions quality;
  FiguresOutput output;
};

// The rate of a set's first file, or of a prepared dataset.
int rate_of(const std::string& path) {
  if (audio::ClipDataset::is_prepared(path))
    return audio::ClipDataset::open(path).format().sample_rate;
  audio::ClipFileOptions any;
  any.label = any.speaker = "none";
  return audio::audio_file_facts(audio::find_clip_files(path, any).files.at(0).path).sample_rate;
}

std::unique_ptr<audio::ClipEmbedding> make_embedding(const Options& options, c10::Device device) {
  if (options.embedding == "classifier") {
    if (options.model.empty())
      throw usage_error(
          "--embedding classifier needs --model, a run of audio finetune; --embedding "
          "logmel needs no weights");
    audio::AudioClassifier classifier = audio::load_audio_classifier(options.model);
    classifier.to(device);
    if (options.profile == "sashimi") classifier.set_temperature(1);  // the public code has none
    return audio::classifier_embedding(std::move(classifier));
  }
  if (options.embedding == "vggish") {
    if (options.weights.empty())
      throw usage_error(
          "--embedding vggish needs --weights, the state dict that torchvggish "
          "publishes (vggish-10086976.pth)");
    return audio::vggish_embedding(options.weights, options.fad_profile == "google"
                                                        ? audio::VggishProfile::kGoogle
                                                        : audio::VggishProfile::kTorch);
  }
  if (options.rate == 0 && EmbeddedClips::is_one(options.reference))
    return audio::logmel_embedding(
        EmbeddedClips::open(options.reference).embedding.value("sample_rate", 16000));
  return audio::logmel_embedding(options.rate > 0 ? options.rate : rate_of(options.reference));
}

class Sets {
 public:
  Sets(const Options& options, const audio::ClipEmbedding& embedding, Progress& progress)
      : options_(options), embedding_(embedding), progress_(progress) {}

  NamedClips candidate(const std::string& path) const {
    audio::EmbedOptions how = reading(path);
    if (!options_.keep.empty()) how.keep = {options_.keep[0], options_.keep[1]};
    return embedded(path, how);
  }
  NamedClips reference() const {
    audio::EmbedOptions how = reading(options_.reference);
    if (options_.reference_split != "all") {
      how.split = split_of(options_.reference_split);
      how.files.label = how.files.speaker = "auto";
    }
    return embedded(options_.reference, how);
  }
  NamedClips other(const std::string& path) const { return embedded(path, reading(path)); }

 private:
  audio::EmbedOptions reading(const std::string& path) const {
    audio::EmbedOptions how;
    how.files.label = how.files.speaker = "none";
    how.skip_bad = options_.bad_files == "skip";
    how.threads = options_.common.threads;
    how.progress = [this, path](const std::string& text) {
      throw_if_interrupted();
      progress_.update(path + ": " + text);
    };
    return how;
  }
  NamedClips embedded(const std::string& path, const audio::EmbedOptions& how) const {
    audio::EmbeddingOfClips result = audio::embed_clips(path, embedding_, how);
    for (const audio::BadFile& bad : result.bad) warn(bad.name + ": " + bad.reason + "; left out");
    return {path, std::move(result.clips)};
  }

  const Options& options_;
  const audio::ClipEmbedding& embedding_;
  Progress& progress_;
};

std::string number(const nlohmann::json& value, const char* format = "%.4f") {
  return value.is_number() ? format_number(format, value.get<double>()) : "-";
}

std::string with_interval(const nlohmann::json& value) {
  std::string text = number(value.at("value"));
  if (value.at("low").is_number())
    text += " (" + number(value.at("low")) + ", " + number(value.at("high")) + ")";
  return text;
}

void print_quality(const nlohmann::json& result, std::ostream& out) {
  const bool classifier = result.at("embedding").at("name") == "classifier";
  const std::string frechet = classifier ? "FID" : "FAD";
  out << "reference " << result.at("reference").at("name").get<std::string>()
      << ": m = " << result.at("reference").at("rows") << ", features of " << result.at("d")
      << " numbers (" << result.at("embedding").at("name").get<std::string>() << "), profile "
      << result.at("profile").get<std::string>() << "\n";
  std::vector<std::vector<std::string>> rows = {
      {"candidate", "n", frechet + " (95 %)", frechet + "-infinity", "KAD (95 %)"}};
  if (classifier)
    for (const char* name : {"IS", "mIS", "AM", "NDB (expected)"}) rows[0].emplace_back(name);
  for (const nlohmann::json& candidate : result.at("candidates")) {
    std::vector<std::string> row = {
        candidate.at("name"), std::to_string(candidate.at("rows").get<int64_t>()),
        with_interval(candidate.at("frechet")),
        candidate.contains("frechet_infinity")
            ? number(candidate.at("frechet_infinity").at("value"))
            : "-",
        candidate.contains("kad") ? with_interval(candidate.at("kad")) : "-"};
    if (classifier) {
      for (const char* name : {"is", "mis", "am"})
        row.push_back(candidate.contains(name) ? number(candidate.at(name), "%.3f") : "-");
      row.push_back(candidate.contains("ndb")
                        ? number(candidate.at("ndb").at("share"), "%.3f") + " (" +
                              number(candidate.at("ndb").at("expected_share"), "%.3f") + ")"
                        : "-");
    }
    rows.push_back(row);
  }
  print_table(out, rows);
  if (result.contains("p_value") && result.at("p_value").is_number())
    out << "the candidates' " << frechet
        << " differs by chance with p = " << number(result.at("p_value"), "%.3f")
        << " (paired permutation)\n";
}

void print_memorisation(const nlohmann::json& found, std::ostream& out) {
  out << "\ndistance to the nearest of " << found.at("training") << " training clips\n";
  std::vector<std::vector<std::string>> rows = {{"clips", "n", "median", "5 %", "least"}};
  for (const char* name : {"generated", "held_out"}) {
    const nlohmann::json& set = found.at(name);
    rows.push_back({std::string(name) == "held_out" ? "held out" : name,
                    std::to_string(set.at("clips").get<int64_t>()), number(set.at("median")),
                    number(set.at("q05")), number(set.at("least"))});
  }
  print_table(out, rows);
  out << number(100 * found.at("nearer_than_held_out").get<double>(), "%.1f")
      << " % of the generated clips are nearer than 99 % of the held-out ones (1.0 % would be if "
         "nothing was memorised); the nearest:\n";
  std::vector<std::vector<std::string>> nearest = {{"generated", "training", "distance"}};
  for (const nlohmann::json& pair : found.at("nearest"))
    nearest.push_back({pair.at("clip"), pair.at("training_clip"), number(pair.at("distance"))});
  print_table(out, nearest);
}

void evaluate(const Options& options, c10::Device device) {
  const std::unique_ptr<audio::ClipEmbedding> embedding = make_embedding(options, device);
  Progress progress(stderr, options.common.quiet);
  const Sets sets(options, *embedding, progress);
  const NamedClips reference = sets.reference();
  if (!options.save_features.empty()) reference.clips.save(options.save_features);
  std::vector<NamedClips> candidates;
  for (const std::string& path : options.candidates) candidates.push_back(sets.candidate(path));
  audio::QualityOptions quality = options.quality;
  quality.sashimi = options.profile == "sashimi";
  quality.progress = [&](const std::string& text) {
    throw_if_interrupted();
    progress.update(text);
  };
  nlohmann::json result = audio::quality_of(reference, candidates, quality);
  if (!options.training.empty())
    result["memorisation"] = audio::memorisation_of(sets.other(options.training), candidates[0],
                                                    sets.other(options.held_out));
  progress.finish();
  for (const nlohmann::json& note : result.at("notes")) warn(note.get<std::string>());
  std::ostream& out = options.output.tables();
  print_quality(result, out);
  if (result.contains("memorisation")) print_memorisation(result.at("memorisation"), out);
  result["command"] = command_line();
  result["version"] = STRANDWAVE_VERSION;
  result["reader"] = audio::audio_file_support();
  options.output.write(result);
}

void run(const Options& options) {
  options.output.check();
  refuse_existing_file(options.save_features, options.output.force);
  if (options.candidates.size() > 2)
    throw usage_error("audio evaluate compares one or two sets of clips with the reference; " +
                      std::to_string(options.candidates.size()) + " were given");
  if (options.training.empty() != options.held_out.empty())
    throw usage_error(
        "--training and --held-out go together: how near held-out clips come to "
        "training clips is the measure for generated ones");
  if (!options.keep.empty() && !(options.keep[0] < options.keep[1]))
    throw usage_error("--keep: the first share must be smaller than the second");
  const c10::Device device = options.common.prepare();
  const SignalGuard signals;
  try {
    evaluate(options, device);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kInterrupted) throw;
    throw runtime_failure(error.what() + std::string("; nothing was written"));
  }
}

void add_embedding_options(CLI::App& command, Options& options) {
  command
      .add_option("--embedding", options.embedding,
                  "How clips become numbers: classifier, vggish, or logmel, which needs no weights")
      ->check(CLI::IsMember({"classifier", "vggish", "logmel"}))
      ->capture_default_str();
  command.add_option("--model", options.model,
                     "The classifier: a run or model folder of `audio finetune`");
  command.add_option("--weights", options.weights,
                     "VGGish's state dict: a file of torch.save or safetensors");
  command
      .add_option("--fad-profile", options.fad_profile,
                  "VGGish's windows: google (overlapping, loudness raised) or torch (the ports)")
      ->check(CLI::IsMember({"google", "torch"}))
      ->capture_default_str();
  command
      .add_option("--rate", options.rate,
                  "Samples per second at which logmel hears; default the reference's own")
      ->check(CLI::Range(audio::kLowestRate, audio::kHighestRate));
}

void add_measure_options(CLI::App& command, Options& options) {
  command
      .add_option("--profile", options.profile,
                  "exact, or sashimi: IS, mIS and NDB as the public SaShiMi code computes them")
      ->check(CLI::IsMember({"exact", "sashimi"}))
      ->capture_default_str();
  command
      .add_option("--keep", options.keep,
                  "Only candidates between two shares by likelihood, least first, from the "
                  "manifest.tsv of audio generate: 0.4,0.95 is the public code's choice")
      ->delimiter(',')
      ->expected(2)
      ->check(number_between(0, 1));
  command
      .add_option("--bootstrap", options.quality.resamples,
                  "Resamples of the Frechet distance's interval; 0: none")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  command
      .add_option("--permutations", options.quality.permutations,
                  "Permutations of the test between two candidates; 0: none")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  command
      .add_option("--bandwidth", options.quality.bandwidth,
                  "Of KAD's kernel; 0: the median distance of the reference's clips")
      ->check(non_negative_number())
      ->capture_default_str();
  command.add_option("--training", options.training,
                     "Clips that the generator was trained on: how near the first candidate comes");
  command.add_option("--held-out", options.held_out,
                     "Real clips that it was not trained on, to compare with");
}

}  // namespace

void add_audio_evaluate(CLI::App& audio) {
  CLI::App* command =
      audio.add_subcommand("evaluate", "Judge one or two sets of clips against a reference");
  auto options = std::make_shared<Options>();
  command
      ->add_option("CLIPS", options->candidates,
                   "One or two sets: folders, manifests, what `audio prepare` wrote, or files of "
                   "features")
      ->required();
  command->add_option("--reference", options->reference, "Real clips, in the same forms")
      ->required();
  command
      ->add_option("--reference-split", options->reference_split,
                   "Which of them: all, train, validation or test")
      ->check(CLI::IsMember({"all", "train", "validation", "test"}))
      ->capture_default_str();
  add_embedding_options(*command, *options);
  add_measure_options(*command, *options);
  command->add_option("--save-features", options->save_features,
                      "Write the reference's features to this .safetensors file, to be given as "
                      "--reference later");
  add_bad_files_option(*command, options->bad_files);
  add_seed_option(*command, options->quality.seed);
  add_figures_options(*command, options->output);
  command->get_option("--force")->description(
      "Overwrite output files, and go on where figures would mislead");
  add_common_options(*command, options->common);
  command->callback([options] {
    options->quality.force = options->output.force;
    run(*options);
  });
}

}  // namespace strandwave::apps
