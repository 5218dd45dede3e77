// Options of commands that read clips.
#pragma once

#include <CLI/CLI.hpp>
#include <iosfwd>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "audio/io/clip_dataset.h"

namespace strandwave::apps {

struct ClipOptions {
  std::string data;
  audio::ClipDatasetOptions dataset;
  std::string companding = "mu-law", scale = "none", length = "pad", clip_length, split = "auto";
  std::string bad_files = "refuse";
  std::vector<CLI::Option*> of_files;  // those that a prepared dataset has answered already
};

// DATA and everything about reading audio files and dividing them.
void add_clip_options(CLI::App& command, ClipOptions& options);

// --bad-files: refuse or skip.
CLI::Option* add_bad_files_option(CLI::App& command, std::string& choice);

// "16000" or "1.5s", of which the latter needs the sampling rate. Throws Error(kUsage).
int64_t clip_samples(const std::string& text, int sample_rate);

// With a progress line. Throws Error(kUsage) for options of files where the data is prepared.
audio::ClipDataset open_clips(const ClipOptions& options, int threads, bool quiet);

// ClipDataset::facts() for people: what was read, the splits and what they share.
void print_clip_facts(const nlohmann::json& facts, std::ostream& out);
// What deserves a warning: bad files that were left out, clipped samples, speakers or clips of
// training that are in a held-out split.
std::vector<std::string> clip_warnings(const nlohmann::json& facts);

}  // namespace strandwave::apps
