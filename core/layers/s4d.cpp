#include "core/layers/s4d.h"

#include <numbers>

#include "kernels/long_conv/long_conv.h"
#include "kernels/ssm_kernel/ssm_kernel.h"

namespace strandwave {

using torch::Tensor;

S4D::S4D(const StateSpaceConfig& config, int64_t channels, int64_t layer_index, uint64_t seed,
         int64_t first_stream)
    : StateSpace(config, channels, layer_index, seed, first_stream) {}

S4D::Discrete S4D::discretise() const {
  const Tensor step = dt(), a = A(), scaled = step * a;
  if (config_.discretization == "bilinear") {
    const Tensor half = scaled / 2;
    return {rounded(((1 + half) / (1 - half)).log()), B() * step / (1 - half)};
  }
  // Whole turns of the phase mean nothing, but would cost digits once rounded.
  constexpr double kTurn = 2 * std::numbers::pi;
  const Tensor turns = (torch::imag(scaled.detach()) / kTurn).round() * kTurn;
  const Tensor delta_A = rounded(scaled - torch::complex(torch::zeros_like(turns), turns));
  return {delta_A, B() * torch::expm1(delta_A) / a};
}

StateSpaceOutput S4D::run(const Tensor& u, const Tensor& D, const Tensor& initial_state,
                          bool want_final_state) {
  const int64_t batch = u.size(0), length = u.size(1), n = config_.d_state / 2;
  const Discrete discrete = discretise();
  const Tensor delta_A = discrete.delta_A.to(complex_type());
  const Tensor kernel =
      ssm_kernel_vandermonde((C() * discrete.B).to(complex_type()), delta_A, length);
  Tensor y = long_conv(u, kernel, D);
  if (initial_state.defined()) {
    const Tensor weights = (C() * discrete.delta_A.exp() * initial_state).to(complex_type());
    const Tensor response = ssm_kernel_vandermonde(
        weights.reshape({batch * channels(), n}),
        delta_A.expand({batch, channels(), n}).reshape({batch * channels(), n}), length);
    y = y + response.view({batch, channels(), length}).transpose(1, 2).to(y.scalar_type());
  }
  if (!want_final_state) return {y, {}};
  Tensor last = discrete.B * ssm_state_vandermonde(u, delta_A);
  if (initial_state.defined())
    last = last + (discrete.delta_A * static_cast<double>(length)).exp() * initial_state;
  return {y, last.to(complex_type())};
}

StateSpace::StepConstants S4D::step_constants() const {
  const Discrete discrete = discretise();
  return {discrete.delta_A.exp(), discrete.B, C(), {}, {}};
}

}  // namespace strandwave
