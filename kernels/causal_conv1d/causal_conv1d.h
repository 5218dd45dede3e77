// Causal depthwise convolution along the sequence, channel-last, with optional SiLU.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

namespace strandwave {

//   p_t   = bias + sum_{k=0}^{W-1} weight[:, k] x_{t - (W-1) + k}     (weight[:, W-1] meets x_t)
//   out_t = p_t or silu(p_t)
// Positions before a sequence's start come from initial_state (zero when not given).
//
// shapes   x, out (batch, length, channels); weight (channels, W), W = 2, 3 or 4; bias (channels);
//          initial_state, final_state (S, W - 1, channels): the last W - 1 inputs, oldest first.
//          S = batch, or with `cu_seqlens` (S + 1 offsets, int64; batch 1) the packed sequences.
// dtypes   x, out, and the states: float32, bfloat16 or float16 (float64 on the CPU) for x and out;
//          weight, bias, states and all arithmetic float32 (float64 with float64 inputs).
// reverse  equals flip, conv, flip per sequence (anti-causal); the initial state enters at the last
//          position: its rows are the inputs "after" the end, farthest first.
// A sequence shorter than W - 1 shifts its initial state; an empty one returns it unchanged.
// Deterministic. Errors: c10::Error, one message per violated fact. Double backward is refused.
struct CausalConv1dOutput {
  at::Tensor out;
  at::Tensor final_state;
};

CausalConv1dOutput causal_conv1d(const at::Tensor& x, const at::Tensor& weight,
                                 const std::optional<at::Tensor>& bias = {},
                                 const std::optional<at::Tensor>& initial_state = {},
                                 const std::optional<at::Tensor>& cu_seqlens = {}, bool silu = true,
                                 bool reverse = false);

// Without autograd.
std::tuple<at::Tensor, at::Tensor> causal_conv1d_forward(
    const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
    const std::optional<at::Tensor>& initial_state, const std::optional<at::Tensor>& cu_seqlens,
    bool silu, bool reverse);

struct CausalConv1dGradients {
  at::Tensor x, weight, bias, initial_state;  // undefined where the input was not given
};

// The pre-activation is recomputed from x.
CausalConv1dGradients causal_conv1d_backward(const at::Tensor& dout,
                                             const std::optional<at::Tensor>& dfinal_state,
                                             const at::Tensor& x, const at::Tensor& weight,
                                             const std::optional<at::Tensor>& bias,
                                             const std::optional<at::Tensor>& initial_state,
                                             const std::optional<at::Tensor>& cu_seqlens, bool silu,
                                             bool reverse);

}  // namespace strandwave
