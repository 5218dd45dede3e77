// The causal convolution written out with ATen, sequence by sequence and tap by tap.
// Differentiable; computes in the type of `weight`, so float64 inputs give the reference and
// float32 ones a baseline.
#pragma once

#include <torch/torch.h>

#include <optional>
#include <utility>
#include <vector>

namespace strandwave::reference {

struct CausalConv1dArguments {
  at::Tensor x, weight, bias, initial_state;  // bias and initial_state may be undefined
  std::vector<int64_t> offsets;               // empty: each batch entry is one sequence
  bool silu = true;
  bool reverse = false;
};

// One sequence: x (length, channels), history (width - 1, channels). Returns out and the final
// state.
inline std::pair<at::Tensor, at::Tensor> causal_conv1d_sequence(const CausalConv1dArguments& in,
                                                                at::Tensor x,
                                                                const at::Tensor& history) {
  const int64_t length = x.size(0), width = in.weight.size(1);
  x = x.to(in.weight.scalar_type());
  if (in.reverse) x = x.flip({0});
  const at::Tensor padded = at::cat({history, x});
  at::Tensor out = in.bias.defined() ? in.bias.expand_as(x) : at::zeros_like(x);
  for (int64_t k = 0; k < width; ++k)
    out = out + in.weight.select(1, k) * padded.narrow(0, k, length);
  if (in.silu) out = at::silu(out);
  if (in.reverse) out = out.flip({0});
  return {out, padded.narrow(0, length, width - 1)};
}

inline std::pair<at::Tensor, at::Tensor> causal_conv1d(const CausalConv1dArguments& in) {
  const bool packed = !in.offsets.empty();
  const int64_t sequences = packed ? static_cast<int64_t>(in.offsets.size()) - 1 : in.x.size(0);
  const int64_t width = in.weight.size(1), channels = in.x.size(2);
  std::vector<at::Tensor> outs, states;
  for (int64_t s = 0; s < sequences; ++s) {
    const at::Tensor x = packed ? in.x[0].slice(0, in.offsets[s], in.offsets[s + 1]) : in.x[s];
    const at::Tensor history = in.initial_state.defined()
                                   ? in.initial_state[s]
                                   : at::zeros({width - 1, channels}, in.weight.options());
    auto [out, state] = causal_conv1d_sequence(in, x, history);
    outs.push_back(out);
    states.push_back(state);
  }
  if (sequences == 0)
    return {in.x.to(in.weight.scalar_type()),
            at::zeros({0, width - 1, channels}, in.weight.options())};
  const at::Tensor out = packed ? at::cat(outs).unsqueeze(0) : at::stack(outs);
  return {out.to(in.x.scalar_type()), at::stack(states)};
}

}  // namespace strandwave::reference
