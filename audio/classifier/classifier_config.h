// What a classifier of clips is: its network, its classes and how clips become its input.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "audio/dsp/mel.h"

namespace strandwave::audio {

// config.json of a classifier:
// {"kind": "audio-classifier", "network": "small", "classes": ["0", "1"], "sample_rate": 8000,
//  "clip_length": 8000, "profile": "librosa", "fft": 1024, "hop": 256, "mels": 32}
struct AudioClassifierConfig {
  static constexpr const char* kKind = "audio-classifier";

  std::string network = "small";  // small | resnext
  std::vector<std::string> classes;
  int sample_rate = 16000;
  int64_t clip_length =
      16000;  // samples: shorter clips get silence at their end, longer ones are cut
  std::string profile = "librosa";  // of SpectrogramConfig
  int fft = 2048, hop = 512, mels = 32;

  // The front end of the SC09 metrics: windows of about 1/8 s (the power of two nearest to 0.128 s:
  // 1024 samples at 8 kHz, 2048 at 16 kHz), a quarter of that from one to the next.
  static AudioClassifierConfig of_rate(int sample_rate);
  SpectrogramConfig spectrogram() const;

  nlohmann::json to_json() const;
  // Throws Error(kUsage) with the key and its value.
  static AudioClassifierConfig from_json(const nlohmann::json& value, const std::string& where);
  void validate(const std::string& where) const;
};

}  // namespace strandwave::audio
