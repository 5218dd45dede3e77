// The shape of a new audio model, and models as commands find them.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "audio/models/audio_checkpoint.h"

namespace strandwave::apps {

struct AudioModelOptions {
  std::string preset = "unet";
  std::string config;               // a config.json instead
  int64_t d_model = 0;              // 0: the preset's, as all below
  std::vector<int64_t> pool;        // from the outside in
  std::vector<int64_t> layers;      // one number, or one per stage
  std::vector<std::string> stages;  // blocks of a layer: one name, or one per stage
};
void add_audio_model_options(CLI::App& command, AudioModelOptions& options);
// Without classes and format. Throws Error(kUsage) for numbers that do not fit together.
audio::SashimiConfig audio_model_config(const AudioModelOptions& options);

// The number of a class. "none" is the null class, -1. Throws Error(kUsage) naming the classes that
// the model has, or that it has none.
int64_t class_number(const std::vector<std::string>& classes, const std::string& name);

}  // namespace strandwave::apps
