// Raw CUDA kernels of the causal convolution, backward. Gradients of the parameters are summed per
// thread, then per block, then over blocks by a second kernel: a fixed order, no atomics.
#include "kernels/causal_conv1d/causal_conv1d_device.cuh"

namespace strandwave::kernels {
namespace {

constexpr int kUnroll = 3;  // rows in flight per thread
constexpr int kLargestTile = 128;
constexpr int kSmallestTile = 8;
constexpr int64_t kEnoughBlocks = 2048;
// Half the forward pass's channels: a thread also holds the parameters' gradients in registers.
constexpr int kBackwardVector = 4;
constexpr int kLag = kConvMaxWidth - 1;  // an input's gradient is complete so many rows later
constexpr int kStateThreads = 256;
constexpr int kSumRows = 32;
constexpr int kSumGroup = 8;  // so many values are added up first: smaller rounding errors

template <int kVector>
struct Filter {
  float taps[kConvMaxWidth][kVector];
  float bias[kVector];
};

template <int kVector>
struct Sums {
  float weight[kConvMaxWidth][kVector];  // by tap
  float bias[kVector];
};

// Multiplies the gradients of the outputs by the slope of the activation at p.
template <int kVector>
__device__ __forceinline__ void slope(bool silu, const float (&p)[kVector],
                                      float (&gradient)[kVector]) {
  if (!silu) return;
#pragma unroll
  for (int v = 0; v < kVector; ++v) {
    const float s = conv_sigmoid(p[v]);
    gradient[v] *= s * fmaf(p[v], 1.0f - s, 1.0f);
  }
}

template <typename T, int kVector>
struct RowPair {
  IoVector<T, kVector> x, dout;
};

// Where a walk reads and writes; strides carry the direction.
template <typename T>
struct Cursor {
  const T* x;
  const T* dout;
  T* dx;
  int64_t x_stride, dout_stride, dx_stride;
};

template <typename T>
__device__ __forceinline__ Cursor<T> cursor_at(const CausalConv1dBackwardParams& p, int64_t batch,
                                               int64_t channel, int64_t q) {
  const int64_t sign = p.reverse ? -1 : 1;
  return {static_cast<const T*>(p.x) + channel +
              conv_row_offset(p, p.x_batch_stride, p.x_row_stride, batch, q),
          static_cast<const T*>(p.dout) + channel +
              conv_row_offset(p, p.dout_batch_stride, p.dout_row_stride, batch, q),
          static_cast<T*>(p.dx) + channel +
              conv_row_offset(p, p.length * p.channels, p.channels, batch, q),
          sign * p.x_row_stride,
          sign * p.dout_row_stride,
          sign * p.channels};
}

// The next kUnroll rows, as far as there are any.
template <typename T, int kVector>
__device__ __forceinline__ void load_rows(Cursor<T>& at, int remaining,
                                          RowPair<T, kVector> (&rows)[kUnroll]) {
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    if (u < remaining) {
      rows[u].x = load_vector<kVector>(at.x);
      rows[u].dout = load_vector<kVector>(at.dout);
    }
    at.x += at.x_stride;
    at.dout += at.dout_stride;
  }
}

// What a segment's rows count, from its begin.
struct Extent {
  int rows;         // of the segment
  int available;    // to the sequence's end, at most rows + kLag
  int first_final;  // the row that the final state begins with; beyond all rows without a gradient
};

__device__ __forceinline__ Extent extent_of(const CausalConv1dBackwardParams& p,
                                            const ConvSegment& s) {
  const int rows = static_cast<int>(s.end - s.begin);
  const int64_t to_end = s.sequence_end - s.begin;
  const int available = static_cast<int>(min(to_end, static_cast<int64_t>(rows + kLag)));
  // Row `rows + kLag` and later ones do not belong to this segment.
  const int first_final =
      available < rows + kLag ? available - (p.width - 1) : rows + kLag - (p.width - 1);
  return {rows, available, p.dfinal_state == nullptr ? rows + kLag : first_final};
}

// The gradient of the pre-activation of one row, and its share of the parameters' gradients.
template <typename T, int kVector>
__device__ __forceinline__ void pre_activation_gradient(const CausalConv1dBackwardParams& p,
                                                        const RowPair<T, kVector>& row, bool sum,
                                                        const Filter<kVector>& filter,
                                                        float (&inputs)[kConvMaxWidth][kVector],
                                                        float (&gradient)[kVector],
                                                        Sums<kVector>& sums) {
  float now[kVector];
  to_floats(row.x, now);
  to_floats(row.dout, gradient);
  conv_shift(now, inputs);
  float pre[kVector];
  conv_dot(p.width, filter.bias, filter.taps, inputs, pre);
  slope(p.silu, pre, gradient);
  if (!sum) return;
#pragma unroll
  for (int v = 0; v < kVector; ++v) {
    sums.bias[v] += gradient[v];
#pragma unroll
    for (int j = 0; j < kConvMaxWidth; ++j)
      sums.weight[j][v] = fmaf(gradient[v], inputs[j][v], sums.weight[j][v]);
  }
}

// The gradient of the input kLag rows behind the latest slopes: slopes[m] is m rows back, so tap
// kLag - m leads to it.
template <int kVector>
__device__ __forceinline__ void input_gradient(int width, const Filter<kVector>& filter,
                                               const float (&slopes)[kConvMaxWidth][kVector],
                                               float (&dx)[kVector]) {
#pragma unroll
  for (int v = 0; v < kVector; ++v) dx[v] = 0.0f;
#pragma unroll
  for (int j = 0; j < kConvMaxWidth; ++j) {
    if (j < width) {
#pragma unroll
      for (int v = 0; v < kVector; ++v) dx[v] = fmaf(filter.taps[j][v], slopes[kLag - j][v], dx[v]);
    }
  }
}

template <typename T, int kVector>
__device__ __forceinline__ void walk(const CausalConv1dBackwardParams& p, const ConvSegment& s,
                                     int64_t batch, int64_t channel, const Filter<kVector>& filter,
                                     Sums<kVector>& sums) {
  float inputs[kConvMaxWidth][kVector];
  float slopes[kConvMaxWidth][kVector] = {};
#pragma unroll
  for (int j = 0; j < kConvMaxWidth - 1; ++j)
    conv_load_input<T>(p, s, batch, channel, s.begin - 1 - j, inputs[j]);
  const Extent extent = extent_of(p, s);
  Cursor<T> at = cursor_at<T>(p, batch, channel, s.begin);
  for (int i = 0; i < extent.rows + kLag; i += kUnroll) {
    RowPair<T, kVector> rows[kUnroll];
    load_rows(at, extent.available - i, rows);
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      if (i + u >= extent.rows + kLag) return;
      float gradient[kVector] = {};  // behind the sequence's end there is none
      if (i + u < extent.available)
        pre_activation_gradient(p, rows[u], i + u < extent.rows, filter, inputs, gradient, sums);
      conv_shift(gradient, slopes);
      const int done = i + u - kLag;
      if (done < 0) continue;
      float dx[kVector];
      input_gradient(p.width, filter, slopes, dx);
      if (done >= extent.first_final) {
        const float* dfinal = static_cast<const float*>(p.dfinal_state) + channel +
                              conv_state_offset(p, batch, s.order, done - extent.first_final);
#pragma unroll
        for (int v = 0; v < kVector; ++v) dx[v] += dfinal[v];
      }
      store_floats(at.dx, dx);
      at.dx += at.dx_stride;
    }
  }
}

// Adds what the threads of a column hold, in the order of their tiles, and stores one partial row.
template <int kVector>
__device__ __forceinline__ void store_partial(const float (&values)[kVector], int64_t first_channel,
                                              int64_t channels, float* to) {
  __shared__ float held[kConvThreads * kVector];
  const int width = blockDim.x * kVector;
  __syncthreads();
#pragma unroll
  for (int v = 0; v < kVector; ++v)
    held[threadIdx.y * width + threadIdx.x * kVector + v] = values[v];
  __syncthreads();
  for (int c = threadIdx.y * blockDim.x + threadIdx.x; c < width; c += kConvThreads) {
    if (first_channel + c >= channels) break;
    float sum = 0.0f;
    for (int group = 0; group < blockDim.y; group += kSumGroup) {
      float part = 0.0f;
      for (int y = group; y < min(group + kSumGroup, static_cast<int>(blockDim.y)); ++y)
        part += held[y * width + c];
      sum += part;
    }
    to[first_channel + c] = sum;
  }
}

template <typename T, int kVector>
__global__ __launch_bounds__(kConvThreads, 4) void backward_kernel(
    const __grid_constant__ CausalConv1dBackwardParams p, const ConvGrid grid) {
  const int64_t first_channel = blockIdx.x % grid.column_blocks * grid.lanes * kVector;
  const int64_t row_block = blockIdx.x / grid.column_blocks % grid.row_blocks;
  const int64_t batch = blockIdx.x / grid.column_blocks / grid.row_blocks;
  const int64_t channel = first_channel + threadIdx.x * kVector;
  const int64_t begin = (row_block * blockDim.y + threadIdx.y) * grid.tile;
  const int64_t end = min(begin + grid.tile, p.length);

  Sums<kVector> sums = {};
  if (channel < p.channels && begin < end) {
    Filter<kVector> filter;
    conv_load_taps(p, channel, filter.taps);
    conv_load_bias(p, channel, filter.bias);
    for (auto s = conv_first_segment(p, begin, end); s.begin < end;
         s = conv_next_segment(p, s, end))
      walk<T>(p, s, batch, channel, filter, sums);
  }
  float* partial = static_cast<float*>(p.partials) +
                   (batch * grid.row_blocks + row_block) * (p.width + 1) * p.channels;
#pragma unroll
  for (int j = 0; j < kConvMaxWidth; ++j) {
    if (j < p.width)
      store_partial(sums.weight[j], first_channel, p.channels,
                    partial + (p.width - 1 - j) * p.channels);
  }
  store_partial(sums.bias, first_channel, p.channels, partial + p.width * p.channels);
}

// Block: 32 channels of one tap (or the bias) by kSumRows, which share out the partial rows.
__global__ __launch_bounds__(32 * kSumRows) void sum_kernel(
    const __grid_constant__ CausalConv1dBackwardParams p, int64_t partials, int64_t columns) {
  __shared__ float held[kSumRows][32];
  const int64_t channel = blockIdx.x % columns * 32 + threadIdx.x;
  const int slot = static_cast<int>(blockIdx.x / columns);
  const int64_t stride = (p.width + 1) * p.channels;
  float sum = 0.0f;
  if (channel < p.channels) {
    const float* from = static_cast<const float*>(p.partials) + slot * p.channels + channel;
#pragma unroll 4
    for (int64_t i = threadIdx.y; i < partials; i += kSumRows) sum += from[i * stride];
  }
  held[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || channel >= p.channels) return;
  sum = 0.0f;
  for (int group = 0; group < kSumRows; group += kSumGroup) {
    float part = 0.0f;
    for (int y = group; y < group + kSumGroup; ++y) part += held[y][threadIdx.x];
    sum += part;
  }
  if (slot < p.width) {
    static_cast<float*>(p.dweight)[channel * p.width + slot] = sum;
  } else {
    static_cast<float*>(p.dbias)[channel] = sum;
  }
}

// The gradient of one channel of one sequence's initial state, from the slopes of its first
// positions. One thread each.
template <typename T>
__global__ __launch_bounds__(kStateThreads) void initial_state_kernel(
    const __grid_constant__ CausalConv1dBackwardParams p) {
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
  const int lag = p.width - 1;
  Filter<1> filter;
  conv_load_taps(p, channel, filter.taps);
  conv_load_bias(p, channel, filter.bias);

  float inputs[kConvMaxWidth][1];
#pragma unroll
  for (int j = 0; j < kConvMaxWidth - 1; ++j)
    conv_load_input<T>(p, s, batch, channel, begin - 1 - j, inputs[j]);
  float dstate[kLag] = {};  // dstate[r]: of the state's row r
#pragma unroll
  for (int i = 0; i < kLag; ++i) {
    if (i >= lag || begin + i >= end) break;
    float now[1];
    conv_load_input<T>(p, s, batch, channel, begin + i, now);
    conv_shift(now, inputs);
    float gradient[1], pre[1];
    conv_dot(p.width, filter.bias, filter.taps, inputs, pre);
    const int64_t row =
        conv_row_offset(p, p.dout_batch_stride, p.dout_row_stride, batch, begin + i);
    gradient[0] = io_to_float(static_cast<const T*>(p.dout)[row + channel]);
    slope(p.silu, pre, gradient);
    // Row r lies lag - r positions before the start: tap i + lag - r leads from it to here.
#pragma unroll
    for (int r = 0; r < kLag; ++r) {
#pragma unroll
      for (int j = 1; j < kConvMaxWidth; ++j) {
        if (r < lag && j == i + lag - r)
          dstate[r] = fmaf(filter.taps[j][0], gradient[0], dstate[r]);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < kLag; ++r) {
    if (r >= lag) break;
    const int64_t final_row = r - (end - begin);  // where a short sequence has shifted the row to
    if (final_row >= 0 && p.dfinal_state != nullptr)
      dstate[r] += static_cast<const float*>(
          p.dfinal_state)[conv_state_offset(p, batch, order, final_row) + channel];
    static_cast<float*>(p.dinitial_state)[conv_state_offset(p, batch, order, r) + channel] =
        dstate[r];
  }
}

int element_bytes(Dtype dtype) { return dtype == Dtype::kFloat32 ? 4 : 2; }

bool vectors_fit(const CausalConv1dBackwardParams& p) {
  const int bytes = element_bytes(p.dtype);
  return p.channels % kBackwardVector == 0 &&
         conv_rows_aligned(p.x, p.x_batch_stride, p.x_row_stride, p, kBackwardVector, bytes) &&
         conv_rows_aligned(p.dout, p.dout_batch_stride, p.dout_row_stride, p, kBackwardVector,
                           bytes) &&
         conv_rows_aligned(p.dx, 0, 0, p, kBackwardVector, bytes);
}

// The same whether or not vectors fit, so that alignment does not change the order of the sums.
ConvGrid grid_of(const CausalConv1dParams& p, int vector) {
  return conv_grid(p, vector, kLargestTile, kSmallestTile, kEnoughBlocks);
}

template <typename T, int kVector>
void launch_rows(const CausalConv1dBackwardParams& p, cudaStream_t stream) {
  const ConvGrid grid = grid_of(p, kVector);
  const int64_t blocks = grid.blocks(p.batch);
  if (blocks > 0)
    backward_kernel<T, kVector>
        <<<static_cast<unsigned>(blocks), dim3(grid.lanes, grid.rows()), 0, stream>>>(p, grid);
  const int64_t columns = (p.channels + 31) / 32;
  const int64_t slots = p.width + (p.dbias != nullptr ? 1 : 0);
  sum_kernel<<<static_cast<unsigned>(columns * slots), dim3(32, kSumRows), 0, stream>>>(
      p, p.batch * grid.row_blocks, columns);
}

template <typename T>
void launch(const CausalConv1dBackwardParams& p, cudaStream_t stream) {
  if (vectors_fit(p)) {
    launch_rows<T, kBackwardVector>(p, stream);
  } else {
    launch_rows<T, 1>(p, stream);
  }
  const int64_t states = p.sequences * p.channels;
  if (states == 0 || p.dinitial_state == nullptr) return;
  const int64_t blocks = (states + kStateThreads - 1) / kStateThreads;
  initial_state_kernel<T><<<static_cast<unsigned>(blocks), kStateThreads, 0, stream>>>(p);
}

}  // namespace

int64_t causal_conv1d_cuda_partials(const CausalConv1dBackwardParams& params) {
  return params.batch * grid_of(params, vectors_fit(params) ? kBackwardVector : 1).row_blocks;
}

void causal_conv1d_backward_cuda(const CausalConv1dBackwardParams& params, CUstream_st* stream) {
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
