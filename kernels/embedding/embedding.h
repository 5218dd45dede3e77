// Table look-up whose gradient is summed in a fixed order.
#pragma once

#include <ATen/core/Tensor.h>

namespace strandwave {

//   out[..., :] = weight[ids[...], :]
//   dweight[v, :] = sum over the positions with id v, in a fixed order, of dout
//
// shapes   ids (...) int64 or uint8, each in [0, vocabulary); weight (vocabulary, d); out (..., d).
// dtypes   weight, out: float32, bfloat16, float16 (float64 on the CPU). The sum is float32
//          (float64) and rounded once. Deterministic (torch's CUDA embedding backward is not).
// Errors: c10::Error; an id out of range is an error on the CPU, undefined on CUDA.
// Call it as strandwave::embedding: at::embedding is found for tensors too, with the arguments in the
// other order.
at::Tensor embedding(const at::Tensor& ids, const at::Tensor& weight);

}  // namespace strandwave
