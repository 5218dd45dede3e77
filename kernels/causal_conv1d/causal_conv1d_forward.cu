// Raw CUDA kernels of the causal convolution, forward.
#include "kernels/causal_conv1d/causal_conv1d_device.cuh"

namespace strandwave::kernels {
namespace {

constexpr int kUnroll = 3;  // rows in flight per thread
constexpr int kLargestTile = 64;
constexpr int kSmallestTile = 8;
constexpr int64_t kEnoughBlocks = 1024;
constexpr int kStateThreads = 256;

// The next kUnroll rows, as far as there are any.
template <typename T, int kVector>
__device__ __forceinline__ void load_rows(const T*& x, int64_t stride, int remaining,
                                          IoVector<T, kVector> (&rows)[kUnroll]) {
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    if (u < remaining) rows[u] = load_vector<kVector>(x);
    x += stride;
  }
}

// Convolves `count` rows from `x` to `out`; strides carry the direction.
template <typename T, int kVector>
__device__ __forceinline__ void walk(const CausalConv1dParams& p, int count, const T* x,
                                     int64_t x_stride, T* out, int64_t out_stride,
                                     const float (&taps)[kConvMaxWidth][kVector],
                                     const float (&bias)[kVector],
                                     float (&window)[kConvMaxWidth][kVector]) {
  for (int i = 0; i < count; i += kUnroll) {
    IoVector<T, kVector> rows[kUnroll];
    load_rows(x, x_stride, count - i, rows);
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      if (i + u >= count) return;
      float now[kVector];
      to_floats(rows[u], now);
      conv_shift(now, window);
      float sum[kVector];
      conv_dot(p.width, bias, taps, window, sum);
      if (p.silu) {
#pragma unroll
        for (int v = 0; v < kVector; ++v) sum[v] *= conv_sigmoid(sum[v]);
      }
      store_floats(out, sum);
      out += out_stride;
    }
  }
}

template <typename T, int kVector>
__global__ __launch_bounds__(kConvThreads, 4) void forward_kernel(
    const __grid_constant__ CausalConv1dForwardParams p, const ConvGrid grid) {
  const int64_t column = blockIdx.x % grid.column_blocks * grid.lanes + threadIdx.x;
  const int64_t row_block = blockIdx.x / grid.column_blocks % grid.row_blocks;
  const int64_t batch = blockIdx.x / grid.column_blocks / grid.row_blocks;
  const int64_t channel = column * kVector;
  const int64_t begin = (row_block * blockDim.y + threadIdx.y) * grid.tile;
  const int64_t end = min(begin + grid.tile, p.length);
  if (channel >= p.channels || begin >= end) return;

  float taps[kConvMaxWidth][kVector];
  float bias[kVector];
  conv_load_taps(p, channel, taps);
  conv_load_bias(p, channel, bias);
  const int64_t x_stride = p.reverse ? -p.x_row_stride : p.x_row_stride;
  const int64_t out_stride = p.reverse ? -p.channels : p.channels;
  const T* x = static_cast<const T*>(p.x) + channel +
               conv_row_offset(p, p.x_batch_stride, p.x_row_stride, batch, 0);
  T* out = static_cast<T*>(p.out) + channel +
           conv_row_offset(p, p.length * p.channels, p.channels, batch, 0);
  for (auto s = conv_first_segment(p, begin, end); s.begin < end;
       s = conv_next_segment(p, s, end)) {
    float window[kConvMaxWidth][kVector];
#pragma unroll
    for (int j = 0; j < kConvMaxWidth - 1; ++j)
      conv_load_input<T>(p, s, batch, channel, s.begin - 1 - j, window[j]);
    walk<T, kVector>(p, static_cast<int>(s.end - s.begin), x + s.begin * x_stride, x_stride,
                     out + s.begin * out_stride, out_stride, taps, bias, window);
  }
}

// One thread for each channel of each sequence.
template <typename T>
__global__ __launch_bounds__(kStateThreads) void final_state_kernel(
    const __grid_constant__ CausalConv1dForwardParams p) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kStateThreads + threadIdx.x;
  if (index >= p.sequences * p.channels) return;
  const int64_t channel = index % p.channels;
  const int64_t sequence = index / p.channels;
  const bool packed = p.cu_seqlens != nullptr;
  const int64_t batch = packed ? 0 : sequence;
  const int64_t order = packed ? sequence : 0;
  const int64_t begin = conv_border(p, order);
  const int64_t end = packed ? conv_border(p, order + 1) : p.length;
  const ConvSegment s{order, begin, end, begin, end};
  for (int row = 0; row < p.width - 1; ++row) {
    float value[1];
    conv_load_input<T>(p, s, batch, channel, end - (p.width - 1) + row, value);
    static_cast<float*>(p.final_state)[conv_state_offset(p, batch, order, row) + channel] =
        value[0];
  }
}

template <typename T, int kVector>
void launch_rows(const CausalConv1dForwardParams& p, cudaStream_t stream) {
  const ConvGrid grid = conv_grid(p, kVector, kLargestTile, kSmallestTile, kEnoughBlocks);
  const int64_t blocks = grid.blocks(p.batch);
  if (blocks == 0) return;
  forward_kernel<T, kVector>
      <<<static_cast<unsigned>(blocks), dim3(grid.lanes, grid.rows()), 0, stream>>>(p, grid);
}

template <typename T>
void launch(const CausalConv1dForwardParams& p, cudaStream_t stream) {
  constexpr int kVector = 16 / sizeof(T);
  const bool vectors =
      p.channels % kVector == 0 &&
      conv_rows_aligned(p.x, p.x_batch_stride, p.x_row_stride, p, kVector, sizeof(T)) &&
      conv_rows_aligned(p.out, 0, 0, p, kVector, sizeof(T));
  if (vectors) {
    launch_rows<T, kVector>(p, stream);
  } else {
    launch_rows<T, 1>(p, stream);
  }
  const int64_t states = p.sequences * p.channels;
  if (states == 0) return;
  const int64_t blocks = (states + kStateThreads - 1) / kStateThreads;
  final_state_kernel<T><<<static_cast<unsigned>(blocks), kStateThreads, 0, stream>>>(p);
}

}  // namespace

void causal_conv1d_forward_cuda(const CausalConv1dForwardParams& params, CUstream_st* stream) {
  switch (params.dtype) {
    case Dtype::kBFloat16:
      return launch<BFloat16>(params, stream);
    case Dtype::kFloat16:
      return launch<Float16>(params, stream);
    default:
      return launch<float>(params, stream);
  }
}

}  // namespace strandwave::kernels
