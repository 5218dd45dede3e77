// The division of the selective scan's work on CUDA, the prefix over segments, and the forward pass
// as a whole.
#include <algorithm>
#include <cmath>

#include "kernels/selective_scan/selective_scan_cuda_raw.h"
#include "kernels/selective_scan/selective_scan_device.cuh"
#include "kernels/selective_scan/selective_scan_states.cuh"

namespace strandwave::kernels {
namespace {

// Blocks that a large GPU runs at once, and what the pass over states costs, as a share of the scan
// proper. They shape the division only; being constants, they keep results the same on every GPU.
constexpr int64_t kForwardSlots = 528;
constexpr double kForwardCarryCost = 0.85;
constexpr int64_t kBackwardSlots = 264;
constexpr double kBackwardCarryCost = 0.3;
constexpr int64_t kLeastSegment = 256;  // positions
constexpr int64_t kMostSegments = 1024;

int64_t divide_up(int64_t value, int64_t by) { return (value + by - 1) / by; }

// The number of segments for which the blocks' waves take the least time; the fewest within 3 %.
ScanSegments choose_segments(int64_t length, int64_t blocks, int64_t slots, double carry_cost) {
  const auto cost = [&](int64_t segments) {
    const double waves = static_cast<double>(divide_up(blocks * segments, slots));
    return waves / static_cast<double>(segments) * (segments > 1 ? 1 + carry_cost : 1);
  };
  const int64_t most = std::clamp(length / kLeastSegment, int64_t{1}, kMostSegments);
  double least = cost(1);
  for (int64_t segments = 2; segments <= most; ++segments) least = std::min(least, cost(segments));
  int64_t count = 1;
  while (cost(count) > 1.03 * least) ++count;
  ScanSegments result;
  result.length =
      std::max<int64_t>(divide_up(divide_up(length, count), kScanSteps), 1) * kScanSteps;
  result.count = std::max<int64_t>(divide_up(length, result.length), 1);
  return result;
}

struct ComposeArgs {
  ScanCarries carries;
  const float* A;
  int64_t channels;
  int64_t channel_warps;
  int64_t segments;
  int64_t quads;  // batch x channel_warps x kScanTile / 4
  int d_state;
  int first_state;
  bool adjoint;
};

// What four states of a channel become over a segment: own + exp(A sum) running.
template <bool kComplex>
struct Composition {
  float decay[4] = {};

  __device__ void set(int n, float A) { decay[n] = scan_decay(A); }
  __device__ void apply(bool /*adjoint*/, float sum, float /*rest*/, const float (&own)[4],
                        float (&running)[4]) const {
#pragma unroll
    for (int n = 0; n < 4; ++n) running[n] = fmaf(exp2f(decay[n] * sum), running[n], own[n]);
  }
};

template <>
struct Composition<true> {
  float scale[2] = {}, turn[2] = {}, turn_rest[2] = {};

  __device__ void set(int n, float A) {
    if (n % 2 == 0)
      scale[n / 2] = scan_decay(A);
    else
      scan_split_turn(A, turn[n / 2], turn_rest[n / 2]);
  }
  __device__ void apply(bool adjoint, float sum, float rest, const float (&own)[4],
                        float (&running)[4]) const {
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      float cos, sin;
      scan_cos_sin(sum, turn[k], fmaf(sum, turn_rest[k], rest * turn[k]), cos, sin);
      const float modulus = exp2f(scale[k] * sum);
      const float a = modulus * cos;
      const float b = adjoint ? -modulus * sin : modulus * sin;
      const float real = running[2 * k];
      const float imaginary = running[2 * k + 1];
      running[2 * k] = fmaf(-b, imaginary, fmaf(a, real, own[2 * k]));
      running[2 * k + 1] = fmaf(b, real, fmaf(a, imaginary, own[2 * k + 1]));
    }
  }
};

// A thread composes the segments for four states of a channel.
template <bool kComplex>
__global__ void __launch_bounds__(kScanThreads)
    compose_kernel(const __grid_constant__ ComposeArgs p) {
  constexpr int kBatch = 8;  // loads in flight
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kScanThreads + threadIdx.x;
  if (index >= p.quads) return;
  const int lane = static_cast<int>(index % 32);
  const int c = static_cast<int>(index / 32 % 4);
  const int64_t warp = index / 128 % p.channel_warps;
  const int64_t batch = index / 128 / p.channel_warps;
  const int64_t channel = warp * kScanChannels + lane / 4 * 4 + c;
  const int state = p.first_state + lane % 4 * 4;
  Composition<kComplex> composition;
#pragma unroll
  for (int n = 0; n < 4; ++n)
    if (channel < p.channels && state + n < p.d_state)
      composition.set(n, p.A[channel * p.d_state + state + n]);

  float4* states = reinterpret_cast<float4*>(p.carries.states) + c * 32 + lane;
  const auto part_of = [&](int64_t i) {
    return batch * p.segments + (p.adjoint ? p.segments - 1 - i : i);
  };
  float running[4] = {};
  for (int64_t first = 0; first < p.segments; first += kBatch) {
    float4 leaving[kBatch];
    float sums[kBatch];
    float rests[kBatch];
    bool cuts[kBatch];
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      // The last segment's own result is not there: nothing would follow it.
      if (first + k >= p.segments - 1) continue;
      const int64_t part = part_of(first + k);
      leaving[k] = states[(part * p.channel_warps + warp) * (kScanTile / 4)];
      const int64_t row = part * p.channel_warps * kScanChannels + channel;
      sums[k] = p.carries.delta_sums[row];
      if constexpr (kComplex) rests[k] = p.carries.delta_rests[row];
      cuts[k] = p.carries.cuts[part] != 0;
    }
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      if (first + k >= p.segments) break;
      states[(part_of(first + k) * p.channel_warps + warp) * (kScanTile / 4)] =
          make_float4(running[0], running[1], running[2], running[3]);
      if (first + k == p.segments - 1) break;
      const float own[4] = {leaving[k].x, leaving[k].y, leaving[k].z, leaving[k].w};
      if (cuts[k]) {
#pragma unroll
        for (int n = 0; n < 4; ++n) running[n] = own[n];
        continue;
      }
      composition.apply(p.adjoint, sums[k], rests[k], own, running);
    }
  }
}

struct EmptyArgs {
  const int64_t* cu_seqlens;
  const float* from;
  float* to;
  int64_t width;
};

__global__ void __launch_bounds__(kScanThreads) empty_kernel(const __grid_constant__ EmptyArgs p) {
  const int64_t sequence = blockIdx.x;
  if (p.cu_seqlens != nullptr && p.cu_seqlens[sequence] < p.cu_seqlens[sequence + 1]) return;
  for (int64_t i = threadIdx.x; i < p.width; i += kScanThreads)
    p.to[sequence * p.width + i] = p.from == nullptr ? 0 : p.from[sequence * p.width + i];
}

struct ForwardWorkspace {
  ScanCarries carries;
  float* sums = nullptr;
  int64_t floats = 0;

  ForwardWorkspace(const SelectiveScanForwardParams& params, const ScanDivision& division,
                   float* base) {
    ScanWorkspace workspace(base);
    carries = workspace.take_carries(params, division, division.forward);
    if (division.state_tiles > 1 && params.out.data != nullptr)
      sums = workspace.take(params.batch * params.length * division.padded_channels());
    floats = workspace.used();
  }
};

}  // namespace

ScanDivision scan_division(const SelectiveScanParams& params) {
  ScanDivision division;
  division.chunks = divide_up(params.length, kScanSteps);
  division.channel_warps = divide_up(params.channels, kScanChannels);
  division.channel_blocks = divide_up(division.channel_warps, kScanWarps);
  division.state_tiles = static_cast<int>(divide_up(params.d_state, kScanStates));
  const int64_t blocks = params.batch * division.channel_blocks;
  division.forward = choose_segments(params.length, blocks, kForwardSlots, kForwardCarryCost);
  division.backward = choose_segments(params.length, blocks, kBackwardSlots, kBackwardCarryCost);
  return division;
}

void scan_compose_segments(const SelectiveScanParams& params, const ScanDivision& division,
                           const ScanSegments& segments, int state_tile, bool adjoint,
                           const ScanCarries& carries, CUstream_st* stream) {
  const int64_t quads = params.batch * division.channel_warps * kScanTile / 4;
  const ComposeArgs args{carries,
                         static_cast<const float*>(params.A),
                         params.channels,
                         division.channel_warps,
                         segments.count,
                         quads,
                         static_cast<int>(params.d_state),
                         state_tile * kScanStates,
                         adjoint};
  const int64_t blocks = divide_up(quads, kScanThreads);
  params.complex ? scan_launch(compose_kernel<true>, blocks, 0, args, stream)
                 : scan_launch(compose_kernel<false>, blocks, 0, args, stream);
}

void scan_pass_empty_sequences(const SelectiveScanParams& params, const void* from, void* to,
                               CUstream_st* stream) {
  const int64_t width = params.channels * params.d_state;
  const bool possible = params.cu_seqlens != nullptr || params.length == 0;
  if (!possible || params.sequences == 0 || width == 0 || to == nullptr) return;
  const EmptyArgs args{params.cu_seqlens, static_cast<const float*>(from), static_cast<float*>(to),
                       width};
  scan_launch(empty_kernel, params.sequences, 0, args, stream);
}

int64_t selective_scan_cuda_checkpoints(const SelectiveScanParams& params) {
  const ScanDivision division = scan_division(params);
  return params.batch * division.chunks * division.channel_warps * kScanTile * division.state_tiles;
}

int64_t selective_scan_cuda_forward_workspace(const SelectiveScanForwardParams& params) {
  return ForwardWorkspace(params, scan_division(params), nullptr).floats;
}

void selective_scan_cuda_forward(const SelectiveScanForwardParams& params, float* workspace,
                                 CUstream_st* stream) {
  scan_pass_empty_sequences(params, params.initial_state, params.final_state, stream);
  if (params.batch * params.length * params.channels == 0) return;
  const ScanDivision division = scan_division(params);
  const ForwardWorkspace scratch(params, division, workspace);
  const int64_t tile_floats = params.batch * division.chunks * division.channel_warps * kScanTile;
  for (int tile = 0; tile < division.state_tiles; ++tile) {
    float* checkpoints = static_cast<float*>(params.checkpoints);
    if (checkpoints != nullptr) checkpoints += tile * tile_floats;
    scan_forward_tile(params, division, tile, scratch.carries, checkpoints, scratch.sums, stream);
  }
}

}  // namespace strandwave::kernels
