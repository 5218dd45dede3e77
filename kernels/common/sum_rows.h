// Sums the partial results of many blocks in a fixed order. No LibTorch.
#pragma once

#include <cstdint>

#include "kernels/common/dtype.h"

struct CUstream_st;  // cudaStream_t points to it

namespace strandwave::kernels {

//   out[j] = sum_i rows[i, j]
// rows (count, width) float, contiguous; out (width) of `dtype` (not float64), rounded once. The
// order of the additions depends on count alone. Asynchronous; count = 0 gives zeros.
void sum_rows_cuda(const float* rows, int64_t count, int64_t width, Dtype dtype, void* out,
                   CUstream_st* stream);

}  // namespace strandwave::kernels
