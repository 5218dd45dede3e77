#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>

#include "kernels/common/parallel.h"
#include "kernels/embedding/embedding_check.h"

namespace strandwave {
namespace {

template <typename Id>
void check_range(const void* ids, int64_t positions, int64_t vocabulary) {
  for (int64_t i = 0; i < positions; ++i) {
    const auto id = static_cast<int64_t>(static_cast<const Id*>(ids)[i]);
    TORCH_CHECK(id >= 0 && id < vocabulary, "embedding: ids must lie in [0, ", vocabulary,
                "), got ", id, " at position ", i);
  }
}

void check_ids(bool bytes, const void* ids, int64_t positions, int64_t vocabulary) {
  if (bytes) return check_range<uint8_t>(ids, positions, vocabulary);
  check_range<int64_t>(ids, positions, vocabulary);
}

at::Tensor forward_cpu(const at::Tensor& ids, const at::Tensor& weight) {
  const auto call = prepare_embedding(ids, weight);
  const auto& params = call.params;
  check_ids(params.byte_ids, params.ids, params.positions, params.vocabulary);
  constexpr int64_t kRows = 1024;
  parallel_for((params.positions + kRows - 1) / kRows, [&](int64_t task) {
    kernels::embedding_forward_rows(params, task * kRows,
                                    std::min(params.positions, (task + 1) * kRows));
  });
  return call.out;
}

at::Tensor backward_cpu(const at::Tensor& dout, const at::Tensor& ids, int64_t vocabulary) {
  auto call = prepare_embedding_backward(dout, ids, vocabulary);
  auto& params = call.params;
  check_ids(params.byte_ids, params.ids, params.positions, vocabulary);
  const at::Tensor dweight = at::empty({vocabulary, params.d}, dout.options());
  params.dweight = dweight.mutable_data_ptr();
  parallel_for(kernels::embedding_backward_tasks(params),
               [&](int64_t task) { kernels::embedding_backward_columns(params, task); });
  return dweight;
}

}  // namespace

TORCH_LIBRARY_IMPL(strandwave, CPU, m) {
  m.impl("embedding", &forward_cpu);
  m.impl("embedding_backward", &backward_cpu);
}

}  // namespace strandwave
