// The parameters of a model by name: what its files hold.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace strandwave {

// In the order of the model.
using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

// All parameters of a module (handles, not copies).
NamedTensors named_tensors(const torch::nn::Module& module);

// Copies values into the parameters for whose name in_scope is true (null: all), converting type
// and device. Every one of them must be given with its shape, and nothing else in scope; throws
// Error(kInput) naming `where`, the tensor and both shapes.
void load_tensors(torch::nn::Module& module, const NamedTensors& tensors, const std::string& where,
                  const std::function<bool(const std::string&)>& in_scope = {});

// The parameter takes over `value`'s storage and type (a view into a flat bucket, a bf16 copy):
// every handle to the parameter sees it. Shapes must agree.
void replace_parameter(torch::nn::Module& module, const std::string& name,
                       const torch::Tensor& value);

}  // namespace strandwave
