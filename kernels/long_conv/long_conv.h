// Causal convolution of each channel with a kernel as long as the sequence, by FFT, channel-last.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace strandwave {

//   y[b, t, c] = sum_{s <= t} kernel[c, t - s] u[b, s, c] + D[c] u[b, t, c]
//
// shapes   u, y (batch, length, channels); kernel (channels, kernel_length); D (channels).
//          A kernel longer than the sequence is cut, its rest gets zero gradients; a shorter one
//          counts as zero beyond its end.
// dtypes   u, y: float32, bfloat16 or float16 (float64 on the CPU); kernel, D and all arithmetic
//          float32 (float64 with float64 inputs).
// Transforms through at::fft_*, of long_conv_size(length + taps - 1) points. The batch goes through
// in parts, so that work space stays bounded. Backward transforms u again instead of keeping
// spectra.
// Causal up to rounding: changing u[b, t, c] may change outputs before t by a few roundings of
// max |u| sum |kernel|, never those of another batch entry or channel.
// Any length from 0. Deterministic. Errors: c10::Error, one message per violated fact. Double
// backward is refused.
// Source: Gu et al., "Efficiently Modeling Long Sequences with Structured State Spaces" (S4),
// section 2.4.
at::Tensor long_conv(const at::Tensor& u, const at::Tensor& kernel,
                     const std::optional<at::Tensor>& D = {});

// The smallest number >= n (n >= 1) without a prime factor above 7: FFTs of it are fast.
int64_t long_conv_size(int64_t n);

}  // namespace strandwave
