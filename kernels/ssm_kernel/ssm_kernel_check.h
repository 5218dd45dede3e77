// What the CPU and the CUDA implementation of the kernels behind S4 and S4D share: validation of
// the tensors, allocation of the results, and the plain parameters that the raw kernels take.
#pragma once

#include <ATen/core/Tensor.h>

#include <tuple>
#include <vector>

#include "kernels/ssm_kernel/ssm_kernel_params.h"

namespace strandwave {

// Calls that are ready to run. `kept` owns what the parameters point to and must live until the
// kernels have run (CPU) or have been launched on the current stream (CUDA).
struct VandermondeProductCall {
  kernels::VandermondeProductParams params;
  at::Tensor out;
  std::vector<at::Tensor> kept;
};
struct VandermondeMomentsCall {
  kernels::VandermondeMomentsParams params;
  at::Tensor moments;
  std::vector<at::Tensor> kept;
};
struct CauchyForwardCall {
  kernels::CauchyForwardParams params;
  at::Tensor out;
  std::vector<at::Tensor> kept;
};
struct CauchyBackwardCall {
  kernels::CauchyBackwardParams params;
  at::Tensor dv, dw;
  std::vector<at::Tensor> kept;
};

// Throw c10::Error naming the violated fact and the actual value. They do not synchronise a device.
// coefficient (repeats, channels, n), delta_A (channels, n).
VandermondeProductCall prepare_vandermonde_product(const at::Tensor& coefficient,
                                                   const at::Tensor& delta_A, int64_t length,
                                                   bool reverse);
// signal (repeats, channels, length), delta_A (channels, n).
VandermondeMomentsCall prepare_vandermonde_moments(const at::Tensor& signal,
                                                   const at::Tensor& delta_A, int64_t orders,
                                                   bool reverse);
CauchyForwardCall prepare_cauchy(const at::Tensor& v, const at::Tensor& z, const at::Tensor& w);
CauchyBackwardCall prepare_cauchy_backward(const at::Tensor& dout, const at::Tensor& v,
                                           const at::Tensor& z, const at::Tensor& w);

// Registered for each device.
using VandermondeProductFunction = at::Tensor(const at::Tensor&, const at::Tensor&, int64_t, bool);
using VandermondeMomentsFunction = at::Tensor(const at::Tensor&, const at::Tensor&, int64_t, bool);
using CauchyForwardFunction = at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&);
using CauchyBackwardFunction = std::tuple<at::Tensor, at::Tensor>(const at::Tensor&,
                                                                  const at::Tensor&,
                                                                  const at::Tensor&,
                                                                  const at::Tensor&);

}  // namespace strandwave
