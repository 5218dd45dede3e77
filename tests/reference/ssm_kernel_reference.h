// The kernels behind S4 and S4D written out with ATen, with a value for every (channel, state,
// position). Differentiable; in the type of their inputs, so float64 ones give the reference and
// float32 ones a baseline.
#pragma once

#include <torch/torch.h>

namespace strandwave::reference {

// exp(delta_A t), (channels, n, length).
inline at::Tensor vandermonde_matrix(const at::Tensor& delta_A, int64_t length) {
  const auto real = delta_A.options().dtype(c10::toRealValueType(delta_A.scalar_type()));
  return at::exp(delta_A.unsqueeze(2) * at::arange(length, real));
}

inline at::Tensor ssm_kernel_vandermonde(const at::Tensor& coefficient, const at::Tensor& delta_A,
                                         int64_t length) {
  return 2 * at::real((coefficient.unsqueeze(2) * vandermonde_matrix(delta_A, length)).sum(1));
}

inline at::Tensor ssm_state_vandermonde(const at::Tensor& u, const at::Tensor& delta_A) {
  const at::Tensor powers = vandermonde_matrix(delta_A, u.size(1)).flip({2});
  const auto full = c10::toRealValueType(delta_A.scalar_type());
  return (u.to(full).transpose(1, 2).unsqueeze(2) * powers).sum(3);
}

inline at::Tensor ssm_kernel_cauchy(const at::Tensor& v, const at::Tensor& z, const at::Tensor& w) {
  const at::Tensor numerator = v.unsqueeze(3), pole = w.unsqueeze(2);
  return (numerator / (z - pole) + numerator.conj() / (z - pole.conj())).sum(2);
}

}  // namespace strandwave::reference
