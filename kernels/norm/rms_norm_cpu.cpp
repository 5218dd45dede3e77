#include <torch/library.h>

#include <algorithm>

#include "kernels/common/parallel.h"
#include "kernels/norm/rms_norm_check.h"

namespace strandwave {
namespace {

std::tuple<at::Tensor, at::Tensor, at::Tensor> forward_cpu(
    const at::Tensor& x, const std::optional<at::Tensor>& residual, const at::Tensor& weight,
    double eps, bool residual_in_fp32) {
  const auto call = prepare_add_rms_norm(x, residual, weight, eps, residual_in_fp32);
  const int64_t rows = call.params.rows;
  const int64_t step = kernels::add_rms_norm_cpu_rows(rows);
  parallel_for((rows + step - 1) / step, [&](int64_t task) {
    kernels::add_rms_norm_forward_rows(call.params, task * step, std::min(rows, (task + 1) * step));
  });
  return {call.y, call.sum, call.rstd};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward_cpu(
    const at::Tensor& dy, const std::optional<at::Tensor>& dsum, const at::Tensor& sum,
    const at::Tensor& weight, const at::Tensor& rstd, bool full_gradient) {
  auto call = prepare_add_rms_norm_backward(dy, dsum, sum, weight, rstd, full_gradient);
  divide_rows(call, kernels::add_rms_norm_cpu_rows(call.params.rows));
  const auto& params = call.params;
  parallel_for(params.partial_count,
               [&](int64_t task) { kernels::add_rms_norm_backward_rows(params, task); });
  constexpr int64_t kColumns = 256;
  parallel_for((params.d + kColumns - 1) / kColumns, [&](int64_t task) {
    kernels::add_rms_norm_backward_sum(params, task * kColumns,
                                       std::min(params.d, (task + 1) * kColumns));
  });
  return {call.dx, call.dx_full, call.dweight};
}

static_assert(std::is_same_v<decltype(forward_cpu), AddRmsNormForwardFunction>);
static_assert(std::is_same_v<decltype(backward_cpu), AddRmsNormBackwardFunction>);

}  // namespace

TORCH_LIBRARY_IMPL(strandwave, CPU, m) {
  m.impl("add_rms_norm_forward", &forward_cpu);
  m.impl("add_rms_norm_backward", &backward_cpu);
}

}  // namespace strandwave
