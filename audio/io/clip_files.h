// Which files a set of clips is made of, and what is known about each of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/base/split_assignment.h"

namespace strandwave::audio {

struct ClipFile {
  std::filesystem::path path;
  std::string name;     // path below the folder, or as the manifest has it; with '/'
  std::string label;    // empty: none
  std::string speaker;  // empty: not known
  std::optional<Split> split;
};

// How training, validation and test are told apart:
//   given     as the manifest's column "split" says
//   file      files are dealt at random, each label alike
//   speaker   speakers are dealt: nobody is heard in two splits
//   regex     by the name: files that match `validation` and `test`; the rest is training
//   list      by files of names, one per line, `validation` and `test`; the rest is training
// Where regex, list or the manifest name no validation, it is made of training files, by file.
enum class SplitBy { kAuto, kFile, kSpeaker, kRegex, kList };  // auto: given, or else file
const std::vector<std::string>& split_by_names();
SplitBy split_by_of(const std::string& name);  // throws Error(kUsage)

struct ClipFileOptions {
  // "auto", "none", "folder" (the first folder of the name), or a regular expression (ECMAScript)
  // with one group that is searched for in the name: (\d)_\w+_\d+.wav. auto: a manifest's column;
  // else the folders, where all files lie in folders; else the digits of names such as
  // 7_jackson_32.wav (digit_speaker_take, as in the Free Spoken Digit Dataset).
  std::string label = "auto";
  // "auto", "none", or a regular expression with one group. auto: a manifest's column; else names
  // digit_speaker_take, or SPEAKER_nohash_TAKE as in Speech Commands.
  std::string speaker = "auto";
  SplitBy split = SplitBy::kAuto;
  std::string validation = {}, test = {};  // regular expressions, or paths of lists
  SplitShares shares = {};                 // of file and speaker
};

struct ClipFiles {
  std::vector<ClipFile> files;      // in the order of their names, or of the manifest
  std::vector<std::string> labels;  // all there are: numbers and digit words by value, else sorted
  int64_t ignored = 0;              // files of the folder that are not audio
  std::string labels_from, speakers_from, split_by;  // in words, for reports; empty: there are none
};

// `data` is a folder (with all folders below it), one audio file, or a manifest: a table with a
// header line and tabs, columns path (or file), and where given label (or class), speaker, split;
// relative paths count from its folder. What is audio is decided by content; hidden files are left
// out, and files that have an audio ending but other content are listed, so that reading reports
// them. Throws Error(kInput): nothing there, no audio in the folder, a wrong or doubled line of the
// manifest; Error(kUsage): an expression that is none or has no group, one that matches some files
// only, --split without what it needs.
ClipFiles find_clip_files(const std::filesystem::path& data, const ClipFileOptions& options = {});

}  // namespace strandwave::audio
