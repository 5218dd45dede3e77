// A Mamba block whose state space does not select: the scan replaced by S4D.
#pragma once

#include <nlohmann/json.hpp>

#include "core/layers/mixer.h"
#include "core/layers/parameters.h"
#include "core/layers/s4d.h"

namespace strandwave {

struct MambaLtiConfig {
  StateSpaceConfig state_space;  // of S4D
  int64_t d_conv = 4;            // W, 2..4
  int64_t expand = 2;            // d_inner = expand d_model
  bool conv_bias = true;
  bool bias = false;  // of in_proj and out_proj

  // Keys: those of StateSpaceConfig without l_kernel, and the above. d_state is 16 unless given.
  // Throws Error(kUsage): unknown key, impossible value.
  static MambaLtiConfig from_json(const nlohmann::json& options);
};

//   x, z = in_proj(input)                      (rows of in_proj.weight: x then z)
//   u = silu(causal_conv1d(x))
//   output = out_proj((kernel(u) + D u) silu(z))          (kernel: S4D on d_inner channels)
//
// parameters   in_proj.weight (2 d_inner, d_model), conv1d.weight (d_inner, 1, W), conv1d.bias,
//              D (d_inner), kernel.* (see StateSpace), out_proj.weight (d_model, d_inner), with
//              `bias` in_proj.bias and out_proj.bias. Initial values as those of Mamba and S4D.
// dtypes       in_proj.weight, out_proj.weight and the input share a type; all else is float32
//              (float64).
// state        "conv" (S, W - 1, d_inner), "ssm" (S, d_inner, N / 2) complex64 (complex128).
class MambaLti : public Mixer {
 public:
  MambaLti(const MambaLtiConfig& config, int64_t d_model, int64_t layer_index, uint64_t seed);

  MixerTraits traits() const override;
  MixerOutput forward(const torch::Tensor& x, const MixerInput& input) override;
  MixerState allocate_state(int64_t sequences, int64_t max_length,
                            torch::TensorOptions options) const override;
  torch::Tensor step(const torch::Tensor& x, MixerState& state) override;

 private:
  int64_t d_inner() const { return config_.expand * d_model_; }

  MambaLtiConfig config_;
  int64_t d_model_;
  std::shared_ptr<ParameterGroup> in_proj_, conv1d_, out_proj_;
  std::shared_ptr<S4D> kernel_;
  torch::Tensor D_;
};

}  // namespace strandwave
