// Convolution kernels and final states of time-invariant state-space models with diagonal (S4D) or
// diagonal plus low-rank (S4) state matrix, without ever holding channels x length x states values.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace strandwave {

// Only one state of each conjugate pair is given; n counts pairs. Gradients follow PyTorch's
// convention for complex tensors (dL/dRe + i dL/dIm). Double backward is refused.
//
// dtypes   complex64 with float32, or complex128 with float64, on the CPU and on CUDA.
// Any length and number of nodes from 0, any n from 0. Deterministic. Errors: c10::Error, one
// message per violated fact.
// accuracy exp(delta_A t) = exp(delta_A T j) exp(delta_A s) with t = T j + s: both factors come
// from
//          float64 (CPU) or from a phase reduced in float64 (CUDA) and are rounded once, so in
//          float32 the error stays at a few roundings of sum_n |coefficient exp(delta_A t)| however
//          large the phase Im(delta_A) t is. float64: it grows as |delta_A| t 1e-16.

//   K[c, t] = 2 Re sum_n coefficient[c, n] exp(delta_A[c, n] t),   t = 0 .. length - 1
// coefficient, delta_A (channels, n) complex -> (channels, length) real.
// Source: Gu et al., "On the Parameterization and Initialization of Diagonal State Space Models"
// (S4D), section 3.
at::Tensor ssm_kernel_vandermonde(const at::Tensor& coefficient, const at::Tensor& delta_A,
                                  int64_t length);

//   state[b, c, n] = sum_t exp(delta_A[c, n] (length - 1 - t)) u[b, t, c]
// The transposed product: the state of a diagonal model with B = 1 after `length` inputs.
// u (batch, length, channels) real, delta_A (channels, n) complex -> (batch, channels, n) complex.
// u may also be float16 or bfloat16 (with complex64).
at::Tensor ssm_state_vandermonde(const at::Tensor& u, const at::Tensor& delta_A);

//   R[k, c, j] = sum_n v[k, c, n] / (z[j] - w[c, n]) + conj(v[k, c, n]) / (z[j] - conj(w[c, n]))
// v (k, channels, n), z (nodes), w (channels, n) complex -> (k, channels, nodes) complex.
// z may be complex128 with complex64 v and w: the difference z - w then carries the nodes' full
// precision, without which each node sits at a frequency wrong by up to 6e-8 radians. z has no
// gradient. Poles on a node give infinities.
// Source: Gu, Goel, Re, "Efficiently Modeling Long Sequences with Structured State Spaces" (S4),
// appendix C.3.
at::Tensor ssm_kernel_cauchy(const at::Tensor& v, const at::Tensor& z, const at::Tensor& w);

}  // namespace strandwave
