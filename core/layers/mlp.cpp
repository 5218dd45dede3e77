#include "core/layers/mlp.h"

#include <cmath>

#include "core/base/error.h"
#include "core/base/json_config.h"
#include "core/layers/mixer_checks.h"

namespace strandwave {
namespace {

using torch::Tensor;

// The random streams of fc1 and fc2, each followed by that of its bias: never renumber.
enum InitialTensor : int64_t { kFc1 = 0, kFc2 = 2 };

Tensor activated(const std::string& name, const Tensor& x) {
  if (name == "silu") return torch::silu(x);
  if (name == "relu") return torch::relu(x);
  return torch::gelu(x);
}

}  // namespace

MlpConfig MlpConfig::from_json(const nlohmann::json& options) {
  JsonObject object(options, "mlp layer");
  MlpConfig c;
  c.activation = object.choice("activation", c.activation, {"gelu", "silu", "relu"});
  c.hidden_factor = object.number("hidden_factor", c.hidden_factor, 1e-3, 64);
  c.gated = object.boolean("gated", c.gated);
  c.bias = object.boolean("bias", c.bias);
  object.finish();
  return c;
}

Mlp::Mlp(const MlpConfig& config, int64_t d_model, int64_t layer_index, uint64_t seed)
    : config_(config), d_model_(d_model) {
  const int64_t hidden = std::llround(config.hidden_factor * static_cast<double>(d_model));
  if (hidden < 1)
    throw usage_error("mlp layer: hidden_factor times d_model " + std::to_string(d_model) +
                      " must be at least 1");
  const auto linear = [&](const char* name, int64_t out, int64_t in, int64_t tensor) {
    return register_module(name,
                           linear_parameters(out, in, config.bias, seed, layer_index + 1, tensor));
  };
  fc1_ = linear("fc1", config.gated ? 2 * hidden : hidden, d_model, kFc1);
  fc2_ = linear("fc2", d_model, hidden, kFc2);
}

MixerTraits Mlp::traits() const {
  return {.has_state = true, .has_step = true, .packed = true, .context_parallel = false};
}

Tensor Mlp::apply(const Tensor& x) const {
  const Tensor hidden = fc1_->linear(x);
  if (!config_.gated) return fc2_->linear(activated(config_.activation, hidden));
  const auto halves = hidden.chunk(2, -1);
  return fc2_->linear(halves[0] * activated(config_.activation, halves[1]));
}

MixerOutput Mlp::forward(const Tensor& x, const MixerInput& input) {
  check_mixer_input("mlp", x, d_model_, fc1_->weight.scalar_type());
  MixerOutput output{apply(x), {}};
  if (input.want_final_state) output.final_state = MixerState{{}, positions_after(x, input)};
  return output;
}

MixerState Mlp::allocate_state(int64_t sequences, int64_t /*max_length*/,
                               torch::TensorOptions options) const {
  return {{}, torch::zeros({sequences}, options.dtype(torch::kLong))};
}

Tensor Mlp::step(const Tensor& x, MixerState& state) {
  const torch::NoGradGuard no_grad;
  state.positions.add_(1);
  return apply(x);
}

}  // namespace strandwave
