// The selective scan as a loop over time in ATen: slow, obvious, differentiable by autograd.
#pragma once

#include <torch/torch.h>

#include <utility>
#include <vector>

namespace strandwave::testing {

struct ScanArguments {
  at::Tensor u, delta, A, B, C, D, z, delta_bias, initial_state;  // undefined: not given
  std::vector<int64_t> offsets;                                   // of packed sequences, or empty
  bool delta_softplus = true;
  bool reverse = false;

  std::vector<at::Tensor*> tensors() {
    return {&u, &delta, &A, &B, &C, &D, &z, &delta_bias, &initial_state};
  }
};

// The tensor in `type`, or in complex numbers of that type.
inline at::Tensor to_precision(const at::Tensor& tensor, at::ScalarType type) {
  return tensor.to(tensor.is_complex() ? at::toComplexType(type) : type);
}

// B or C as the recurrence uses it: pairs are complex numbers where A is complex.
inline at::Tensor as_states(const at::Tensor& rows, const at::Tensor& A) {
  if (!A.is_complex()) return rows;
  return at::view_as_complex(rows.unflatten(2, {A.size(1), 2}).contiguous());
}

// One batch of unpacked sequences, first position to last. initial_state may be undefined.
inline std::pair<at::Tensor, at::Tensor> scan_loop(const ScanArguments& a) {
  at::Tensor delta = a.delta;
  if (a.delta_bias.defined()) delta = delta + a.delta_bias;
  if (a.delta_softplus) delta = at::softplus(delta);
  const int64_t batch = a.u.size(0), length = a.u.size(1);
  at::Tensor h = a.initial_state.defined()
                     ? a.initial_state
                     : at::zeros({batch, a.A.size(0), a.A.size(1)}, a.A.options());
  if (length == 0) return {a.u * 1, h * 1};
  const std::vector<at::Tensor> decay = at::exp(delta.unsqueeze(-1) * a.A).unbind(1);
  const at::Tensor B = as_states(a.B, a.A), C = as_states(a.C, a.A);
  const std::vector<at::Tensor> input = ((delta * a.u).unsqueeze(-1) * B.unsqueeze(2)).unbind(1);
  std::vector<at::Tensor> states;
  for (int64_t t = 0; t < length; ++t) {
    h = at::addcmul(input[t], decay[t], h);
    states.push_back(h);
  }
  at::Tensor y = (at::stack(states, 1) * C.unsqueeze(2)).sum(-1);
  if (a.A.is_complex()) y = 2 * at::real(y);
  if (a.D.defined()) y = y + a.D * a.u;
  if (a.z.defined()) y = y * at::silu(a.z);
  return {y, h};
}

// The whole contract, computed in `type`: packed sequences one by one, reverse by flipping.
inline std::pair<at::Tensor, at::Tensor> selective_scan_reference(ScanArguments a,
                                                                  at::ScalarType type) {
  for (at::Tensor* tensor : a.tensors())
    if (tensor->defined()) *tensor = to_precision(*tensor, type);
  std::vector<int64_t> offsets = a.offsets;
  const bool packed = !offsets.empty();
  if (!packed) offsets = {0, a.u.size(1)};
  std::vector<at::Tensor> outs, finals;
  for (size_t s = 0; s + 1 < offsets.size(); ++s) {
    ScanArguments part = a;
    for (at::Tensor* rows : {&part.u, &part.delta, &part.B, &part.C, &part.z}) {
      if (!rows->defined()) continue;
      *rows = rows->slice(1, offsets[s], offsets[s + 1]);
      if (a.reverse) *rows = rows->flip(1);
    }
    if (packed && a.initial_state.defined())
      part.initial_state = a.initial_state.slice(0, s, s + 1);
    auto [out, final_state] = scan_loop(part);
    outs.push_back(a.reverse ? out.flip(1) : out);
    finals.push_back(final_state);
  }
  if (outs.empty()) return {a.u * 1, a.A.unsqueeze(0).slice(0, 0, 0)};
  return {at::cat(outs, 1), at::cat(finals, 0)};
}

}  // namespace strandwave::testing
