// Raw CUDA kernels of add_rms_norm. A team of threads (one row of the block, a multiple of a warp)
// normalises a row; each thread holds up to kCache vectors of it in registers, so that memory is
// read once. Columns beyond (rows of more than 8192, or 2048 of an odd d) are read again.
#include <algorithm>

#include "kernels/common/device_io.cuh"
#include "kernels/common/sum_rows.h"
#include "kernels/norm/rms_norm_params.h"

namespace strandwave::kernels {
namespace {

constexpr int kWarp = 32;
constexpr int kBlock = 128;  // threads, unless one team is larger
constexpr int kLargestTeam = 256;
constexpr int kLargeCache = 8;  // vectors
constexpr int kSmallCache = 2;

// The sum over the team, the same in all its threads, added in a fixed order.
__device__ float team_sum(float value, float* warp_sums) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2)
    value += __shfl_xor_sync(0xffffffffu, value, offset);
  if (blockDim.x == kWarp) return value;
  const int warps = blockDim.x / kWarp;
  const int first = threadIdx.y * warps;
  __syncthreads();  // the sums of the previous call have been read
  if (threadIdx.x % kWarp == 0) warp_sums[first + threadIdx.x / kWarp] = value;
  __syncthreads();
  float sum = 0;
  for (int w = 0; w < warps; ++w) sum += warp_sums[first + w];
  return sum;
}

// The part of a row that a thread holds in registers: vectors threadIdx.x + i blockDim.x. Loads
// come first, conversions after, so that all loads are in flight together.
template <int V, int kCache>
struct Cached {
  float at[kCache][V];

  template <typename T>
  __device__ void load(const T* row, int vectors) {
    IoVector<T, V> raw[kCache];
    fetch(row, vectors, raw);
#pragma unroll
    for (int i = 0; i < kCache; ++i) to_floats<V>(raw[i], at[i]);
  }

  template <typename T>
  __device__ void add(const T* row, int vectors) {
    IoVector<T, V> raw[kCache];
    fetch(row, vectors, raw);
#pragma unroll
    for (int i = 0; i < kCache; ++i) {
#pragma unroll
      for (int k = 0; k < V; ++k) at[i][k] += io_to_float(raw[i].at[k]);
    }
  }

  template <typename T>
  __device__ void store(T* row, int vectors) const {
#pragma unroll
    for (int i = 0; i < kCache; ++i) {
      const int v = threadIdx.x + i * blockDim.x;
      if (v < vectors) store_floats<V>(row + static_cast<int64_t>(v) * V, at[i]);
    }
  }

 private:
  template <typename T>
  __device__ static void fetch(const T* row, int vectors, IoVector<T, V> (&raw)[kCache]) {
#pragma unroll
    for (int i = 0; i < kCache; ++i) {
      const int v = threadIdx.x + i * blockDim.x;
      raw[i] = {};
      if (v < vectors) raw[i] = load_vector<V>(row + static_cast<int64_t>(v) * V);
    }
  }
};

template <typename T>
__device__ const T* row_of(const void* data, int64_t row, int64_t d) {
  return static_cast<const T*>(data) + row * d;
}
template <typename T>
__device__ T* row_of(void* data, int64_t row, int64_t d) {
  return static_cast<T*>(data) + row * d;
}

// One vector of x + residual, for columns beyond the cache.
template <typename Io, int V>
__device__ void load_sum(const AddRmsNormParams& p, int64_t row, int64_t column, float (&out)[V]) {
  to_floats<V>(load_vector<V>(row_of<Io>(p.x, row, p.d) + column), out);
  if (p.residual == nullptr) return;
  float residual[V];
  if (p.residual_full) {
    to_floats<V>(load_vector<V>(row_of<float>(p.residual, row, p.d) + column), residual);
  } else {
    to_floats<V>(load_vector<V>(row_of<Io>(p.residual, row, p.d) + column), residual);
  }
#pragma unroll
  for (int k = 0; k < V; ++k) out[k] += residual[k];
}

template <typename Io, int V, int kCache>
__global__ void __launch_bounds__(kLargestTeam) forward_kernel(const AddRmsNormParams p) {
  __shared__ float warp_sums[kWarp];
  const int64_t row = int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
  const int vectors = row < p.rows ? static_cast<int>(p.d / V) : 0;
  const int beyond = threadIdx.x + kCache * blockDim.x;

  Cached<V, kCache> values;
  values.load(row_of<Io>(p.x, row, p.d), vectors);
  if (p.residual != nullptr) {
    if (p.residual_full) {
      values.add(row_of<float>(p.residual, row, p.d), vectors);
    } else {
      values.add(row_of<Io>(p.residual, row, p.d), vectors);
    }
  }
  if (p.sum_full) {
    values.store(row_of<float>(p.sum, row, p.d), vectors);
  } else {
    values.store(row_of<Io>(p.sum, row, p.d), vectors);
  }
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kCache; ++i) {
#pragma unroll
    for (int k = 0; k < V; ++k) squares += values.at[i][k] * values.at[i][k];
  }
  for (int v = beyond; v < vectors; v += blockDim.x) {
    const int64_t column = static_cast<int64_t>(v) * V;
    float sum[V];
    load_sum<Io, V>(p, row, column, sum);
#pragma unroll
    for (int k = 0; k < V; ++k) squares += sum[k] * sum[k];
    if (p.sum_full) {
      store_floats<V>(row_of<float>(p.sum, row, p.d) + column, sum);
    } else {
      store_floats<V>(row_of<Io>(p.sum, row, p.d) + column, sum);
    }
  }

  const float mean = team_sum(squares, warp_sums) / static_cast<float>(p.d);
  const float rstd = 1.0f / sqrtf(mean + static_cast<float>(p.eps));
  if (threadIdx.x == 0 && row < p.rows) static_cast<float*>(p.rstd)[row] = rstd;

  const float* weight = static_cast<const float*>(p.weight);
  Io* y = row_of<Io>(p.y, row, p.d);
  const auto finish = [&](int v, float(&r)[V]) {
    const int64_t column = static_cast<int64_t>(v) * V;
    const auto w = load_vector<V>(weight + column);
#pragma unroll
    for (int k = 0; k < V; ++k) r[k] = r[k] * rstd * w.at[k];
    store_floats<V>(y + column, r);
  };
#pragma unroll
  for (int i = 0; i < kCache; ++i) {
    const int v = threadIdx.x + i * blockDim.x;
    if (v < vectors) finish(v, values.at[i]);
  }
  for (int v = beyond; v < vectors; v += blockDim.x) {
    float sum[V];
    load_sum<Io, V>(p, row, static_cast<int64_t>(v) * V, sum);
    finish(v, sum);
  }
}

template <typename Io, int V>
__device__ void load_full_or_io(const void* data, bool full, int64_t row, int64_t d, int64_t column,
                                float (&out)[V]) {
  if (full) {
    to_floats<V>(load_vector<V>(row_of<float>(data, row, d) + column), out);
  } else {
    to_floats<V>(load_vector<V>(row_of<Io>(data, row, d) + column), out);
  }
}

// What the gradient of one vector of a row needs to know of the row.
struct RowScale {
  float rstd;
  float pull;  // rstd^2 mean(dy weight sum)
};

// Turns dy weight into the gradient of the sum and stores it.
template <typename Io, int V>
__device__ void store_gradient(const AddRmsNormBackwardParams& p, int64_t row, int64_t column,
                               const RowScale& scale, const float (&sum)[V], const float (&dsum)[V],
                               float (&g)[V]) {
#pragma unroll
  for (int k = 0; k < V; ++k) g[k] = scale.rstd * (g[k] - sum[k] * scale.pull) + dsum[k];
  store_floats<V>(row_of<Io>(p.dx, row, p.d) + column, g);
  if (p.dx_full != nullptr) store_floats<V>(row_of<float>(p.dx_full, row, p.d) + column, g);
}

// A block takes rows_per_partial rows and sums their part of dweight: in registers, and for columns
// beyond the cache in its row of `partials`, where each thread has columns of its own.
template <typename Io, int V, int kCache>
__global__ void __launch_bounds__(kLargestTeam) backward_kernel(const AddRmsNormBackwardParams p) {
  __shared__ float warp_sums[kWarp];
  __shared__ float team_sums[kCache * V][kBlock];
  const int all_vectors = static_cast<int>(p.d / V);
  const int beyond = threadIdx.x + kCache * blockDim.x;
  const float* weight = static_cast<const float*>(p.weight);
  float* partial = row_of<float>(p.partials, blockIdx.x, p.d);
  float dweight[kCache][V] = {};
  for (int v = beyond; v < all_vectors; v += blockDim.x)
    store_floats<V>(partial + static_cast<int64_t>(v) * V, dweight[0]);

  const int64_t begin = int64_t{blockIdx.x} * p.rows_per_partial;
  const int64_t end = begin + p.rows_per_partial < p.rows ? begin + p.rows_per_partial : p.rows;
  for (int64_t first = begin; first < end; first += blockDim.y) {
    const int64_t row = first + threadIdx.y;
    const int vectors = row < end ? all_vectors : 0;
    Cached<V, kCache> g;
    Cached<V, kCache> sum;
    Cached<V, kCache> dsum = {};
    g.load(row_of<Io>(p.dy, row, p.d), vectors);
    if (p.sum_full) {
      sum.load(row_of<float>(p.sum, row, p.d), vectors);
      if (p.dsum != nullptr) dsum.load(row_of<float>(p.dsum, row, p.d), vectors);
    } else {
      sum.load(row_of<Io>(p.sum, row, p.d), vectors);
      if (p.dsum != nullptr) dsum.load(row_of<Io>(p.dsum, row, p.d), vectors);
    }
    const float rstd = row < end ? static_cast<const float*>(p.rstd)[row] : 0.0f;

    float dot = 0;
#pragma unroll
    for (int i = 0; i < kCache; ++i) {
      const int v = threadIdx.x + i * blockDim.x;
      if (v < vectors) {
        const auto w = load_vector<V>(weight + static_cast<int64_t>(v) * V);
#pragma unroll
        for (int k = 0; k < V; ++k) {
          dweight[i][k] += g.at[i][k] * (sum.at[i][k] * rstd);
          g.at[i][k] *= w.at[k];
          dot += g.at[i][k] * sum.at[i][k];
        }
      }
    }
    const auto load_beyond = [&](int64_t column, float(&gw)[V], float(&s)[V]) {
      const auto w = load_vector<V>(weight + column);
      to_floats<V>(load_vector<V>(row_of<Io>(p.dy, row, p.d) + column), gw);
      load_full_or_io<Io, V>(p.sum, p.sum_full, row, p.d, column, s);
      IoVector<float, V> dw;
#pragma unroll
      for (int k = 0; k < V; ++k) {
        dw.at[k] = gw[k] * (s[k] * rstd);
        gw[k] *= w.at[k];
      }
      return dw;
    };
    for (int v = beyond; v < vectors; v += blockDim.x) {
      const int64_t column = static_cast<int64_t>(v) * V;
      float gw[V], s[V];
      const IoVector<float, V> dw = load_beyond(column, gw, s);
#pragma unroll
      for (int k = 0; k < V; ++k) {
        partial[column + k] += dw.at[k];
        dot += gw[k] * s[k];
      }
    }

    const float mean = team_sum(dot, warp_sums) / static_cast<float>(p.d);
    const RowScale scale{rstd, rstd * rstd * mean};
#pragma unroll
    for (int i = 0; i < kCache; ++i) {
      const int v = threadIdx.x + i * blockDim.x;
      if (v < vectors)
        store_gradient<Io, V>(p, row, static_cast<int64_t>(v) * V, scale, sum.at[i], dsum.at[i],
                              g.at[i]);
    }
    for (int v = beyond; v < vectors; v += blockDim.x) {
      const int64_t column = static_cast<int64_t>(v) * V;
      float gw[V], s[V];
      float ds[V] = {};
      load_beyond(column, gw, s);
      if (p.dsum != nullptr) load_full_or_io<Io, V>(p.dsum, p.sum_full, row, p.d, column, ds);
      store_gradient<Io, V>(p, row, column, scale, s, ds, gw);
    }
  }

  // The teams of the block, in order.
  if (blockDim.y > 1) {
    const int thread = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
    for (int i = 0; i < kCache * V; ++i) team_sums[i][thread] = dweight[i / V][i % V];
    __syncthreads();
    if (threadIdx.y > 0) return;
    for (int team = 1; team < blockDim.y; ++team) {
#pragma unroll
      for (int i = 0; i < kCache * V; ++i)
        dweight[i / V][i % V] += team_sums[i][team * blockDim.x + threadIdx.x];
    }
  }
#pragma unroll
  for (int i = 0; i < kCache; ++i) {
    const int v = threadIdx.x + i * blockDim.x;
    if (v < all_vectors) store_floats<V>(partial + static_cast<int64_t>(v) * V, dweight[i]);
  }
}

struct Division {
  int vector;  // elements
  bool small;  // kSmallCache is enough
  dim3 block;  // (team, teams)
};

Division divide(int64_t d) {
  Division division{d % 4 == 0 ? 4 : 1, false, {}};
  const int64_t vectors = d / division.vector;
  division.small = division.vector == 4 && vectors <= kSmallCache * kWarp;
  int team = kWarp;
  while (team < kLargestTeam && vectors > int64_t{kLargeCache} * team) team *= 2;
  division.block = dim3(team, std::max(1, kBlock / team));
  return division;
}

template <typename Io>
void launch_forward(const AddRmsNormParams& p, CUstream_st* stream) {
  const Division division = divide(p.d);
  const dim3 block = division.block;
  const auto blocks = static_cast<unsigned>((p.rows + block.y - 1) / block.y);
  if (division.small) {
    forward_kernel<Io, 4, kSmallCache><<<blocks, block, 0, stream>>>(p);
  } else if (division.vector == 4) {
    forward_kernel<Io, 4, kLargeCache><<<blocks, block, 0, stream>>>(p);
  } else {
    forward_kernel<Io, 1, kLargeCache><<<blocks, block, 0, stream>>>(p);
  }
}

template <typename Io>
void launch_backward(const AddRmsNormBackwardParams& p, CUstream_st* stream) {
  const Division division = divide(p.d);
  const dim3 block = division.block;
  const auto blocks = static_cast<unsigned>(p.partial_count);
  if (division.small) {
    backward_kernel<Io, 4, kSmallCache><<<blocks, block, 0, stream>>>(p);
  } else if (division.vector == 4) {
    backward_kernel<Io, 4, kLargeCache><<<blocks, block, 0, stream>>>(p);
  } else {
    backward_kernel<Io, 1, kLargeCache><<<blocks, block, 0, stream>>>(p);
  }
}

}  // namespace

int64_t add_rms_norm_cuda_rows(int64_t rows, int64_t d) {
  constexpr int64_t kMostPartials = 2112;  // fills the largest devices several times over
  constexpr int64_t kLeastRows = 16;       // per team: keeps the partial sums' traffic small
  const int64_t least = kLeastRows * divide(d).block.y;
  return std::max(least, (rows + kMostPartials - 1) / kMostPartials);
}

void add_rms_norm_forward_cuda(const AddRmsNormParams& params, CUstream_st* stream) {
  if (params.rows == 0) return;
  if (params.dtype == Dtype::kBFloat16) return launch_forward<BFloat16>(params, stream);
  if (params.dtype == Dtype::kFloat16) return launch_forward<Float16>(params, stream);
  launch_forward<float>(params, stream);
}

void add_rms_norm_backward_cuda(const AddRmsNormBackwardParams& params, CUstream_st* stream) {
  if (params.partial_count > 0) {
    if (params.dtype == Dtype::kBFloat16) {
      launch_backward<BFloat16>(params, stream);
    } else if (params.dtype == Dtype::kFloat16) {
      launch_backward<Float16>(params, stream);
    } else {
      launch_backward<float>(params, stream);
    }
  }
  sum_rows_cuda(static_cast<const float*>(params.partials), params.partial_count, params.d,
                Dtype::kFloat32, params.dweight, stream);
}

}  // namespace strandwave::kernels
