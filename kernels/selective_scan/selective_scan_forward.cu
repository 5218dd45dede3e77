// Raw CUDA kernels of the selective scan, forward. Warps work alone: no barriers of the block.
#include "kernels/selective_scan/selective_scan_cuda_raw.h"
#include "kernels/selective_scan/selective_scan_device.cuh"
#include "kernels/selective_scan/selective_scan_states.cuh"

namespace strandwave::kernels {
namespace {

constexpr int kBlocksPerProcessor = 4;

struct ForwardArgs : ScanArgs {
  ScanOutput out;
  float* final_state = nullptr;
  float* checkpoints = nullptr;
  float* sums = nullptr;
  bool ends_only = false;  // the segments' end states from zero states, into the carries
};

template <typename Io>
struct alignas(16) ForwardShared {
  ScanIoRows<Io> u[2];
  ScanIoRows<Io> delta[2];
  ScanIoRows<Io> z[2];
  ScanIoRows<Io> states[2];  // B, C
  ScanFloatRows decay_time;  // delta'
  ScanFloatRows input;       // delta' u
  ScanFloatRows y;
  ScanFloatRows float_states;
  float delta_bias[kScanChannels];
  float D[kScanChannels];
};

template <bool kVectors, bool kOutput, typename Io>
__device__ inline void copy_channels(const ForwardArgs& p, const ScanPlace& place, int64_t chunk,
                                     int rows_left, int lane, ForwardShared<Io>& shared) {
  const int buffer = scan_buffer(chunk);
  const auto copy = [&](ScanIoRows<Io>& to, const ScanInput& rows) {
    scan_copy_channels<kVectors, Io>(to, rows, place, chunk, rows_left,
                                     static_cast<int>(p.channels), lane);
  };
  copy(shared.u[buffer], p.u);
  copy(shared.delta[buffer], p.delta);
  if (kOutput && p.z.data != nullptr) copy(shared.z[buffer], p.z);
}

template <bool kOutput, typename Io>
__device__ inline void copy_chunk(const ForwardArgs& p, const ScanPlace& place, int64_t chunk,
                                  int lane, ForwardShared<Io>& shared) {
  const int rows_left = scan_rows_left(p, chunk);
  if (p.channel_vectors) {
    copy_channels<true, kOutput, Io>(p, place, chunk, rows_left, lane, shared);
  } else {
    copy_channels<false, kOutput, Io>(p, place, chunk, rows_left, lane, shared);
  }
#pragma unroll
  for (int unit = lane; unit < kScanUnits<Io>; unit += 32)
    scan_copy_states<Io>(shared.states[scan_buffer(chunk)], p, place.batch, chunk, rows_left, unit);
  __pipeline_commit();
}

template <typename Io, bool kComplex>
__device__ inline void prepare(const ForwardArgs& p, const ScanPiece& piece, int buffer, int lane,
                               ForwardShared<Io>& shared, ScanDeltaSum<kComplex>& deltas) {
  const int step = lane / 4;
  const int column = lane % 4 * 8;
  const bool has = piece.has(step);
  float u[8], delta[8], bias[8];
  scan_read8(&shared.u[buffer][step][column], u);
  scan_read8(&shared.delta[buffer][step][column], delta);
  scan_load8(&shared.delta_bias[column], bias);
  scan_deltas(p, bias, delta);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    u[i] = has ? delta[i] * u[i] : 0;
    delta[i] = has ? delta[i] : 0;
  }
  deltas.add(delta);
  scan_store8(&shared.decay_time[step][column], delta);
  scan_store8(&shared.input[step][column], u);
#pragma unroll
  for (int unit = lane; unit < kScanUnits<Io>; unit += 32)
    scan_convert_states<kComplex, Io>(shared.states[buffer], shared.float_states, piece, unit);
}

template <typename Io, bool kOutput, bool kComplex>
__device__ inline void walk(int lane, ForwardShared<Io>& shared, const ScanRates<kComplex>& rates,
                            float (&h)[4][4]) {
  const int channel = lane / 4 * 4;
  const int state = lane % 4 * 4;
#pragma unroll
  for (int step = 0; step < kScanSteps; ++step) {
    float time[4], input[4], B[4], C[4];
    scan_load4(&shared.decay_time[step][channel], time);
    scan_load4(&shared.input[step][channel], input);
    scan_load4(&shared.float_states[step][state], B);
    if (kOutput) scan_load4(&shared.float_states[step][kScanStates + state], C);
    float y[4] = {};
#pragma unroll
    for (int c = 0; c < 4; ++c)
      scan_advance<kOutput>(rates, c, time[c], input[c], B, C, h[c], y[c]);
    if (kOutput) shared.y[step][lane] = scan_sum_states(y, lane);
  }
}

// out = (y + D u) silu(z), or y so far where there are more tiles of states to come.
template <typename Io>
__device__ inline void finish(const ForwardArgs& p, const ScanPlace& place, const ScanPiece& piece,
                              int64_t chunk, int lane, const ForwardShared<Io>& shared) {
  const int step = lane / 4;
  const int column = lane % 4 * 8;
  if (!piece.has(step)) return;
  const int buffer = scan_buffer(chunk);
  const int64_t channel = place.warp * kScanChannels + column;
  float y[8], other[8];
  scan_load8(&shared.y[step][column], y);
  if (p.sums != nullptr) {
    const int64_t row = place.batch * p.length + chunk + step;
    float* sums = p.sums + row * p.channel_warps * kScanChannels + channel;
    if (!p.first_tile) {
      scan_load8(sums, other);
#pragma unroll
      for (int i = 0; i < 8; ++i) y[i] += other[i];
    }
    if (!p.last_tile) return scan_store8(sums, y);
  }
  float D[8];
  scan_load8(&shared.D[column], D);
  scan_read8(&shared.u[buffer][step][column], other);
#pragma unroll
  for (int i = 0; i < 8; ++i) y[i] = fmaf(D[i], other[i], y[i]);
  if (p.z.data != nullptr) {
    scan_read8(&shared.z[buffer][step][column], other);
#pragma unroll
    for (int i = 0; i < 8; ++i) y[i] *= other[i] * scan_sigmoid(other[i]);
  }
  char* out = p.out.row(place.batch, chunk + step) + channel * sizeof(Io);
  scan_write8<Io>(out, p.out.vector, p.channels - channel, y);
}

// kOutput: the scan proper; else only states (end states of segments, checkpoints, final states).
template <typename Io, bool kOutput, bool kComplex>
__global__ void __launch_bounds__(kScanThreads, kBlocksPerProcessor)
    forward_kernel(const __grid_constant__ ForwardArgs p) {
  const ScanPlace place = scan_place(p);
  const bool ends_only = !kOutput && p.ends_only;
  if (place.warp >= p.channel_warps) return;
  if (ends_only && place.segment == p.segments - 1) return;  // nothing follows it
  ForwardShared<Io>& shared = reinterpret_cast<ForwardShared<Io>*>(scan_shared)[threadIdx.x / 32];
  const int lane = threadIdx.x % 32;
  const int64_t channel = place.warp * kScanChannels + lane;
  const bool exists = channel < p.channels;
  shared.delta_bias[lane] = exists && p.delta_bias != nullptr ? p.delta_bias[channel] : 0;
  shared.D[lane] = exists && p.D != nullptr ? p.D[channel] : 0;

  ScanSequence sequence = scan_sequence_at(p, ends_only ? place.end - 1 : place.begin);
  // Only the segment's last sequence reaches its end state.
  int64_t position = ends_only ? max(place.begin, sequence.begin) : place.begin;
  const bool cut = sequence.begin >= place.begin;
  ScanRates<kComplex> rates;
  float h[4][4];
  ScanDeltaSum<kComplex> deltas;
  scan_load_rates(p, place.warp, lane, rates);
  scan_load_carry(p, place, place.segment > 0 && !ends_only, lane, h);

  int64_t chunk = position / kScanSteps * kScanSteps;
  copy_chunk<kOutput, Io>(p, place, chunk, lane, shared);
  for (; chunk < place.end; chunk += kScanSteps) {
    const int64_t chunk_end = min(chunk + kScanSteps, place.end);
    __pipeline_wait_prior(0);
    __syncwarp();
    if (chunk_end < place.end) copy_chunk<kOutput, Io>(p, place, chunk_end, lane, shared);
    if (p.checkpoints != nullptr) {
      const int64_t row = place.batch * p.chunks + chunk / kScanSteps;
      scan_store_tile(p.checkpoints + (row * p.channel_warps + place.warp) * kScanTile, lane, h);
    }
    while (position < chunk_end) {
      const int64_t end = min(chunk_end, sequence.end);
      const ScanPiece piece{static_cast<int>(position - chunk), static_cast<int>(end - chunk)};
      if (position == sequence.begin) {
        const int64_t row = scan_state_row(p, place.batch, sequence.order);
        scan_load_state(p, p.initial_state, row, place.warp, lane, h);
      }
      prepare<Io>(p, piece, scan_buffer(chunk), lane, shared, deltas);
      __syncwarp();
      walk<Io, kOutput>(lane, shared, rates, h);
      __syncwarp();
      if (kOutput) finish<Io>(p, place, piece, chunk, lane, shared);
      position = end;
      if (position == sequence.end) {
        const int64_t row = scan_state_row(p, place.batch, sequence.order);
        scan_store_state(p, p.final_state, row, place.warp, lane, h);
        sequence = scan_next_sequence(p, sequence);
      }
    }
  }
  if (ends_only) scan_store_carry(p, place, cut, lane, h, deltas);
}

template <typename Io, bool kComplex>
void forward_tile(const SelectiveScanForwardParams& params, const ScanDivision& division,
                  int state_tile, const ScanCarries& carries, float* checkpoints, float* sums,
                  CUstream_st* stream) {
  ForwardArgs args;
  scan_fill_args(params, division, division.forward, state_tile, sizeof(Io), args);
  args.carries = carries;
  const int64_t blocks = scan_blocks(args, params.batch);
  constexpr int kShared = kScanWarps * sizeof(ForwardShared<Io>);
  if (args.segments > 1) {
    args.ends_only = true;
    scan_launch(forward_kernel<Io, false, kComplex>, blocks, kShared, args, stream);
    args.ends_only = false;
    scan_compose_segments(params, division, division.forward, state_tile, false, carries, stream);
  }
  args.final_state = static_cast<float*>(params.final_state);
  args.checkpoints = checkpoints;
  if (params.out.data == nullptr)
    return scan_launch(forward_kernel<Io, false, kComplex>, blocks, kShared, args, stream);
  args.out = scan_rows<ScanOutput>(params.out, params, params.channels, sizeof(Io));
  args.sums = sums;
  scan_launch(forward_kernel<Io, true, kComplex>, blocks, kShared, args, stream);
}

}  // namespace

void scan_forward_tile(const SelectiveScanForwardParams& params, const ScanDivision& division,
                       int state_tile, const ScanCarries& carries, float* checkpoints, float* sums,
                       CUstream_st* stream) {
  scan_with_types(params, [&](auto io, auto complex) {
    forward_tile<decltype(io), complex.value>(params, division, state_tile, carries, checkpoints,
                                              sums, stream);
  });
}

}  // namespace strandwave::kernels
