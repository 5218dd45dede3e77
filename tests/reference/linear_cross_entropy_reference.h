// linear_cross_entropy with all logits at once, in whatever type the inputs have.
#pragma once

#include <torch/torch.h>

#include <utility>

namespace strandwave::reference {

// token_weight may be undefined. Tokens that do not count are taken out before anything is computed
// from them. Returns (loss, logsumexp), both zero for these.
inline std::pair<torch::Tensor, torch::Tensor> linear_cross_entropy(
    const torch::Tensor& hidden, const torch::Tensor& head_weight, const torch::Tensor& target,
    const torch::Tensor& token_weight, int64_t valid_vocabulary) {
  auto counts = target.ge(0);
  if (token_weight.defined()) counts = counts.logical_and(token_weight.ne(0));
  const auto index = counts.nonzero().squeeze(1);
  const int64_t rows = valid_vocabulary > 0 ? valid_vocabulary : head_weight.size(0);
  const auto logits =
      hidden.index_select(0, index).matmul(head_weight.narrow(0, 0, rows).transpose(0, 1));
  const auto logsumexp = logits.logsumexp(1);
  auto loss = logsumexp - logits.gather(1, target.index_select(0, index).unsqueeze(1)).squeeze(1);
  if (token_weight.defined())
    loss = loss * token_weight.index_select(0, index).to(loss.scalar_type());
  const auto zeros = torch::zeros({hidden.size(0)}, logits.options());
  return {zeros.index_copy(0, index, loss), zeros.index_copy(0, index, logsumexp)};
}

}  // namespace strandwave::reference
