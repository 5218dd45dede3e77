#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "kernels/ssm_kernel/ssm_kernel_check.h"

namespace strandwave {
namespace {

at::Tensor product_cuda(const at::Tensor& coefficient, const at::Tensor& delta_A, int64_t length,
                        bool reverse) {
  const c10::cuda::CUDAGuard guard(delta_A.device());
  const auto call = prepare_vandermonde_product(coefficient, delta_A, length, reverse);
  kernels::vandermonde_product_cuda(call.params, c10::cuda::getCurrentCUDAStream().stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return call.out;
}

at::Tensor moments_cuda(const at::Tensor& signal, const at::Tensor& delta_A, int64_t orders,
                        bool reverse) {
  const c10::cuda::CUDAGuard guard(delta_A.device());
  auto call = prepare_vandermonde_moments(signal, delta_A, orders, reverse);
  const int64_t pieces = kernels::vandermonde_moments_pieces(call.params);
  const at::Tensor partials =
      at::empty({pieces, call.moments.numel(), 2}, call.moments.options().dtype(at::kDouble));
  call.params.partials = partials.mutable_data_ptr();
  kernels::vandermonde_moments_cuda(call.params, c10::cuda::getCurrentCUDAStream().stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return call.moments;
}

static_assert(std::is_same_v<decltype(product_cuda), VandermondeProductFunction>);
static_assert(std::is_same_v<decltype(moments_cuda), VandermondeMomentsFunction>);

}  // namespace

TORCH_LIBRARY_IMPL(strandwave, CUDA, m) {
  m.impl("vandermonde_product", &product_cuda);
  m.impl("vandermonde_moments", &moments_cuda);
}

}  // namespace strandwave
