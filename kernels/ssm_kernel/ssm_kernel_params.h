// Plain parameters of the raw kernels behind S4 and S4D, the same on CPU and CUDA. No LibTorch.
// Everything is contiguous; complex numbers are (re, im) pairs.
#pragma once

#include <cstdint>

#include "kernels/common/dtype.h"

struct CUstream_st;  // cudaStream_t points to it

namespace strandwave::kernels {

// ---- Vandermonde: E[c, n, t] = exp(delta_A[c, n] t) ----

struct VandermondeParams {
  Dtype dtype = Dtype::kFloat32;  // or kFloat64, of everything
  int64_t repeats = 0;            // (k) products with the same E
  int64_t channels = 0;
  int64_t n = 0;
  int64_t length = 0;
  bool reverse = false;           // position t lies at length - 1 - t of the output or signal
  const void* delta_A = nullptr;  // (channels, n) complex
};

// out[k, c, t] = Re sum_n coefficient[k, c, n] E[c, n, t]
struct VandermondeProductParams : VandermondeParams {
  const void* coefficient = nullptr;  // (repeats, channels, n) complex
  void* out = nullptr;                // (repeats, channels, length)
};

// moments[o, k, c, n] = sum_t t^o signal[k, c, t] E[c, n, t],   o < orders (1 or 2)
struct VandermondeMomentsParams : VandermondeParams {
  const void* signal = nullptr;  // (repeats, channels, length)
  int orders = 1;
  void* moments = nullptr;   // (orders, repeats, channels, n) complex
  void* partials = nullptr;  // CUDA: (pieces, orders, repeats, channels, n) complex, float64
};

// CPU. Independent tasks, a function of the shape only.
int64_t vandermonde_product_tasks(const VandermondeProductParams& params);
int64_t vandermonde_moments_tasks(const VandermondeMomentsParams& params);
void vandermonde_product_task(const VandermondeProductParams& params, int64_t task);
void vandermonde_moments_task(const VandermondeMomentsParams& params, int64_t task);

// CUDA. Asynchronous on `stream`; launch errors are left to the caller's check.
int64_t vandermonde_moments_pieces(const VandermondeMomentsParams& params);
void vandermonde_product_cuda(const VandermondeProductParams& params, CUstream_st* stream);
void vandermonde_moments_cuda(const VandermondeMomentsParams& params, CUstream_st* stream);

// ---- Cauchy ----

struct CauchyParams {
  Dtype dtype = Dtype::kFloat32;  // or kFloat64, of everything
  int64_t repeats = 0;            // (k)
  int64_t channels = 0;
  int64_t n = 0;
  int64_t nodes = 0;
  const void* v = nullptr;  // (repeats, channels, n) complex
  const void* w = nullptr;  // (channels, n) complex
  const void* z = nullptr;  // (4, nodes): re, im, and what their rounding to the type left of both
};

struct CauchyForwardParams : CauchyParams {
  void* out = nullptr;  // (repeats, channels, nodes) complex
};

struct CauchyBackwardParams : CauchyParams {
  const void* dout = nullptr;  // (repeats, channels, nodes) complex
  void* dv = nullptr;          // (repeats, channels, n) complex
  void* dw = nullptr;          // (channels, n) complex
  void* partials = nullptr;    // CUDA: (pieces, channels, n, repeats, 4), float64
};

// CPU. Independent tasks, a function of the shape only.
int64_t cauchy_forward_tasks(const CauchyForwardParams& params);
int64_t cauchy_backward_tasks(const CauchyBackwardParams& params);
void cauchy_forward_task(const CauchyForwardParams& params, int64_t task);
void cauchy_backward_task(const CauchyBackwardParams& params, int64_t task);

// CUDA. Asynchronous on `stream`; launch errors are left to the caller's check.
int64_t cauchy_backward_pieces(const CauchyBackwardParams& params);
void cauchy_forward_cuda(const CauchyForwardParams& params, CUstream_st* stream);
void cauchy_backward_cuda(const CauchyBackwardParams& params, CUstream_st* stream);

}  // namespace strandwave::kernels
