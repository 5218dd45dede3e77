// Element types of raw kernels as C++ types; no LibTorch.
#pragma once

#include <cstdint>

namespace strandwave::kernels {

// Storage only; SIMD and CUDA code converts whole vectors.
struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

// What an I/O type is computed in.
template <typename Io>
struct ComputeType {
  using Type = float;
};
template <>
struct ComputeType<double> {
  using Type = double;
};
template <typename Io>
using Compute = typename ComputeType<Io>::Type;

}  // namespace strandwave::kernels
