// Raw CUDA kernels of the embedding. No atomics: every sum has one owner and a fixed order.
#include <algorithm>

#include "kernels/common/device_io.cuh"
#include "kernels/common/sum_rows.h"
#include "kernels/embedding/embedding_params.h"

namespace strandwave::kernels {
namespace {

constexpr int kBlock = 256;
constexpr int kWarp = 32;

__device__ int64_t id_at(const void* ids, bool bytes, int64_t position) {
  return bytes ? int64_t{static_cast<const uint8_t*>(ids)[position]}
               : static_cast<const int64_t*>(ids)[position];
}

// ---- forward: rows are copied as units of 16, 4 or 2 bytes ----

template <typename Unit>
__global__ void __launch_bounds__(kBlock) forward_kernel(const EmbeddingParams p, int64_t units) {
  const int64_t total = p.positions * units;
  const int64_t stride = int64_t{gridDim.x} * kBlock;
  for (int64_t i = int64_t{blockIdx.x} * kBlock + threadIdx.x; i < total; i += stride) {
    const int64_t position = i / units;
    const int64_t id = id_at(p.ids, p.byte_ids, position);
    Unit unit = {};
    if (id >= 0 && id < p.vocabulary)
      unit = static_cast<const Unit*>(p.weight)[id * units + (i - position * units)];
    static_cast<Unit*>(p.out)[i] = unit;
  }
}

template <typename Unit>
void launch_forward(const EmbeddingParams& p, int64_t row_bytes, CUstream_st* stream) {
  constexpr int64_t kMostBlocks = int64_t{1} << 20;
  const int64_t units = row_bytes / static_cast<int64_t>(sizeof(Unit));
  const int64_t blocks = std::min((p.positions * units + kBlock - 1) / kBlock, kMostBlocks);
  forward_kernel<Unit><<<static_cast<unsigned>(blocks), kBlock, 0, stream>>>(p, units);
}

// ---- backward, small vocabularies: tables in shared memory ----

constexpr int kColumns = 2 * kWarp;        // of a warp, two a lane
constexpr int64_t kTableBytes = 48 << 10;  // what every device gives a block

// A warp owns one range of positions and one block of columns: its table in shared memory has one
// writer per element, and positions are added in order.
template <typename Io, int V>
__global__ void __launch_bounds__(kBlock)
    small_kernel(const EmbeddingBackwardParams p, int64_t column_blocks) {
  extern __shared__ float2 tables[];
  const int warps = blockDim.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  const int64_t task = int64_t{blockIdx.x} * warps + threadIdx.x / kWarp;
  const int64_t partial = task / column_blocks;
  if (partial >= p.partial_count) return;
  const int64_t column = (task - partial * column_blocks) * kColumns + 2 * lane;
  float2* table = tables + int64_t{threadIdx.x / kWarp} * p.vocabulary * kWarp + lane;
  for (int64_t v = 0; v < p.vocabulary; ++v) table[v * kWarp] = make_float2(0.0f, 0.0f);

  const int64_t begin = partial * p.positions_per_partial;
  const int64_t last = begin + p.positions_per_partial;
  const int64_t end = last < p.positions ? last : p.positions;
  const Io* dout = static_cast<const Io*>(p.dout) + column;
  constexpr int kAhead = 8;  // loads in flight
  for (int64_t i = begin; i < end; i += kAhead) {
    float rows[kAhead][2];
    int64_t ids[kAhead];
#pragma unroll
    for (int k = 0; k < kAhead; ++k) {
      ids[k] = i + k < end ? id_at(p.ids, p.byte_ids, i + k) : -1;
      rows[k][0] = rows[k][1] = 0.0f;
      if (i + k >= end) continue;
      if (V == 2) {
        if (column < p.d) to_floats<2>(load_vector<2>(dout + (i + k) * p.d), rows[k]);
      } else {
        if (column < p.d) rows[k][0] = io_to_float(dout[(i + k) * p.d]);
        if (column + 1 < p.d) rows[k][1] = io_to_float(dout[(i + k) * p.d + 1]);
      }
    }
#pragma unroll
    for (int k = 0; k < kAhead; ++k) {
      if (ids[k] < 0 || ids[k] >= p.vocabulary) continue;
      float2& sum = table[ids[k] * kWarp];
      sum = make_float2(sum.x + rows[k][0], sum.y + rows[k][1]);
    }
  }

  float* out = p.partials + partial * p.vocabulary * p.d + column;
  for (int64_t v = 0; v < p.vocabulary; ++v, out += p.d) {
    if (column < p.d) out[0] = table[v * kWarp].x;
    if (column + 1 < p.d) out[1] = table[v * kWarp].y;
  }
}

template <typename Io, int V>
void launch_small_vector(const EmbeddingBackwardParams& p, CUstream_st* stream) {
  const int64_t table = p.vocabulary * kWarp * static_cast<int64_t>(sizeof(float2));
  const int64_t warps = std::clamp<int64_t>(kTableBytes / table, 1, kBlock / kWarp);
  const int64_t column_blocks = (p.d + kColumns - 1) / kColumns;
  const int64_t blocks = (p.partial_count * column_blocks + warps - 1) / warps;
  small_kernel<Io, V><<<static_cast<unsigned>(blocks), static_cast<unsigned>(warps * kWarp),
                        static_cast<size_t>(warps * table), stream>>>(p, column_blocks);
}

template <typename Io>
void launch_small(const EmbeddingBackwardParams& p, CUstream_st* stream) {
  if (p.d % 2 == 0) return launch_small_vector<Io, 2>(p, stream);
  launch_small_vector<Io, 1>(p, stream);
}

// ---- backward, other vocabularies: sums over runs of equal sorted ids ----

constexpr int kWindow = 64;  // sorted positions

// One block per window and kBlock columns. A run inside the window goes straight to dweight; the
// part of a run that came from the window before goes to window_head, that of one that starts here
// and goes on to window_tail.
template <typename Io>
__global__ void __launch_bounds__(kBlock) window_kernel(const EmbeddingBackwardParams p) {
  __shared__ int64_t ids[kWindow];
  __shared__ int64_t order[kWindow];
  const int64_t begin = int64_t{blockIdx.x} * kWindow;
  const int count = static_cast<int>(p.positions - begin < kWindow ? p.positions - begin : kWindow);
  if (threadIdx.x < count) {
    ids[threadIdx.x] = p.sorted_ids[begin + threadIdx.x];
    order[threadIdx.x] = p.order[begin + threadIdx.x];
  }
  __syncthreads();
  const int64_t column = int64_t{blockIdx.y} * kBlock + threadIdx.x;
  if (column >= p.d) return;
  const bool continues_before = begin > 0 && p.sorted_ids[begin - 1] == ids[0];
  const bool continues_after =
      begin + count < p.positions && p.sorted_ids[begin + count] == ids[count - 1];
  const Io* dout = static_cast<const Io*>(p.dout) + column;
  float sum = 0;
  bool first_run = true;
  for (int i = 0; i < count; ++i) {
    sum += io_to_float(dout[order[i] * p.d]);
    const bool last = i + 1 == count;
    if (!last && ids[i + 1] == ids[i]) continue;
    if (first_run && continues_before) {
      p.window_head[int64_t{blockIdx.x} * p.d + column] = sum;
    } else if (last && continues_after) {
      p.window_tail[int64_t{blockIdx.x} * p.d + column] = sum;
    } else if (ids[i] >= 0 && ids[i] < p.vocabulary) {
      io_from_float(sum, static_cast<Io*>(p.dweight)[ids[i] * p.d + column]);
    }
    sum = 0;
    first_run = false;
  }
}

// Adds up the runs that cross windows, each by the block of the window in which it starts.
template <typename Io>
__global__ void __launch_bounds__(kBlock) join_kernel(const EmbeddingBackwardParams p) {
  const int64_t column = int64_t{blockIdx.y} * kBlock + threadIdx.x;
  const int64_t end = (int64_t{blockIdx.x} + 1) * kWindow;
  if (column >= p.d || end >= p.positions) return;
  const int64_t id = p.sorted_ids[end - 1];
  if (p.sorted_ids[end] != id || id < 0 || id >= p.vocabulary) return;
  // The run started before this window: its owner is an earlier block.
  const int64_t begin = end - kWindow;
  if (begin > 0 && p.sorted_ids[begin] == id && p.sorted_ids[begin - 1] == id) return;
  float sum = p.window_tail[int64_t{blockIdx.x} * p.d + column];
#pragma unroll 4
  for (int64_t at = end; at < p.positions && p.sorted_ids[at] == id; at += kWindow)
    sum += p.window_head[at / kWindow * p.d + column];
  io_from_float(sum, static_cast<Io*>(p.dweight)[id * p.d + column]);
}

template <typename Io>
void launch_sorted(const EmbeddingBackwardParams& p, CUstream_st* stream) {
  const dim3 blocks(static_cast<unsigned>(embedding_windows(p.positions)),
                    static_cast<unsigned>((p.d + kBlock - 1) / kBlock));
  window_kernel<Io><<<blocks, kBlock, 0, stream>>>(p);
  join_kernel<Io><<<blocks, kBlock, 0, stream>>>(p);
}

}  // namespace

void embedding_forward_cuda(const EmbeddingParams& params, CUstream_st* stream) {
  if (params.positions == 0 || params.d == 0) return;
  const int64_t row_bytes = params.d * (params.dtype == Dtype::kFloat32 ? 4 : 2);
  if (row_bytes % 16 == 0) return launch_forward<uint4>(params, row_bytes, stream);
  if (row_bytes % 4 == 0) return launch_forward<uint32_t>(params, row_bytes, stream);
  launch_forward<uint16_t>(params, row_bytes, stream);
}

int64_t embedding_positions_per_partial(int64_t positions, int64_t vocabulary) {
  if (vocabulary * kWarp * static_cast<int64_t>(sizeof(float2)) > kTableBytes) return 0;
  constexpr int64_t kMostPartials = 1024;
  // At least eight positions per entry of the table keep the traffic of the tables small.
  const int64_t least = std::max<int64_t>(128, 8 * vocabulary);
  return std::max(least, (positions + kMostPartials - 1) / kMostPartials);
}

void embedding_backward_small_cuda(const EmbeddingBackwardParams& params, CUstream_st* stream) {
  if (params.d == 0 || params.vocabulary == 0) return;
  if (params.partial_count > 0) {
    if (params.dtype == Dtype::kBFloat16) {
      launch_small<BFloat16>(params, stream);
    } else if (params.dtype == Dtype::kFloat16) {
      launch_small<Float16>(params, stream);
    } else {
      launch_small<float>(params, stream);
    }
  }
  sum_rows_cuda(params.partials, params.partial_count, params.vocabulary * params.d, params.dtype,
                params.dweight, stream);
}

int64_t embedding_windows(int64_t positions) { return (positions + kWindow - 1) / kWindow; }

void embedding_backward_sorted_cuda(const EmbeddingBackwardParams& params, CUstream_st* stream) {
  if (params.positions == 0 || params.d == 0) return;
  if (params.dtype == Dtype::kBFloat16) return launch_sorted<BFloat16>(params, stream);
  if (params.dtype == Dtype::kFloat16) return launch_sorted<Float16>(params, stream);
  launch_sorted<float>(params, stream);
}

}  // namespace strandwave::kernels
