// Audio files as clips of one format.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "audio/io/audio_format.h"
#include "audio/io/clip_files.h"

namespace strandwave::audio {

struct WaveClip {
  size_t file = 0;             // index into the files
  std::string name;            // of the file; pieces of one are name#0, name#1, ...
  std::vector<float> samples;  // scaled, of the format's rate and length, padding included
  int64_t real = 0;            // samples before the padding
};

struct BadFile {
  std::string name, reason;
};

struct ReadingReport {
  int64_t files = 0;               // that were read
  std::vector<BadFile> bad;        // that were left out
  std::map<int, int64_t> rates;    // files of each rate
  int64_t several_channels = 0;    // files
  int64_t padded = 0, cut = 0;     // clips that got silence, files that lost their end
  std::vector<std::string> quiet;  // that stay below 5e-3 of full scale
  int64_t sliced = 0;              // files of more than one clip
};

struct ClipReaderOptions {
  bool skip_bad = false;
  int threads = 0;  // 0: all cores
  // Called now and then; may throw to stop.
  std::function<void(size_t done, size_t total)> progress;
};

// Reads every file and hands its clips to `sink`, in order. Bad files are those that cannot be read
// (audio_file.h), that have fewer than two samples, that are silent (no sample beyond 1e-4 of full
// scale from the first one), or whose length LengthPolicy::kError refuses. With skip_bad they are
// left out; else, once all files have been tried, Error(kInput) names the first ten. format's
// sample rate 0: the rate that all files share, set here; files of several rates are then
// Error(kUsage) that lists them. Error(kInput) when no file is left.
ReadingReport read_clips(const std::vector<ClipFile>& files, AudioFormat& format,
                         const ClipReaderOptions& options,
                         const std::function<void(WaveClip&&)>& sink);

}  // namespace strandwave::audio
