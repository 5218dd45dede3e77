#include "core/layers/mixer_checks.h"

namespace strandwave {

void check_mixer_input(const std::string& layer, const torch::Tensor& x, int64_t d_model,
                       torch::ScalarType weight_type) {
  TORCH_CHECK(x.dim() == 3 && x.size(2) == d_model, layer, ": the input must be (batch, length, ",
              d_model, "), got ", x.sizes());
  TORCH_CHECK(x.scalar_type() == weight_type, layer, ": the input is ", x.scalar_type(),
              ", the weights are ", weight_type);
}

void refuse_layout(const std::string& layer, const MixerInput& input) {
  TORCH_CHECK(input.layout == nullptr, layer,
              " does not take packed sequences: give one sequence per batch entry");
}

torch::Tensor initial_tensor(const std::string& layer, const MixerInput& input,
                             const std::string& name) {
  if (input.initial_state == nullptr) return {};
  const auto found = input.initial_state->tensors.find(name);
  TORCH_CHECK(found != input.initial_state->tensors.end(), layer, ": the state has no tensor \"",
              name, "\"");
  return found->second;
}

torch::Tensor positions_after(const torch::Tensor& x, const MixerInput& input) {
  const torch::Tensor seen = input.layout != nullptr ? input.layout->cu_seqlens().diff()
                                                     : torch::full({x.size(0)}, x.size(1),
                                                                   x.options().dtype(torch::kLong));
  if (input.initial_state == nullptr || !input.initial_state->positions.defined()) return seen;
  return seen + input.initial_state->positions;
}

}  // namespace strandwave
