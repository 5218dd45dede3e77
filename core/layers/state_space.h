// Linear time-invariant state spaces, one per channel: what S4 and S4D have in common.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/base/json_config.h"

namespace strandwave {

struct StateSpaceConfig {
  int64_t d_state = 64;       // N, even: N / 2 conjugate pairs
  std::string init = "legs";  // legs, lin, inv, real: see hippo.h
  double dt_min = 1e-3;       // initial steps are log-uniform in [dt_min, dt_max]
  double dt_max = 0.1;
  std::string dt_transform = "exp";    // dt = exp(inv_dt), or "softplus"
  std::string discretization = "zoh";  // or "bilinear", which S4 (not diagonal) always has
  int64_t n_ssm = 0;                   // A, B and P are shared by channels h with equal h % n_ssm;
                                       // 0: one per channel
  int64_t l_kernel = 0;                // of S4, see s4.h

  // Reads the keys above of an object whose other keys the caller reads. `diagonal`: S4D, which
  // has no l_kernel.
  static StateSpaceConfig read(JsonObject& object, bool diagonal);
};

struct StateSpaceOutput {
  torch::Tensor y;            // (batch, length, channels)
  torch::Tensor final_state;  // undefined unless wanted
};

// For every channel, with the state h of N numbers,
//   h' = A h + B u,   y = C h + D u
// sampled with the channel's step dt, so that h_t = A_bar h_{t-1} + B_bar u_t, y_t = C h_t + D u_t.
// A state is kept as the N / 2 numbers of which it and their conjugates consist: sums over a state
// are twice the real part of sums over these.
//
// parameters   inv_dt (H, 1); A_real, A_imag (S, N/2): A = -exp(A_real) - i A_imag; B (1, S, N/2,
//              2), C (1, H, N/2, 2), pairs of real and imaginary part: names and shapes of
//              state-spaces/s4, version 4. float32 (float64); D is the caller's.
// state        (batch, H, N/2) complex64 (complex128)
// Everything that is as small as the parameters is computed in float64: what is raised to the power
// of the length must not be rounded on the way.
class StateSpace : public torch::nn::Module {
 public:
  int64_t channels() const { return channels_; }

  // u (batch, length, channels), float32 (float64), of any length; D (channels); initial_state
  // undefined: zero. Gradients flow through both states.
  StateSpaceOutput forward(const torch::Tensor& u, const torch::Tensor& D,
                           const torch::Tensor& initial_state, bool want_final_state);

  // Zero. `options` give device and type of u.
  torch::Tensor allocate_state(int64_t sequences, torch::TensorOptions options) const;

  // One position without gradients: u (S, channels) of the state's precision -> y; the state is
  // updated in place.
  torch::Tensor step(const torch::Tensor& u, const torch::Tensor& D, torch::Tensor& state) const;

 protected:
  // Initial values come from the random streams (seed, layer_index + 1, first_stream + 0 .. 7).
  StateSpace(const StateSpaceConfig& config, int64_t channels, int64_t layer_index, uint64_t seed,
             int64_t first_stream);

  // forward() of a length from 1.
  virtual StateSpaceOutput run(const torch::Tensor& u, const torch::Tensor& D,
                               const torch::Tensor& initial_state, bool want_final_state) = 0;

  // What a step needs: h' = a h - w (q h) + b u, y = c h. complex128 (H, N/2); q and w undefined
  // for a diagonal A.
  struct StepConstants {
    torch::Tensor a, b, c, q, w;
  };
  virtual StepConstants step_constants() const = 0;

  // The precision of parameters, kernels and states: float32 (float64).
  torch::ScalarType real_type() const { return inv_dt_.scalar_type(); }
  torch::ScalarType complex_type() const { return c10::toComplexType(real_type()); }
  // Values that powers are taken of are rounded to it before use, so that kernels, steps and states
  // follow the same ones.
  torch::Tensor rounded(const torch::Tensor& values) const;

  // The parameters in float64, one row per channel.
  torch::Tensor dt() const;                                      // (H, 1)
  torch::Tensor A() const;                                       // (H, N/2)
  torch::Tensor B() const;                                       // (H, N/2)
  torch::Tensor C() const;                                       // (H, N/2)
  torch::Tensor per_channel(const torch::Tensor& of_ssm) const;  // (S, ...) -> (H, ...)
  // Sets C, before any use.
  void initialise_C(const torch::Tensor& values);

  StateSpaceConfig config_;

 private:
  // The constants in the forms that step() uses: sums c h over a state are sums of products of real
  // numbers. An optimizer may change parameters without a trace: allocate_state() and every forward
  // pass that may lead to a backward one mark them as stale. They keep their addresses.
  struct StepCache {
    std::vector<std::pair<const void*, int64_t>> of;  // the parameters' addresses and versions
    torch::Tensor a, b, c, q, w;
  };
  const StepCache& step_cache() const;

  int64_t channels_;
  torch::Tensor inv_dt_, A_real_, A_imag_, B_, C_;
  mutable StepCache cache_;
};

// Twice the real part of sum_n x y over the last dimension.
torch::Tensor pair_sum(const torch::Tensor& x, const torch::Tensor& y);

}  // namespace strandwave
