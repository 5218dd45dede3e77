#include "core/models/recompute.h"

#include <torch/custom_class.h>

#include <utility>

namespace strandwave {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// What the context keeps beside tensors.
struct Body : torch::CustomClassHolder {
  Body(RecomputedBody function, variable_list leaves, size_t count)
      : run(std::move(function)), parameters(std::move(leaves)), inputs(count) {}
  RecomputedBody run;
  variable_list parameters;
  size_t inputs;
};

class Recomputed : public torch::autograd::Function<Recomputed> {
 public:
  // `tensors`: the inputs, then the parameters, so that each has an edge in the graph.
  static variable_list forward(AutogradContext* ctx, at::TensorList tensors,
                               c10::intrusive_ptr<Body> body) {
    const variable_list inputs(tensors.begin(),
                               tensors.begin() + static_cast<std::ptrdiff_t>(body->inputs));
    ctx->save_for_backward(inputs);
    ctx->set_materialize_grads(false);
    variable_list outputs = body->run(inputs);
    ctx->saved_data["body"] = c10::IValue::make_capsule(std::move(body));
    return outputs;
  }

  static variable_list backward(AutogradContext* ctx, variable_list output_grads) {
    TORCH_CHECK(!torch::GradMode::is_enabled(),
                "a recomputed layer has no double backward: create_graph is not supported");
    const auto body = c10::static_intrusive_pointer_cast<Body>(ctx->saved_data["body"].toCapsule());
    variable_list inputs = ctx->get_saved_variables();
    for (torch::Tensor& input : inputs)
      input = input.detach().requires_grad_(input.requires_grad());
    variable_list outputs;
    {
      const torch::AutoGradMode grad_mode(true);
      outputs = body->run(inputs);
    }
    variable_list roots, root_grads;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!output_grads[i].defined() || !outputs[i].requires_grad()) continue;
      roots.push_back(outputs[i]);
      root_grads.push_back(output_grads[i]);
    }
    variable_list leaves = inputs;
    leaves.insert(leaves.end(), body->parameters.begin(), body->parameters.end());
    variable_list result(leaves.size() + 1);  // the last belongs to `body`
    variable_list wanted;
    std::vector<size_t> place;
    for (size_t i = 0; i < leaves.size(); ++i) {
      if (!leaves[i].requires_grad()) continue;
      wanted.push_back(leaves[i]);
      place.push_back(i);
    }
    if (roots.empty() || wanted.empty()) return result;
    const variable_list grads =
        torch::autograd::grad(roots, wanted, root_grads, /*retain_graph=*/std::nullopt,
                              /*create_graph=*/false, /*allow_unused=*/true);
    for (size_t i = 0; i < grads.size(); ++i) result[place[i]] = grads[i];
    return result;
  }
};

}  // namespace

variable_list recomputed(RecomputedBody body, const variable_list& inputs,
                         const variable_list& parameters) {
  variable_list tensors = inputs;
  tensors.insert(tensors.end(), parameters.begin(), parameters.end());
  return Recomputed::apply(at::TensorList(tensors),
                           c10::make_intrusive<Body>(std::move(body), parameters, inputs.size()));
}

}  // namespace strandwave
