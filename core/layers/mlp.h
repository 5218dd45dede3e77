// A feed-forward layer on every position.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "core/layers/mixer.h"
#include "core/layers/parameters.h"

namespace strandwave {

struct MlpConfig {
  std::string activation = "gelu";  // gelu (by erf), silu, relu
  double hidden_factor = 2;         // hidden = hidden_factor d_model, rounded
  bool gated = false;
  bool bias = true;

  // Keys as above. Throws Error(kUsage): unknown key, impossible value.
  static MlpConfig from_json(const nlohmann::json& options);
};

//   output = fc2(activation(fc1(x)))
//   gated: value, gate = fc1(x);  output = fc2(value activation(gate))
//
// parameters   fc1.weight (hidden, d_model), or (2 hidden, d_model) with the rows of value before
//              those of gate; fc2.weight (d_model, hidden); fc1.bias and fc2.bias.
// dtypes       weights and input share a type; biases are float32 (float64).
// state        none but the positions.
class Mlp : public Mixer {
 public:
  Mlp(const MlpConfig& config, int64_t d_model, int64_t layer_index, uint64_t seed);

  MixerTraits traits() const override;
  MixerOutput forward(const torch::Tensor& x, const MixerInput& input) override;
  MixerState allocate_state(int64_t sequences, int64_t max_length,
                            torch::TensorOptions options) const override;
  torch::Tensor step(const torch::Tensor& x, MixerState& state) override;

 private:
  torch::Tensor apply(const torch::Tensor& x) const;

  MlpConfig config_;
  int64_t d_model_;
  std::shared_ptr<ParameterGroup> fc1_, fc2_;
};

}  // namespace strandwave
