#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "kernels/ssm_kernel/ssm_kernel_check.h"

namespace strandwave {
namespace {

at::Tensor forward_cuda(const at::Tensor& v, const at::Tensor& z, const at::Tensor& w) {
  const c10::cuda::CUDAGuard guard(w.device());
  const auto call = prepare_cauchy(v, z, w);
  kernels::cauchy_forward_cuda(call.params, c10::cuda::getCurrentCUDAStream().stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return call.out;
}

std::tuple<at::Tensor, at::Tensor> backward_cuda(const at::Tensor& dout, const at::Tensor& v,
                                                 const at::Tensor& z, const at::Tensor& w) {
  const c10::cuda::CUDAGuard guard(w.device());
  auto call = prepare_cauchy_backward(dout, v, z, w);
  const int64_t pieces = kernels::cauchy_backward_pieces(call.params);
  const at::Tensor partials =
      at::empty({pieces, v.numel(), 4}, call.dw.options().dtype(at::kDouble));
  call.params.partials = partials.mutable_data_ptr();
  kernels::cauchy_backward_cuda(call.params, c10::cuda::getCurrentCUDAStream().stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return {call.dv, call.dw};
}

static_assert(std::is_same_v<decltype(forward_cuda), CauchyForwardFunction>);
static_assert(std::is_same_v<decltype(backward_cuda), CauchyBackwardFunction>);

}  // namespace

TORCH_LIBRARY_IMPL(strandwave, CUDA, m) {
  m.impl("ssm_kernel_cauchy", &forward_cuda);
  m.impl("ssm_kernel_cauchy_backward", &backward_cuda);
}

}  // namespace strandwave
