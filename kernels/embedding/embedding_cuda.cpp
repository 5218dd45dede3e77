#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <torch/library.h>

#include "kernels/common/operator_glue.h"
#include "kernels/embedding/embedding_check.h"

namespace strandwave {
namespace {

at::Tensor forward_cuda(const at::Tensor& ids, const at::Tensor& weight) {
  const c10::cuda::CUDAGuard guard(weight.device());
  const auto call = prepare_embedding(ids, weight);
  kernels::embedding_forward_cuda(call.params, at::cuda::getCurrentCUDAStream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return call.out;
}

at::Tensor backward_small(EmbeddingBackwardCall& call, int64_t positions_per_partial,
                          at::TensorOptions options) {
  auto& params = call.params;
  params.positions_per_partial = positions_per_partial;
  params.partial_count = (params.positions + positions_per_partial - 1) / positions_per_partial;
  const at::Tensor partials =
      at::empty({params.partial_count, params.vocabulary, params.d}, options.dtype(at::kFloat));
  const at::Tensor dweight = at::empty({params.vocabulary, params.d}, options);
  params.partials = partials.mutable_data_ptr<float>();
  params.dweight = dweight.mutable_data_ptr();
  kernels::embedding_backward_small_cuda(params, at::cuda::getCurrentCUDAStream());
  return dweight;
}

at::Tensor backward_sorted(EmbeddingBackwardCall& call, at::TensorOptions options) {
  auto& params = call.params;
  const auto [sorted, order] = at::sort(call.ids.to(at::kLong), /*stable=*/true, /*dim=*/0,
                                        /*descending=*/false);
  const at::Tensor windows = at::empty({2, kernels::embedding_windows(params.positions), params.d},
                                       options.dtype(at::kFloat));
  const at::Tensor dweight = at::zeros({params.vocabulary, params.d}, options);
  params.sorted_ids = sorted.const_data_ptr<int64_t>();
  params.order = order.const_data_ptr<int64_t>();
  params.window_head = windows.mutable_data_ptr<float>();
  params.window_tail = params.window_head + windows.stride(0);
  params.dweight = dweight.mutable_data_ptr();
  kernels::embedding_backward_sorted_cuda(params, at::cuda::getCurrentCUDAStream());
  return dweight;
}

at::Tensor backward_cuda(const at::Tensor& dout, const at::Tensor& ids, int64_t vocabulary) {
  const c10::cuda::CUDAGuard guard(dout.device());
  const PlainAten plain;
  auto call = prepare_embedding_backward(dout, ids, vocabulary);
  const int64_t step = kernels::embedding_positions_per_partial(call.params.positions, vocabulary);
  const at::Tensor dweight =
      step > 0 ? backward_small(call, step, dout.options()) : backward_sorted(call, dout.options());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return dweight;
}

}  // namespace

TORCH_LIBRARY_IMPL(strandwave, CUDA, m) {
  m.impl("embedding", &forward_cuda);
  m.impl("embedding_backward", &backward_cuda);
}

}  // namespace strandwave
