// S4 and S4D as their equations say: dense matrices in complex128, one step after the other.
// Differentiable.
#pragma once

#include <torch/torch.h>

#include <utility>
#include <vector>

namespace strandwave::reference {

struct StateSpaceMatrices {
  at::Tensor A_bar, B_bar, C;  // (channels, N, N), (channels, N), (channels, N) complex128
};

struct StateSpaceOptions {
  bool softplus = false;  // else dt = exp(inv_dt)
  bool zoh = false;       // else bilinear
  int64_t l_kernel = 0;   // > 0: C is C (I - A_bar^l_kernel)
};

// P undefined: a diagonal A.
struct StateSpaceParameters {
  at::Tensor inv_dt, A_real, A_imag, B, C, P;
};

inline StateSpaceMatrices state_space_matrices(const StateSpaceParameters& p,
                                               const StateSpaceOptions& options) {
  const auto complex = [](const at::Tensor& pairs) {
    return torch::view_as_complex(pairs.to(torch::kDouble).contiguous()).squeeze(0);
  };
  const auto both = [](const at::Tensor& half) { return torch::cat({half, half.conj()}, -1); };
  const int64_t channels = p.inv_dt.size(0);
  const auto tiled = [&](const at::Tensor& rows) {
    return rows.repeat({channels / rows.size(0), 1});
  };
  const at::Tensor inv_dt = p.inv_dt.to(torch::kDouble);
  const at::Tensor dt = options.softplus ? (1 + inv_dt.exp()).log() : inv_dt.exp();
  const at::Tensor lambda =
      torch::complex(-p.A_real.to(torch::kDouble).exp(), -p.A_imag.to(torch::kDouble));
  at::Tensor A = torch::diag_embed(both(tiled(lambda)));
  if (p.P.defined()) {
    const at::Tensor P = both(tiled(complex(p.P)));
    A = A - P.unsqueeze(2) * P.conj().unsqueeze(1);
  }
  const at::Tensor B = both(tiled(complex(p.B))), identity = torch::eye(A.size(1), A.options());
  const at::Tensor dtA = dt.unsqueeze(2) * A;
  StateSpaceMatrices m;
  if (options.zoh) {
    m.A_bar = torch::matrix_exp(dtA);
    m.B_bar = torch::linalg_solve(A, (torch::matmul(m.A_bar, B.unsqueeze(2)) - B.unsqueeze(2)))
                  .squeeze(2);
  } else {
    m.A_bar = torch::linalg_solve(identity - dtA / 2, identity + dtA / 2);
    m.B_bar = torch::linalg_solve(identity - dtA / 2, (dt * B).unsqueeze(2)).squeeze(2);
  }
  m.C = both(complex(p.C));
  if (options.l_kernel > 0) {
    at::Tensor power = identity.expand_as(A);
    for (int64_t i = 0; i < options.l_kernel; ++i) power = torch::matmul(power, m.A_bar);
    m.C = torch::matmul(m.C.unsqueeze(1), torch::linalg_inv(identity - power)).squeeze(1);
  }
  return m;
}

// u (batch, length, channels), D (channels), initial (batch, channels, N / 2) -> y and the final
// state.
inline std::pair<at::Tensor, at::Tensor> state_space(const StateSpaceMatrices& m,
                                                     const at::Tensor& u, const at::Tensor& D,
                                                     const at::Tensor& initial) {
  const int64_t n = m.C.size(1) / 2;
  at::Tensor h = torch::cat({initial, initial.conj()}, -1).to(torch::kComplexDouble);
  std::vector<at::Tensor> y;
  for (const at::Tensor& input : u.to(torch::kDouble).unbind(1)) {
    h = torch::matmul(m.A_bar, h.unsqueeze(3)).squeeze(3) + m.B_bar * input.unsqueeze(2);
    y.push_back(torch::real((h * m.C).sum(2)) + D * input);
  }
  return {torch::stack(y, 1), h.narrow(2, 0, n)};
}

}  // namespace strandwave::reference
