// S4D: state spaces with a diagonal A (arXiv 2206.11893).
#pragma once

#include "core/layers/state_space.h"

namespace strandwave {

// A_bar = exp(dt A), B_bar = B (exp(dt A) - 1) / A                    (zoh)
// A_bar = (1 + dt A / 2) / (1 - dt A / 2), B_bar = dt B / (1 - dt A / 2)  (bilinear)
//   y = u * K + D u,          K_t = 2 Re(sum_n C B_bar A_bar^t)
//   + 2 Re(sum_n C A_bar^(t+1) h_initial)
//   h_final = A_bar^L h_initial + B_bar sum_t A_bar^(L-1-t) u_t
class S4D : public StateSpace {
 public:
  S4D(const StateSpaceConfig& config, int64_t channels, int64_t layer_index, uint64_t seed,
      int64_t first_stream);

 private:
  // complex128 (H, N/2): the logarithm of A_bar, and B_bar.
  struct Discrete {
    torch::Tensor delta_A, B;
  };
  Discrete discretise() const;
  StateSpaceOutput run(const torch::Tensor& u, const torch::Tensor& D,
                       const torch::Tensor& initial_state, bool want_final_state) override;
  StepConstants step_constants() const override;
};

}  // namespace strandwave
