#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <torch/library.h>

#include "kernels/norm/rms_norm_check.h"

namespace strandwave {
namespace {

std::tuple<at::Tensor, at::Tensor, at::Tensor> forward_cuda(
    const at::Tensor& x, const std::optional<at::Tensor>& residual, const at::Tensor& weight,
    double eps, bool residual_in_fp32) {
  const c10::cuda::CUDAGuard guard(x.device());
  const auto call = prepare_add_rms_norm(x, residual, weight, eps, residual_in_fp32);
  kernels::add_rms_norm_forward_cuda(call.params, at::cuda::getCurrentCUDAStream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return {call.y, call.sum, call.rstd};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward_cuda(
    const at::Tensor& dy, const std::optional<at::Tensor>& dsum, const at::Tensor& sum,
    const at::Tensor& weight, const at::Tensor& rstd, bool full_gradient) {
  const c10::cuda::CUDAGuard guard(dy.device());
  auto call = prepare_add_rms_norm_backward(dy, dsum, sum, weight, rstd, full_gradient);
  divide_rows(call, kernels::add_rms_norm_cuda_rows(call.params.rows, call.params.d));
  kernels::add_rms_norm_backward_cuda(call.params, at::cuda::getCurrentCUDAStream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return {call.dx, call.dx_full, call.dweight};
}

}  // namespace

TORCH_LIBRARY_IMPL(strandwave, CUDA, m) {
  m.impl("add_rms_norm_forward", &forward_cuda);
  m.impl("add_rms_norm_backward", &backward_cuda);
}

}  // namespace strandwave
