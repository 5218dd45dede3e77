// What the CPU and the CUDA implementation of add_rms_norm share: validation, allocation of the
// results, and the plain parameters that the raw kernels take.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>
#include <vector>

#include "kernels/norm/rms_norm_params.h"

namespace strandwave {

// A call that is ready to run. `kept` owns what the parameters point to and must live until the
// kernels have run (CPU) or have been launched on the current stream (CUDA).
struct AddRmsNormCall {
  kernels::AddRmsNormParams params;
  at::Tensor y, sum, rstd;
  std::vector<at::Tensor> kept;
};
struct AddRmsNormBackwardCall {
  kernels::AddRmsNormBackwardParams params;
  at::Tensor dx, dx_full, dweight;  // dx_full of shape (0) when it is not asked for
  std::vector<at::Tensor> kept;
};

// Throw c10::Error naming the violated fact and the actual value.
AddRmsNormCall prepare_add_rms_norm(const at::Tensor& x, const std::optional<at::Tensor>& residual,
                                    const at::Tensor& weight, double eps, bool residual_in_fp32);
AddRmsNormBackwardCall prepare_add_rms_norm_backward(const at::Tensor& dy,
                                                     const std::optional<at::Tensor>& dsum,
                                                     const at::Tensor& sum,
                                                     const at::Tensor& weight,
                                                     const at::Tensor& rstd, bool full_gradient);

// Cuts the rows into partial sums of dweight and allocates them.
void divide_rows(AddRmsNormBackwardCall& call, int64_t rows_per_partial);

// (x, residual, weight, eps, residual_in_fp32) -> (y, sum, rstd)
using AddRmsNormForwardFunction = std::tuple<at::Tensor, at::Tensor, at::Tensor>(
    const at::Tensor&, const std::optional<at::Tensor>&, const at::Tensor&, double, bool);
// (dy, dsum, sum, weight, rstd, full_gradient) -> (dx, dx_full, dweight)
using AddRmsNormBackwardFunction = std::tuple<at::Tensor, at::Tensor, at::Tensor>(
    const at::Tensor&, const std::optional<at::Tensor>&, const at::Tensor&, const at::Tensor&,
    const at::Tensor&, bool);

}  // namespace strandwave
