#include "core/layers/mamba_lti.h"

#include <cmath>

#include "core/layers/mixer_checks.h"
#include "kernels/causal_conv1d/causal_conv1d.h"

namespace strandwave {
namespace {

using torch::Tensor;

// Which random stream a tensor is drawn from: part of what a seed means, never renumber.
enum InitialTensor : int64_t {
  kInProj = 0,  // and its bias
  kConvWeight = 2,
  kConvBias = 3,
  kOutProj = 4,  // and its bias
  kStateSpace = 8
};

}  // namespace

MambaLtiConfig MambaLtiConfig::from_json(const nlohmann::json& options) {
  JsonObject object(options, "mamba_lti layer");
  MambaLtiConfig c;
  c.state_space = StateSpaceConfig::read(object, /*diagonal=*/true);
  if (!object.has("d_state")) c.state_space.d_state = 16;
  c.d_conv = object.integer("d_conv", c.d_conv, 2, 4);
  c.expand = object.integer("expand", c.expand, 1, 64);
  c.conv_bias = object.boolean("conv_bias", c.conv_bias);
  c.bias = object.boolean("bias", c.bias);
  object.finish();
  return c;
}

MambaLti::MambaLti(const MambaLtiConfig& config, int64_t d_model, int64_t layer_index,
                   uint64_t seed)
    : config_(config), d_model_(d_model) {
  const int64_t inner = d_inner();
  const auto linear = [&](const char* name, int64_t out, int64_t in, int64_t tensor) {
    return register_module(name,
                           linear_parameters(out, in, config.bias, seed, layer_index + 1, tensor));
  };
  const auto conv = [&](at::IntArrayRef shape, int64_t tensor) {
    return uniform_tensor(shape, 1.0 / std::sqrt(static_cast<double>(config.d_conv)),
                          initialization_stream(seed, layer_index + 1, tensor));
  };
  in_proj_ = linear("in_proj", 2 * inner, d_model, kInProj);
  conv1d_ = register_module("conv1d", std::make_shared<ParameterGroup>(
                                          conv({inner, 1, config.d_conv}, kConvWeight),
                                          config.conv_bias ? conv({inner}, kConvBias) : Tensor()));
  D_ = register_parameter("D", torch::ones({inner}));
  kernel_ = register_module(
      "kernel", std::make_shared<S4D>(config.state_space, inner, layer_index, seed, kStateSpace));
  out_proj_ = linear("out_proj", d_model, inner, kOutProj);
}

MixerTraits MambaLti::traits() const {
  return {.has_state = true, .has_step = true, .packed = false, .context_parallel = false};
}

MixerOutput MambaLti::forward(const Tensor& x, const MixerInput& input) {
  check_mixer_input("mamba_lti", x, d_model_, in_proj_->weight.scalar_type());
  refuse_layout("mamba_lti", input);
  const Tensor conv_state = initial_tensor("mamba_lti", input, "conv");
  const auto optional = [](const Tensor& tensor) {
    return tensor.defined() ? std::optional<Tensor>(tensor) : std::nullopt;
  };
  const auto xz = in_proj_->linear(x).chunk(2, -1);
  const CausalConv1dOutput conv = causal_conv1d(xz[0], conv1d_->weight.squeeze(1),
                                                optional(conv1d_->bias), optional(conv_state));
  const StateSpaceOutput out = kernel_->forward(
      conv.out, D_, initial_tensor("mamba_lti", input, "ssm"), input.want_final_state);
  MixerOutput output{out_proj_->linear(out.y * torch::silu(xz[1])), {}};
  if (input.want_final_state)
    output.final_state = MixerState{{{"conv", conv.final_state}, {"ssm", out.final_state}},
                                    positions_after(x, input)};
  return output;
}

MixerState MambaLti::allocate_state(int64_t sequences, int64_t /*max_length*/,
                                    torch::TensorOptions options) const {
  const auto exact = options.dtype(D_.scalar_type());
  return {{{"conv", torch::zeros({sequences, config_.d_conv - 1, d_inner()}, exact)},
           {"ssm", kernel_->allocate_state(sequences, options)}},
          torch::zeros({sequences}, options.dtype(torch::kLong))};
}

Tensor MambaLti::step(const Tensor& x, MixerState& state) {
  const torch::NoGradGuard no_grad;
  const auto xz = in_proj_->linear(x).chunk(2, -1);
  Tensor& conv_state = state.tensors.at("conv");
  const CausalConv1dOutput conv = causal_conv1d(
      xz[0].unsqueeze(1), conv1d_->weight.squeeze(1),
      conv1d_->bias.defined() ? std::optional<Tensor>(conv1d_->bias) : std::nullopt, conv_state);
  conv_state.copy_(conv.final_state);
  const Tensor y = kernel_->step(conv.out.squeeze(1), D_, state.tensors.at("ssm"));
  state.positions.add_(1);
  return out_proj_->linear(y * torch::silu(xz[1]));
}

}  // namespace strandwave
