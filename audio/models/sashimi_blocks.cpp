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

constexpr double kNormEpsilon = 1e-5;

// Of a vector of equal numbers, whose deviation is 0: the result stays finite.
constexpr double kLeastVariance = 1e-10;

}  // namespace

ResidualBlock::ResidualBlock(const LayerConfig& layer, SashimiConfig::Norm norm, int64_t width,
                             int64_t layer_index, uint64_t seed)
    : norm_kind_(norm), norm_(register_module("norm", std::make_shared<torch::nn::Module>())) {
  if (norm == SashimiConfig::Norm::kLayer) {
    scale_ = norm_->register_parameter("weight", torch::ones({width}));
    shift_ = norm_->register_parameter("bias", torch::zeros({width}));
  } else {
    scale_ = norm_->register_parameter("s", torch::ones({1}));
    shift_ = norm_->register_parameter("m", torch::zeros({1}));
  }
  mixer_ = register_module("mixer", make_mixer(layer, width, layer_index, seed));
}

Tensor ResidualBlock::normalise(const Tensor& x) const {
  if (norm_kind_ == SashimiConfig::Norm::kLayer)
    return torch::layer_norm(x, {x.size(-1)}, scale_, shift_, kNormEpsilon);
  const Tensor centred = x - x.mean(-1, /*keepdim=*/true);
  const Tensor variance = centred.square().mean(-1, /*keepdim=*/true).clamp_min(kLeastVariance);
  return (scale_ * variance.rsqrt()) * (centred + shift_);
}

Tensor ResidualBlock::forward(const Tensor& x, torch::ScalarType compute_type,
                              const MixerState* initial_state, MixerState* final_state) {
  MixerInput input;
  input.initial_state = initial_state;
  input.want_final_state = final_state != nullptr;
  MixerOutput out = mixer_->forward(normalise(x).to(compute_type), input);
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
  return x + mixer_->step(normalise(x).to(compute_type), state);
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
