#include <torch/library.h>

#include "kernels/common/parallel.h"
#include "kernels/ssm_kernel/ssm_kernel_check.h"

namespace strandwave {
namespace {

at::Tensor product_cpu(const at::Tensor& coefficient, const at::Tensor& delta_A, int64_t length,
                       bool reverse) {
  const auto call = prepare_vandermonde_product(coefficient, delta_A, length, reverse);
  parallel_for(kernels::vandermonde_product_tasks(call.params),
               [&](int64_t task) { kernels::vandermonde_product_task(call.params, task); });
  return call.out;
}

at::Tensor moments_cpu(const at::Tensor& signal, const at::Tensor& delta_A, int64_t orders,
                       bool reverse) {
  const auto call = prepare_vandermonde_moments(signal, delta_A, orders, reverse);
  parallel_for(kernels::vandermonde_moments_tasks(call.params),
               [&](int64_t task) { kernels::vandermonde_moments_task(call.params, task); });
  return call.moments;
}

static_assert(std::is_same_v<decltype(product_cpu), VandermondeProductFunction>);
static_assert(std::is_same_v<decltype(moments_cpu), VandermondeMomentsFunction>);

}  // namespace

TORCH_LIBRARY_IMPL(strandwave, CPU, m) {
  m.impl("vandermonde_product", &product_cpu);
  m.impl("vandermonde_moments", &moments_cpu);
}

}  // namespace strandwave
