// Raw CUDA kernels of the selective scan, backward. With G the gradient of h_t, a the decay, dy
// that of y = C . h + D u:
//   G = g + C dy      dC += h_t dy      dB += delta' u G      g = a G, which enters step t - 1
//   du = delta' sum(B G) + D dy      ddelta' = u sum(B G) + sum(A a G h_{t-1})
//   dA += delta' a G h_{t-1}
// Complex states: a, C, B and h are conjugated there, of what depends on u and delta' the real part
// counts, and dC is twice that (C comes in doubled).
// From a checkpoint a thread recomputes the states of 8 steps into registers, then walks them back.
#include "kernels/common/sum_rows.h"
#include "kernels/selective_scan/selective_scan_cuda_raw.h"
#include "kernels/selective_scan/selective_scan_device.cuh"
#include "kernels/selective_scan/selective_scan_states.cuh"

namespace strandwave::kernels {
namespace {

constexpr int kBlocksPerProcessor = 2;
constexpr int kStateSums = 2 * kScanStates;  // a row of dB and dC

// Where kernels leave what is summed later: over segments and batch, or over blocks of channels.
struct Partials {
  float* dA = nullptr;           // (batch x segments, channels, d_state)
  float* dD = nullptr;           // (batch x segments, channels)
  float* ddelta_bias = nullptr;  // (batch x segments, channels)
  float* states = nullptr;       // (channel_blocks, batch, length, kStateSums)
};

// Sums over the tiles of states so far, each (batch, length, channel_warps x 32).
struct TileSums {
  float* y = nullptr;
  float* du = nullptr;
  float* ddelta = nullptr;
};

struct BackwardArgs : ScanArgs {
  ScanInput dout;
  ScanOutput du, ddelta, dz;
  const float* dfinal_state = nullptr;
  float* dinitial_state = nullptr;
  const float* checkpoints = nullptr;  // of the tile
  Partials partials;
  TileSums sums;
  int64_t rows = 0;  // batch x length
};

// ---------------------------------------------------------------- the adjoint state between
// segments

template <typename Io>
struct alignas(16) AdjointShared {
  ScanIoRows<Io> delta[2];
  ScanIoRows<Io> z[2];
  ScanIoRows<Io> dout[2];
  ScanIoRows<Io> states[2];  // B, C
  ScanFloatRows decay_time;
  ScanFloatRows dy;
  ScanFloatRows float_states;
  float delta_bias[kScanChannels];
};

template <bool kVectors, typename Io>
__device__ inline void copy_adjoint_channels(const BackwardArgs& p, const ScanPlace& place,
                                             int64_t chunk, int rows_left, int lane,
                                             AdjointShared<Io>& shared) {
  const int buffer = scan_buffer(chunk);
  const auto copy = [&](ScanIoRows<Io>& to, const ScanInput& rows) {
    scan_copy_channels<kVectors, Io>(to, rows, place, chunk, rows_left,
                                     static_cast<int>(p.channels), lane);
  };
  copy(shared.delta[buffer], p.delta);
  copy(shared.dout[buffer], p.dout);
  if (p.z.data != nullptr) copy(shared.z[buffer], p.z);
}

template <typename Io>
__device__ inline void copy_adjoint_chunk(const BackwardArgs& p, const ScanPlace& place,
                                          int64_t chunk, int lane, AdjointShared<Io>& shared) {
  const int rows_left = scan_rows_left(p, chunk);
  if (p.channel_vectors) {
    copy_adjoint_channels<true, Io>(p, place, chunk, rows_left, lane, shared);
  } else {
    copy_adjoint_channels<false, Io>(p, place, chunk, rows_left, lane, shared);
  }
#pragma unroll
  for (int unit = lane; unit < kScanUnits<Io>; unit += 32)
    scan_copy_states<Io>(shared.states[scan_buffer(chunk)], p, place.batch, chunk, rows_left, unit);
  __pipeline_commit();
}

template <typename Io, bool kComplex>
__device__ inline void prepare_adjoint(const BackwardArgs& p, const ScanPiece& piece, int buffer,
                                       int lane, AdjointShared<Io>& shared,
                                       ScanDeltaSum<kComplex>& deltas) {
  const int step = lane / 4;
  const int column = lane % 4 * 8;
  const bool has = piece.has(step);
  float delta[8], dy[8], other[8];
  scan_read8(&shared.delta[buffer][step][column], delta);
  scan_load8(&shared.delta_bias[column], other);
  scan_deltas(p, other, delta);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    delta[i] = has ? delta[i] : 0;
  }
  deltas.add(delta);
  scan_store8(&shared.decay_time[step][column], delta);
  scan_read8(&shared.dout[buffer][step][column], dy);
  if (p.z.data != nullptr) {
    scan_read8(&shared.z[buffer][step][column], other);
#pragma unroll
    for (int i = 0; i < 8; ++i) dy[i] *= other[i] * scan_sigmoid(other[i]);
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) dy[i] = has ? dy[i] : 0;
  scan_store8(&shared.dy[step][column], dy);
#pragma unroll
  for (int unit = lane; unit < kScanUnits<Io>; unit += 32)
    scan_convert_states<kComplex, Io>(shared.states[buffer], shared.float_states, piece, unit);
}

// What leaves each segment at its beginning when nothing enters at its end. Warps work alone.
template <typename Io, bool kComplex>
__global__ void __launch_bounds__(kScanThreads, 4)
    adjoint_kernel(const __grid_constant__ BackwardArgs p) {
  const ScanPlace place = scan_place(p);
  if (place.warp >= p.channel_warps || place.segment == 0) return;
  AdjointShared<Io>& shared = reinterpret_cast<AdjointShared<Io>*>(scan_shared)[threadIdx.x / 32];
  const int lane = threadIdx.x % 32;
  const int64_t channel = place.warp * kScanChannels + lane;
  shared.delta_bias[lane] =
      channel < p.channels && p.delta_bias != nullptr ? p.delta_bias[channel] : 0;

  // Only the segment's first sequence reaches its beginning.
  const ScanSequence sequence = scan_sequence_at(p, place.begin);
  const int64_t end = min(place.end, sequence.end);
  const bool cut = sequence.end <= place.end;
  ScanRates<kComplex> rates;
  float g[4][4];
  ScanDeltaSum<kComplex> deltas;
  scan_load_rates(p, place.warp, lane, rates);
  scan_load_state(p, cut ? p.dfinal_state : nullptr, scan_state_row(p, place.batch, sequence.order),
                  place.warp, lane, g);

  int64_t chunk = (end - 1) / kScanSteps * kScanSteps;
  copy_adjoint_chunk<Io>(p, place, chunk, lane, shared);
  for (; chunk >= place.begin; chunk -= kScanSteps) {
    __pipeline_wait_prior(0);
    __syncwarp();
    if (chunk > place.begin) copy_adjoint_chunk<Io>(p, place, chunk - kScanSteps, lane, shared);
    const ScanPiece piece{0, static_cast<int>(min(end - chunk, int64_t{kScanSteps}))};
    prepare_adjoint<Io>(p, piece, scan_buffer(chunk), lane, shared, deltas);
    __syncwarp();
#pragma unroll
    for (int step = kScanSteps - 1; step >= 0; --step) {
      float time[4], dy[4], C[4];
      scan_load4(&shared.decay_time[step][lane / 4 * 4], time);
      scan_load4(&shared.dy[step][lane / 4 * 4], dy);
      scan_load4(&shared.float_states[step][kScanStates + lane % 4 * 4], C);
#pragma unroll
      for (int c = 0; c < 4; ++c) scan_retreat(rates, c, time[c], dy[c], C, g[c]);
    }
  }
  scan_store_carry(p, place, cut, lane, g, deltas);
}

// --------------------------------------------------------------------------------- the scan proper

template <typename Io>
struct alignas(16) WarpShared {
  ScanIoRows<Io> u[2];
  ScanIoRows<Io> delta[2];
  ScanIoRows<Io> z[2];
  ScanIoRows<Io> dout[2];
  float checkpoint[kScanTile];
  ScanFloatRows decay_time;  // delta'
  ScanFloatRows input;       // delta' u
  ScanFloatRows dy;
  ScanFloatRows slope;   // of softplus
  ScanFloatRows gate;    // dout times the slope of silu(z)
  ScanFloatRows y;       // C . h
  ScanFloatRows du;      // sum(B G)
  ScanFloatRows ddelta;  // sum(A log2(e) a G h_{t-1})
  ScanFloatRows dD;      // sums of the lane's eight channels over its step of all chunks
  ScanFloatRows ddelta_bias;
  float delta_bias[kScanChannels];
  float D[kScanChannels];
};

template <typename Io>
struct alignas(16) BlockShared {
  WarpShared<Io> warps[kScanWarps];
  ScanIoRows<Io> states[2];  // B, C
  ScanFloatRows float_states;
  float dstates[kScanWarps][kScanSteps][kStateSums];  // dB, dC of each warp
};

// Each warp has a share of the rows of B and C; a thread converts what it copied.
template <typename Io>
constexpr int kSharedUnits = kScanUnits<Io> / kScanWarps;

template <typename Io>
__device__ inline int own_unit() {
  return threadIdx.x / 32 * kSharedUnits<Io> + threadIdx.x % 32;
}

template <bool kVectors, typename Io>
__device__ inline void copy_channels(const BackwardArgs& p, const ScanPlace& place, int64_t chunk,
                                     int rows_left, int lane, WarpShared<Io>& shared) {
  const int buffer = scan_buffer(chunk);
  const auto copy = [&](ScanIoRows<Io>& to, const ScanInput& rows) {
    scan_copy_channels<kVectors, Io>(to, rows, place, chunk, rows_left,
                                     static_cast<int>(p.channels), lane);
  };
  copy(shared.u[buffer], p.u);
  copy(shared.delta[buffer], p.delta);
  copy(shared.dout[buffer], p.dout);
  if (p.z.data != nullptr) copy(shared.z[buffer], p.z);
}

template <typename Io>
__device__ inline void copy_chunk(const BackwardArgs& p, const ScanPlace& place, int64_t chunk,
                                  int lane, BlockShared<Io>& block, WarpShared<Io>& shared) {
  const int rows_left = scan_rows_left(p, chunk);
  if (lane < kSharedUnits<Io>)
    scan_copy_states<Io>(block.states[scan_buffer(chunk)], p, place.batch, chunk, rows_left,
                         own_unit<Io>());
  if (place.warp < p.channel_warps) {
    if (p.channel_vectors) {
      copy_channels<true, Io>(p, place, chunk, rows_left, lane, shared);
    } else {
      copy_channels<false, Io>(p, place, chunk, rows_left, lane, shared);
    }
    const int64_t row = place.batch * p.chunks + chunk / kScanSteps;
    const float* tile = p.checkpoints + (row * p.channel_warps + place.warp) * kScanTile + lane * 4;
#pragma unroll
    for (int c = 0; c < 4; ++c)
      scan_copy16(&shared.checkpoint[c * 128 + lane * 4], tile + c * 128, true);
  }
  __pipeline_commit();
}

// out = y silu(z): dy and the factor of y in dz.
template <typename Io>
__device__ inline void prepare_gate(const BackwardArgs& p, bool has, const Io* z_row,
                                    const Io* dout_row, float* dy_row, float* gate_row) {
  float dy[8], gate[8];
  scan_read8(dout_row, dy);
  if (p.z.data != nullptr) {
    scan_read8(z_row, gate);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const float z = gate[i];
      const float sigmoid = scan_sigmoid(z);
      const float silu = z * sigmoid;
      gate[i] = dy[i] * fmaf(silu, 1 - sigmoid, sigmoid);
      dy[i] *= silu;
    }
    scan_store8(gate_row, gate);
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) dy[i] = has ? dy[i] : 0;
  scan_store8(dy_row, dy);
}

template <typename Io>
__device__ inline void prepare(const BackwardArgs& p, const ScanPiece& piece, int buffer, int lane,
                               WarpShared<Io>& shared) {
  const int step = lane / 4;
  const int column = lane % 4 * 8;
  const bool has = piece.has(step);
  float u[8], delta[8], bias[8], slope[8];
  scan_read8(&shared.u[buffer][step][column], u);
  scan_read8(&shared.delta[buffer][step][column], delta);
  scan_load8(&shared.delta_bias[column], bias);
  scan_deltas(p, bias, delta, slope);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    u[i] = has ? delta[i] * u[i] : 0;
    delta[i] = has ? delta[i] : 0;
  }
  scan_store8(&shared.decay_time[step][column], delta);
  scan_store8(&shared.input[step][column], u);
  scan_store8(&shared.slope[step][column], slope);
  prepare_gate<Io>(p, has, &shared.z[buffer][step][column], &shared.dout[buffer][step][column],
                   &shared.dy[step][column], &shared.gate[step][column]);
}

// A step's operands, and its sums on the way to shared memory.
struct StepInput {
  float time[4], input[4], dy[4], B[4], C[4];
};
struct StepSums {
  float y, du, ddelta, dstate;
};

template <typename Io>
__device__ inline void load_step(int step, int lane, const WarpShared<Io>& shared,
                                 const ScanFloatRows& states, StepInput& to) {
  const int channel = lane / 4 * 4;
  const int state = lane % 4 * 4;
  scan_load4(&shared.decay_time[step][channel], to.time);
  scan_load4(&shared.input[step][channel], to.input);
  scan_load4(&shared.dy[step][channel], to.dy);
  scan_load4(&states[step][state], to.B);
  scan_load4(&states[step][kScanStates + state], to.C);
}

template <typename Io>
__device__ inline void store_step(int step, int lane, const StepSums& sums, WarpShared<Io>& shared,
                                  float (&dstates)[kScanSteps][kStateSums]) {
  shared.y[step][lane] = sums.y;
  shared.du[step][lane] = sums.du;
  shared.ddelta[step][lane] = sums.ddelta;
  const int group = lane / 4;
  dstates[step][group / 4 * kScanStates + lane % 4 * 4 + group % 4] = sums.dstate;
}

// One step back of channel c: `before` and `after` are the states around it.
template <bool kLast>
__device__ inline void step_back_channel(const StepInput& in, int c, const ScanRates<false>& rates,
                                         const float (&before)[4], const float (&after)[4],
                                         float (&g)[4], float (&dA)[4], float& y, float& du,
                                         float& ddelta, float (&dstates)[8]) {
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    const float a = scan_exp2(in.time[c] * rates.scale[c][n]);
    // The state after the chunk's last step is needed here only.
    const float h = kLast ? fmaf(a, before[n], in.input[c] * in.B[n]) : after[n];
    const float G = fmaf(in.dy[c], in.C[n], g[n]);
    y = fmaf(in.C[n], h, y);
    dstates[4 + n] = fmaf(in.dy[c], h, dstates[4 + n]);
    dstates[n] = fmaf(in.input[c], G, dstates[n]);
    du = fmaf(in.B[n], G, du);
    g[n] = a * G;
    const float v = g[n] * before[n];
    ddelta = fmaf(v, rates.scale[c][n], ddelta);
    dA[n] = fmaf(v, in.time[c], dA[n]);
  }
}

// dstates of dC lack their factor: 2 for real, -2 for imaginary parts (sum_states_kernel).
template <bool kLast>
__device__ inline void step_back_channel(const StepInput& in, int c, const ScanRates<true>& rates,
                                         const float (&before)[4], const float (&after)[4],
                                         float (&g)[4], float (&dA)[4], float& y, float& du,
                                         float& ddelta, float (&dstates)[8]) {
  constexpr float kTurnToScale = 2.2661800709135966f;  // pi / 2 log2(e): as the scale counts
  float turned = 0;
#pragma unroll
  for (int n = 0; n < 4; n += 2) {
    const ScanComplex a = scan_decay(rates, c, n / 2, in.time[c]);
    const float real = before[n];
    const float imaginary = before[n + 1];
    const float h_real =
        kLast ? fmaf(-a.imaginary, imaginary, fmaf(a.real, real, in.input[c] * in.B[n])) : after[n];
    const float h_imaginary =
        kLast ? fmaf(a.imaginary, real, fmaf(a.real, imaginary, in.input[c] * in.B[n + 1]))
              : after[n + 1];
    const float G_real = fmaf(in.dy[c], in.C[n], g[n]);
    const float G_imaginary = fmaf(-in.dy[c], in.C[n + 1], g[n + 1]);
    y = fmaf(-in.C[n + 1], h_imaginary, fmaf(in.C[n], h_real, y));
    dstates[4 + n] = fmaf(in.dy[c], h_real, dstates[4 + n]);
    dstates[5 + n] = fmaf(in.dy[c], h_imaginary, dstates[5 + n]);
    dstates[n] = fmaf(in.input[c], G_real, dstates[n]);
    dstates[n + 1] = fmaf(in.input[c], G_imaginary, dstates[n + 1]);
    du = fmaf(in.B[n + 1], G_imaginary, fmaf(in.B[n], G_real, du));
    g[n] = fmaf(a.real, G_real, a.imaginary * G_imaginary);
    g[n + 1] = fmaf(a.real, G_imaginary, -a.imaginary * G_real);
    const float v_real = fmaf(g[n], real, g[n + 1] * imaginary);
    const float v_imaginary = fmaf(g[n + 1], real, -g[n] * imaginary);
    ddelta = fmaf(v_real, rates.scale[c][n / 2], ddelta);
    turned = fmaf(v_imaginary, rates.turn[c][n / 2], turned);
    dA[n] = fmaf(v_real, in.time[c], dA[n]);
    dA[n + 1] = fmaf(v_imaginary, in.time[c], dA[n + 1]);
  }
  ddelta = fmaf(turned, kTurnToScale, ddelta);
}

template <bool kLast, bool kComplex>
__device__ inline StepSums step_back(const StepInput& in, int lane,
                                     const ScanRates<kComplex>& rates, const float (&before)[4][4],
                                     const float (&after)[4][4], float (&g)[4][4],
                                     float (&dA)[4][4]) {
  float y[4] = {}, du[4] = {}, ddelta[4] = {};
  float dstates[8] = {};
#pragma unroll
  for (int c = 0; c < 4; ++c)
    step_back_channel<kLast>(in, c, rates, before[c], after[c], g[c], dA[c], y[c], du[c], ddelta[c],
                             dstates);
  return {scan_sum_states(y, lane), scan_sum_states(du, lane), scan_sum_states(ddelta, lane),
          scan_sum_channels(dstates, lane)};
}

// h[0] is the state before the chunk; a step's sums are stored after the next step's loads, so that
// those need not wait.
template <typename Io, bool kComplex>
__device__ inline void walk(int lane, WarpShared<Io>& shared, const ScanFloatRows& states,
                            float (&dstates)[kScanSteps][kStateSums],
                            const ScanRates<kComplex>& rates, float (&h)[kScanSteps][4][4],
                            float (&g)[4][4], float (&dA)[4][4]) {
#pragma unroll
  for (int step = 0; step < kScanSteps - 1; ++step) {
    float time[4], input[4], B[4];
    scan_load4(&shared.decay_time[step][lane / 4 * 4], time);
    scan_load4(&shared.input[step][lane / 4 * 4], input);
    scan_load4(&states[step][lane % 4 * 4], B);
#pragma unroll
    for (int c = 0; c < 4; ++c) {
#pragma unroll
      for (int n = 0; n < 4; ++n) h[step + 1][c][n] = h[step][c][n];
      float unused;
      scan_advance<false>(rates, c, time[c], input[c], B, B, h[step + 1][c], unused);
    }
  }
  constexpr int kLast = kScanSteps - 1;
  StepInput in;
  load_step(kLast, lane, shared, states, in);
  StepSums sums = step_back<true>(in, lane, rates, h[kLast], h[kLast], g, dA);
#pragma unroll
  for (int step = kLast - 1; step >= 0; --step) {
    load_step(step, lane, shared, states, in);
    store_step(step + 1, lane, sums, shared, dstates);
    sums = step_back<false>(in, lane, rates, h[step], h[step + 1], g, dA);
  }
  store_step(0, lane, sums, shared, dstates);
}

// Adds what earlier tiles of states gave, or leaves the sums for later ones.
__device__ inline void pass_on(const BackwardArgs& p, float* sums, int64_t offset, float (&v)[8]) {
  if (!p.first_tile) {
    float before[8];
    scan_load8(sums + offset, before);
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] += before[i];
  }
  if (!p.last_tile) scan_store8(sums + offset, v);
}

template <typename Io>
__device__ inline void finish(const BackwardArgs& p, const ScanPlace& place, const ScanPiece& piece,
                              int64_t chunk, int lane, WarpShared<Io>& shared) {
  const int step = lane / 4;
  const int column = lane % 4 * 8;
  if (!piece.has(step)) return;
  const int64_t channel = place.warp * kScanChannels + column;
  float y[8], sum_du[8], sum_ddelta[8];
  scan_load8(&shared.y[step][column], y);
  scan_load8(&shared.du[step][column], sum_du);
  scan_load8(&shared.ddelta[step][column], sum_ddelta);
  if (p.sums.y != nullptr) {
    const int64_t row = place.batch * p.length + chunk + step;
    const int64_t offset = row * p.channel_warps * kScanChannels + channel;
    pass_on(p, p.sums.y, offset, y);
    pass_on(p, p.sums.du, offset, sum_du);
    pass_on(p, p.sums.ddelta, offset, sum_ddelta);
    if (!p.last_tile) return;
  }
  const int64_t valid = p.channels - channel;
  const int64_t at = channel * sizeof(Io);
  float u[8], D[8], other[8], sums[8];
  scan_read8(&shared.u[scan_buffer(chunk)][step][column], u);
  scan_load8(&shared.D[column], D);

  if (p.z.data != nullptr) {
    scan_load8(&shared.gate[step][column], other);
#pragma unroll
    for (int i = 0; i < 8; ++i) y[i] = fmaf(D[i], u[i], y[i]) * other[i];
    scan_write8<Io>(p.dz.row(place.batch, chunk + step) + at, p.dz.vector, valid, y);
  }

  scan_load8(&shared.slope[step][column], other);
  scan_load8(&shared.ddelta_bias[step][column], sums);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    sum_ddelta[i] = fmaf(sum_ddelta[i], kScanLn2, u[i] * sum_du[i]) * other[i];
    sums[i] += sum_ddelta[i];
  }
  scan_store8(&shared.ddelta_bias[step][column], sums);
  scan_write8<Io>(p.ddelta.row(place.batch, chunk + step) + at, p.ddelta.vector, valid, sum_ddelta);

  scan_load8(&shared.decay_time[step][column], other);
#pragma unroll
  for (int i = 0; i < 8; ++i) sum_du[i] *= other[i];
  scan_load8(&shared.dy[step][column], other);
  scan_load8(&shared.dD[step][column], sums);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    sum_du[i] = fmaf(D[i], other[i], sum_du[i]);
    sums[i] = fmaf(other[i], u[i], sums[i]);
  }
  scan_store8(&shared.dD[step][column], sums);
  scan_write8<Io>(p.du.row(place.batch, chunk + step) + at, p.du.vector, valid, sum_du);
}

// dB and dC of the chunk: the sum over the block's warps.
template <typename Io>
__device__ inline void finish_states(const BackwardArgs& p, const ScanPlace& place,
                                     const ScanPiece& piece, int64_t chunk,
                                     const BlockShared<Io>& block) {
  const int step = threadIdx.x / 16;
  const int column = threadIdx.x % 16 * 2;
  if (!piece.has(step)) return;
  const int64_t left = p.channel_warps - place.channel_block * kScanWarps;
  float2 sum = make_float2(0, 0);
#pragma unroll
  for (int warp = 0; warp < kScanWarps; ++warp) {
    if (warp >= left) break;
    const float2 own = *reinterpret_cast<const float2*>(&block.dstates[warp][step][column]);
    sum.x += own.x;
    sum.y += own.y;
  }
  const int64_t row = place.channel_block * p.rows + place.batch * p.length + chunk + step;
  *reinterpret_cast<float2*>(p.partials.states + row * kStateSums + column) = sum;
}

template <typename Io>
__device__ inline void finish_channels(const BackwardArgs& p, const ScanPlace& place, int lane,
                                       const WarpShared<Io>& shared, const float (&dA)[4][4]) {
  scan_store_state(p, p.partials.dA, place.part, place.warp, lane, dA);
  const int64_t channel = place.warp * kScanChannels + lane;
  if (!p.last_tile || channel >= p.channels) return;
  float dD = 0;
  float ddelta_bias = 0;
#pragma unroll
  for (int step = 0; step < kScanSteps; ++step) {
    dD += shared.dD[step][lane];
    ddelta_bias += shared.ddelta_bias[step][lane];
  }
  p.partials.dD[place.part * p.channels + channel] = dD;
  p.partials.ddelta_bias[place.part * p.channels + channel] = ddelta_bias;
}

template <typename Io>
__device__ inline void clear_channels(const BackwardArgs& p, const ScanPlace& place, int lane,
                                      WarpShared<Io>& shared) {
  const int64_t channel = place.warp * kScanChannels + lane;
  const bool exists = channel < p.channels;
  shared.delta_bias[lane] = exists && p.delta_bias != nullptr ? p.delta_bias[channel] : 0;
  shared.D[lane] = exists && p.D != nullptr ? p.D[channel] : 0;
  const float zero[8] = {};
  scan_store8(&shared.dD[lane / 4][lane % 4 * 8], zero);
  scan_store8(&shared.ddelta_bias[lane / 4][lane % 4 * 8], zero);
}

template <typename Io, bool kComplex>
__global__ void __launch_bounds__(kScanThreads, kBlocksPerProcessor)
    backward_kernel(const __grid_constant__ BackwardArgs p) {
  const ScanPlace place = scan_place(p);
  BlockShared<Io>& block = *reinterpret_cast<BlockShared<Io>*>(scan_shared);
  WarpShared<Io>& shared = block.warps[threadIdx.x / 32];
  const int lane = threadIdx.x % 32;
  const bool works = place.warp < p.channel_warps;  // the others help with B, C, dB and dC

  ScanRates<kComplex> rates;
  float g[4][4];
  float dA[4][4] = {};
  scan_load_rates(p, place.warp, lane, rates);
  scan_load_carry(p, place, works && place.segment < p.segments - 1, lane, g);
  clear_channels<Io>(p, place, lane, shared);
  ScanSequence sequence = scan_sequence_at(p, place.end - 1);
  int64_t position = place.end;
  int64_t chunk = (place.end - 1) / kScanSteps * kScanSteps;
  copy_chunk<Io>(p, place, chunk, lane, block, shared);
  for (; chunk >= place.begin; chunk -= kScanSteps) {
    __pipeline_wait_prior(0);
    __syncwarp();
    while (position > chunk) {
      const int64_t begin = max(chunk, sequence.begin);
      const ScanPiece piece{static_cast<int>(begin - chunk), static_cast<int>(position - chunk)};
      const int64_t state_row = scan_state_row(p, place.batch, sequence.order);
      if (position == sequence.end)
        scan_load_state(p, p.dfinal_state, state_row, place.warp, lane, g);
      if (works) prepare<Io>(p, piece, scan_buffer(chunk), lane, shared);
      if (lane < kSharedUnits<Io>)
        scan_convert_states<kComplex, Io>(block.states[scan_buffer(chunk)], block.float_states,
                                          piece, own_unit<Io>());
      __syncthreads();
      float h[kScanSteps][4][4];
      if (begin == sequence.begin) {
        scan_load_state(p, p.initial_state, state_row, place.warp, lane, h[0]);
      } else {
        scan_load_tile(shared.checkpoint, lane, h[0]);
      }
      if (begin == chunk && chunk > place.begin)
        copy_chunk<Io>(p, place, chunk - kScanSteps, lane, block, shared);
      if (works)
        walk<Io>(lane, shared, block.float_states, block.dstates[threadIdx.x / 32], rates, h, g,
                 dA);
      __syncthreads();
      if (works) finish<Io>(p, place, piece, chunk, lane, shared);
      finish_states<Io>(p, place, piece, chunk, block);
      position = begin;
      if (position == sequence.begin) {
        scan_store_state(p, p.dinitial_state, state_row, place.warp, lane, g);
        sequence = scan_previous_sequence(p, sequence);
      }
    }
  }
  __syncwarp();
  if (works) finish_channels<Io>(p, place, lane, shared, dA);
}

// ------------------------------------------------------------------------------------- dB and dC

struct StateSumArgs {
  const float* partials;
  ScanOutput dB, dC;
  int64_t channel_blocks;
  int64_t length;
  int64_t quads;  // batch x length x kStateSums / 4
  int d_state;
  int first_state;
};

template <typename Io, bool kComplex>
__global__ void __launch_bounds__(kScanThreads)
    sum_states_kernel(const __grid_constant__ StateSumArgs p) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kScanThreads + threadIdx.x;
  if (index >= p.quads) return;
  float sum[4] = {};
#pragma unroll 4
  for (int64_t block = 0; block < p.channel_blocks; ++block) {
    const float4 own = reinterpret_cast<const float4*>(p.partials)[block * p.quads + index];
    sum[0] += own.x;
    sum[1] += own.y;
    sum[2] += own.z;
    sum[3] += own.w;
  }
  const int column = static_cast<int>(index % (kStateSums / 4)) * 4;
  const int64_t row = index / (kStateSums / 4);
  if constexpr (kComplex) {
    if (column >= kScanStates) {
#pragma unroll
      for (int n = 0; n < 4; ++n) sum[n] *= n % 2 == 0 ? 2 : -2;
    }
  }
  const int state = p.first_state + column % kScanStates;
  char* to = column < kScanStates ? p.dB.row(row / p.length, row % p.length)
                                  : p.dC.row(row / p.length, row % p.length);
  Io* out = reinterpret_cast<Io*>(to) + state;
  if (p.d_state % 4 == 0) {
    if (state < p.d_state) store_floats<4>(out, sum);
    return;
  }
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    if (state + n < p.d_state) io_from_float(sum[n], out[n]);
  }
}

// ---------------------------------------------------------------------------------------------
// host

struct BackwardWorkspace {
  ScanCarries forward_carries;
  ScanCarries carries;
  float* checkpoints = nullptr;  // of one tile, where the caller has none
  Partials partials;
  TileSums sums;
  int64_t floats = 0;

  BackwardWorkspace(const SelectiveScanBackwardParams& params, const ScanDivision& division,
                    float* base) {
    ScanWorkspace workspace(base);
    const int64_t rows = params.batch * params.length;
    const int64_t parts = params.batch * division.backward.count;
    carries = workspace.take_carries(params, division, division.backward);
    partials.dA = workspace.take(parts * params.channels * params.d_state);
    partials.dD = workspace.take(parts * params.channels);
    partials.ddelta_bias = workspace.take(parts * params.channels);
    partials.states = workspace.take(division.channel_blocks * rows * kStateSums);
    if (division.state_tiles > 1) {
      sums.y = workspace.take(rows * division.padded_channels());
      sums.du = workspace.take(rows * division.padded_channels());
      sums.ddelta = workspace.take(rows * division.padded_channels());
    }
    if (params.checkpoints == nullptr) {
      forward_carries = workspace.take_carries(params, division, division.forward);
      checkpoints =
          workspace.take(params.batch * division.chunks * division.channel_warps * kScanTile);
    }
    floats = workspace.used();
  }
};

void recompute_checkpoints(const SelectiveScanParams& inputs, const ScanDivision& division,
                           int state_tile, const BackwardWorkspace& workspace,
                           CUstream_st* stream) {
  SelectiveScanForwardParams params;
  static_cast<SelectiveScanParams&>(params) = inputs;
  scan_forward_tile(params, division, state_tile, workspace.forward_carries, workspace.checkpoints,
                    nullptr, stream);
}

template <typename Io, bool kComplex>
void sum_states(const SelectiveScanBackwardParams& params, const ScanDivision& division,
                int state_tile, const Partials& partials, CUstream_st* stream) {
  const int64_t quads = params.batch * params.length * kStateSums / 4;
  const StateSumArgs args{partials.states,
                          scan_rows<ScanOutput>(params.dB, params, params.d_state, sizeof(Io)),
                          scan_rows<ScanOutput>(params.dC, params, params.d_state, sizeof(Io)),
                          division.channel_blocks,
                          params.length,
                          quads,
                          static_cast<int>(params.d_state),
                          state_tile * kScanStates};
  scan_launch(sum_states_kernel<Io, kComplex>, (quads + kScanThreads - 1) / kScanThreads, 0, args,
              stream);
}

template <typename Io, bool kComplex>
void backward_tiles(const SelectiveScanBackwardParams& params, const ScanDivision& division,
                    const BackwardWorkspace& workspace, CUstream_st* stream) {
  const int64_t tile_floats = params.batch * division.chunks * division.channel_warps * kScanTile;
  for (int tile = 0; tile < division.state_tiles; ++tile) {
    BackwardArgs args;
    scan_fill_args(params, division, division.backward, tile, sizeof(Io), args);
    args.carries = workspace.carries;
    args.dout = scan_rows<ScanInput>(params.dout, params, params.channels, sizeof(Io));
    args.channel_vectors = args.channel_vectors && args.dout.vector;
    args.du = scan_rows<ScanOutput>(params.du, params, params.channels, sizeof(Io));
    args.ddelta = scan_rows<ScanOutput>(params.ddelta, params, params.channels, sizeof(Io));
    args.dz = scan_rows<ScanOutput>(params.dz, params, params.channels, sizeof(Io));
    args.dfinal_state = static_cast<const float*>(params.dfinal_state);
    args.partials = workspace.partials;
    args.sums = workspace.sums;
    if (params.checkpoints == nullptr) {
      recompute_checkpoints(params, division, tile, workspace, stream);
      args.checkpoints = workspace.checkpoints;
    } else {
      args.checkpoints = static_cast<const float*>(params.checkpoints) + tile * tile_floats;
    }
    if (args.segments > 1) {
      constexpr int kShared = kScanWarps * sizeof(AdjointShared<Io>);
      scan_launch(adjoint_kernel<Io, kComplex>, scan_blocks(args, params.batch), kShared, args,
                  stream);
      scan_compose_segments(params, division, division.backward, tile, true, args.carries, stream);
    }
    args.dinitial_state = static_cast<float*>(params.dinitial_state);
    args.rows = params.batch * params.length;
    scan_launch(backward_kernel<Io, kComplex>, scan_blocks(args, params.batch),
                sizeof(BlockShared<Io>), args, stream);
    sum_states<Io, kComplex>(params, division, tile, workspace.partials, stream);
  }
}

void run_tiles(const SelectiveScanBackwardParams& params, const ScanDivision& division,
               const BackwardWorkspace& workspace, CUstream_st* stream) {
  scan_with_types(params, [&](auto io, auto complex) {
    backward_tiles<decltype(io), complex.value>(params, division, workspace, stream);
  });
}

}  // namespace

int64_t selective_scan_cuda_backward_workspace(const SelectiveScanBackwardParams& params) {
  return BackwardWorkspace(params, scan_division(params), nullptr).floats;
}

void selective_scan_cuda_backward(const SelectiveScanBackwardParams& params, float* workspace,
                                  CUstream_st* stream) {
  scan_pass_empty_sequences(params, params.dfinal_state, params.dinitial_state, stream);
  const ScanDivision division = scan_division(params);
  const BackwardWorkspace scratch(params, division, workspace);
  const bool empty = params.batch * params.length * params.channels == 0;
  if (!empty) run_tiles(params, division, scratch, stream);

  // Without positions there are no parts, and the sums are zero.
  const int64_t parts = empty ? 0 : params.batch * division.backward.count;
  const auto sum = [&](const float* from, int64_t width, void* to) {
    if (to != nullptr) sum_rows_cuda(from, parts, width, Dtype::kFloat32, to, stream);
  };
  sum(scratch.partials.dA, params.channels * params.d_state, params.dA);
  sum(scratch.partials.dD, params.channels, params.dD);
  sum(scratch.partials.ddelta_bias, params.channels, params.ddelta_bias);
}

}  // namespace strandwave::kernels
