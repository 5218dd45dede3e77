#include "audio/io/clip_splits.h"

#include <algorithm>
#include <functional>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/hash.h"

namespace strandwave::audio {
namespace {

uint64_t key_of(const std::string& name) {
  return std::stoull(sha256_hex(name).substr(0, 16), nullptr, 16);
}

// Divides the files that have no split yet; files of one unit stay together.
void deal(ClipFiles& clips, const SplitShares& shares,
          const std::function<std::string(const ClipFile&)>& unit_of) {
  std::map<std::string, int32_t> stratum_of = {{"", 0}};
  for (const std::string& label : clips.labels)
    stratum_of.emplace(label, static_cast<int32_t>(stratum_of.size()));
  std::map<std::string, std::map<int32_t, int64_t>> weights;
  for (const ClipFile& file : clips.files)
    if (!file.split) ++weights[unit_of(file)][stratum_of.at(file.label)];
  std::vector<SplitUnit> units;
  for (const auto& [name, strata] : weights)
    units.push_back({key_of(name), {strata.begin(), strata.end()}});
  const std::vector<Split> splits = assign_splits(units, stratum_of.size(), shares);
  std::map<std::string, Split> split_of_unit;
  size_t i = 0;
  for (const auto& [name, strata] : weights) split_of_unit[name] = splits[i++];
  for (ClipFile& file : clips.files)
    if (!file.split) file.split = split_of_unit.at(unit_of(file));
}

void by_file(ClipFiles& clips, const SplitShares& shares) {
  deal(clips, shares, [](const ClipFile& file) { return file.name; });
  clips.split_by = "file";
}

void by_speaker(ClipFiles& clips, const SplitShares& shares) {
  std::set<std::string> speakers;
  for (const ClipFile& file : clips.files) {
    if (file.speaker.empty())
      throw usage_error("to divide by speaker every file needs one; that of " + file.name +
                        " is not known: give --speaker an expression with one group that finds it "
                        "in the names, or a manifest with a column 'speaker'");
    speakers.insert(file.speaker);
  }
  if (speakers.size() < 2)
    throw usage_error("to divide by speaker there must be two at least; all files are of " +
                      *speakers.begin());
  // Labels are no strata here: every speaker has most of them.
  ClipFiles unlabelled = clips;
  unlabelled.labels.clear();
  for (ClipFile& file : unlabelled.files) file.label.clear();
  deal(unlabelled, shares, [](const ClipFile& file) { return file.speaker; });
  for (size_t i = 0; i < clips.files.size(); ++i) clips.files[i].split = unlabelled.files[i].split;
  clips.split_by = "speaker";
}

// Out of the training files, where nothing else is said.
void make_validation(ClipFiles& clips, SplitShares shares) {
  const bool any = std::any_of(clips.files.begin(), clips.files.end(), [](const ClipFile& file) {
    return file.split == Split::kValidation;
  });
  if (any || shares.validation == 0) return;
  shares.test = 0;
  for (ClipFile& file : clips.files)
    if (file.split == Split::kTrain) file.split.reset();
  deal(clips, shares, [](const ClipFile& file) { return file.name; });
  clips.split_by += "; validation by file";
}

// Two tests for names; nothing is held out where they are empty.
struct HeldOut {
  std::function<bool(const std::string&)> validation, test;
};

void by_name(ClipFiles& clips, const HeldOut& held_out) {
  for (ClipFile& file : clips.files) {
    const bool validation = held_out.validation(file.name), test = held_out.test(file.name);
    if (validation && test)
      throw usage_error(file.name + " is named for validation and for test: one of them must go");
    file.split = test ? Split::kTest : validation ? Split::kValidation : Split::kTrain;
  }
}

void require_one(const ClipFileOptions& options, const std::string& what) {
  if (options.validation.empty() && options.test.empty())
    throw usage_error("to divide by " + what +
                      ", say with --validation and --test which files they are");
}

std::function<bool(const std::string&)> matcher(const std::string& text) {
  if (text.empty()) return [](const std::string&) { return false; };
  try {
    return [pattern = std::regex(text)](const std::string& name) {
      return std::regex_search(name, pattern);
    };
  } catch (const std::regex_error& error) {
    throw usage_error("'" + text + "' is no regular expression: " + error.what());
  }
}

void require_a_match(const ClipFiles& clips, const std::function<bool(const std::string&)>& match,
                     const std::string& option, const std::string& text) {
  if (text.empty()) return;
  const bool any = std::any_of(clips.files.begin(), clips.files.end(),
                               [&](const ClipFile& file) { return match(file.name); });
  if (!any)
    throw usage_error(option + " '" + text + "' matches none of the " +
                      std::to_string(clips.files.size()) + " files, such as " +
                      clips.files[0].name);
}

void require_training(const ClipFiles& clips) {
  const bool any = std::any_of(clips.files.begin(), clips.files.end(),
                               [](const ClipFile& file) { return file.split == Split::kTrain; });
  if (!any) throw usage_error("--validation and --test leave no file to train on: hold out less");
}

void by_regex(ClipFiles& clips, const ClipFileOptions& options) {
  require_one(options, "regex");
  const auto validation = matcher(options.validation), test = matcher(options.test);
  require_a_match(clips, validation, "--validation", options.validation);
  require_a_match(clips, test, "--test", options.test);
  by_name(clips, {validation, test});
  require_training(clips);
  clips.split_by = "names: validation '" + options.validation + "', test '" + options.test + "'";
}

std::set<std::string> names_in(const std::string& path) {
  std::set<std::string> names;
  if (path.empty()) return names;
  std::istringstream text(read_file(path));
  for (std::string line; std::getline(text, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty()) names.insert(line);
  }
  return names;
}

// Lists may name more files than there are (those of words that were left out), but not none.
void require_a_match(const ClipFiles& clips, const std::set<std::string>& names,
                     const std::string& path) {
  if (path.empty()) return;
  const bool any = std::any_of(clips.files.begin(), clips.files.end(),
                               [&](const ClipFile& file) { return names.count(file.name) > 0; });
  if (!any)
    throw input_error(path + ": none of its " + std::to_string(names.size()) +
                      " lines is the name of a file of the data, such as " + clips.files[0].name);
}

void by_list(ClipFiles& clips, const ClipFileOptions& options) {
  require_one(options, "list");
  const std::set<std::string> validation = names_in(options.validation),
                              test = names_in(options.test);
  require_a_match(clips, validation, options.validation);
  require_a_match(clips, test, options.test);
  by_name(clips, {[&](const std::string& name) { return validation.count(name) > 0; },
                  [&](const std::string& name) { return test.count(name) > 0; }});
  clips.split_by = "lists";
}

void divide(ClipFiles& clips, const ClipFileOptions& options) {
  switch (options.split) {
    case SplitBy::kAuto:
    case SplitBy::kFile:
      return by_file(clips, options.shares);
    case SplitBy::kSpeaker:
      return by_speaker(clips, options.shares);
    case SplitBy::kRegex:
      by_regex(clips, options);
      return make_validation(clips, options.shares);
    case SplitBy::kList:
      by_list(clips, options);
      return make_validation(clips, options.shares);
  }
}

}  // namespace

const std::vector<std::string>& split_by_names() {
  static const std::vector<std::string> kNames = {"auto", "file", "speaker", "regex", "list"};
  return kNames;
}

SplitBy split_by_of(const std::string& name) {
  const auto& names = split_by_names();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end())
    throw usage_error("there is no division by '" + name +
                      "': choose one of auto, file, speaker, regex, list");
  return static_cast<SplitBy>(found - names.begin());
}

void divide_clip_files(ClipFiles& clips, const ClipFileOptions& options) {
  const bool given = clips.files[0].split.has_value();
  const bool named = !options.validation.empty() || !options.test.empty();
  if (named && options.split != SplitBy::kRegex && options.split != SplitBy::kList)
    throw usage_error("--validation and --test go with --split regex or --split list");
  if (options.split == SplitBy::kAuto && given) {
    clips.split_by = "the manifest";
    make_validation(clips, options.shares);
  } else {
    for (ClipFile& file : clips.files) file.split.reset();
    divide(clips, options);
  }
}

}  // namespace strandwave::audio
