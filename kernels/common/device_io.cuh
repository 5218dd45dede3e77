// CUDA: loads and stores of 1 or 4 neighbouring elements that convert to and from float.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/common/io_types.h"

namespace strandwave::kernels {

__device__ inline float io_to_float(float v) { return v; }
__device__ inline float io_to_float(BFloat16 v) {
  return __uint_as_float(static_cast<uint32_t>(v.bits) << 16);
}
__device__ inline float io_to_float(Float16 v) { return __half2float(__ushort_as_half(v.bits)); }

__device__ inline void io_from_float(float v, float& to) { to = v; }
__device__ inline void io_from_float(float v, BFloat16& to) {
  to.bits = __bfloat16_as_ushort(__float2bfloat16_rn(v));
}
__device__ inline void io_from_float(float v, Float16& to) {
  to.bits = __half_as_ushort(__float2half_rn(v));
}

// N elements that one instruction moves (N x sizeof(Io) <= 16 bytes).
template <typename Io, int N>
struct alignas(N * sizeof(Io)) IoVector {
  Io at[N];
};

template <int N, typename Io>
__device__ inline IoVector<Io, N> load_vector(const Io* from) {
  return *reinterpret_cast<const IoVector<Io, N>*>(from);
}

template <int N, typename Io>
__device__ inline void to_floats(const IoVector<Io, N>& v, float (&out)[N]) {
#pragma unroll
  for (int k = 0; k < N; ++k) out[k] = io_to_float(v.at[k]);
}

template <int N, typename Io>
__device__ inline void store_floats(Io* to, const float (&values)[N]) {
  IoVector<Io, N> v;
#pragma unroll
  for (int k = 0; k < N; ++k) io_from_float(values[k], v.at[k]);
  *reinterpret_cast<IoVector<Io, N>*>(to) = v;
}

}  // namespace strandwave::kernels
