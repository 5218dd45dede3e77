// What the CPU and the CUDA implementation of the causal convolution share: validation of the
// tensors, allocation of the results, and the plain parameters that the raw kernels take.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>
#include <vector>

#include "kernels/causal_conv1d/causal_conv1d_params.h"

namespace strandwave {

// An input that was not given is undefined.
struct CausalConv1dInputs {
  at::Tensor x, weight, bias, initial_state, cu_seqlens;
  bool silu = true;
  bool reverse = false;
};

CausalConv1dInputs make_causal_conv1d_inputs(const at::Tensor& x, const at::Tensor& weight,
                                             const std::optional<at::Tensor>& bias,
                                             const std::optional<at::Tensor>& initial_state,
                                             const std::optional<at::Tensor>& cu_seqlens, bool silu,
                                             bool reverse);

// A call that is ready to run. `kept` owns what the parameters point to and must live until the
// kernels have run (CPU) or have been launched on the current stream (CUDA).
struct CausalConv1dForwardCall {
  kernels::CausalConv1dForwardParams params;
  at::Tensor out, final_state;
  std::vector<at::Tensor> kept;
};
struct CausalConv1dBackwardCall {
  kernels::CausalConv1dBackwardParams params;
  at::Tensor dx, dweight, dbias, dinitial_state;  // the last two of shape (0) when there is none
  std::vector<at::Tensor> kept;
};

// Throw c10::Error naming the violated fact and the actual value. They do not synchronise a device.
CausalConv1dForwardCall prepare_causal_conv1d(const CausalConv1dInputs& in);
CausalConv1dBackwardCall prepare_causal_conv1d_backward(
    const CausalConv1dInputs& in, const at::Tensor& dout,
    const std::optional<at::Tensor>& dfinal_state);

// Memory for `partials` rows of the parameters' gradients.
void allocate_partials(CausalConv1dBackwardCall& call, int64_t partials);

// Registered for both operators that compute the outputs, with and without autograd.
using CausalConv1dForwardFunction = std::tuple<at::Tensor, at::Tensor>(
    const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
    const std::optional<at::Tensor>&, const std::optional<at::Tensor>&, bool, bool);
using CausalConv1dBackwardFunction = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>(
    const at::Tensor&, const std::optional<at::Tensor>&, const at::Tensor&, const at::Tensor&,
    const std::optional<at::Tensor>&, const std::optional<at::Tensor>&,
    const std::optional<at::Tensor>&, bool, bool);

}  // namespace strandwave
