// A model small enough for tests, and clips for it.
#pragma once

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "audio/models/sashimi.h"
#include "core/base/random.h"

namespace strandwave::audio {

inline SashimiConfig tiny_config(std::vector<std::string> classes = {},
                                 const std::string& blocks = "mamba") {
  SashimiConfig config = sashimi_preset("mamba");
  config.d_model = 8;
  config.pool = {4};
  config.stages.assign(2, StageConfig{1, stage_blocks(blocks)});
  config.classes = std::move(classes);
  return config;
}

inline std::shared_ptr<Sashimi> tiny_sashimi(std::vector<std::string> classes = {},
                                             const std::string& blocks = "mamba") {
  return std::make_shared<Sashimi>(tiny_config(std::move(classes), blocks), /*seed=*/3);
}

// A tone of its own for each number, as codes.
inline std::vector<uint8_t> tone(uint64_t number, size_t length) {
  const RandomStream noise(9, RandomPurpose::kSynthetic, number);
  std::vector<uint8_t> codes(length);
  for (size_t t = 0; t < length; ++t)
    codes[t] = static_cast<uint8_t>(std::lround(
        128 + 60 * std::sin(0.1 * static_cast<double>((number + 1) * t)) + 4 * noise.normal(t)));
  return codes;
}

}  // namespace strandwave::audio
