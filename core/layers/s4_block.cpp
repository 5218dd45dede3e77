#include "core/layers/s4_block.h"

#include "core/layers/mixer_checks.h"
#include "core/layers/s4.h"
#include "core/layers/s4d.h"

namespace strandwave {
namespace {

using torch::Tensor;

// Which random stream a tensor is drawn from: part of what a seed means, never renumber.
enum InitialTensor : int64_t { kD = 0, kOutput = 1 /* and its bias */, kStateSpace = 8 };

constexpr const char* kState = "ssm";

}  // namespace

S4BlockConfig S4BlockConfig::from_json(const nlohmann::json& options, bool diagonal) {
  JsonObject object(options, diagonal ? "s4d layer" : "s4 layer");
  S4BlockConfig config{StateSpaceConfig::read(object, diagonal), diagonal, {}};
  config.postact = object.choice("postact", "glu", {"glu", "none"});
  object.finish();
  return config;
}

S4Block::S4Block(const S4BlockConfig& config, int64_t d_model, int64_t layer_index, uint64_t seed)
    : name_(config.diagonal ? "s4d" : "s4"), glu_(config.postact == "glu"), d_model_(d_model) {
  const auto stream = [&](int64_t tensor) {
    return initialization_stream(seed, layer_index + 1, tensor);
  };
  D_ = register_parameter("D", normal_tensor({1, d_model}, 1.0, stream(kD)));
  if (config.diagonal)
    kernel_ = std::make_shared<S4D>(config.state_space, d_model, layer_index, seed, kStateSpace);
  else
    kernel_ = std::make_shared<S4>(config.state_space, d_model, layer_index, seed, kStateSpace);
  register_module("kernel", kernel_);
  const int64_t outputs = glu_ ? 2 * d_model : d_model;
  output_linear_ = register_module(
      "output_linear",
      linear_parameters(outputs, d_model, /*bias=*/true, seed, layer_index + 1, kOutput));
}

MixerTraits S4Block::traits() const {
  return {.has_state = true, .has_step = true, .packed = false, .context_parallel = false};
}

Tensor S4Block::mix_channels(const Tensor& y) const {
  const Tensor mixed = output_linear_->linear(torch::gelu(y));
  return glu_ ? torch::glu(mixed, -1) : mixed;
}

MixerOutput S4Block::forward(const Tensor& x, const MixerInput& input) {
  check_mixer_input(name_, x, d_model_, output_linear_->weight.scalar_type());
  refuse_layout(name_, input);
  const StateSpaceOutput out = kernel_->forward(
      x, D_.squeeze(0), initial_tensor(name_, input, kState), input.want_final_state);
  MixerOutput output{mix_channels(out.y.to(x.scalar_type())), {}};
  if (input.want_final_state)
    output.final_state = MixerState{{{kState, out.final_state}}, positions_after(x, input)};
  return output;
}

MixerState S4Block::allocate_state(int64_t sequences, int64_t /*max_length*/,
                                   torch::TensorOptions options) const {
  return {{{kState, kernel_->allocate_state(sequences, options)}},
          torch::zeros({sequences}, options.dtype(torch::kLong))};
}

Tensor S4Block::step(const Tensor& x, MixerState& state) {
  const torch::NoGradGuard no_grad;
  const Tensor y = kernel_->step(x, D_.squeeze(0), state.tensors.at(kState));
  state.positions.add_(1);
  return mix_channels(y);
}

}  // namespace strandwave
