// Mamba-1, the selective state-space layer (arXiv 2312.00752, section 3.4).
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "core/layers/mixer.h"
#include "core/layers/parameters.h"

namespace strandwave {

struct MambaConfig {
  int64_t d_state = 16;  // N, 1..256
  int64_t d_conv = 4;    // W, 2..4
  int64_t expand = 2;    // d_inner = expand d_model
  int64_t dt_rank = 0;   // R; 0: ceil(d_model / 16)
  double dt_min = 1e-3;  // initial delta is log-uniform in [dt_min, dt_max] ...
  double dt_max = 0.1;
  double dt_init_floor = 1e-4;  // ... and at least this
  bool conv_bias = true;
  bool bias = false;  // of in_proj and out_proj
  // Complex states: A = -exp(A_log) + i A_imag starts at -1/2 + i n ("n"; S4D-Lin of the Mamba
  // paper, table 8) or -1/2 + i pi n ("lin"; S4D-Lin of arXiv 2206.11893), n = 0 .. N - 1.
  bool complex = false;
  std::string complex_init = "n";

  // Keys as above. Throws Error(kUsage): unknown key, impossible value.
  static MambaConfig from_json(const nlohmann::json& options);
  nlohmann::json to_json() const;
};

//   x, z = in_proj(input)                      (rows of in_proj.weight: x then z)
//   u = silu(causal_conv1d(x))
//   d, B, C = x_proj(u)                        (rows of x_proj.weight: R, N, N)
//   y = selective_scan(u, dt_proj.weight d, A = -exp(A_log), B, C, D, z, delta_bias = dt_proj.bias)
//   output = out_proj(y)
//
// Complex: A = -exp(A_log) + i A_imag; B and C are N complex numbers, 2 N rows of x_proj each, real
// and imaginary part in turn; the state's part of y is 2 Re(C . h).
//
// parameters   in_proj.weight (2 d_inner, d_model), conv1d.weight (d_inner, 1, W), conv1d.bias
//              (d_inner), x_proj.weight (R + 2 N, d_inner), dt_proj.weight (d_inner, R),
//              dt_proj.bias (d_inner), A_log (d_inner, N), D (d_inner), out_proj.weight (d_model,
//              d_inner), with `bias` in_proj.bias and out_proj.bias: names, order of rows and
//              initialisation of state-spaces/mamba. Complex: A_imag (d_inner, N), and R + 4 N rows
//              of x_proj.weight.
// dtypes       the GEMM weights (in_proj, x_proj, dt_proj, out_proj .weight) and the input share a
//              type: float32, bfloat16 or float16 (float64 on the CPU). All other parameters are
//              float32 (float64): biases, conv1d.weight, A_log, A_imag, D.
// state        "conv" (S, W - 1, d_inner) and "ssm" (S, d_inner, N), float32 (float64), "ssm" of
//              complex numbers with `complex`: the last inputs of the convolution, oldest first,
//              and h. Gradients flow through initial and final states.
// memory       one autograd node; it keeps the input, x_proj's output and in_proj's output (not the
//              last with MixerInput::recompute_projections) and recomputes the rest.
class Mamba : public Mixer {
 public:
  Mamba(const MambaConfig& config, int64_t d_model, int64_t layer_index, uint64_t seed);

  MixerTraits traits() const override;
  MixerOutput forward(const torch::Tensor& x, const MixerInput& input) override;
  MixerState allocate_state(int64_t sequences, int64_t max_length,
                            torch::TensorOptions options) const override;
  torch::Tensor step(const torch::Tensor& x, MixerState& state) override;

  const MambaConfig& config() const { return config_; }
  int64_t d_inner() const { return config_.expand * d_model_; }
  int64_t dt_rank() const { return dt_rank_; }

 private:
  MambaConfig config_;
  int64_t d_model_;
  int64_t dt_rank_;
  std::shared_ptr<ParameterGroup> in_proj_, conv1d_, x_proj_, dt_proj_, out_proj_;
  torch::Tensor A_log_, A_imag_, D_;  // A_imag undefined for real states
};

}  // namespace strandwave
