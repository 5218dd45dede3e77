// Plain parameters of the raw kernels of add_rms_norm, the same on CPU and CUDA. No LibTorch.
#pragma once

#include <cstdint>

#include "kernels/common/dtype.h"

struct CUstream_st;  // cudaStream_t points to it

namespace strandwave::kernels {

// All tensors are contiguous; on CUDA their data begins at a multiple of 16 bytes. "Full" is float,
// or double when dtype is kFloat64.
struct AddRmsNormParams {
  Dtype dtype = Dtype::kFloat32;  // of x and y
  bool residual_full = true;      // the type of residual: full, else dtype
  bool sum_full = true;           // likewise of sum
  int64_t rows = 0;
  int64_t d = 0;
  double eps = 0;
  const void* x = nullptr;         // (rows, d)
  const void* residual = nullptr;  // (rows, d) or null
  const void* weight = nullptr;    // (d), full
  void* y = nullptr;               // (rows, d)
  void* sum = nullptr;             // (rows, d): x + residual
  void* rstd = nullptr;            // (rows), full: 1 / sqrt(mean square + eps)
};

struct AddRmsNormBackwardParams {
  Dtype dtype = Dtype::kFloat32;  // of dy and dx
  bool sum_full = true;           // the type of sum and dsum: full, else dtype
  int64_t rows = 0;
  int64_t d = 0;
  const void* dy = nullptr;      // (rows, d)
  const void* dsum = nullptr;    // (rows, d) or null
  const void* sum = nullptr;     // (rows, d)
  const void* weight = nullptr;  // (d), full
  const void* rstd = nullptr;    // (rows), full
  void* dx = nullptr;            // (rows, d)
  void* dx_full = nullptr;       // (rows, d), full: the same unrounded, or null
  void* dweight = nullptr;       // (d), full
  int64_t rows_per_partial = 0;  // how many rows each partial sum of dweight covers
  int64_t partial_count = 0;     // ceil(rows / rows_per_partial)
  void* partials = nullptr;      // (partial_count, d), full
};

// CPU. Any thread may run any range; backward ranges are [i, i + 1) x rows_per_partial, partial i.
int64_t add_rms_norm_cpu_rows(int64_t rows);  // rows of a task, a function of the shape
void add_rms_norm_forward_rows(const AddRmsNormParams& params, int64_t begin, int64_t end);
void add_rms_norm_backward_rows(const AddRmsNormBackwardParams& params, int64_t partial);
// Sums the partials of the columns [begin, end) in order.
void add_rms_norm_backward_sum(const AddRmsNormBackwardParams& params, int64_t begin, int64_t end);

// CUDA. Asynchronous on `stream`; launch errors are left to the caller's check.
int64_t add_rms_norm_cuda_rows(int64_t rows, int64_t d);  // rows_per_partial
void add_rms_norm_forward_cuda(const AddRmsNormParams& params, CUstream_st* stream);
void add_rms_norm_backward_cuda(const AddRmsNormBackwardParams& params, CUstream_st* stream);

}  // namespace strandwave::kernels
