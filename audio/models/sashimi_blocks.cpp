#include "audio/models/sashimi_blocks.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "core/layers/registry.h"
#include "core/models/recompute.h"

namespace strandwave::audio {
namespace {

using torch::Tensor;
using torch::autograd::variable_list;

}  // namespace

ResidualBlock::ResidualBlock(const LayerConfig& layer, NormKind norm, int64_t width,
                             int64_t layer_index, uint64_t seed)
    : norm_(register_module("norm", std::make_shared<ChannelNorm>(norm, width))),
      mixer_(register_module("mixer", make_mixer(layer, width, layer_index, seed))) {}

Tensor ResidualBlock::forward(const Tensor& x, torch::ScalarType compute_type,
                              const MixerState* initial_state, MixerState* final_state) {
  MixerInput input;
  input.initial_state = initial_state;
  input.want_final_state = final_state != nullptr;
  MixerOutput out = mixer_->forward(normalised(x, compute_type), input);
  if (out.final_state) *final_state = std::move(*out.final_state);
  return x + out.y;
}

Tensor ResidualBlock::forward_recomputed(const Tensor& x, torch::ScalarType compute_type,
                                         const MixerState* initial_state, MixerState* final_state) {
  variable_list inputs = {x};
  MixerState initial_like;
  if (initial_state != nullptr) {
    initial_like = *initial_state;
    for (auto& [name, tensor] : initial_like.tensors) inputs.push_back(std::exchange(tensor, {}));
  }
  const bool has_initial = initial_state != nullptr, wants_final = final_state != nullptr;
  // What the final state holds besides tensors is learned in the first run.
  const auto final_like = std::make_shared<MixerState>();
  const auto body = [self = std::static_pointer_cast<ResidualBlock>(shared_from_this()),
                     initial_like, has_initial, wants_final, final_like,
                     compute_type](const variable_list& in) {
    MixerState initial = initial_like, last;
    size_t next = 1;
    for (auto& [name, tensor] : initial.tensors) tensor = in[next++];
    variable_list out = {self->forward(in[0], compute_type, has_initial ? &initial : nullptr,
                                       wants_final ? &last : nullptr)};
    for (auto& [name, tensor] : last.tensors) out.push_back(std::exchange(tensor, {}));
    *final_like = std::move(last);
    return out;
  };
  const variable_list out = recomputed(body, inputs, parameters());
  if (wants_final) {
    *final_state = *final_like;
    size_t next = 1;
    for (auto& [name, tensor] : final_state->tensors) tensor = out[next++];
  }
  return out[0];
}

Tensor ResidualBlock::step(const Tensor& x, torch::ScalarType compute_type, MixerState& state) {
  return x + mixer_->step(normalised(x, compute_type), state);
}

PoolLinear::PoolLinear(int64_t in, int64_t out, bool weight_norm, uint64_t seed, int64_t tensor) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(in));
  const Tensor weight = uniform_tensor({out, in}, bound, initialization_stream(seed, 0, tensor));
  if (weight_norm) {
    weight_g_ = register_parameter("weight_g", weight.norm(2, 1, /*keepdim=*/true));
    weight_v_ = register_parameter("weight_v", weight);
  } else {
    weight_ = register_parameter("weight", weight);
  }
  bias_ = register_parameter(
      "bias", uniform_tensor({out}, bound, initialization_stream(seed, 0, tensor + 1)));
}

Tensor PoolLinear::forward(const Tensor& x, torch::ScalarType compute_type) const {
  const Tensor weight = weight_.defined()
                            ? weight_
                            : weight_v_ * (weight_g_ / weight_v_.norm(2, 1, /*keepdim=*/true));
  return torch::linear(x.to(compute_type), weight.to(compute_type), bias_.to(compute_type))
      .to(x.scalar_type());
}

}  // namespace strandwave::audio
