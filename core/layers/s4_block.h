// The layers s4 and s4d of SaShiMi: a state space per channel, then a mixing of channels.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "core/layers/mixer.h"
#include "core/layers/parameters.h"
#include "core/layers/state_space.h"

namespace strandwave {

struct S4BlockConfig {
  StateSpaceConfig state_space;
  bool diagonal = false;        // s4d
  std::string postact = "glu";  // or "none"

  // Keys: those of StateSpaceConfig and postact. Throws Error(kUsage): unknown key, impossible
  // value.
  static S4BlockConfig from_json(const nlohmann::json& options, bool diagonal);
};

struct S4Config : S4BlockConfig {
  static S4Config from_json(const nlohmann::json& o) {
    return {S4BlockConfig::from_json(o, false)};
  }
};

struct S4DConfig : S4BlockConfig {
  static S4DConfig from_json(const nlohmann::json& o) {
    return {S4BlockConfig::from_json(o, true)};
  }
};

//   y = gelu(kernel(x) + D x)          (kernel: a state space, S4 or S4D, per channel)
//   a, b = output_linear(y);  output = a sigmoid(b)      (postact none: output = output_linear(y))
//
// parameters   D (1, d_model), kernel.* (see StateSpace and S4), output_linear.weight (2 d_model,
//              d_model) and .bias (2 d_model); with postact none (d_model, d_model) and (d_model):
//              the names of a layer of a released SaShiMi (state-spaces/s4, version 4), without
//              "layer.", "layer.layer." and the ".0" of output_linear.
// dtypes       output_linear.weight and the input share a type, float32, bfloat16 or float16
//              (float64); all other parameters, the convolution's kernel and the state are float32
//              (float64).
// state        "ssm" (S, d_model, N / 2) complex64 (complex128). Gradients flow through initial and
//              final states.
class S4Block : public Mixer {
 public:
  S4Block(const S4BlockConfig& config, int64_t d_model, int64_t layer_index, uint64_t seed);

  MixerTraits traits() const override;
  MixerOutput forward(const torch::Tensor& x, const MixerInput& input) override;
  MixerState allocate_state(int64_t sequences, int64_t max_length,
                            torch::TensorOptions options) const override;
  torch::Tensor step(const torch::Tensor& x, MixerState& state) override;

 private:
  torch::Tensor mix_channels(const torch::Tensor& y) const;

  std::string name_;
  bool glu_;
  int64_t d_model_;
  torch::Tensor D_;
  std::shared_ptr<StateSpace> kernel_;
  std::shared_ptr<ParameterGroup> output_linear_;
};

}  // namespace strandwave
