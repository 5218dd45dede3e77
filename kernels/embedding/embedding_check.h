// What the CPU and the CUDA implementation of the embedding share.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "kernels/embedding/embedding_params.h"

namespace strandwave {

// A call that is ready to run. `kept` owns what the parameters point to and must live until the
// kernels have run (CPU) or have been launched on the current stream (CUDA).
struct EmbeddingCall {
  kernels::EmbeddingParams params;
  at::Tensor out;
  std::vector<at::Tensor> kept;
};
struct EmbeddingBackwardCall {
  kernels::EmbeddingBackwardParams params;  // without its last two groups
  at::Tensor ids;                           // (positions)
  std::vector<at::Tensor> kept;
};

// Throw c10::Error naming the violated fact and the actual value.
EmbeddingCall prepare_embedding(const at::Tensor& ids, const at::Tensor& weight);
EmbeddingBackwardCall prepare_embedding_backward(const at::Tensor& dout, const at::Tensor& ids,
                                                 int64_t vocabulary);

}  // namespace strandwave
