// What the forward and the backward CUDA kernels share: a thread owns kVector neighbouring channels
// and walks a tile of positions with the last inputs in registers; one access moves kVector values.
#pragma once

#include <cstdint>

#include "kernels/causal_conv1d/causal_conv1d_params.h"
#include "kernels/common/device_io.cuh"

namespace strandwave::kernels {

constexpr int kConvThreads = 128;

template <int kVector, typename T>
__device__ __forceinline__ void conv_load(const T* from, float (&to)[kVector]) {
  to_floats(load_vector<kVector>(from), to);
}

__device__ __forceinline__ float conv_sigmoid(float p) {
  return __fdividef(1.0f, 1.0f + __expf(-p));
}

// taps[j] meets the input j positions back; unused taps are zero and never read.
template <int kVector>
__device__ __forceinline__ void conv_load_taps(const CausalConv1dParams& p, int64_t channel,
                                               float (&taps)[kConvMaxWidth][kVector]) {
  const float* weight = static_cast<const float*>(p.weight) + channel * p.width;
  if (p.width == 4 && (reinterpret_cast<uintptr_t>(p.weight) & 15) == 0) {
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      const float4 row = reinterpret_cast<const float4*>(weight)[v];
      taps[3][v] = row.x;
      taps[2][v] = row.y;
      taps[1][v] = row.z;
      taps[0][v] = row.w;
    }
    return;
  }
#pragma unroll
  for (int j = 0; j < kConvMaxWidth; ++j) {
#pragma unroll
    for (int v = 0; v < kVector; ++v)
      taps[j][v] = j < p.width ? weight[v * p.width + p.width - 1 - j] : 0.0f;
  }
}

template <int kVector>
__device__ __forceinline__ void conv_load_bias(const CausalConv1dParams& p, int64_t channel,
                                               float (&bias)[kVector]) {
#pragma unroll
  for (int v = 0; v < kVector; ++v)
    bias[v] = p.bias == nullptr ? 0.0f : static_cast<const float*>(p.bias)[channel + v];
}

// Where `row` of the state of the sequence at place `order` begins.
__device__ __forceinline__ int64_t conv_state_offset(const CausalConv1dParams& p, int64_t batch,
                                                     int64_t order, int64_t row) {
  return (conv_state_index(p, batch, order) * (p.width - 1) + row) * p.channels;
}

// The input at logical position q of a segment's sequence: x, before its start the initial state
// (zero without one, and further back than the filter reaches).
template <typename T, int kVector>
__device__ __forceinline__ void conv_load_input(const CausalConv1dParams& p, const ConvSegment& s,
                                                int64_t batch, int64_t channel, int64_t q,
                                                float (&to)[kVector]) {
  if (q >= s.sequence_begin) {
    const int64_t row = conv_row_offset(p, p.x_batch_stride, p.x_row_stride, batch, q);
    conv_load<kVector>(static_cast<const T*>(p.x) + row + channel, to);
    return;
  }
  const int64_t row = q - s.sequence_begin + p.width - 1;
  const bool has_state = p.initial_state != nullptr && row >= 0;
  const float* state = static_cast<const float*>(p.initial_state) +
                       (has_state ? conv_state_offset(p, batch, s.order, row) + channel : 0);
#pragma unroll
  for (int v = 0; v < kVector; ++v) to[v] = has_state ? state[v] : 0.0f;
}

// window[j] is the input j positions back; makes `now` the latest.
template <int kVector>
__device__ __forceinline__ void conv_shift(const float (&now)[kVector],
                                           float (&window)[kConvMaxWidth][kVector]) {
#pragma unroll
  for (int v = 0; v < kVector; ++v) {
    window[3][v] = window[2][v];
    window[2][v] = window[1][v];
    window[1][v] = window[0][v];
    window[0][v] = now[v];
  }
}

// bias + the taps that the filter has, oldest input first. What lies further back must not be
// touched: a product with a zero tap would let a NaN through.
template <int kVector>
__device__ __forceinline__ void conv_dot(int width, const float (&bias)[kVector],
                                         const float (&taps)[kConvMaxWidth][kVector],
                                         const float (&window)[kConvMaxWidth][kVector],
                                         float (&sum)[kVector]) {
#pragma unroll
  for (int v = 0; v < kVector; ++v) sum[v] = bias[v];
#pragma unroll
  for (int j = kConvMaxWidth - 1; j >= 0; --j) {
    if (j < width) {
#pragma unroll
      for (int v = 0; v < kVector; ++v) sum[v] = fmaf(taps[j][v], window[j][v], sum[v]);
    }
  }
}

// A block is `lanes` vectors of channels wide and kConvThreads / lanes tiles of `tile` positions
// high. All of it follows from the shape alone, so sums over blocks have a fixed order.
struct ConvGrid {
  int lanes;
  int tile;
  int64_t column_blocks;
  int64_t row_blocks;

  int rows() const { return kConvThreads / lanes; }
  int64_t blocks(int64_t batch) const { return batch * row_blocks * column_blocks; }
};

inline ConvGrid conv_grid(const CausalConv1dParams& p, int vector, int largest_tile,
                          int smallest_tile, int64_t enough_blocks) {
  const int64_t columns = (p.channels + vector - 1) / vector;
  ConvGrid grid{1, largest_tile, 0, 0};
  while (grid.lanes < 32 && grid.lanes < columns) grid.lanes *= 2;
  grid.column_blocks = (columns + grid.lanes - 1) / grid.lanes;
  const auto cut = [&] {
    const int64_t rows = static_cast<int64_t>(grid.rows()) * grid.tile;
    grid.row_blocks = (p.length + rows - 1) / rows;
  };
  cut();
  while (grid.tile > smallest_tile && grid.blocks(p.batch) < enough_blocks) {
    grid.tile /= 2;
    cut();
  }
  return grid;
}

// Rows of kVector elements can be moved whole.
inline bool conv_rows_aligned(const void* data, int64_t batch_stride, int64_t row_stride,
                              const CausalConv1dParams& p, int vector, int element_bytes) {
  return reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(vector * element_bytes) == 0 &&
         (batch_stride % vector == 0 || p.batch == 1) &&
         (row_stride % vector == 0 || p.length == 1);
}

}  // namespace strandwave::kernels
