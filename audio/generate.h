// Clips from a model into a folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "audio/clip_streams.h"
#include "audio/io/audio_file.h"
#include "audio/io/audio_format.h"

namespace strandwave::audio {

struct GenerationRequest {
  std::filesystem::path folder;
  int64_t clips = 16;
  int64_t batch = 16;            // clips that grow at once
  std::vector<int64_t> classes;  // clip i has classes[i % size]; -1: the null class; empty: none
  std::vector<std::string> class_names;  // of the model
  ClipStreamOptions streams;
  std::string container = "wav";  // or flac
  Encoding encoding = Encoding::kPcm16;
  std::string model_hash;
  std::string version, command;  // for the manifest; empty version: no such lines
  bool force = false;            // remove a generation with other settings

  std::function<void(const std::string&)> progress;  // one line on what is going on
};

struct GenerationResult {
  int64_t made = 0, kept = 0;  // clips
  double seconds = 0;          // of drawing
  double sound_seconds = 0;    // of what was drawn
};

// The folder:
//   generation.json      what decides the clips: model hash, seed, length, sampling, classes,
//   prefix 00000_three.wav ...  clip number and class manifest.tsv         file, label, seed, clip,
//   log_likelihood (ClipStreams), one line per clip index.html           the first clips with
//   players and spectrograms (audio/clip_page.h) unfinished.safetensors   after an interruption:
//   the state of the batch in progress
//
// Clips are made in batches [0, batch), [batch, 2 batch), ...; one in which a clip is missing is
// drawn again as a whole, so that the clip gets the bits it had, and only what is missing is
// written. A folder of the same settings is completed, its number of clips may grow; one of other
// settings is refused (Error(kUsage) names the first that differs). A stop by a signal writes the
// state of the batch (Error(kInterrupted)), the same command goes on from it.
GenerationResult generate_clips(Generator& generator, const AudioFormat& format,
                                const GenerationRequest& request);

}  // namespace strandwave::audio
