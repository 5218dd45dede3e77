// Raw CUDA kernels of linear_cross_entropy: a team of threads (a power of two, several rows a block
// where it is small) walks the logits of a row in vectors of 16 bytes.
#include <algorithm>
#include <cmath>

#include "kernels/common/device_io.cuh"
#include "kernels/linear_cross_entropy/linear_cross_entropy_params.h"

namespace strandwave::kernels {
namespace {

constexpr int kWarp = 32;
constexpr int kBlock = 256;
constexpr int kLargestTeam = 512;

// Of a difference <= 0. The fast form is off by a few units in the last place, far below the
// rounding of 16-bit logits.
template <typename Logit>
__device__ float exp_of(float x) {
  return sizeof(Logit) == 4 ? expf(x) : __expf(x);
}

// Sum of exponentials relative to their maximum.
struct ExpSum {
  float maximum = -INFINITY;
  float sum = 0;

  // What exponentials are relative to: finite, so that an empty part stays zero.
  __device__ float shift() const { return maximum == -INFINITY ? 0.0f : maximum; }
};

__device__ ExpSum join(const ExpSum& a, const ExpSum& b) {
  ExpSum both;
  both.maximum = fmaxf(a.maximum, b.maximum);
  const float shift = both.shift();
  both.sum = a.sum * expf(a.maximum - shift) + b.sum * expf(b.maximum - shift);
  return both;
}

// The same in all threads of the team, joined in a fixed order.
__device__ ExpSum join_team(ExpSum part, float2* warp_parts) {
  const int lanes = blockDim.x < kWarp ? blockDim.x : kWarp;
  for (int offset = lanes / 2; offset > 0; offset /= 2) {
    ExpSum other;
    other.maximum = __shfl_xor_sync(0xffffffffu, part.maximum, offset);
    other.sum = __shfl_xor_sync(0xffffffffu, part.sum, offset);
    // The same order of operands on both sides, so that both get the same bits.
    part = (threadIdx.x & offset) == 0 ? join(part, other) : join(other, part);
  }
  if (blockDim.x <= kWarp) return part;
  const int warps = blockDim.x / kWarp;
  float2* team_parts = warp_parts + threadIdx.y * warps;
  if (threadIdx.x % kWarp == 0)
    team_parts[threadIdx.x / kWarp] = make_float2(part.maximum, part.sum);
  __syncthreads();
  ExpSum all;
  for (int w = 0; w < warps; ++w) all = join(all, ExpSum{team_parts[w].x, team_parts[w].y});
  return all;
}

__device__ float row_weight(const CrossEntropyParams& p, int64_t row) {
  if (p.target[row] < 0) return 0;
  return p.token_weight == nullptr ? 1.0f : static_cast<const float*>(p.token_weight)[row];
}

template <typename Logit>
__global__ void __launch_bounds__(kLargestTeam) forward_kernel(const CrossEntropyForwardParams p) {
  constexpr int V = 16 / sizeof(Logit);
  __shared__ float2 warp_parts[kLargestTeam / kWarp];  // (maximum, sum)
  const int64_t row = int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
  const int64_t vocabulary = row < p.rows ? p.vocabulary : 0;
  const Logit* logits = static_cast<const Logit*>(p.logits) + row * p.stride;
  ExpSum part;
  for (int64_t column = int64_t{threadIdx.x} * V; column < vocabulary;
       column += int64_t{blockDim.x} * V) {
    float x[V];
    to_floats<V>(load_vector<V>(logits + column), x);
    ExpSum vector;
#pragma unroll
    for (int k = 0; k < V; ++k) {
      if (column + k >= vocabulary) x[k] = -INFINITY;
      vector.maximum = fmaxf(vector.maximum, x[k]);
    }
    vector.maximum = fmaxf(vector.maximum, part.maximum);
    const float shift = vector.shift();
#pragma unroll
    for (int k = 0; k < V; ++k) vector.sum += exp_of<Logit>(x[k] - shift);
    vector.sum += part.sum * exp_of<Logit>(part.maximum - shift);
    part = vector;
  }
  const ExpSum all = join_team(part, warp_parts);
  if (threadIdx.x > 0 || row >= p.rows) return;

  const float logsumexp = all.shift() + logf(all.sum);
  static_cast<float*>(p.logsumexp)[row] = logsumexp;
  const float weight = row_weight(p, row);
  const int64_t target = p.target[row];
  float loss = 0;
  if (weight != 0) {
    const float logit = target < p.vocabulary ? io_to_float(logits[target]) : NAN;
    loss = weight * (logsumexp - logit);
  }
  static_cast<float*>(p.loss)[row] = loss;
}

template <typename Logit, typename Gradient>
__global__ void __launch_bounds__(kLargestTeam)
    backward_kernel(const CrossEntropyBackwardParams p) {
  constexpr int V = 16 / sizeof(Logit);
  const int64_t row = int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
  if (row >= p.rows) return;
  const Logit* logits = static_cast<const Logit*>(p.logits) + row * p.stride;
  Gradient* gradient = static_cast<Gradient*>(p.gradient) + row * p.stride;
  const float weight = row_weight(p, row);
  const bool counts = weight != 0;
  const float scale = counts ? weight * static_cast<const float*>(p.dloss)[row] : 0.0f;
  const float logsumexp = static_cast<const float*>(p.logsumexp)[row];
  const int64_t target = p.target[row];
  for (int64_t column = int64_t{threadIdx.x} * V; column < p.vocabulary;
       column += int64_t{blockDim.x} * V) {
    float x[V];
    to_floats<V>(load_vector<V>(logits + column), x);
#pragma unroll
    for (int k = 0; k < V; ++k) {
      const float one = column + k == target ? 1.0f : 0.0f;
      x[k] = counts ? (exp_of<Logit>(x[k] - logsumexp) - one) * scale : 0.0f;
    }
    // The columns between vocabulary and stride belong to nobody: they may be written.
    store_floats<V>(gradient + column, x);
  }
}

struct Division {
  unsigned blocks;
  dim3 block;  // (team, rows)
};

Division divide(const CrossEntropyParams& p, int64_t vector) {
  const int64_t vectors = (p.vocabulary + vector - 1) / vector;
  int team = 1;
  while (team < kWarp && team < vectors) team *= 2;
  while (team < kLargestTeam && vectors > int64_t{8} * team) team *= 2;
  const int rows = std::max(1, kBlock / team);
  return {static_cast<unsigned>((p.rows + rows - 1) / rows), dim3(team, rows)};
}

template <typename Logit>
void launch_forward(const CrossEntropyForwardParams& p, CUstream_st* stream) {
  const Division division = divide(p, 16 / sizeof(Logit));
  forward_kernel<Logit><<<division.blocks, division.block, 0, stream>>>(p);
}

template <typename Logit, typename Gradient>
void launch_backward(const CrossEntropyBackwardParams& p, CUstream_st* stream) {
  const Division division = divide(p, 16 / sizeof(Logit));
  backward_kernel<Logit, Gradient><<<division.blocks, division.block, 0, stream>>>(p);
}

}  // namespace

void cross_entropy_forward_cuda(const CrossEntropyForwardParams& params, CUstream_st* stream) {
  if (params.rows == 0) return;
  if (params.logits_dtype == Dtype::kBFloat16) return launch_forward<BFloat16>(params, stream);
  if (params.logits_dtype == Dtype::kFloat16) return launch_forward<Float16>(params, stream);
  launch_forward<float>(params, stream);
}

void cross_entropy_backward_cuda(const CrossEntropyBackwardParams& params, CUstream_st* stream) {
  if (params.rows == 0) return;
  const bool float_logits = params.logits_dtype == Dtype::kFloat32;
  if (params.gradient_dtype == Dtype::kBFloat16) {
    if (float_logits) return launch_backward<float, BFloat16>(params, stream);
    return launch_backward<BFloat16, BFloat16>(params, stream);
  }
  if (params.gradient_dtype == Dtype::kFloat16) {
    if (float_logits) return launch_backward<float, Float16>(params, stream);
    return launch_backward<Float16, Float16>(params, stream);
  }
  launch_backward<float, float>(params, stream);
}

}  // namespace strandwave::kernels
