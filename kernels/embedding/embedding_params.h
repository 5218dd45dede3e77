// Plain parameters of the raw embedding kernels, the same on CPU and CUDA. No LibTorch.
#pragma once

#include <cstdint>

#include "kernels/common/dtype.h"

struct CUstream_st;  // cudaStream_t points to it

namespace strandwave::kernels {

// All tensors are contiguous; on CUDA their data begins at a multiple of 16 bytes.
struct EmbeddingParams {
  Dtype dtype = Dtype::kFloat32;
  bool byte_ids = false;  // ids are uint8, else int64
  int64_t positions = 0;
  int64_t vocabulary = 0;
  int64_t d = 0;
  const void* ids = nullptr;     // (positions)
  const void* weight = nullptr;  // (vocabulary, d)
  void* out = nullptr;           // (positions, d)
};

struct EmbeddingBackwardParams {
  Dtype dtype = Dtype::kFloat32;
  bool byte_ids = false;
  int64_t positions = 0;
  int64_t vocabulary = 0;
  int64_t d = 0;
  const void* ids = nullptr;   // (positions)
  const void* dout = nullptr;  // (positions, d)
  void* dweight = nullptr;     // (vocabulary, d), of dtype

  // CUDA, small vocabularies: each partial sum covers so many positions.
  int64_t positions_per_partial = 0;
  int64_t partial_count = 0;
  float* partials = nullptr;  // (partial_count, vocabulary, d)

  // CUDA, other vocabularies; dweight is zero on entry.
  const int64_t* sorted_ids = nullptr;  // (positions), ascending
  const int64_t* order = nullptr;       // (positions): where each sorted id stands in ids
  float* window_head = nullptr;         // (windows, d): scratch
  float* window_tail = nullptr;         // (windows, d): scratch
};

// CPU. Ids must lie in [0, vocabulary). Any thread may run any range or task.
void embedding_forward_rows(const EmbeddingParams& params, int64_t begin, int64_t end);
// Tasks are blocks of columns: each walks all positions in order.
int64_t embedding_backward_tasks(const EmbeddingBackwardParams& params);
void embedding_backward_columns(const EmbeddingBackwardParams& params, int64_t task);

// CUDA. Asynchronous on `stream`; launch errors are left to the caller's check. Rows of ids out of
// range come out as zeros and give no gradient.
void embedding_forward_cuda(const EmbeddingParams& params, CUstream_st* stream);
// 0 where the vocabulary is too large for partial sums of the whole table.
int64_t embedding_positions_per_partial(int64_t positions, int64_t vocabulary);
void embedding_backward_small_cuda(const EmbeddingBackwardParams& params, CUstream_st* stream);
int64_t embedding_windows(int64_t positions);
void embedding_backward_sorted_cuda(const EmbeddingBackwardParams& params, CUstream_st* stream);

}  // namespace strandwave::kernels
