// Files of audio models.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "audio/io/audio_format.h"
#include "audio/models/sashimi.h"

namespace strandwave::audio {

// A checkpoint as core/checkpoint has them, config.json being SashimiConfig's.
struct LoadedAudioModel {
  std::shared_ptr<Sashimi> model;   // float32 on the CPU
  AudioFormat format;               // what its samples are
  nlohmann::json state;             // free: origin, metrics
  std::filesystem::path directory;  // where the files are
  std::string hash;                 // sha256 of model.safetensors
  std::map<std::string, std::string> companions;

  const std::vector<std::string>& classes() const { return model->config().classes; }
};

// From a model directory, a checkpoint, or a run directory (best/, else the newest valid
// checkpoint). Throws Error(kInput) naming what is missing, damaged, or of another kind.
LoadedAudioModel load_audio_model(const std::filesystem::path& path);

// Throws Error(kUsage) for a model of other samples than 256 values: no audio file has them.
void require_samples_of_8_bits(const LoadedAudioModel& loaded, const std::string& path);

void save_audio_model(const std::filesystem::path& directory, const Sashimi& model,
                      const nlohmann::json& state = nlohmann::json::object(),
                      const std::map<std::string, std::string>& companions = {});

}  // namespace strandwave::audio
