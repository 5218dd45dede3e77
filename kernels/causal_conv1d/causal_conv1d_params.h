// Plain parameters of the raw causal-convolution kernels, the same on CPU and CUDA. No LibTorch.
//
// Kernels walk logical positions: position q of a batch entry is row q, or with `reverse` row
// length - 1 - q. In logical positions every convolution is causal, whatever its direction.
#pragma once

#include <cstdint>

#include "kernels/common/dtype.h"

struct CUstream_st;  // cudaStream_t points to it

namespace strandwave::kernels {

constexpr int kConvMaxWidth = 4;

struct CausalConv1dParams {
  Dtype dtype = Dtype::kFloat32;  // of x, out and their gradients; everything else is float
                                  // (double when dtype is kFloat64)
  int64_t batch = 0;
  int64_t length = 0;
  int64_t channels = 0;
  int width = 0;
  int64_t sequences = 0;                // batch, or the packed sequences
  const int64_t* cu_seqlens = nullptr;  // (sequences + 1), or null: each batch entry is a sequence
  bool silu = true;
  bool reverse = false;

  const void* x = nullptr;  // (batch, length, channels), the last dimension contiguous
  int64_t x_batch_stride = 0;
  int64_t x_row_stride = 0;
  const void* weight = nullptr;         // (channels, width), contiguous
  const void* bias = nullptr;           // (channels) or null
  const void* initial_state = nullptr;  // (sequences, width - 1, channels), contiguous, or null
};

struct CausalConv1dForwardParams : CausalConv1dParams {
  void* out = nullptr;          // (batch, length, channels), contiguous
  void* final_state = nullptr;  // (sequences, width - 1, channels), contiguous
};

struct CausalConv1dBackwardParams : CausalConv1dParams {
  const void* dout = nullptr;
  int64_t dout_batch_stride = 0;
  int64_t dout_row_stride = 0;
  const void* dfinal_state = nullptr;  // or null: zero
  void* dx = nullptr;                  // (batch, length, channels), contiguous
  void* dweight = nullptr;
  void* dbias = nullptr;           // null when there is no bias
  void* dinitial_state = nullptr;  // null when there is no initial state
  void* partials = nullptr;  // (partial sums, width + 1, channels): weight taps, then the bias
};

// The part of one sequence that lies in a tile of logical positions. Never empty.
struct ConvSegment {
  int64_t order;           // place of the sequence in logical order
  int64_t sequence_begin;  // logical positions
  int64_t sequence_end;
  int64_t begin;
  int64_t end;
};

// Where the sequence at place `order` begins. Borders are clamped to the length, because offsets
// that live on a GPU are not validated.
constexpr int64_t conv_border(const CausalConv1dParams& p, int64_t order) {
  if (order <= 0) return 0;
  if (p.cu_seqlens == nullptr || order >= p.sequences) return p.length;
  const int64_t border =
      p.reverse ? p.length - p.cu_seqlens[p.sequences - order] : p.cu_seqlens[order];
  return border < 0 ? 0 : (border > p.length ? p.length : border);
}

constexpr ConvSegment conv_segment_at(const CausalConv1dParams& p, int64_t order, int64_t begin,
                                      int64_t tile_end) {
  while (order + 1 < p.sequences && conv_border(p, order + 1) <= begin) ++order;  // empty ones
  const int64_t sequence_end = conv_border(p, order + 1);
  return {order, conv_border(p, order), sequence_end, begin,
          sequence_end < tile_end ? sequence_end : tile_end};
}

// The segments of a tile [begin, tile_end):
//   for (auto s = conv_first_segment(p, begin, tile_end); s.begin < tile_end;
//        s = conv_next_segment(p, s, tile_end))
constexpr ConvSegment conv_first_segment(const CausalConv1dParams& p, int64_t begin,
                                         int64_t tile_end) {
  if (p.cu_seqlens == nullptr) return {0, 0, p.length, begin, tile_end};
  int64_t low = 0;  // the last sequence that begins at or before `begin`
  int64_t high = p.sequences;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    if (conv_border(p, middle) <= begin) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return conv_segment_at(p, low, begin, tile_end);
}

constexpr ConvSegment conv_next_segment(const CausalConv1dParams& p, const ConvSegment& s,
                                        int64_t tile_end) {
  if (s.end >= tile_end) return {s.order, tile_end, tile_end, tile_end, tile_end};
  return conv_segment_at(p, s.order + 1, s.end, tile_end);
}

// Row of the states that belongs to the sequence at place `order`.
constexpr int64_t conv_state_index(const CausalConv1dParams& p, int64_t batch, int64_t order) {
  if (p.cu_seqlens == nullptr) return batch;
  return p.reverse ? p.sequences - 1 - order : order;
}

// Offset, in elements, of logical position q of a (batch, length, channels) tensor.
constexpr int64_t conv_row_offset(const CausalConv1dParams& p, int64_t batch_stride,
                                  int64_t row_stride, int64_t batch, int64_t q) {
  return batch * batch_stride + (p.reverse ? p.length - 1 - q : q) * row_stride;
}

// CPU. The work is cut into independent tasks, a function of the shape only; any thread may run any
// task. Backward: all tile tasks, then all sum tasks.
int64_t causal_conv1d_tile_tasks(const CausalConv1dParams& params);
int64_t causal_conv1d_state_tasks(const CausalConv1dParams& params);
int64_t causal_conv1d_sum_tasks(const CausalConv1dParams& params);
int64_t causal_conv1d_cpu_partials(const CausalConv1dParams& params);
void causal_conv1d_forward_tile(const CausalConv1dForwardParams& params, int64_t task);
void causal_conv1d_forward_state(const CausalConv1dForwardParams& params, int64_t task);
void causal_conv1d_backward_tile(const CausalConv1dBackwardParams& params, int64_t task);
void causal_conv1d_backward_state(const CausalConv1dBackwardParams& params, int64_t task);
void causal_conv1d_backward_sum(const CausalConv1dBackwardParams& params, int64_t task);

// CUDA. Asynchronous on `stream`; launch errors are left to the caller's check.
int64_t causal_conv1d_cuda_partials(const CausalConv1dBackwardParams& params);
void causal_conv1d_forward_cuda(const CausalConv1dForwardParams& params, CUstream_st* stream);
void causal_conv1d_backward_cuda(const CausalConv1dBackwardParams& params, CUstream_st* stream);

}  // namespace strandwave::kernels
