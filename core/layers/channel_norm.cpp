#include "core/layers/channel_norm.h"

namespace strandwave {
namespace {

constexpr double kEpsilon = 1e-5;
constexpr double kLeastVariance = 1e-10;

}  // namespace

ChannelNorm::ChannelNorm(NormKind kind, int64_t width) : kind_(kind) {
  const bool layer = kind == NormKind::kLayer;
  scale_ = register_parameter(layer ? "weight" : "s", torch::ones({layer ? width : 1}));
  shift_ = register_parameter(layer ? "bias" : "m", torch::zeros({layer ? width : 1}));
}

torch::Tensor ChannelNorm::forward(const torch::Tensor& x) const {
  if (kind_ == NormKind::kLayer)
    return torch::layer_norm(x, {x.size(-1)}, scale_, shift_, kEpsilon);
  const torch::Tensor centred = x - x.mean(-1, /*keepdim=*/true);
  const torch::Tensor variance =
      centred.square().mean(-1, /*keepdim=*/true).clamp_min(kLeastVariance);
  return (scale_ * variance.rsqrt()) * (centred + shift_);
}

}  // namespace strandwave
