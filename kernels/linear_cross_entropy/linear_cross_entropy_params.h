// Plain parameters of the raw kernels of linear_cross_entropy: what happens to the logits of one
// chunk of tokens between the matrix products. The same on CPU and CUDA. No LibTorch.
#pragma once

#include <cstdint>

#include "kernels/common/dtype.h"

struct CUstream_st;  // cudaStream_t points to it

namespace strandwave::kernels {

// "Full" is float, or double where the logits are double. On CUDA data and row strides of logits
// and gradients are multiples of 16 bytes.
struct CrossEntropyParams {
  Dtype logits_dtype = Dtype::kFloat32;
  int64_t rows = 0;
  int64_t vocabulary = 0;        // columns that take part
  int64_t stride = 0;            // elements from row to row, of logits and gradients
  const void* logits = nullptr;  // (rows, vocabulary)
  const int64_t* target = nullptr;
  const void* token_weight = nullptr;  // (rows), full, or null: ones
};

struct CrossEntropyForwardParams : CrossEntropyParams {
  void* loss = nullptr;       // (rows), full; 0 for a row that does not count
  void* logsumexp = nullptr;  // (rows), full
};

// gradient = (exp(logits - logsumexp) - [column = target]) dloss token_weight; zero, whatever the
// logits hold, for a row that does not count.
struct CrossEntropyBackwardParams : CrossEntropyParams {
  const void* logsumexp = nullptr;
  const void* dloss = nullptr;             // (rows), full
  Dtype gradient_dtype = Dtype::kFloat32;  // CPU: that of the logits
  void* gradient = nullptr;                // (rows, vocabulary); may be the logits themselves
};

// CPU: float32 and float64. Any thread may run any range of rows.
void cross_entropy_forward_rows(const CrossEntropyForwardParams& params, int64_t begin,
                                int64_t end);
void cross_entropy_backward_rows(const CrossEntropyBackwardParams& params, int64_t begin,
                                 int64_t end);

// CUDA. Asynchronous on `stream`; launch errors are left to the caller's check.
void cross_entropy_forward_cuda(const CrossEntropyForwardParams& params, CUstream_st* stream);
void cross_entropy_backward_cuda(const CrossEntropyBackwardParams& params, CUstream_st* stream);

}  // namespace strandwave::kernels
