#include "core/models/named_tensors.h"

#include <map>

#include "core/base/error.h"

namespace strandwave {
namespace {

std::string shape_text(at::IntArrayRef shape) {
  std::string text;
  for (const int64_t extent : shape) text += (text.empty() ? "" : ", ") + std::to_string(extent);
  return "(" + text + ")";
}

}  // namespace

NamedTensors named_tensors(const torch::nn::Module& module) {
  NamedTensors tensors;
  for (const auto& item : module.named_parameters()) tensors.emplace_back(item.key(), item.value());
  return tensors;
}

void load_tensors(torch::nn::Module& module, const NamedTensors& tensors, const std::string& where,
                  const std::function<bool(const std::string&)>& in_scope) {
  const torch::NoGradGuard no_grad;
  std::map<std::string, torch::Tensor> given;
  for (const auto& [name, tensor] : tensors)
    if (!in_scope || in_scope(name)) given.emplace(name, tensor);
  for (auto& [name, parameter] : named_tensors(module)) {
    if (in_scope && !in_scope(name)) continue;
    const auto found = given.find(name);
    if (found == given.end())
      throw input_error(where + ": tensor \"" + name + "\" of shape " +
                        shape_text(parameter.sizes()) + " is missing");
    if (found->second.sizes() != parameter.sizes())
      throw input_error(where + ": tensor \"" + name + "\" has shape " +
                        shape_text(found->second.sizes()) + ", the configuration needs " +
                        shape_text(parameter.sizes()));
    parameter.copy_(found->second);
    given.erase(found);
  }
  if (!given.empty())
    throw input_error(
        where + ": tensor \"" + given.begin()->first +
        "\" does not belong to the configured model" +
        (given.size() > 1 ? " (nor do " + std::to_string(given.size() - 1) + " others)" : ""));
}

void replace_parameter(torch::nn::Module& module, const std::string& name,
                       const torch::Tensor& value) {
  auto all = module.named_parameters();
  torch::Tensor* parameter = all.find(name);
  if (parameter == nullptr) throw usage_error("the model has no parameter \"" + name + "\"");
  TORCH_CHECK(parameter->sizes() == value.sizes(), "parameter ", name, " has shape ",
              parameter->sizes(), ", the replacement ", value.sizes());
  parameter->set_data(value);
}

}  // namespace strandwave
