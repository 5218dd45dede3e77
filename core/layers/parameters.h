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
  // x W^T + b, computed in the type of x, which the weight has.
  torch::Tensor linear(const torch::Tensor& x) const;

  torch::Tensor weight;
  torch::Tensor bias;  // undefined when the layer has none
};

// The random numbers of one tensor: `layer` is 0 for what belongs to no layer, else 1 + its index.
RandomStream initialization_stream(uint64_t seed, int64_t layer, int64_t tensor);

// float32 on the CPU, element i from the stream's value i; the same with any number of threads.
torch::Tensor uniform_tensor(at::IntArrayRef shape, double bound, const RandomStream& stream);
torch::Tensor normal_tensor(at::IntArrayRef shape, double standard_deviation,
                            const RandomStream& stream);

// A matrix (out, in) and perhaps a bias (out), uniform in +-1 / sqrt(in), from the streams (seed,
// layer, tensor) and (seed, layer, tensor + 1).
std::shared_ptr<ParameterGroup> linear_parameters(int64_t out, int64_t in, bool bias, uint64_t seed,
                                                  int64_t layer, int64_t tensor);

// The type of everything that is kept exact beside GEMM weights of `type`: float64 for float64,
// else float32.
torch::ScalarType exact_type(torch::ScalarType type);

}  // namespace strandwave
