// The causal convolution with a long kernel as a product with a Toeplitz matrix of each channel.
// Differentiable; in the type of the kernel.
#pragma once

#include <torch/torch.h>

namespace strandwave::reference {

// u (batch, length, channels), kernel (channels, kernel_length), D (channels) or undefined.
inline at::Tensor long_conv(const at::Tensor& u, const at::Tensor& kernel, const at::Tensor& D) {
  const int64_t length = u.size(1), channels = u.size(2);
  const at::Tensor x = u.to(kernel.scalar_type());
  // A last column of zeros stands for every lag that the kernel does not have.
  const at::Tensor padded = at::cat({kernel, at::zeros({channels, 1}, kernel.options())}, 1);
  const at::Tensor t = at::arange(length, at::kLong);
  const at::Tensor lag = t.unsqueeze(1) - t.unsqueeze(0);
  const at::Tensor index = at::where((lag >= 0) & (lag < kernel.size(1)), lag, kernel.size(1));
  const at::Tensor toeplitz =
      padded.index_select(1, index.flatten()).view({channels, length, length});
  at::Tensor y = at::einsum("cts,bsc->btc", {toeplitz, x});
  if (D.defined()) y = y + D * x;
  return y.to(u.scalar_type());
}

}  // namespace strandwave::reference
