#include "core/layers/block_recurrence.h"

namespace strandwave {
namespace {

using torch::Tensor;

constexpr int64_t kBlock = 64;
constexpr size_t kLogBlock = 6;

}  // namespace

const torch::Tensor& MatrixPowers::square(size_t i) {
  while (squares_.size() <= i) squares_.push_back(torch::bmm(squares_.back(), squares_.back()));
  return squares_[i];
}

torch::Tensor MatrixPowers::power(int64_t exponent) {
  Tensor product;
  for (size_t i = 0; exponent > 0; ++i, exponent >>= 1)
    if (exponent & 1) product = product.defined() ? torch::bmm(product, square(i)) : square(i);
  if (product.defined()) return product;
  const Tensor& M = squares_.front();
  return torch::eye(M.size(1), M.options()).expand_as(M);
}

torch::Tensor MatrixPowers::rows_times(torch::Tensor rows, int64_t exponent) {
  for (size_t i = 0; exponent > 0; ++i, exponent >>= 1)
    if (exponent & 1) rows = torch::bmm(rows, square(i).to(rows.scalar_type()));
  return rows;
}

torch::Tensor MatrixPowers::times_columns(torch::Tensor columns, int64_t exponent) {
  for (size_t i = 0; exponent > 0; ++i, exponent >>= 1)
    if (exponent & 1) columns = torch::bmm(square(i).to(columns.scalar_type()), columns);
  return columns;
}

torch::Tensor block_final_state(MatrixPowers& M, const torch::Tensor& b, const torch::Tensor& u) {
  const int64_t batch = u.size(0), length = u.size(1), channels = u.size(2), states = b.size(1);
  int64_t blocks = (length + kBlock - 1) / kBlock;

  // Columns M^63 b, ..., M b, b.
  Tensor projection = b.unsqueeze(2);
  for (size_t i = 0; i < kLogBlock; ++i)
    projection = torch::cat({torch::bmm(M.square(i), projection), projection}, 2);

  // The state that each block alone leaves behind: (channels, states, batch blocks). Zeros before
  // the beginning leave none.
  const Tensor padded = torch::constant_pad_nd(u, {0, 0, blocks * kBlock - length, 0});
  const Tensor inputs = padded.view({batch, blocks, kBlock, channels})
                            .permute({3, 2, 0, 1})
                            .reshape({channels, kBlock, batch * blocks});
  Tensor left_behind = torch::bmm(projection.to(u.scalar_type()), inputs);

  // Two neighbours are one block of twice the length.
  for (size_t i = kLogBlock; blocks > 1; ++i) {
    Tensor pairs = left_behind.view({channels, states, batch, blocks});
    if (blocks % 2 != 0) pairs = torch::constant_pad_nd(pairs, {1, 0});
    blocks = (blocks + 1) / 2;
    pairs = pairs.view({channels, states, batch * blocks, 2});
    left_behind =
        torch::baddbmm(pairs.select(3, 1), M.square(i).to(u.scalar_type()), pairs.select(3, 0));
  }
  return left_behind.permute({2, 0, 1});
}

torch::Tensor block_response(MatrixPowers& M, const torch::Tensor& c, const torch::Tensor& h,
                             int64_t length) {
  const int64_t batch = h.size(0), channels = h.size(1);
  const int64_t blocks = (length + kBlock - 1) / kBlock;

  // Rows c M, c M^2, ..., c M^64.
  Tensor rows = torch::bmm(c.unsqueeze(1), M.square(0));
  for (size_t i = 0; i < kLogBlock; ++i)
    rows = torch::cat({rows, torch::bmm(rows, M.square(i))}, 1);

  // The states before each block: (channels, states, blocks batch).
  Tensor before = h.permute({1, 2, 0});
  for (size_t i = kLogBlock; before.size(2) < blocks * batch; ++i)
    before = torch::cat({before, torch::bmm(M.square(i).to(h.scalar_type()), before)}, 2);
  before = before.narrow(2, 0, blocks * batch);

  return torch::bmm(rows.to(h.scalar_type()), before)
      .view({channels, kBlock, blocks, batch})
      .permute({3, 2, 1, 0})
      .reshape({batch, blocks * kBlock, channels})
      .narrow(1, 0, length);
}

}  // namespace strandwave
