// What the forward functions of mixers have in common.
#pragma once

#include <string>

#include "core/layers/mixer.h"

namespace strandwave {

// Throws c10::Error naming the layer unless x is (batch, length, d_model) of the weights' type.
void check_mixer_input(const std::string& layer, const torch::Tensor& x, int64_t d_model,
                       torch::ScalarType weight_type);

// Throws c10::Error: the layer does not take packed sequences.
void refuse_layout(const std::string& layer, const MixerInput& input);

// A tensor of the initial state, undefined when there is none; throws c10::Error when the state
// lacks it.
torch::Tensor initial_tensor(const std::string& layer, const MixerInput& input,
                             const std::string& name);

// The positions of a final state: (S) int64 on the device.
torch::Tensor positions_after(const torch::Tensor& x, const MixerInput& input);

}  // namespace strandwave
