#include "audio/io/clip_files.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <regex>
#include <set>

#include "audio/io/audio_file.h"
#include "audio/io/clip_manifest.h"
#include "audio/io/clip_splits.h"
#include "core/base/error.h"

namespace strandwave::audio {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDigitNames = R"((?:^|/)(\d)_([A-Za-z][A-Za-z0-9-]*)_\d+\.[A-Za-z0-9]+$)";
constexpr const char* kSpeechCommands = R"((?:^|/)([0-9a-f]{6,})_nohash_\d+\.[A-Za-z0-9]+$)";

bool has_audio_ending(const fs::path& path) {
  static const std::set<std::string> kEndings = {".wav",  ".wave", ".flac", ".ogg", ".oga",
                                                 ".opus", ".mp3",  ".aif",  ".aiff"};
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return kEndings.count(ending) > 0;
}

bool is_audio(const fs::path& path) {
  if (has_audio_ending(path)) return true;
  std::array<char, 16> first = {};
  std::ifstream in(path, std::ios::binary);
  in.read(first.data(), first.size());
  return looks_like_audio({first.data(), static_cast<size_t>(in.gcount())});
}

bool is_hidden(const fs::path& path) { return path.filename().string().rfind('.', 0) == 0; }

ClipFiles files_of_folder(const fs::path& folder) {
  ClipFiles found;
  try {
    fs::recursive_directory_iterator at(folder), end;
    for (; at != end; ++at) {
      if (is_hidden(at->path())) {
        if (at->is_directory()) at.disable_recursion_pending();
        continue;
      }
      if (!at->is_regular_file()) continue;
      if (is_audio(at->path()))
        found.files.push_back(
            {at->path(), at->path().lexically_relative(folder).generic_string(), "", "", {}});
      else
        ++found.ignored;
    }
  } catch (const fs::filesystem_error& error) {
    throw input_error(error.path1().string() + ": cannot be read: " + error.code().message());
  }
  std::sort(found.files.begin(), found.files.end(),
            [](const ClipFile& a, const ClipFile& b) { return a.name < b.name; });
  if (found.files.empty())
    throw input_error(folder.string() + ": no audio file is in this folder or below it" +
                      (found.ignored == 0
                           ? std::string(" (it holds no files)")
                           : " (" + std::to_string(found.ignored) + " other files)") +
                      "; WAV, FLAC, Ogg Vorbis, Opus and MP3 are recognised by their content");
  return found;
}

std::regex expression(const std::string& text, const std::string& what) {
  try {
    std::regex pattern(text);
    if (pattern.mark_count() == 1) return pattern;
    throw usage_error("the expression for " + what + " needs one group, as in (\\d)_\\w+: '" +
                      text + "' has " + std::to_string(pattern.mark_count()));
  } catch (const std::regex_error& error) {
    throw usage_error("'" + text + "' is no regular expression for " + what + ": " + error.what());
  }
}

// What the group matches in each name, or Error for one in which the expression is not found.
std::vector<std::string> matches(const std::vector<ClipFile>& files, const std::string& text,
                                 const std::string& what) {
  const std::regex pattern = expression(text, what);
  std::vector<std::string> found;
  for (const ClipFile& file : files) {
    std::smatch match;
    if (!std::regex_search(file.name, match, pattern) || match.length(1) == 0)
      throw usage_error("the expression for " + what + " '" + text + "' is not found in " +
                        file.name);
    found.push_back(match.str(1));
  }
  return found;
}

// The group of a named shape if every name has it, else nothing.
std::vector<std::string> known_shape(const std::vector<ClipFile>& files, const char* text,
                                     size_t group) {
  const std::regex pattern(text);
  std::vector<std::string> found;
  for (const ClipFile& file : files) {
    std::smatch match;
    if (!std::regex_search(file.name, match, pattern)) return {};
    found.push_back(match.str(group));
  }
  return found;
}

std::vector<std::string> first_folders(const std::vector<ClipFile>& files) {
  std::vector<std::string> found;
  for (const ClipFile& file : files) {
    const size_t slash = file.name.find('/');
    if (slash == std::string::npos || slash == 0) return {};
    found.push_back(file.name.substr(0, slash));
  }
  return found;
}

void set_labels(ClipFiles& clips, const std::string& source) {
  const auto take = [&](const std::vector<std::string>& values, const std::string& from) {
    for (size_t i = 0; i < values.size(); ++i) clips.files[i].label = values[i];
    if (!values.empty()) clips.labels_from = from;
    return !values.empty();
  };
  if (source == "none") {
    for (ClipFile& file : clips.files) file.label.clear();
    clips.labels_from.clear();
  } else if (source == "folder") {
    if (!take(first_folders(clips.files), "folders"))
      throw usage_error("labels from folders: " + clips.files[0].name +
                        " lies in no folder of the data");
  } else if (source != "auto") {
    take(matches(clips.files, source, "labels"), "names, " + source);
  } else if (clips.labels_from.empty()) {
    take(first_folders(clips.files), "folders") ||
        take(known_shape(clips.files, kDigitNames, 1), "names digit_speaker_take");
  }
}

void set_speakers(ClipFiles& clips, const std::string& source) {
  const auto take = [&](const std::vector<std::string>& values, const std::string& from) {
    for (size_t i = 0; i < values.size(); ++i) clips.files[i].speaker = values[i];
    if (!values.empty()) clips.speakers_from = from;
    return !values.empty();
  };
  if (source == "none") {
    for (ClipFile& file : clips.files) file.speaker.clear();
    clips.speakers_from.clear();
  } else if (source != "auto") {
    take(matches(clips.files, source, "speakers"), "names, " + source);
  } else if (clips.speakers_from.empty()) {
    take(known_shape(clips.files, kDigitNames, 2), "names digit_speaker_take") ||
        take(known_shape(clips.files, kSpeechCommands, 1), "names speaker_nohash_take");
  }
}

// Numbers and digit words by value, before everything else.
std::pair<int64_t, std::string> label_order(const std::string& label) {
  static const std::array<const char*, 10> kDigits = {"zero", "one", "two",   "three", "four",
                                                      "five", "six", "seven", "eight", "nine"};
  const auto word = std::find(kDigits.begin(), kDigits.end(), label);
  if (word != kDigits.end()) return {word - kDigits.begin(), label};
  const bool number = !label.empty() && label.size() <= 15 &&
                      label.find_first_not_of("0123456789") == std::string::npos;
  return {number ? std::stoll(label) : int64_t{1} << 62, label};
}

std::vector<std::string> all_labels(const std::vector<ClipFile>& files) {
  std::set<std::string> distinct;
  for (const ClipFile& file : files)
    if (!file.label.empty()) distinct.insert(file.label);
  std::vector<std::string> labels(distinct.begin(), distinct.end());
  std::sort(labels.begin(), labels.end(), [](const std::string& a, const std::string& b) {
    return label_order(a) < label_order(b);
  });
  return labels;
}

}  // namespace

ClipFiles find_clip_files(const fs::path& data, const ClipFileOptions& options) {
  ClipFiles clips;
  if (!fs::exists(data)) throw input_error(data.string() + ": there is no such file or folder");
  if (fs::is_directory(data))
    clips = files_of_folder(data);
  else if (is_audio(data))
    clips.files.push_back({data, data.filename().string(), "", "", {}});
  else
    clips = read_clip_manifest(data);
  set_labels(clips, options.label);
  set_speakers(clips, options.speaker);
  clips.labels = all_labels(clips.files);
  divide_clip_files(clips, options);
  return clips;
}

}  // namespace strandwave::audio
