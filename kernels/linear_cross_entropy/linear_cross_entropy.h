// Cross entropy of a linear head, without ever holding all logits in float32.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace strandwave {

//   logits_i = hidden_i . head_weight^T
//   logsumexp_i = log sum_v exp(logits_iv)
//   loss_i = token_weight_i * (logsumexp_i - logits_i[target_i])          (0 where target_i < 0)
//
// shapes   hidden (tokens, d); head_weight (vocabulary, d); target (tokens) int64, any negative
//          value ignored, else < vocabulary; token_weight (tokens) float32 or none (ones);
//          loss, logsumexp (tokens) float32 (float64 with float64 hidden).
// valid_vocabulary  only the first so many rows of head_weight take part (a padded vocabulary);
//          0: all.
// dtypes   hidden and head_weight: float32, bfloat16, float16 (float64 on the CPU), the same.
//         Logits are float32 (float64), except on CUDA with a vocabulary above 1024: there they are
//         rounded to the type of hidden. Their gradients are rounded to it on CUDA.
// Gradients flow from loss to hidden and head_weight; logsumexp is not differentiable.
// Memory: tokens are processed in chunks; no (tokens, vocabulary) float32 tensor exists.
// Deterministic. Errors: c10::Error; a target >= vocabulary is an error on the CPU and undefined on
// CUDA (checking would synchronise).
struct LinearCrossEntropyOutput {
  at::Tensor loss;
  at::Tensor logsumexp;
};

LinearCrossEntropyOutput linear_cross_entropy(const at::Tensor& hidden,
                                              const at::Tensor& head_weight,
                                              const at::Tensor& target,
                                              const std::optional<at::Tensor>& token_weight = {},
                                              int64_t valid_vocabulary = 0);

}  // namespace strandwave
