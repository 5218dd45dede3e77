#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "kernels/causal_conv1d/causal_conv1d_check.h"

namespace strandwave {
namespace {

std::tuple<at::Tensor, at::Tensor> forward_cuda(const at::Tensor& x, const at::Tensor& weight,
                                                const std::optional<at::Tensor>& bias,
                                                const std::optional<at::Tensor>& initial_state,
                                                const std::optional<at::Tensor>& cu_seqlens,
                                                bool silu, bool reverse) {
  const c10::cuda::CUDAGuard guard(x.device());
  const auto call = prepare_causal_conv1d(
      make_causal_conv1d_inputs(x, weight, bias, initial_state, cu_seqlens, silu, reverse));
  kernels::causal_conv1d_forward_cuda(call.params, c10::cuda::getCurrentCUDAStream().stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return {call.out, call.final_state};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> backward_cuda(
    const at::Tensor& dout, const std::optional<at::Tensor>& dfinal_state, const at::Tensor& x,
    const at::Tensor& weight, const std::optional<at::Tensor>& bias,
    const std::optional<at::Tensor>& initial_state, const std::optional<at::Tensor>& cu_seqlens,
    bool silu, bool reverse) {
  const c10::cuda::CUDAGuard guard(x.device());
  auto call = prepare_causal_conv1d_backward(
      make_causal_conv1d_inputs(x, weight, bias, initial_state, cu_seqlens, silu, reverse), dout,
      dfinal_state);
  allocate_partials(call, kernels::causal_conv1d_cuda_partials(call.params));
  kernels::causal_conv1d_backward_cuda(call.params, c10::cuda::getCurrentCUDAStream().stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return {call.dx, call.dweight, call.dbias, call.dinitial_state};
}

static_assert(std::is_same_v<decltype(forward_cuda), CausalConv1dForwardFunction>);
static_assert(std::is_same_v<decltype(backward_cuda), CausalConv1dBackwardFunction>);

}  // namespace

TORCH_LIBRARY_IMPL(strandwave, CUDA, m) {
  m.impl("causal_conv1d", &forward_cuda);
  m.impl("causal_conv1d_forward", &forward_cuda);
  m.impl("causal_conv1d_backward", &backward_cuda);
}

}  // namespace strandwave
