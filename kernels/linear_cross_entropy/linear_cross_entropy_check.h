// What the CPU and the CUDA implementation of linear_cross_entropy share.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

#include "kernels/linear_cross_entropy/linear_cross_entropy_params.h"

namespace strandwave {

// Checked inputs, contiguous; data begin at multiples of 16 bytes.
struct LinearCrossEntropyInputs {
  at::Tensor hidden;        // (tokens, d)
  at::Tensor head_weight;   // (vocabulary, d): the rows that take part
  at::Tensor target;        // (tokens)
  at::Tensor token_weight;  // (tokens) or undefined
  int64_t tokens = 0;
  int64_t d = 0;
  int64_t vocabulary = 0;  // that takes part
  int64_t padded_vocabulary = 0;
  at::ScalarType full_type = at::kFloat;  // of losses and sums

  at::Tensor full(at::IntArrayRef shape) const;  // uninitialised, of full_type
  // (tokens) bool: the target is ignored or the weight is zero.
  at::Tensor ignored() const;
  // Fills in rows [begin, begin + rows) of what concerns tokens.
  void set_rows(kernels::CrossEntropyParams& params, int64_t begin, int64_t rows) const;
};

// Throw c10::Error naming the violated fact and the actual value; they do not synchronise a device.
LinearCrossEntropyInputs check_linear_cross_entropy(const at::Tensor& hidden,
                                                    const at::Tensor& head_weight,
                                                    const at::Tensor& target,
                                                    const std::optional<at::Tensor>& token_weight,
                                                    int64_t valid_vocabulary);
// dloss and logsumexp, (tokens) each.
void check_linear_cross_entropy_gradient(const LinearCrossEntropyInputs& in,
                                         const at::Tensor& dloss, const at::Tensor& logsumexp);

// Row `begin` of a contiguous tensor of one dimension.
const void* row_pointer(const at::Tensor& tensor, int64_t begin);
void* mutable_row_pointer(const at::Tensor& tensor, int64_t begin);

// (hidden, head_weight, target, token_weight, valid_vocabulary) -> (loss, logsumexp)
using LinearCrossEntropyFunction =
    std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                       const std::optional<at::Tensor>&, int64_t);
// (dloss, then as above with logsumexp before valid_vocabulary) -> (dhidden, dhead_weight)
using LinearCrossEntropyBackwardFunction = std::tuple<at::Tensor, at::Tensor>(
    const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
    const std::optional<at::Tensor>&, const at::Tensor&, int64_t);

}  // namespace strandwave
