// The parts of SaShiMi: residual blocks and the matrices of its poolings.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>

#include "audio/models/sashimi_config.h"
#include "core/layers/channel_norm.h"
#include "core/layers/mixer.h"
#include "core/layers/parameters.h"

namespace strandwave::audio {

// x + mixer(norm(x)). The stream x is float32 (float64), the mixer works in the compute type.
// parameters   norm.* (ChannelNorm), mixer.*
class ResidualBlock : public torch::nn::Module {
 public:
  ResidualBlock(const LayerConfig& layer, NormKind norm, int64_t width, int64_t layer_index,
                uint64_t seed);

  const Mixer& mixer() const { return *mixer_; }
  // `final_state` is set unless null.
  torch::Tensor forward(const torch::Tensor& x, torch::ScalarType compute_type,
                        const MixerState* initial_state, MixerState* final_state);
  // The same; the backward pass recomputes the block instead of keeping its activations. The block
  // must be owned by a shared_ptr.
  torch::Tensor forward_recomputed(const torch::Tensor& x, torch::ScalarType compute_type,
                                   const MixerState* initial_state, MixerState* final_state);
  // One position, x (S, width), without gradients.
  torch::Tensor step(const torch::Tensor& x, torch::ScalarType compute_type, MixerState& state);

 private:
  torch::Tensor normalised(const torch::Tensor& x, torch::ScalarType compute_type) const {
    return norm_->forward(x).to(compute_type);
  }

  std::shared_ptr<ChannelNorm> norm_;
  std::shared_ptr<Mixer> mixer_;
};

// y = W x + b, with W = g v / |v| per row when weight-normed.
// parameters   weight (out, in) or weight_v (out, in) and weight_g (out, 1); bias (out)
class PoolLinear : public torch::nn::Module {
 public:
  // Uniform initial values of bound 1 / sqrt(in), drawn from the streams (seed, tensor) and
  // (seed, tensor + 1).
  PoolLinear(int64_t in, int64_t out, bool weight_norm, uint64_t seed, int64_t tensor);

  // x (..., in) float32 (float64) -> (..., out) of the same type, computed in the compute type.
  torch::Tensor forward(const torch::Tensor& x, torch::ScalarType compute_type) const;

 private:
  torch::Tensor weight_, weight_g_, weight_v_, bias_;
};

}  // namespace strandwave::audio
