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

// Rows of floats in shared memory: 32 and a pad against bank conflicts.
constexpr int kScanStride = 36;
using ScanFloatRows = float[kScanSteps][kScanStride];

extern __shared__ __align__(16) unsigned char scan_shared[];

// ------------------------------------------------------------------------------------ arguments

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

// -------------------------------------------------------------------------- where a block works

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

// --------------------------------------------------------------------------------- copies, rows

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

}  // namespace strandwave::kernels
