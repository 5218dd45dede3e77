// What the forward and the backward CUDA kernels of the selective scan share.
//
// Lane 4g + q of a warp holds channels 4g..4g+3 and states 4q..4q+3 of the recurrence ("thread
// order": four float4, one per channel). Complex states lie as real and imaginary part in turn, so
// that a lane holds two of them per channel; only what depends on kComplex knows. What has no
// states (softplus, gates, rows of u, out, ...) is spread differently: lane 4t + i holds channels
// 8i..8i+7 of step t of the chunk.
#pragma once

#include <cuda_pipeline_primitives.h>

#include <cstdint>
#include <type_traits>

#include "kernels/common/device_io.cuh"
#include "kernels/selective_scan/selective_scan_division.h"

namespace strandwave::kernels {

constexpr float kScanLog2E = 1.4426950408889634f;
constexpr float kScanLn2 = 0.6931471805599453f;
// Rows of floats in shared memory: 32 and a pad against bank conflicts.
constexpr int kScanStride = 36;
using ScanFloatRows = float[kScanSteps][kScanStride];

extern __shared__ __align__(16) unsigned char scan_shared[];

// ----------------------------------------------------------------------------------------
// arguments

// (batch, length, n) in processing order; strides in bytes.
template <typename Byte>
struct ScanRows {
  Byte* data = nullptr;
  int64_t batch_stride = 0;
  int64_t row_stride = 0;
  bool vector = false;  // can be moved 16 bytes at a time

  __device__ Byte* row(int64_t batch, int64_t position) const {
    return data + batch * batch_stride + position * row_stride;
  }
};
using ScanInput = ScanRows<const char>;
using ScanOutput = ScanRows<char>;

struct ScanArgs {
  int64_t length = 0;
  int64_t channels = 0;
  int64_t channel_warps = 0;
  int64_t channel_blocks = 0;
  int64_t segments = 0;
  int64_t segment_length = 0;
  int64_t chunks = 0;
  int64_t sequences = 0;
  const int64_t* cu_seqlens = nullptr;
  int d_state = 0;
  int first_state = 0;  // of the tile
  bool first_tile = true;
  bool last_tile = true;
  bool delta_softplus = true;
  bool reverse = false;
  bool channel_vectors = false;  // all inputs with channels can be copied 16 bytes at a time
  bool state_vectors = false;    // B and C can

  ScanInput u, delta, B, C, z;
  const float* A = nullptr;
  const float* D = nullptr;
  const float* delta_bias = nullptr;
  const float* initial_state = nullptr;
  ScanCarries carries;
};

template <typename Out, typename In>
Out scan_rows(const In& rows, const SelectiveScanParams& p, int64_t width, int64_t element) {
  Out out;
  out.batch_stride = rows.batch_stride * element;
  out.row_stride = rows.row_stride * element;
  const auto multiple = [](int64_t value) { return value % 16 == 0; };
  out.vector = multiple(reinterpret_cast<intptr_t>(rows.data)) && multiple(width * element) &&
               (multiple(out.batch_stride) || p.batch == 1) &&
               (multiple(out.row_stride) || p.length == 1);
  out.data = static_cast<decltype(out.data)>(rows.data);
  if (p.reverse && rows.data != nullptr) {
    out.data += (p.length - 1) * out.row_stride;
    out.row_stride = -out.row_stride;
  }
  return out;
}

inline void scan_fill_args(const SelectiveScanParams& p, const ScanDivision& division,
                           const ScanSegments& segments, int state_tile, int64_t element,
                           ScanArgs& args) {
  args.length = p.length;
  args.channels = p.channels;
  args.channel_warps = division.channel_warps;
  args.channel_blocks = division.channel_blocks;
  args.segments = segments.count;
  args.segment_length = segments.length;
  args.chunks = division.chunks;
  args.sequences = p.sequences;
  args.cu_seqlens = p.cu_seqlens;
  args.d_state = static_cast<int>(p.d_state);
  args.first_state = state_tile * kScanStates;
  args.first_tile = state_tile == 0;
  args.last_tile = state_tile == division.state_tiles - 1;
  args.delta_softplus = p.delta_softplus;
  args.reverse = p.reverse;
  args.u = scan_rows<ScanInput>(p.u, p, p.channels, element);
  args.delta = scan_rows<ScanInput>(p.delta, p, p.channels, element);
  args.B = scan_rows<ScanInput>(p.B, p, p.d_state, element);
  args.C = scan_rows<ScanInput>(p.C, p, p.d_state, element);
  args.z = scan_rows<ScanInput>(p.z, p, p.channels, element);
  args.channel_vectors =
      args.u.vector && args.delta.vector && (args.z.vector || args.z.data == nullptr);
  args.state_vectors = args.B.vector && args.C.vector;
  args.A = static_cast<const float*>(p.A);
  args.D = static_cast<const float*>(p.D);
  args.delta_bias = static_cast<const float*>(p.delta_bias);
  args.initial_state = static_cast<const float*>(p.initial_state);
}

template <typename Args>
void scan_launch(void (*kernel)(Args), int64_t blocks, int shared_bytes, const Args& args,
                 CUstream_st* stream) {
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
  kernel<<<static_cast<unsigned>(blocks), kScanThreads, shared_bytes, stream>>>(args);
}

// Calls call(io, complex) with a value of the I/O type and std::true_type or std::false_type.
template <typename Call>
void scan_with_types(const SelectiveScanParams& params, Call&& call) {
  const auto with_io = [&](auto complex) {
    switch (params.dtype) {
      case Dtype::kBFloat16:
        return call(BFloat16(), complex);
      case Dtype::kFloat16:
        return call(Float16(), complex);
      default:
        return call(float(), complex);
    }
  };
  params.complex ? with_io(std::true_type()) : with_io(std::false_type());
}

template <typename Args>
int64_t scan_blocks(const Args& args, int64_t batch) {
  return batch * args.segments * args.channel_blocks;
}

// ------------------------------------------------------------------------------- where a block
// works

struct ScanPlace {
  int batch;
  int segment;
  int part;  // batch x segments
  int channel_block;
  int warp;  // of all channels
  int64_t begin;
  int64_t end;
};

__device__ inline ScanPlace scan_place(const ScanArgs& p) {
  ScanPlace place;
  place.part = static_cast<int>(blockIdx.x / p.channel_blocks);
  place.channel_block = static_cast<int>(blockIdx.x - place.part * p.channel_blocks);
  place.batch = static_cast<int>(place.part / p.segments);
  place.segment = static_cast<int>(place.part - place.batch * p.segments);
  place.warp = place.channel_block * kScanWarps + threadIdx.x / 32;
  place.begin = place.segment * p.segment_length;
  place.end = min(place.begin + p.segment_length, p.length);
  return place;
}

// A sequence in processing order.
struct ScanSequence {
  int64_t order;
  int64_t begin;
  int64_t end;
};

// Clamped, because offsets that live on a GPU are not validated.
__device__ inline int64_t scan_border(const ScanArgs& p, int64_t order) {
  if (order <= 0) return 0;
  if (p.cu_seqlens == nullptr || order >= p.sequences) return p.length;
  const int64_t border =
      p.reverse ? p.length - p.cu_seqlens[p.sequences - order] : p.cu_seqlens[order];
  return min(max(border, int64_t{0}), p.length);
}

// The sequence that holds `position`.
__device__ inline ScanSequence scan_sequence_at(const ScanArgs& p, int64_t position) {
  if (p.cu_seqlens == nullptr) return {0, 0, p.length};
  int64_t low = 0;  // the last that begins at or before the position: empty ones come earlier
  int64_t high = p.sequences;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    if (scan_border(p, middle) <= position) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return {low, scan_border(p, low), scan_border(p, low + 1)};
}

__device__ inline ScanSequence scan_next_sequence(const ScanArgs& p, const ScanSequence& s) {
  int64_t order = s.order + 1;
  while (p.cu_seqlens != nullptr && order + 1 < p.sequences && scan_border(p, order + 1) <= s.end)
    ++order;
  return {order, s.end, scan_border(p, order + 1)};
}

__device__ inline ScanSequence scan_previous_sequence(const ScanArgs& p, const ScanSequence& s) {
  int64_t order = s.order - 1;
  while (order > 0 && scan_border(p, order) >= s.begin) --order;
  return {order, scan_border(p, order), s.begin};
}

__device__ inline int64_t scan_state_row(const ScanArgs& p, int64_t batch, int64_t order) {
  if (p.cu_seqlens == nullptr) return batch;
  return p.reverse ? p.sequences - 1 - order : order;
}

// The steps [low, high) of a chunk that belong to one sequence. Other steps are made to do nothing:
// delta', delta' u, B, C and dy are zero there, so the decay is 1.
struct ScanPiece {
  int low;
  int high;

  __device__ bool has(int step) const { return step >= low && step < high; }
};

// Which of two buffers holds the chunk that begins at `position`.
__device__ inline int scan_buffer(int64_t position) {
  return static_cast<uint32_t>(position) / kScanSteps % 2;
}

// ------------------------------------------------------------------------------------- copies,
// rows

// 16 bytes from global to shared memory, or zeros; asynchronous from compute capability 8.0 on.
__device__ inline void scan_copy16(void* to, const void* from, bool inside) {
#if __CUDA_ARCH__ >= 800
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  const int bytes = inside ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes)
               : "memory");
#else
  *static_cast<int4*>(to) = inside ? *static_cast<const int4*>(from) : make_int4(0, 0, 0, 0);
#endif
}

// One unit of 16 bytes of which `valid` elements exist (may be negative); the rest become zeros.
template <bool kVectors, typename Io>
__device__ inline void scan_copy_unit(Io* to, const char* from, int valid) {
  if constexpr (kVectors) {
    scan_copy16(to, from, valid > 0);
  } else {
#pragma unroll 1
    for (int i = 0; i < int{16 / sizeof(Io)}; ++i)
      to[i] = i < valid ? reinterpret_cast<const Io*>(from)[i] : Io{};
  }
}

template <typename Io>
using ScanIoRows = Io[kScanSteps][32];
template <typename Io>
constexpr int kScanUnit = 16 / sizeof(Io);
template <typename Io>
constexpr int kScanRowUnits = 32 / kScanUnit<Io>;
template <typename Io>
constexpr int kScanUnits = kScanSteps* kScanRowUnits<Io>;

// The rows of a chunk that exist.
__device__ inline int scan_rows_left(const ScanArgs& p, int64_t position) {
  return static_cast<int>(min(p.length - position, int64_t{kScanSteps}));
}

// A warp copies its 32 channels of the chunk that begins at `position`.
template <bool kVectors, typename Io>
__device__ inline void scan_copy_channels(ScanIoRows<Io>& to, const ScanInput& rows,
                                          const ScanPlace& place, int64_t position, int rows_left,
                                          int channels, int lane) {
  constexpr int kRows = 32 / kScanRowUnits<Io>;  // that the warp's lanes cover
  const int first_step = lane / kScanRowUnits<Io>;
  const int column = lane % kScanRowUnits<Io> * kScanUnit<Io>;
  const int channel = place.warp * kScanChannels + column;
  const char* from = rows.row(place.batch, position) + first_step * rows.row_stride +
                     int64_t{channel} * sizeof(Io);
#pragma unroll
  for (int i = 0; i < kScanSteps; i += kRows) {
    const int step = first_step + i;
    scan_copy_unit<kVectors>(&to[step][column], from + i * rows.row_stride,
                             step < rows_left ? channels - channel : 0);
  }
}

// One unit of the rows that hold 16 values of B and then 16 of C.
template <typename Io>
__device__ inline void scan_copy_states(ScanIoRows<Io>& to, const ScanArgs& p, int batch,
                                        int64_t position, int rows_left, int unit) {
  const int step = unit / kScanRowUnits<Io>;
  const int column = unit % kScanRowUnits<Io> * kScanUnit<Io>;
  const int state = p.first_state + column % kScanStates;
  const bool is_B = column < kScanStates;
  const int64_t stride = is_B ? p.B.row_stride : p.C.row_stride;
  const char* from = (is_B ? p.B.row(batch, position) : p.C.row(batch, position)) + step * stride +
                     state * sizeof(Io);
  const int valid = step < rows_left ? p.d_state - state : 0;
  if (p.state_vectors) return scan_copy_unit<true>(&to[step][column], from, valid);
  scan_copy_unit<false>(&to[step][column], from, valid);
}

// Complex C is doubled on the way, so that y is Re(C . h).
template <bool kComplex, typename Io>
__device__ inline void scan_convert_states(const ScanIoRows<Io>& from, ScanFloatRows& to,
                                           const ScanPiece& piece, int unit) {
  constexpr int kUnit = kScanUnit<Io>;
  const int step = unit / kScanRowUnits<Io>;
  const int column = unit % kScanRowUnits<Io> * kUnit;
  float values[kUnit];
  to_floats<kUnit>(load_vector<kUnit>(&from[step][column]), values);
  if constexpr (kComplex) {
    const float factor = column < kScanStates ? 1 : 2;
#pragma unroll
    for (int i = 0; i < kUnit; ++i) values[i] *= factor;
  }
#pragma unroll
  for (int i = 0; i < kUnit; i += 4) {
    const bool has = piece.has(step);
    *reinterpret_cast<float4*>(&to[step][column + i]) =
        make_float4(has ? values[i] : 0, has ? values[i + 1] : 0, has ? values[i + 2] : 0,
                    has ? values[i + 3] : 0);
  }
}

__device__ inline void scan_load4(const float* from, float (&to)[4]) {
  const float4 v = *reinterpret_cast<const float4*>(from);
  to[0] = v.x;
  to[1] = v.y;
  to[2] = v.z;
  to[3] = v.w;
}

__device__ inline void scan_load8(const float* from, float (&to)[8]) {
#pragma unroll
  for (int i = 0; i < 8; i += 4) {
    const float4 v = *reinterpret_cast<const float4*>(from + i);
    to[i] = v.x;
    to[i + 1] = v.y;
    to[i + 2] = v.z;
    to[i + 3] = v.w;
  }
}

__device__ inline void scan_store8(float* to, const float (&from)[8]) {
#pragma unroll
  for (int i = 0; i < 8; i += 4)
    *reinterpret_cast<float4*>(to + i) =
        make_float4(from[i], from[i + 1], from[i + 2], from[i + 3]);
}

// Eight elements of a row in shared memory, as floats.
template <typename Io>
__device__ inline void scan_read8(const Io* from, float (&to)[8]) {
  constexpr int kUnit = kScanUnit<Io>;
#pragma unroll
  for (int i = 0; i < 8; i += kUnit) {
    const auto unit = load_vector<kUnit>(from + i);
#pragma unroll
    for (int j = 0; j < kUnit; ++j) to[i + j] = io_to_float(unit.at[j]);
  }
}

// Eight elements of a row in global memory, of which `valid` exist.
template <typename Io>
__device__ inline void scan_write8(char* to, bool vector, int64_t valid, const float (&from)[8]) {
  constexpr int kUnit = kScanUnit<Io>;
  Io* out = reinterpret_cast<Io*>(to);
  if (!vector) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (i < valid) io_from_float(from[i], out[i]);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < 8; i += kUnit) {
    IoVector<Io, kUnit> unit;
#pragma unroll
    for (int j = 0; j < kUnit; ++j) io_from_float(from[i + j], unit.at[j]);
    if (i < valid) *reinterpret_cast<IoVector<Io, kUnit>*>(out + i) = unit;
  }
}

// -------------------------------------------------------------------------------------------
// states

// Calls visit(channel, state, c, n) for the lane's elements that exist.
template <typename Visit>
__device__ inline void scan_each_state(const ScanArgs& p, int64_t warp, int lane, Visit&& visit) {
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    const int64_t channel = warp * kScanChannels + lane / 4 * 4 + c;
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      const int state = p.first_state + lane % 4 * 4 + n;
      if (channel < p.channels && state < p.d_state) visit(channel, state, c, n);
    }
  }
}

// A log2(e), so that decays are powers of two. Finite, so that steps of length zero keep the state.
__device__ inline float scan_decay(float A) {
  const float value = A * kScanLog2E;
  return value < -3.4e38f ? -3.4e38f : value;
}

// A lane's decay rates, [channel][state].
template <bool kComplex>
struct ScanRates {
  float scale[4][4];  // A log2(e)
};

// exp(delta A) is 2^(delta scale), turned by delta (turn + rest) quarter turns. The rate of turning
// is the sum of two numbers: while a state lives it turns much further than by one, so that an
// error of the rate itself would show.
template <>
struct ScanRates<true> {
  float scale[4][2];  // Re A log2(e)
  float turn[4][2];   // Im A 2 / pi
  float rest[4][2];   // what rounding took from it
};

__device__ inline void scan_split_turn(float imaginary, float& turn, float& rest) {
  constexpr float kTwoOverPi = 0.636619747f;
  constexpr float kTwoOverPiRest = 2.5682553e-8f;
  turn = imaginary * kTwoOverPi;
  rest = fmaf(imaginary, kTwoOverPiRest, fmaf(imaginary, kTwoOverPi, -turn));
}

__device__ inline void scan_load_rates(const ScanArgs& p, int64_t warp, int lane,
                                       ScanRates<false>& rates) {
#pragma unroll
  for (int c = 0; c < 4; ++c) {
#pragma unroll
    for (int n = 0; n < 4; ++n) rates.scale[c][n] = 0;
  }
  scan_each_state(p, warp, lane, [&](int64_t channel, int state, int c, int n) {
    rates.scale[c][n] = scan_decay(p.A[channel * p.d_state + state]);
  });
}

__device__ inline void scan_load_rates(const ScanArgs& p, int64_t warp, int lane,
                                       ScanRates<true>& rates) {
#pragma unroll
  for (int c = 0; c < 4; ++c) {
#pragma unroll
    for (int k = 0; k < 2; ++k) rates.scale[c][k] = rates.turn[c][k] = rates.rest[c][k] = 0;
  }
  scan_each_state(p, warp, lane, [&](int64_t channel, int state, int c, int n) {
    const float value = p.A[channel * p.d_state + state];
    if (n % 2 == 0)
      rates.scale[c][n / 2] = scan_decay(value);
    else
      scan_split_turn(value, rates.turn[c][n / 2], rates.rest[c][n / 2]);
  });
}

// (rows, channels, d_state); a null tensor is zero.
__device__ inline void scan_load_state(const ScanArgs& p, const float* states, int64_t row,
                                       int64_t warp, int lane, float (&to)[4][4]) {
#pragma unroll
  for (int c = 0; c < 4; ++c) {
#pragma unroll
    for (int n = 0; n < 4; ++n) to[c][n] = 0;
  }
  if (states == nullptr) return;
  scan_each_state(p, warp, lane, [&](int64_t channel, int state, int c, int n) {
    to[c][n] = states[(row * p.channels + channel) * p.d_state + state];
  });
}

__device__ inline void scan_store_state(const ScanArgs& p, float* states, int64_t row, int64_t warp,
                                        int lane, const float (&from)[4][4]) {
  if (states == nullptr) return;
  scan_each_state(p, warp, lane, [&](int64_t channel, int state, int c, int n) {
    states[(row * p.channels + channel) * p.d_state + state] = from[c][n];
  });
}

__device__ inline void scan_load_tile(const float* tile, int lane, float (&to)[4][4]) {
#pragma unroll
  for (int c = 0; c < 4; ++c) scan_load4(tile + c * 128 + lane * 4, to[c]);
}

__device__ inline void scan_store_tile(float* tile, int lane, const float (&from)[4][4]) {
#pragma unroll
  for (int c = 0; c < 4; ++c)
    *reinterpret_cast<float4*>(tile + c * 128 + lane * 4) =
        make_float4(from[c][0], from[c][1], from[c][2], from[c][3]);
}

// What enters the segment of `place`: from the carries, or zero.
__device__ inline void scan_load_carry(const ScanArgs& p, const ScanPlace& place, bool enters,
                                       int lane, float (&to)[4][4]) {
  if (enters) {
    scan_load_tile(p.carries.states + (place.part * p.channel_warps + place.warp) * kScanTile, lane,
                   to);
    return;
  }
#pragma unroll
  for (int c = 0; c < 4; ++c) {
#pragma unroll
    for (int n = 0; n < 4; ++n) to[c][n] = 0;
  }
}

// The sum of delta' of the lane's 8 channels over its steps.
template <bool kComplex>
struct ScanDeltaSum {
  float sum[8] = {};

  __device__ void add(const float (&delta)[8]) {
#pragma unroll
    for (int i = 0; i < 8; ++i) sum[i] += delta[i];
  }
};

// With what rounding took from it: a segment turns its states many times, and the angle's absolute
// error counts.
template <>
struct ScanDeltaSum<true> {
  float sum[8] = {};
  float rest[8] = {};

  __device__ void add(const float (&delta)[8]) {
#pragma unroll
    for (int i = 0; i < 8; ++i) add(i, delta[i], 0);
  }
  __device__ void add(int i, float value, float value_rest) {
    const float before = sum[i];
    sum[i] = before + value;
    const float added = sum[i] - before;
    rest[i] += (before - (sum[i] - added)) + (value - added) + value_rest;
  }
};

// Over the lanes that share channels.
__device__ inline void scan_sum_lanes(ScanDeltaSum<false>& deltas) {
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    deltas.sum[i] += __shfl_xor_sync(~0u, deltas.sum[i], 4);
    deltas.sum[i] += __shfl_xor_sync(~0u, deltas.sum[i], 8);
    deltas.sum[i] += __shfl_xor_sync(~0u, deltas.sum[i], 16);
  }
}

__device__ inline void scan_sum_lanes(ScanDeltaSum<true>& deltas) {
#pragma unroll
  for (int i = 0; i < 8; ++i) {
#pragma unroll
    for (int mask = 4; mask <= 16; mask *= 2) {
      const float sum = __shfl_xor_sync(~0u, deltas.sum[i], mask);
      const float rest = __shfl_xor_sync(~0u, deltas.rest[i], mask);
      deltas.add(i, sum, rest);
    }
  }
}

// What leaves it.
template <bool kComplex>
__device__ inline void scan_store_carry(const ScanArgs& p, const ScanPlace& place, bool cut,
                                        int lane, const float (&state)[4][4],
                                        ScanDeltaSum<kComplex>& deltas) {
  scan_store_tile(p.carries.states + (place.part * p.channel_warps + place.warp) * kScanTile, lane,
                  state);
  scan_sum_lanes(deltas);
  if (lane < 4) {
    const int64_t at = (place.part * p.channel_warps + place.warp) * kScanChannels + lane * 8;
    scan_store8(p.carries.delta_sums + at, deltas.sum);
    if constexpr (kComplex) scan_store8(p.carries.delta_rests + at, deltas.rest);
  }
  if (place.warp == 0 && lane == 0) p.carries.cuts[place.part] = cut;
}

// ----------------------------------------------------------------------------------------
// arithmetic

__device__ inline float scan_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ inline float scan_reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// cos and sin of time turn + more quarter turns. Beyond 2^22 of them the angle is arbitrary.
__device__ inline void scan_cos_sin(float time, float turn, float more, float& cos, float& sin) {
  constexpr float kMagic = 12582912;  // 1.5 x 2^23: adding it rounds to an integer
  const float shifted = fmaf(time, turn, kMagic);
  float r = fmaf(time, turn, kMagic - shifted) + more;
  r = fabsf(r) > 1 ? 0 : r;
  const float r2 = r * r;
  // The first coefficient, pi / 2, has two parts: its rounding error would turn every step the same
  // way.
  float p = fmaf(-0.0046048342f, r2, 0.079681413f);
  p = fmaf(p, r2, -0.64596363f);
  p = fmaf(p, r2, -4.371139e-8f);
  const float s = fmaf(r, 1.57079637f, p * r);
  float q = fmaf(0.00090402167f, r2, -0.020860288f);
  q = fmaf(q, r2, 0.25366924f);
  q = fmaf(q, r2, -1.23370054f);
  const float c = fmaf(q, r2, 1.0f);
  const uint32_t quarter = __float_as_uint(shifted);
  const bool odd = (quarter & 1) != 0;
  cos = __uint_as_float(__float_as_uint(odd ? s : c) ^ ((quarter + 1) << 30 & 0x80000000u));
  sin = __uint_as_float(__float_as_uint(odd ? c : s) ^ (quarter << 30 & 0x80000000u));
}

struct ScanComplex {
  float real, imaginary;
};

__device__ inline ScanComplex scan_decay(const ScanRates<true>& rates, int c, int k, float time) {
  float cos, sin;
  scan_cos_sin(time, rates.turn[c][k], time * rates.rest[c][k], cos, sin);
  const float modulus = scan_exp2(time * rates.scale[c][k]);
  return {modulus * cos, modulus * sin};
}

// One step of the lane's states of channel c: h = exp(delta' A) h + delta' u B, and, with kOutput,
// y += C h.
template <bool kOutput>
__device__ inline void scan_advance(const ScanRates<false>& rates, int c, float time, float input,
                                    const float (&B)[4], const float (&C)[4], float (&h)[4],
                                    float& y) {
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    h[n] = fmaf(scan_exp2(time * rates.scale[c][n]), h[n], input * B[n]);
    if (kOutput) y = fmaf(C[n], h[n], y);
  }
}

template <bool kOutput>
__device__ inline void scan_advance(const ScanRates<true>& rates, int c, float time, float input,
                                    const float (&B)[4], const float (&C)[4], float (&h)[4],
                                    float& y) {
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    const ScanComplex a = scan_decay(rates, c, k, time);
    const float real = h[2 * k];
    const float imaginary = h[2 * k + 1];
    h[2 * k] = fmaf(-a.imaginary, imaginary, fmaf(a.real, real, input * B[2 * k]));
    h[2 * k + 1] = fmaf(a.imaginary, real, fmaf(a.real, imaginary, input * B[2 * k + 1]));
    if (kOutput) y = fmaf(-C[2 * k + 1], h[2 * k + 1], fmaf(C[2 * k], h[2 * k], y));
  }
}

// One step back of the adjoint state alone: g = conj(exp(delta' A)) (g + dy conj(C)).
__device__ inline void scan_retreat(const ScanRates<false>& rates, int c, float time, float dy,
                                    const float (&C)[4], float (&g)[4]) {
#pragma unroll
  for (int n = 0; n < 4; ++n) g[n] = scan_exp2(time * rates.scale[c][n]) * fmaf(dy, C[n], g[n]);
}

__device__ inline void scan_retreat(const ScanRates<true>& rates, int c, float time, float dy,
                                    const float (&C)[4], float (&g)[4]) {
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    const ScanComplex a = scan_decay(rates, c, k, time);
    const float real = fmaf(dy, C[2 * k], g[2 * k]);
    const float imaginary = fmaf(-dy, C[2 * k + 1], g[2 * k + 1]);
    g[2 * k] = fmaf(a.real, real, a.imaginary * imaginary);
    g[2 * k + 1] = fmaf(a.real, imaginary, -a.imaginary * real);
  }
}

// e^-|x|. The product's rounding error goes back in, or it would grow with |x|.
__device__ inline float scan_exp_of_minus_abs(float x) {
  const float m = fabsf(x) > 100 ? -100 : -fabsf(x);
  const float t = m * kScanLog2E;
  const float e = scan_exp2(t);
  return fmaf(e * fmaf(m, kScanLog2E, -t), kScanLn2, e);
}

// artanh(s) / s for 0 <= s <= 1/3 as a polynomial in s^2 (relative error 4e-9).
__device__ inline float scan_artanh_ratio(float s2) {
  float p = 0.14087328614628397f;
  p = fmaf(p, s2, 0.1398070942145964f);
  p = fmaf(p, s2, 0.20012426861445045f);
  p = fmaf(p, s2, 0.33333157967547067f);
  return fmaf(p, s2, 1.0f);
}

// max(x, 0) + log(1 + e^-|x|), which above 20 is x itself.
__device__ inline float scan_softplus(float x) {
  const float e = scan_exp_of_minus_abs(x);
  const float s = e * scan_reciprocal(2 + e);
  return fmaxf(x, 0) + 2 * s * scan_artanh_ratio(s * s);
}

__device__ inline float scan_softplus(float x, float& slope) {
  const float e = scan_exp_of_minus_abs(x);
  const float r = scan_reciprocal((1 + e) * (2 + e));
  const float s = e * (r * (1 + e));
  slope = (x > 0 ? 1 : e) * (r * (2 + e));
  return fmaxf(x, 0) + 2 * s * scan_artanh_ratio(s * s);
}

__device__ inline float scan_sigmoid(float x) {
  return scan_reciprocal(1 + scan_exp2(-kScanLog2E * x));
}

// delta' from delta. One branch for all eight: their latencies overlap.
__device__ inline void scan_deltas(const ScanArgs& p, const float (&bias)[8], float (&delta)[8]) {
#pragma unroll
  for (int i = 0; i < 8; ++i) delta[i] += bias[i];
  if (!p.delta_softplus) return;
#pragma unroll
  for (int i = 0; i < 8; ++i) delta[i] = scan_softplus(delta[i]);
}

__device__ inline void scan_deltas(const ScanArgs& p, const float (&bias)[8], float (&delta)[8],
                                   float (&slope)[8]) {
#pragma unroll
  for (int i = 0; i < 8; ++i) delta[i] += bias[i];
#pragma unroll
  for (int i = 0; i < 8; ++i) slope[i] = 1;
  if (!p.delta_softplus) return;
#pragma unroll
  for (int i = 0; i < 8; ++i) delta[i] = scan_softplus(delta[i], slope[i]);
}

// Sums v[i] over the four lanes that share channels; lane 4g + q gets that of channel q.
__device__ inline float scan_sum_states(const float (&v)[4], int lane) {
  const bool upper = (lane & 2) != 0;
  float a = upper ? v[2] : v[0];
  float b = upper ? v[3] : v[1];
  a += __shfl_xor_sync(~0u, upper ? v[0] : v[2], 2);
  b += __shfl_xor_sync(~0u, upper ? v[1] : v[3], 2);
  const bool odd = (lane & 1) != 0;
  return (odd ? b : a) + __shfl_xor_sync(~0u, odd ? a : b, 1);
}

// Sums v[i] over the eight lanes that share states; lane 4g + q gets that of i = g.
__device__ inline float scan_sum_channels(const float (&v)[8], int lane) {
  float w[4];
  const bool bit4 = (lane & 16) != 0;
#pragma unroll
  for (int i = 0; i < 4; ++i)
    w[i] = (bit4 ? v[i + 4] : v[i]) + __shfl_xor_sync(~0u, bit4 ? v[i] : v[i + 4], 16);
  const bool bit3 = (lane & 8) != 0;
  const float a = (bit3 ? w[2] : w[0]) + __shfl_xor_sync(~0u, bit3 ? w[0] : w[2], 8);
  const float b = (bit3 ? w[3] : w[1]) + __shfl_xor_sync(~0u, bit3 ? w[1] : w[3], 8);
  const bool bit2 = (lane & 4) != 0;
  return (bit2 ? b : a) + __shfl_xor_sync(~0u, bit2 ? a : b, 4);
}

}  // namespace strandwave::kernels
