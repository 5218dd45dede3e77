// add_rms_norm as its equation says it, in whatever type the inputs have.
#pragma once

#include <torch/torch.h>

#include <utility>

namespace strandwave::reference {

// residual may be undefined. The sum is rounded to `sum_type` before it is used (its gradient is
// not), as a composition of ATen operators would store it. Returns (y, x + residual).
inline std::pair<torch::Tensor, torch::Tensor> add_rms_norm(const torch::Tensor& x,
                                                            const torch::Tensor& residual,
                                                            const torch::Tensor& weight, double eps,
                                                            torch::ScalarType sum_type) {
  auto sum = residual.defined() ? x + residual : x + 0;
  sum = sum + (sum.to(sum_type).to(sum.scalar_type()) - sum).detach();
  const auto rstd = torch::rsqrt((sum * sum).mean(-1, true) + eps);
  return {sum * rstd * weight, sum};
}

}  // namespace strandwave::reference
