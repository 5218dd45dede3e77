#include "apps/audio_clip_options.h"

#include <cmath>
#include <iostream>

#include "apps/options.h"
#include "apps/table.h"
#include "core/base/error.h"
#include "core/base/progress.h"

namespace strandwave::apps {
namespace {

std::string count_text(const nlohmann::json& count) { return std::to_string(count.get<int64_t>()); }

std::string minutes(const nlohmann::json& samples, const nlohmann::json& rate) {
  return format_number("%.1f", samples.get<double>() / rate.get<double>() / 60);
}

void add_format_options(CLI::App& command, ClipOptions& options) {
  options.of_files.push_back(
      command
          .add_option("--rate", options.dataset.format.sample_rate,
                      "Samples per second to which every file is brought; default the files' own")
          ->check(CLI::Range(audio::kLowestRate, audio::kHighestRate)));
  options.of_files.push_back(
      command
          .add_option("--companding", options.companding,
                      "How samples become 8 bits: mu-law, s4 (the public SaShiMi code's) or linear")
          ->check(CLI::IsMember(audio::companding_names()))
          ->capture_default_str());
  options.of_files.push_back(
      command
          .add_option("--scale", options.scale,
                      "Of each file: none, peak (greatest sample 1), minmax (least -1, greatest 1)")
          ->check(CLI::IsMember(audio::scale_names()))
          ->capture_default_str());
  options.of_files.push_back(command.add_option(
      "--clip-length", options.clip_length,
      "Samples of a clip, or seconds with an s: 16000, 1.5s; default as long as its file"));
  options.of_files.push_back(
      command
          .add_option("--length", options.length,
                      "What becomes of files of another length: pad (or cut), crop (or leave "
                      "short), slice, error")
          ->check(CLI::IsMember(audio::length_policy_names()))
          ->capture_default_str());
  options.of_files.push_back(add_bad_files_option(command, options.bad_files));
}

void add_split_options(CLI::App& command, ClipOptions& options) {
  audio::ClipFileOptions& files = options.dataset.files;
  options.of_files.push_back(
      command
          .add_option("--label", files.label,
                      "Where classes come from: folder, none, or an expression with one group that "
                      "is searched for in names; auto: a manifest, folders, digit_speaker_take")
          ->capture_default_str());
  options.of_files.push_back(
      command
          .add_option("--speaker", files.speaker,
                      "Who speaks: none, or an expression with one group; auto: a manifest, "
                      "digit_speaker_take, speaker_nohash_take")
          ->capture_default_str());
  options.of_files.push_back(
      command
          .add_option("--split", options.split,
                      "What divides training, validation and test: file, speaker, regex or list; "
                      "auto: the manifest, else file")
          ->check(CLI::IsMember(audio::split_by_names()))
          ->capture_default_str());
  options.of_files.push_back(command.add_option(
      "--validation", files.validation,
      "Of --split regex: what validation names match; of list: a file of names"));
  options.of_files.push_back(command.add_option("--test", files.test, "The same for the test"));
  options.of_files.push_back(command
                                 .add_option("--validation-fraction", files.shares.validation,
                                             "Part that becomes validation, by file or speaker")
                                 ->check(CLI::Range(0.0, 1.0))
                                 ->capture_default_str());
  options.of_files.push_back(command
                                 .add_option("--test-fraction", files.shares.test,
                                             "Part that becomes test, by file or speaker")
                                 ->check(CLI::Range(0.0, 1.0))
                                 ->capture_default_str());
  options.of_files.push_back(
      command.add_option("--split-seed", files.shares.seed, "Seed of the division")
          ->capture_default_str());
}

void print_reading(const nlohmann::json& facts, std::ostream& out) {
  out << count_text(facts.at("files")) << " files of ";
  const char* separator = "";
  for (const auto& [rate, files] : facts.at("rates").items()) {
    out << separator << rate << " Hz";
    if (facts.at("rates").size() > 1) out << " (" << count_text(files) << ')';
    separator = ", ";
  }
  out << ", now " << count_text(facts.at("sample_rate")) << " Hz: " << count_text(facts.at("clips"))
      << " clips, " << minutes(facts.at("samples"), facts.at("sample_rate")) << " minutes";
  const auto note = [&](const char* key, const char* text) {
    if (facts.at(key).get<int64_t>() > 0) out << "; " << count_text(facts.at(key)) << text;
  };
  note("several_channels", " with several channels, averaged");
  note("padded", " padded");
  note("cut", " cut");
  note("sliced", " sliced");
  note("ignored_files", " other files ignored");
  out << '\n';
}

}  // namespace

CLI::Option* add_bad_files_option(CLI::App& command, std::string& choice) {
  return command
      .add_option("--bad-files", choice,
                  "Silent, one-sample, non-finite and damaged files: refuse, or skip and list")
      ->check(CLI::IsMember({"refuse", "skip"}))
      ->capture_default_str();
}

void add_clip_options(CLI::App& command, ClipOptions& options) {
  command
      .add_option("DATA", options.data,
                  "A folder of WAV, FLAC, Ogg, Opus or MP3 files, a manifest TSV (path, label, "
                  "speaker, split), or what `audio prepare` wrote")
      ->required();
  add_format_options(command, options);
  add_split_options(command, options);
}

int64_t clip_samples(const std::string& text, int sample_rate) {
  const auto fail = [&](const std::string& what) {
    return usage_error("--clip-length " + text + ": " + what);
  };
  size_t used = 0;
  double value = 0;
  try {
    value = std::stod(text, &used);
  } catch (const std::logic_error&) {
    throw fail("write samples, 16000, or seconds, 1.5s");
  }
  const std::string unit = text.substr(used);
  if ((unit != "" && unit != "s") || !std::isfinite(value))
    throw fail("write samples, 16000, or seconds, 1.5s");
  if (unit == "s" && sample_rate == 0) throw fail("a length in seconds needs --rate");
  const double samples = unit == "s" ? std::round(value * sample_rate) : value;
  if (samples < 2 || samples > 1e12 || samples != std::floor(samples))
    throw fail("a clip has a whole number of samples, two at least");
  return static_cast<int64_t>(samples);
}

audio::ClipDataset open_clips(const ClipOptions& options, int threads, bool quiet) {
  if (audio::ClipDataset::is_prepared(options.data)) {
    for (const CLI::Option* option : options.of_files)
      if (option->count() > 0)
        throw usage_error(option->get_name() + " has no effect on " + options.data +
                          ", which is prepared already: give it to `strandwave audio prepare`");
    return audio::ClipDataset::open(options.data);
  }
  audio::ClipDatasetOptions dataset = options.dataset;
  dataset.format.companding = audio::companding_of(options.companding);
  dataset.format.scale = audio::scale_of(options.scale);
  dataset.format.length = audio::length_policy_of(options.length);
  if (!options.clip_length.empty())
    dataset.format.clip_length = clip_samples(options.clip_length, dataset.format.sample_rate);
  dataset.files.split = audio::split_by_of(options.split);
  dataset.reading.skip_bad = options.bad_files == "skip";
  dataset.reading.threads = threads;
  Progress progress(stderr, quiet);
  dataset.reading.progress = [&](size_t done, size_t total) {
    progress.update("reading " + std::to_string(done) + " of " + std::to_string(total) + " files");
  };
  return audio::ClipDataset::open(options.data, dataset);
}

void print_clip_facts(const nlohmann::json& facts, std::ostream& out) {
  print_reading(facts, out);
  for (const auto& [key, name] : {std::pair("labels_from", "classes"),
                                  {"speakers_from", "speakers"},
                                  {"split_by", "split"}}) {
    const std::string from = facts.at(key);
    out << name << ": " << (from.empty() ? "not known" : "by " + from) << '\n';
  }
  std::vector<std::vector<std::string>> rows = {{"split", "clips", "minutes", "classes", "speakers",
                                                 "of speakers in training", "copies of training"}};
  for (const nlohmann::json& split : facts.at("splits")) {
    int64_t classes = 0;
    for (const auto& [label, clips] : split.at("per_label").items())
      classes += clips.get<int64_t>() > 0 ? 1 : 0;
    const bool held_out = split.contains("copies");
    const bool speakers = !facts.at("speakers_from").get<std::string>().empty();
    rows.push_back({split.at("split"), count_text(split.at("clips")),
                    minutes(split.at("samples"), facts.at("sample_rate")), std::to_string(classes),
                    speakers ? count_text(split.at("speakers")) : "?",
                    !held_out  ? "-"
                    : speakers ? count_text(split.at("clips_of_known_speakers"))
                               : "?",
                    held_out ? count_text(split.at("copies")) : "-"});
  }
  print_table(out, rows);
}

std::vector<std::string> clip_warnings(const nlohmann::json& facts) {
  constexpr size_t kMostNamed = 10;
  std::vector<std::string> warnings;
  const nlohmann::json& bad = facts.at("bad_files");
  for (size_t i = 0; i < std::min(bad.size(), kMostNamed); ++i)
    warnings.push_back("left out " + bad[i].at("name").get<std::string>() + ": " +
                       bad[i].at("reason").get<std::string>());
  if (bad.size() > kMostNamed)
    warnings.push_back("left out " + std::to_string(bad.size() - kMostNamed) + " files more, " +
                       std::to_string(bad.size()) + " in all");
  const nlohmann::json& quiet = facts.at("quiet_files");
  for (size_t i = 0; i < std::min(quiet.size(), kMostNamed); ++i)
    warnings.push_back(quiet[i].get<std::string>() + " is nearly silent (below -46 dB)");
  if (quiet.size() > kMostNamed)
    warnings.push_back(std::to_string(quiet.size()) + " files in all are nearly silent");
  if (facts.at("clipped_samples").get<int64_t>() > 0)
    warnings.push_back(count_text(facts.at("clipped_samples")) + " samples of " +
                       count_text(facts.at("clipped_clips")) +
                       " clips are beyond full scale and were clipped (--scale peak avoids that)");
  for (const nlohmann::json& split : facts.at("splits"))
    if (split.value("copies", int64_t{0}) > 0)
      warnings.push_back(count_text(split.at("copies")) + " clips of " +
                         split.at("split").get<std::string>() +
                         " are exact copies of training clips");
  return warnings;
}

}  // namespace strandwave::apps
