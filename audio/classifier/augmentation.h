// Random changes of clips that leave their class as it is.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/base/random.h"

namespace strandwave::audio {

// Each clip draws its own, uniformly. All 0: clips stay as they are.
struct Augmentation {
  double shift = 0;  // seconds, earlier or later at most; silence fills up
  double gain = 0;   // decibels, louder or softer at most
  double noise = 0;  // standard deviation of white noise, as part of the clip's own at most

  bool any() const { return shift > 0 || gain > 0 || noise > 0; }
  nlohmann::json to_json() const;
};

// A pure function of the clip and the stream (purpose kAugmentation).
void augment(std::vector<float>& clip, int sample_rate, const Augmentation& augmentation,
             const RandomStream& stream);

}  // namespace strandwave::audio
