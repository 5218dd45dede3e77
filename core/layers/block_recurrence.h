// The recurrence h_t = M h_{t-1} + b u_t, y_t = c h_t with dense M, one per channel, by matrix
// products over blocks of time instead of one step after the other.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace strandwave {

// M^(2^i), computed when first asked for. M (channels, N, N) float64.
class MatrixPowers {
 public:
  explicit MatrixPowers(torch::Tensor M) : squares_{std::move(M)} {}

  const torch::Tensor& square(size_t i);
  torch::Tensor power(int64_t exponent);  // M^exponent
  // Products with M^exponent: rows (channels, m, N) M^exponent, and M^exponent columns (channels,
  // N, m), of any floating-point type. exponent >= 0.
  torch::Tensor rows_times(torch::Tensor rows, int64_t exponent);
  torch::Tensor times_columns(torch::Tensor columns, int64_t exponent);

 private:
  std::vector<torch::Tensor> squares_;
};

// sum_t M^(length-1-t) b u_t: u (batch, length, channels), b (channels, N) float64 -> (batch,
// channels, N) of u's type. Length from 1.
torch::Tensor block_final_state(MatrixPowers& M, const torch::Tensor& b, const torch::Tensor& u);

// c M^(t+1) h for t = 0 .. length - 1: h (batch, channels, N), c (channels, N) float64 -> (batch,
// length, channels) of h's type.
torch::Tensor block_response(MatrixPowers& M, const torch::Tensor& c, const torch::Tensor& h,
                             int64_t length);

}  // namespace strandwave
