// Clips as 8-bit codes, ready for training.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "audio/io/audio_format.h"
#include "audio/io/clip_files.h"
#include "audio/io/clip_reader.h"
#include "core/base/safetensors.h"

namespace strandwave::audio {

struct ClipDatasetOptions {
  AudioFormat format = {.sample_rate = 0};  // rate 0: the files' own
  ClipFileOptions files;
  ClipReaderOptions reading;
};

struct ClipInfo {
  std::string name;
  int64_t label = -1;   // index into labels(); -1: none
  std::string speaker;  // empty: not known
  Split split = Split::kTrain;
  int64_t real = 0;    // samples before the padding
  int64_t length = 0;  // samples with the padding
};

// Open once, read from any thread.
class ClipDataset {
 public:
  // A prepared file, or what find_clip_files() takes, which is then decoded into memory (one byte
  // per sample). The options are of no effect on a prepared file. Throws Error as those do, and
  // Error(kInput) for a prepared file that is damaged.
  static ClipDataset open(const std::filesystem::path& data,
                          const ClipDatasetOptions& options = {});
  // Whether a path is a prepared file, by content.
  static bool is_prepared(const std::filesystem::path& data);

  size_t size() const { return clips_.size(); }
  const ClipInfo& clip(size_t i) const { return clips_.at(i); }
  std::span<const uint8_t> codes(size_t i) const;
  // Decoded: what is left of the file's samples after companding.
  std::vector<float> samples(size_t i) const;

  const AudioFormat& format() const { return format_; }
  const std::vector<std::string>& labels() const { return labels_; }
  std::vector<size_t> clips_of(Split split) const;
  // sha256 of the codes, the format, and each clip's label, split and length: not of names.
  const std::string& hash() const { return hash_; }

  // What was read and how it is divided, for people and for results:
  // {"clips", "samples", "sample_rate", "files", "ignored_files", "rates": {"8000": files},
  //  "several_channels", "padded", "cut", "sliced", "clipped_samples", "clipped_clips",
  //  "bad_files": [{"name", "reason"}], "quiet_files": [names],
  //  "labels_from", "speakers_from", "split_by",
  //  "splits": [{"split", "clips", "samples", "speakers", "clips_of_known_speakers",
  //              "copies", "per_label": {label: clips}}]}
  // clips_of_known_speakers: clips whose speaker is heard in training too; copies: clips with
  // exactly the samples of a training clip.
  const nlohmann::json& facts() const { return facts_; }

  // Writes a prepared file (docs/formats.md), complete or absent.
  void save(const std::filesystem::path& path) const;

 private:
  void read_files(const std::filesystem::path& data, const ClipDatasetOptions& options);
  void read_prepared(const std::filesystem::path& path);
  void read_prepared_clips();
  std::string content_hash() const;

  AudioFormat format_;
  std::vector<std::string> labels_;
  std::vector<ClipInfo> clips_;
  std::vector<uint64_t> offsets_;            // of each clip's codes
  std::vector<uint8_t> owned_;               // of files that were decoded
  std::unique_ptr<SafetensorsFile> mapped_;  // of a prepared file
  std::span<const uint8_t> mapped_codes_;
  std::string hash_;
  nlohmann::json facts_;
};

}  // namespace strandwave::audio
