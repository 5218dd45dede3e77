// The embedding and its gradient, position by position.
#pragma once

#include <torch/torch.h>

namespace strandwave::reference {

// Rows of weight, in the type of weight.
inline torch::Tensor embedding(const torch::Tensor& ids, const torch::Tensor& weight) {
  auto shape = ids.sizes().vec();
  shape.push_back(weight.size(1));
  return weight.index_select(0, ids.reshape({-1}).to(torch::kLong)).view(shape);
}

// Summed in `type`, one position after the other, on the CPU.
inline torch::Tensor embedding_backward(const torch::Tensor& dout, const torch::Tensor& ids,
                                        int64_t vocabulary, torch::ScalarType type) {
  const auto rows = dout.cpu().to(type).reshape({ids.numel(), dout.size(-1)});
  const auto flat = ids.cpu().to(torch::kLong).reshape({-1}).contiguous();
  auto sum = torch::zeros({vocabulary, dout.size(-1)}, type);
  const int64_t* id = flat.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < ids.numel(); ++i) sum[id[i]] += rows[i];
  return sum;
}

}  // namespace strandwave::reference
