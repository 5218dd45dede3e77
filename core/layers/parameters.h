// Parameters of layers and their initial values.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>

#include "core/base/random.h"

namespace strandwave {

// A weight and perhaps a bias under one name ("in_proj.weight", "in_proj.bias"). torch::nn::Linear
// would draw from torch's generator.
struct ParameterGroup : torch::nn::Module {
  explicit ParameterGroup(torch::Tensor weight_values, torch::Tensor bias_values = {});
  torch::Tensor weight;
  torch::Tensor bias;  // undefined when the layer has none
};

// The random numbers of one tensor: `layer` is 0 for what belongs to no layer, else 1 + its index.
RandomStream initialization_stream(uint64_t seed, int64_t layer, int64_t tensor);

// float32 on the CPU, element i from the stream's value i; the same with any number of threads.
torch::Tensor uniform_tensor(at::IntArrayRef shape, double bound, const RandomStream& stream);
torch::Tensor normal_tensor(at::IntArrayRef shape, double standard_deviation,
                            const RandomStream& stream);

// The type of everything that is kept exact beside GEMM weights of `type`: float64 for float64,
// else float32.
torch::ScalarType exact_type(torch::ScalarType type);

}  // namespace strandwave
