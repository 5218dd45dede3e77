#include "core/layers/s4.h"

#include <cmath>
#include <numbers>

#include "core/layers/block_recurrence.h"
#include "core/layers/hippo.h"
#include "core/layers/parameters.h"
#include "kernels/long_conv/long_conv.h"
#include "kernels/ssm_kernel/ssm_kernel.h"

namespace strandwave {
namespace {

using torch::Tensor;

constexpr int64_t kPStream = 2;  // after those of StateSpace; never renumber

// A state as 2 n real numbers, real parts first: the form in which sums over conjugate pairs are
// plain products and A_bar is a real matrix.
Tensor to_real(const Tensor& h) { return torch::cat({torch::real(h), torch::imag(h)}, -1); }

Tensor from_real(const Tensor& h) {
  const int64_t n = h.size(-1) / 2;
  return torch::complex(h.narrow(-1, 0, n).contiguous(), h.narrow(-1, n, n).contiguous());
}

// The row c of y = 2 Re(sum c h) in that form, and back.
Tensor row_to_real(const Tensor& c) {
  return 2 * torch::cat({torch::real(c), -torch::imag(c)}, -1);
}

Tensor row_from_real(const Tensor& row) { return from_real(row / 2).conj().resolve_conj(); }

// z = 2 i tan(pi j / l) for 0 <= j < l / 2: all nodes of a real transform but that at w = -1.
Tensor nodes(int64_t length, torch::Device device) {
  const auto options = torch::TensorOptions().dtype(torch::kDouble).device(device);
  const Tensor j = torch::arange((length + 1) / 2, options);
  const Tensor z = 2 * torch::tan(j * (std::numbers::pi / static_cast<double>(length)));
  return torch::complex(torch::zeros_like(z), z);
}

// C from C~ = C (I - A_bar^length), rows (channels, N) in real form.
Tensor untruncated(MatrixPowers& A_bar, const Tensor& row, int64_t length) {
  const Tensor power = A_bar.power(length);
  const Tensor identity = torch::eye(power.size(1), power.options());
  return torch::linalg_solve(identity - power, row.unsqueeze(1), /*left=*/false).squeeze(1);
}

}  // namespace

// complex128 (H, N/2) but dt; A_bar h = a h - w 2 Re(sum q h).
struct S4::Discrete {
  Tensor dt;       // (H, 1) float64
  Tensor dt_A;     // dt Lambda
  Tensor B, C, P;  // parameters
  Tensor a, w, q, B_bar;

  // A_bar on states in real form, (H, N, N).
  Tensor matrix() const {
    const Tensor re = torch::diag_embed(torch::real(a)), im = torch::diag_embed(torch::imag(a));
    const Tensor diagonal = torch::cat({torch::cat({re, -im}, 2), torch::cat({im, re}, 2)}, 1);
    return diagonal - to_real(w).unsqueeze(2) * row_to_real(q).unsqueeze(1);
  }
};

S4::S4(const StateSpaceConfig& config, int64_t channels, int64_t layer_index, uint64_t seed,
       int64_t first_stream)
    : StateSpace(config, channels, layer_index, seed, first_stream) {
  const int64_t copies = config.n_ssm > 0 ? config.n_ssm : channels, n = config.d_state / 2;
  const Tensor P = initial_state_matrix(config.init, config.d_state).P;
  P_ = register_parameter(
      "P", P.defined() ? torch::view_as_real(P).to(torch::kFloat).repeat({1, copies, 1, 1})
                       : normal_tensor({1, copies, n, 2}, std::sqrt(0.5),
                                       initialization_stream(seed, layer_index + 1,
                                                             first_stream + kPStream)));
  if (config.l_kernel == 0) return;
  const torch::NoGradGuard no_grad;
  const Discrete discrete = discretise();
  MatrixPowers A_bar(discrete.matrix());
  const Tensor row = row_to_real(discrete.C).unsqueeze(1);
  initialise_C(row_from_real((row - A_bar.rows_times(row, config.l_kernel)).squeeze(1)));
}

S4::Discrete S4::discretise() const {
  Discrete d;
  d.dt = dt();
  d.dt_A = rounded(d.dt * A());
  d.B = B();
  d.C = C();
  d.P = per_channel(torch::view_as_complex(P_.to(torch::kDouble)).squeeze(0));
  // (I - dt A / 2)^-1 = g - (dt / 2 r) g P (P* g), r = 1 + (dt / 2) P* g P.
  const Tensor g = 1 / (1 - d.dt_A / 2);
  d.q = d.P.conj() * g;
  const Tensor r = 1 + d.dt / 2 * pair_sum(d.q, d.P).unsqueeze(1);
  d.a = (1 + d.dt_A / 2) * g;
  d.w = d.dt / r * g * d.P;
  d.B_bar = d.dt * (g * d.B) - d.dt / 2 * d.w * pair_sum(d.q, d.B).unsqueeze(1);
  return d;
}

Tensor S4::kernel(const Discrete& d, int64_t length) const {
  // C~ for a transform of `points` >= length.
  Tensor C = d.C;
  int64_t points = config_.l_kernel;
  if (points < length) {
    MatrixPowers A_bar(d.matrix());
    Tensor row = row_to_real(C).unsqueeze(1);
    if (points == 0) {
      points = length;
      row = row - A_bar.rows_times(row, points);
    }
    for (; points < length; points *= 2) row = row + A_bar.rows_times(row, points);
    C = row_from_real(row.squeeze(1));
  }
  const Tensor Q = d.P.conj();
  const Tensor CB = d.dt * C * d.B;
  const Tensor v = torch::stack({CB, d.dt * Q * d.B, d.dt * C * d.P, d.dt * Q * d.P});
  const Tensor z = nodes(points, v.device());
  const auto r = ssm_kernel_cauchy(v.to(complex_type()), z, d.dt_A.to(complex_type())).unbind(0);
  Tensor spectrum = (r[0] - r[1] * r[2] / (1 + r[3])) * (1 + z / 2).to(complex_type());
  if (points % 2 == 0) {
    const Tensor last = torch::real(CB.sum(1, /*keepdim=*/true)).to(complex_type());
    spectrum = torch::cat({spectrum, last}, 1);
  }
  return torch::fft_irfft(spectrum, points, 1).narrow(1, 0, length);
}

StateSpaceOutput S4::run(const Tensor& u, const Tensor& D, const Tensor& initial_state,
                         bool want_final_state) {
  const int64_t length = u.size(1);
  const Discrete d = discretise();
  Tensor y = long_conv(u, kernel(d, length), D);
  if (!initial_state.defined() && !want_final_state) return {y, {}};
  MatrixPowers A_bar(d.matrix());
  Tensor last;
  if (want_final_state) last = block_final_state(A_bar, to_real(d.B_bar), u.to(real_type()));
  if (initial_state.defined()) {
    const Tensor h = to_real(initial_state);
    Tensor C = row_to_real(d.C);
    if (config_.l_kernel > 0) C = untruncated(A_bar, C, config_.l_kernel);
    y = y + block_response(A_bar, C, h, length).to(y.scalar_type());
    if (want_final_state)
      last = last + A_bar.times_columns(h.permute({1, 2, 0}), length).permute({2, 0, 1});
  }
  if (!want_final_state) return {y, {}};
  return {y, from_real(last)};
}

StateSpace::StepConstants S4::step_constants() const {
  const Discrete d = discretise();
  Tensor C = d.C;
  if (config_.l_kernel > 0) {
    MatrixPowers A_bar(d.matrix());
    C = row_from_real(untruncated(A_bar, row_to_real(C), config_.l_kernel));
  }
  return {d.a, d.B_bar, C, d.q, d.w};
}

}  // namespace strandwave
