// S4: state spaces whose A is diagonal plus rank one (arXiv 2111.00396; A = Lambda - P P* as in
// arXiv 2202.09729).
#pragma once

#include "core/layers/state_space.h"

namespace strandwave {

// A_bar = -I + 2 (I - dt A / 2)^-1, B_bar = dt (I - dt A / 2)^-1 B: by Sherman and Morrison again
// diagonal plus rank one, which a step needs N multiplications for. A_bar is never diagonalised:
// its eigenvectors are as good as parallel (condition number 5e14 for LegS, N = 64).
//
// With l_kernel = l > 0 the parameter C is not that of the state space but C~ = C (I - A_bar^l), as
// released models have it: K_t = C A_bar^t B_bar for t < l then has the discrete Fourier transform
//   k(w_j) = (1 + z_j / 2) (r_CB - r_CP r_PB / (1 + r_PP)),  r_XY = dt sum_n X Y / (z_j - dt
//   Lambda)
// at w_j = exp(-2 pi i j / l), z_j = 2 (1 - w_j) / (1 + w_j) = 2 i tan(pi j / l), with P* for the
// rows P; at w = -1, where z has a pole, k = dt / 2 Re(2 sum_n C~ B). Inputs shorter than l
// use the first values of K. For longer ones C~ is multiplied by (I + A_bar^l) (I + A_bar^2l) ...,
// which is exact. C itself, which states need, is C~ (I - A_bar^l)^-1, solved in float64.
// With l_kernel = 0 the parameter is C, and C~ is made for the length of each input.
//
// parameters   those of StateSpace, and P (1, S, N/2, 2).
// states       final: blocks of 64 inputs are projected by B_bar, A_bar B_bar, ..., A_bar^63 B_bar
//              and their states combined in pairs; initial: its response Re(C A_bar^(t+1) h) is
//              added in blocks of 64.
class S4 : public StateSpace {
 public:
  S4(const StateSpaceConfig& config, int64_t channels, int64_t layer_index, uint64_t seed,
     int64_t first_stream);

 private:
  struct Discrete;
  Discrete discretise() const;
  torch::Tensor kernel(const Discrete& discrete, int64_t length) const;
  StateSpaceOutput run(const torch::Tensor& u, const torch::Tensor& D,
                       const torch::Tensor& initial_state, bool want_final_state) override;
  StepConstants step_constants() const override;

  torch::Tensor P_;
};

}  // namespace strandwave
