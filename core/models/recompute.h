// Autograd through a piece of a model that is run again in the backward pass.
#pragma once

#include <torch/torch.h>

#include <functional>

namespace strandwave {

// body(inputs) -> outputs, a pure function of its inputs and of `parameters` (leaves that it
// reads).
using RecomputedBody =
    std::function<torch::autograd::variable_list(const torch::autograd::variable_list&)>;

// The outputs of body(inputs). Only the inputs are kept for the backward pass, which runs the body
// once more. The body must own what it captures. No double backward.
torch::autograd::variable_list recomputed(RecomputedBody body,
                                          const torch::autograd::variable_list& inputs,
                                          const torch::autograd::variable_list& parameters);

}  // namespace strandwave
