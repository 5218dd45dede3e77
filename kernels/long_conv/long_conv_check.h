// What the CPU and the CUDA implementation of the long convolution share: validation, sizes,
// spectra.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <tuple>

namespace strandwave {

struct LongConvShape {
  int64_t batch, length, channels;
  int64_t taps;    // of the kernel that meet the sequence
  int64_t points;  // of the transforms
  int64_t bins;    // complex values of a spectrum: points / 2 + 1
  at::ScalarType compute_type;
};

// Throws c10::Error naming the violated fact and the actual value.
LongConvShape check_long_conv(const at::Tensor& u, const at::Tensor& kernel,
                              const std::optional<at::Tensor>& D);
LongConvShape check_long_conv_backward(const at::Tensor& dout, const at::Tensor& u,
                                       const at::Tensor& kernel,
                                       const std::optional<at::Tensor>& D);

// Between (..., points) real and (..., bins) complex.
at::Tensor long_conv_spectrum(const at::Tensor& values);
at::Tensor long_conv_values(const at::Tensor& spectrum, int64_t points);

// The spectra of the kernel, (channels, bins).
at::Tensor long_conv_kernel_spectrum(const at::Tensor& kernel, const LongConvShape& shape);

// From sum_b dOut conj(U), (channels, bins): the gradients of the kernel and of D, which is the
// correlation at lag 0 (of shape (0) when there is no D).
std::tuple<at::Tensor, at::Tensor> long_conv_parameter_gradients(const at::Tensor& spectrum,
                                                                 const at::Tensor& kernel,
                                                                 const std::optional<at::Tensor>& D,
                                                                 const LongConvShape& shape);

// Registered for each device.
using LongConvForwardFunction = at::Tensor(const at::Tensor&, const at::Tensor&,
                                           const std::optional<at::Tensor>&);
using LongConvBackwardFunction = std::tuple<at::Tensor, at::Tensor, at::Tensor>(
    const at::Tensor&, const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&);

}  // namespace strandwave
