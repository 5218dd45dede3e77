#include "core/layers/parameters.h"

#include <cmath>

#include "kernels/common/parallel.h"

namespace strandwave {
namespace {

constexpr int64_t kBlock = 1 << 14;  // values a task draws

template <typename Draw>
torch::Tensor drawn(at::IntArrayRef shape, const Draw& draw) {
  torch::Tensor tensor = torch::empty(shape, torch::kFloat);
  float* values = tensor.data_ptr<float>();
  const int64_t count = tensor.numel();
  parallel_for((count + kBlock - 1) / kBlock, [&](int64_t task) {
    const int64_t end = std::min(count, (task + 1) * kBlock);
    for (int64_t i = task * kBlock; i < end; ++i)
      values[i] = static_cast<float>(draw(static_cast<uint64_t>(i)));
  });
  return tensor;
}

}  // namespace

ParameterGroup::ParameterGroup(torch::Tensor weight_values, torch::Tensor bias_values) {
  weight = register_parameter("weight", std::move(weight_values));
  if (bias_values.defined()) bias = register_parameter("bias", std::move(bias_values));
}

torch::Tensor ParameterGroup::linear(const torch::Tensor& x) const {
  return torch::linear(x, weight, bias.defined() ? bias.to(x.scalar_type()) : bias);
}

RandomStream initialization_stream(uint64_t seed, int64_t layer, int64_t tensor) {
  return {seed, RandomPurpose::kInitialization, static_cast<uint64_t>(layer),
          static_cast<uint64_t>(tensor)};
}

torch::Tensor uniform_tensor(at::IntArrayRef shape, double bound, const RandomStream& stream) {
  return drawn(shape, [&](uint64_t i) { return bound * (2.0 * stream.uniform(i) - 1.0); });
}

torch::Tensor normal_tensor(at::IntArrayRef shape, double standard_deviation,
                            const RandomStream& stream) {
  return drawn(shape, [&](uint64_t i) { return standard_deviation * stream.normal(i); });
}

std::shared_ptr<ParameterGroup> linear_parameters(int64_t out, int64_t in, bool bias, uint64_t seed,
                                                  int64_t layer, int64_t tensor) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(in));
  const auto drawn = [&](at::IntArrayRef shape, int64_t stream) {
    return uniform_tensor(shape, bound, initialization_stream(seed, layer, stream));
  };
  return std::make_shared<ParameterGroup>(drawn({out, in}, tensor),
                                          bias ? drawn({out}, tensor + 1) : torch::Tensor());
}

torch::ScalarType exact_type(torch::ScalarType type) {
  return type == torch::kDouble ? torch::kDouble : torch::kFloat;
}

}  // namespace strandwave
