// Selective scan: the recurrence of Mamba ("S6", arXiv 2312.00752 section 3 and appendix D).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <tuple>

#include "kernels/common/sequence_layout.h"

namespace strandwave {

// For each sequence and channel d, with state h of d_state values and position t:
//
//   delta'_t = softplus(delta_t + delta_bias)      (delta_softplus; else delta_t + delta_bias)
//   h_t      = exp(delta'_t A) h_{t-1} + delta'_t B_t u_t
//   y_t      = C_t . h_t + D u_t
//   out_t    = y_t * silu(z_t)                     (z given; else y_t)
//
// complex  with a complex A the d_state values of h, B and C are complex numbers that stand for
//          conjugate pairs: y_t = 2 Re(C_t . h_t) + D u_t, C not conjugated. B and C stay real
//          tensors with a last dimension of 2 d_state, real and imaginary part in turn. Gradients
//          follow PyTorch's convention: by the real part plus i times by the imaginary part.
// shapes   u, delta, z, out (batch, length, channels); A (channels, d_state); B, C (batch, length,
//          d_state or 2 d_state); D, delta_bias (channels); initial_state, final_state (S,
//          channels, d_state).
//          S = batch, or with `cu_seqlens` (S + 1 offsets; batch must be 1) the packed sequences.
// dtypes   u, delta, B, C, z, out: float32, bfloat16 or float16, all the same (float64 on the CPU).
//          A, D, delta_bias, states: float32 (float64 with float64 inputs), as is all arithmetic;
//          complex A and states: complex64 (complex128).
// limits   d_state 1..256; length from 0; rows may be strided (slices of a wider tensor) as long as
//          the last dimension is contiguous.
// reverse  the recurrence runs from the last position to the first: equals flip, scan, flip per
//          sequence. The initial state then enters at the last position.
// An empty sequence's final state is its initial state (zero when none is given).
// Deterministic: the same shapes on the same device give the same bits with any number of threads.
// Errors: c10::Error, one message per violated fact. Double backward is refused.
struct SelectiveScanOutput {
  at::Tensor out;
  at::Tensor final_state;
};

SelectiveScanOutput selective_scan(const at::Tensor& u, const at::Tensor& delta, const at::Tensor& A,
                                   const at::Tensor& B, const at::Tensor& C,
                                   const std::optional<at::Tensor>& D = {},
                                   const std::optional<at::Tensor>& z = {},
                                   const std::optional<at::Tensor>& delta_bias = {},
                                   const std::optional<at::Tensor>& initial_state = {},
                                   const std::optional<at::Tensor>& cu_seqlens = {},
                                   bool delta_softplus = true, bool reverse = false);

// The same without autograd. With save_checkpoints also returns the states at fixed positions that
// the backward pass starts from (opaque, the format belongs to the device); otherwise an empty
// tensor, and the backward pass recomputes them. Callers that recompute (core/layers/mamba) use it.
std::tuple<at::Tensor, at::Tensor, at::Tensor> selective_scan_forward(
    const at::Tensor& u, const at::Tensor& delta, const at::Tensor& A, const at::Tensor& B,
    const at::Tensor& C, const std::optional<at::Tensor>& D, const std::optional<at::Tensor>& z,
    const std::optional<at::Tensor>& delta_bias, const std::optional<at::Tensor>& initial_state,
    const std::optional<at::Tensor>& cu_seqlens, bool delta_softplus, bool reverse,
    bool save_checkpoints);

// Gradients of selective_scan. Members whose input was not given are undefined.
struct SelectiveScanGradients {
  at::Tensor u, delta, A, B, C, D, z, delta_bias, initial_state;
};

// dout, dfinal_state: gradients of the two outputs (dfinal_state may be undefined: zero).
// checkpoints: from selective_scan_forward, or undefined.
SelectiveScanGradients selective_scan_backward(
    const at::Tensor& dout, const std::optional<at::Tensor>& dfinal_state, const at::Tensor& u,
    const at::Tensor& delta, const at::Tensor& A, const at::Tensor& B, const at::Tensor& C,
    const std::optional<at::Tensor>& D, const std::optional<at::Tensor>& z,
    const std::optional<at::Tensor>& delta_bias, const std::optional<at::Tensor>& initial_state,
    const std::optional<at::Tensor>& cu_seqlens, const std::optional<at::Tensor>& checkpoints,
    bool delta_softplus, bool reverse);

// What a segment does to the state that enters it, for context parallelism: (delta_sum, end_state)
// with delta_sum = sum_t delta'_t (S, channels), so that the total decay is exp(delta_sum A), and
// end_state (S, channels, d_state) the final state from a zero initial state. Differentiable.
std::tuple<at::Tensor, at::Tensor> selective_scan_state(
    const at::Tensor& u, const at::Tensor& delta, const at::Tensor& A, const at::Tensor& B,
    const std::optional<at::Tensor>& delta_bias = {}, const std::optional<at::Tensor>& cu_seqlens = {},
    bool delta_softplus = true, bool reverse = false);

}  // namespace strandwave
