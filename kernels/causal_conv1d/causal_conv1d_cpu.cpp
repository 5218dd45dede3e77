#include <torch/library.h>

#include "kernels/causal_conv1d/causal_conv1d_check.h"
#include "kernels/common/parallel.h"

namespace strandwave {
namespace {

std::tuple<at::Tensor, at::Tensor> forward_cpu(const at::Tensor& x, const at::Tensor& weight,
                                               const std::optional<at::Tensor>& bias,
                                               const std::optional<at::Tensor>& initial_state,
                                               const std::optional<at::Tensor>& cu_seqlens,
                                               bool silu, bool reverse) {
  const auto call = prepare_causal_conv1d(
      make_causal_conv1d_inputs(x, weight, bias, initial_state, cu_seqlens, silu, reverse));
  const auto& params = call.params;
  const int64_t tiles = kernels::causal_conv1d_tile_tasks(params);
  parallel_for(tiles + kernels::causal_conv1d_state_tasks(params), [&](int64_t task) {
    if (task < tiles) {
      kernels::causal_conv1d_forward_tile(params, task);
    } else {
      kernels::causal_conv1d_forward_state(params, task - tiles);
    }
  });
  return {call.out, call.final_state};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> backward_cpu(
    const at::Tensor& dout, const std::optional<at::Tensor>& dfinal_state, const at::Tensor& x,
    const at::Tensor& weight, const std::optional<at::Tensor>& bias,
    const std::optional<at::Tensor>& initial_state, const std::optional<at::Tensor>& cu_seqlens,
    bool silu, bool reverse) {
  auto call = prepare_causal_conv1d_backward(
      make_causal_conv1d_inputs(x, weight, bias, initial_state, cu_seqlens, silu, reverse), dout,
      dfinal_state);
  allocate_partials(call, kernels::causal_conv1d_cpu_partials(call.params));
  const auto& params = call.params;
  const int64_t tiles = kernels::causal_conv1d_tile_tasks(params);
  parallel_for(tiles + kernels::causal_conv1d_state_tasks(params), [&](int64_t task) {
    if (task < tiles) {
      kernels::causal_conv1d_backward_tile(params, task);
    } else {
      kernels::causal_conv1d_backward_state(params, task - tiles);
    }
  });
  parallel_for(kernels::causal_conv1d_sum_tasks(params),
               [&](int64_t task) { kernels::causal_conv1d_backward_sum(params, task); });
  return {call.dx, call.dweight, call.dbias, call.dinitial_state};
}

static_assert(std::is_same_v<decltype(forward_cpu), CausalConv1dForwardFunction>);
static_assert(std::is_same_v<decltype(backward_cpu), CausalConv1dBackwardFunction>);

}  // namespace

TORCH_LIBRARY_IMPL(strandwave, CPU, m) {
  m.impl("causal_conv1d", &forward_cpu);
  m.impl("causal_conv1d_forward", &forward_cpu);
  m.impl("causal_conv1d_backward", &backward_cpu);
}

}  // namespace strandwave
