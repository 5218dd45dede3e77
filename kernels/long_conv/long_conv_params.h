// Plain parameters of the raw CUDA kernels around the transforms of the long convolution. No
// LibTorch. A part is a run of batch entries that is transformed at once.
#pragma once

#include <cstdint>

#include "kernels/common/dtype.h"

struct CUstream_st;  // cudaStream_t points to it

namespace strandwave::kernels {

struct LongConvPart {
  Dtype dtype = Dtype::kFloat32;  // of `io`; everything else is float
  int64_t batch = 0;              // of the part
  int64_t length = 0;
  int64_t channels = 0;
  int64_t points = 0;
  int64_t bins = 0;
};

// to (batch, channels, points) = from (batch, length, channels), zeros beyond the length.
void long_conv_pad_cuda(const LongConvPart& part, const void* from, float* to, CUstream_st* stream);

// to (batch, length, channels) = from (batch, channels, points) + D x; D may be null.
void long_conv_unpad_cuda(const LongConvPart& part, const float* from, const float* D,
                          const void* x, void* to, CUstream_st* stream);

// spectrum (batch, channels, bins) *= kernel (channels, bins); complex pairs.
void long_conv_multiply_cuda(const LongConvPart& part, float* spectrum, const float* kernel,
                             CUstream_st* stream);

// sum (channels, bins) += sum_b dout conj(u), in the order of the batch; dout *= conj(kernel).
void long_conv_correlate_cuda(const LongConvPart& part, float* dout, const float* u,
                              const float* kernel, float* sum, CUstream_st* stream);

}  // namespace strandwave::kernels
