// Normalisation over the channels of every position.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace strandwave {

enum class NormKind { kLayer, kScalar };

// kLayer    y = (x - mean) / sqrt(variance + 1e-5) weight + bias     weight, bias (width)
// kScalar   y = s / deviation (x - mean + m)                         s, m (1): the TransposedLN of
//           state-spaces/s4. The deviation is at least 1e-5, where the original divides by zero
//           for a vector of equal numbers.
// Moments are those of the width channels (variance divided by their number).
class ChannelNorm : public torch::nn::Module {
 public:
  ChannelNorm(NormKind kind, int64_t width);

  // x (..., width) float32 (float64) -> the same.
  torch::Tensor forward(const torch::Tensor& x) const;

 private:
  NormKind kind_;
  torch::Tensor scale_, shift_;  // weight and bias, or s and m
};

}  // namespace strandwave
