// From a kind's name to a mixer.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/layers/layer_config.h"
#include "core/layers/mixer.h"

namespace strandwave {

// A new mixer: one file (core/layers/<kind>.{h,cpp}) and one line in registry.cpp.
//
// Makes the mixer of layer `layer_index`, initialised on the CPU from RandomStream keyed by (seed,
// kInitialization, layer_index + 1, tensor); float32. Throws Error(kUsage) for an unknown kind, an
// unknown option (naming the nearest known one) or an impossible value.
std::shared_ptr<Mixer> make_mixer(const LayerConfig& config, int64_t d_model, int64_t layer_index,
                                  uint64_t seed);

// The checks of make_mixer without making anything.
void check_layer(const LayerConfig& config);

// All kinds, in alphabetical order.
std::vector<std::string> mixer_kinds();

}  // namespace strandwave
