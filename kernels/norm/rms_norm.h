// RMS normalisation with a fused residual addition.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

namespace strandwave {

//   r = x + residual                     (residual given; else r = x)
//   y = r / sqrt(mean(r^2) + eps) * weight
//
// shapes   x, residual, y (..., d); weight (d).
// dtypes   x, y: float32, bfloat16, float16 (float64 on the CPU). residual in and out: float32 or
//          the type of x; the residual comes back as float32 when residual_in_fp32 (float64 for
//          float64 x), else in the type of x. weight float32. Arithmetic float32 (float64).
// Returns (y, r). Gradients flow from both. d from 1; zero rows allowed. Deterministic.
struct AddRmsNormOutput {
  at::Tensor y;
  at::Tensor residual;
};

AddRmsNormOutput add_rms_norm(const at::Tensor& x, const std::optional<at::Tensor>& residual,
                              const at::Tensor& weight, double eps = 1e-5,
                              bool residual_in_fp32 = true);

}  // namespace strandwave
