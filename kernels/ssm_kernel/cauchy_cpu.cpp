#include <torch/library.h>

#include "kernels/common/parallel.h"
#include "kernels/ssm_kernel/ssm_kernel_check.h"

namespace strandwave {
namespace {

at::Tensor forward_cpu(const at::Tensor& v, const at::Tensor& z, const at::Tensor& w) {
  const auto call = prepare_cauchy(v, z, w);
  parallel_for(kernels::cauchy_forward_tasks(call.params),
               [&](int64_t task) { kernels::cauchy_forward_task(call.params, task); });
  return call.out;
}

std::tuple<at::Tensor, at::Tensor> backward_cpu(const at::Tensor& dout, const at::Tensor& v,
                                                const at::Tensor& z, const at::Tensor& w) {
  const auto call = prepare_cauchy_backward(dout, v, z, w);
  parallel_for(kernels::cauchy_backward_tasks(call.params),
               [&](int64_t task) { kernels::cauchy_backward_task(call.params, task); });
  return {call.dv, call.dw};
}

static_assert(std::is_same_v<decltype(forward_cpu), CauchyForwardFunction>);
static_assert(std::is_same_v<decltype(backward_cpu), CauchyBackwardFunction>);

}  // namespace

TORCH_LIBRARY_IMPL(strandwave, CPU, m) {
  m.impl("ssm_kernel_cauchy", &forward_cpu);
  m.impl("ssm_kernel_cauchy_backward", &backward_cpu);
}

}  // namespace strandwave
