// A task's memory, borders, states and inputs in the raw CPU kernels of the selective scan, per
// highway target: what does not depend on whether states are real or complex.

// NOLINTNEXTLINE: the per-target include guard of highway
#if defined(STRANDWAVE_KERNELS_SELECTIVE_SCAN_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef STRANDWAVE_KERNELS_SELECTIVE_SCAN_BLOCK_INL_H_
#undef STRANDWAVE_KERNELS_SELECTIVE_SCAN_BLOCK_INL_H_
#else
#define STRANDWAVE_KERNELS_SELECTIVE_SCAN_BLOCK_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>

#include "kernels/common/half.h"
#include "kernels/common/simd_math-inl.h"
#include "kernels/selective_scan/selective_scan_raw.h"

HWY_BEFORE_NAMESPACE();
namespace strandwave::kernels::HWY_NAMESPACE {
namespace {

constexpr int64_t kChunk = SelectiveScanDivision::kChunk;
constexpr int64_t kPad = 16;      // channels of a block are padded to a multiple of any vector
constexpr int kBackwardRows = 4;  // of states: a tile of the backward pass
// Terms of dA added in fp32 before they join the compensated sum.
constexpr int64_t kRowsPerSum = 16;

constexpr int64_t round_up(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// ---------------------------------------------------------------------------------------- memory

template <typename T>
class Arena {
 public:
  explicit Arena(int64_t capacity)
      : memory_(hwy::AllocateAligned<T>(static_cast<size_t>(capacity))), next_(memory_.get()) {}
  // Sizes are multiples of kPad, so every block is aligned for vectors.
  T* take(int64_t size) {
    T* block = next_;
    next_ += size;
    return block;
  }

 private:
  hwy::AlignedFreeUniquePtr<T[]> memory_;
  T* next_;
};

template <typename T>
void load_row(Dtype dtype, const Rows& rows, int64_t batch, int64_t position, int64_t column,
              int64_t count, int64_t padded, T* HWY_RESTRICT to) {
  const int64_t offset = batch * rows.batch_stride + position * rows.row_stride + column;
  if constexpr (std::is_same_v<T, double>) {
    const double* from = static_cast<const double*>(rows.data) + offset;
    for (int64_t i = 0; i < count; ++i) to[i] = from[i];
  } else if (dtype == Dtype::kFloat32) {
    const float* from = static_cast<const float*>(rows.data) + offset;
    for (int64_t i = 0; i < count; ++i) to[i] = from[i];
  } else {
    const uint16_t* from = static_cast<const uint16_t*>(rows.data) + offset;
    if (dtype == Dtype::kBFloat16)
      for (int64_t i = 0; i < count; ++i) to[i] = bfloat16_to_float(from[i]);
    else
      for (int64_t i = 0; i < count; ++i) to[i] = float16_to_float(from[i]);
  }
  for (int64_t i = count; i < padded; ++i) to[i] = 0;
}

template <typename T>
void store_row(Dtype dtype, const MutableRows& rows, int64_t batch, int64_t position,
               int64_t column, int64_t count, const T* HWY_RESTRICT from) {
  const int64_t offset = batch * rows.batch_stride + position * rows.row_stride + column;
  if constexpr (std::is_same_v<T, double>) {
    double* to = static_cast<double*>(rows.data) + offset;
    for (int64_t i = 0; i < count; ++i) to[i] = from[i];
  } else if (dtype == Dtype::kFloat32) {
    float* to = static_cast<float*>(rows.data) + offset;
    for (int64_t i = 0; i < count; ++i) to[i] = from[i];
  } else {
    uint16_t* to = static_cast<uint16_t*>(rows.data) + offset;
    if (dtype == Dtype::kBFloat16)
      for (int64_t i = 0; i < count; ++i) to[i] = float_to_bfloat16(from[i]);
    else
      for (int64_t i = 0; i < count; ++i) to[i] = float_to_float16(from[i]);
  }
}

// -------------------------------------------------------------------------------- task and borders

// The channels and chunks of one task.
struct Region {
  int64_t batch, channel, channels, width;  // width: channels padded
  int64_t chunk_begin, chunk_end;
};

Region region_of(const SelectiveScanParams& p, const SelectiveScanDivision& division,
                 const SelectiveScanTask& task) {
  Region region;
  region.batch = task.batch;
  region.channel = task.channel_block * division.channel_block;
  region.channels = std::min(division.channel_block, p.channels - region.channel);
  region.width = round_up(region.channels, kPad);
  region.chunk_begin = task.segment * division.segment_chunks;
  region.chunk_end = std::min(region.chunk_begin + division.segment_chunks, division.chunks);
  return region;
}

int64_t position_of(const SelectiveScanParams& p, int64_t tau) {
  return p.reverse ? p.length - 1 - tau : tau;
}

// Consecutive positions [begin, end) of one sequence, in processing order.
struct Run {
  int64_t begin, end, sequence;
  bool first, last;  // the run begins, ends its sequence
};

// The longest run that begins at tau and ends at `limit` at the latest; tau < limit.
Run run_at(const SelectiveScanParams& p, int64_t batch, int64_t tau, int64_t limit) {
  int64_t sequence = batch, begin = 0, end = p.length;
  if (p.cu_seqlens != nullptr) {
    const int64_t* after =
        std::upper_bound(p.cu_seqlens, p.cu_seqlens + p.sequences + 1, position_of(p, tau));
    sequence = after - p.cu_seqlens - 1;
    begin = p.reverse ? p.length - after[0] : after[-1];
    end = p.reverse ? p.length - after[-1] : after[0];
  }
  return {tau, std::min(end, limit), sequence, begin == tau, end <= limit};
}

// The run that ends at `tau_end` and begins at `limit` at the earliest; tau_end > limit.
Run run_before(const SelectiveScanParams& p, int64_t batch, int64_t tau_end, int64_t limit) {
  int64_t sequence = batch, begin = 0, end = p.length;
  if (p.cu_seqlens != nullptr) {
    const int64_t* after =
        std::upper_bound(p.cu_seqlens, p.cu_seqlens + p.sequences + 1, position_of(p, tau_end - 1));
    sequence = after - p.cu_seqlens - 1;
    begin = p.reverse ? p.length - after[0] : after[-1];
    end = p.reverse ? p.length - after[-1] : after[0];
  }
  return {std::max(begin, limit), tau_end, sequence, begin >= limit, end == tau_end};
}

// Whether some sequence begins (`starts`) or ends inside the chunks of a region.
bool has_border(const SelectiveScanParams& p, const Region& region, bool starts) {
  const int64_t limit = std::min(region.chunk_end * kChunk, p.length);
  for (int64_t tau = region.chunk_begin * kChunk; tau < limit;) {
    const Run run = run_at(p, region.batch, tau, limit);
    if (starts ? run.first : run.last) return true;
    tau = run.end;
  }
  return false;
}

// ----------------------------------------------------------------------------- states of a block

// Block states lie as [d_state][width]. `sequence` of a (sequences, channels, d_state) tensor; zero
// where it is null.
template <typename T>
void load_sequence_state(const SelectiveScanParams& p, const Region& region, const void* states,
                         int64_t sequence, T* h) {
  if (states == nullptr) {
    std::fill(h, h + p.d_state * region.width, T{0});
    return;
  }
  const T* from =
      static_cast<const T*>(states) + (sequence * p.channels + region.channel) * p.d_state;
  for (int64_t n = 0; n < p.d_state; ++n) {
    for (int64_t c = 0; c < region.channels; ++c) h[n * region.width + c] = from[c * p.d_state + n];
    std::fill(h + n * region.width + region.channels, h + (n + 1) * region.width, T{0});
  }
}

template <typename T>
void store_sequence_state(const SelectiveScanParams& p, const Region& region, const T* h,
                          int64_t sequence, void* states) {
  T* to = static_cast<T*>(states) + (sequence * p.channels + region.channel) * p.d_state;
  for (int64_t c = 0; c < region.channels; ++c)
    for (int64_t n = 0; n < p.d_state; ++n) to[c * p.d_state + n] = h[n * region.width + c];
}

// Carries, checkpoints and partial sums lie as (index, rows, channels).
template <typename T>
void load_block(const SelectiveScanParams& p, const Region& region, const void* from, int64_t index,
                int64_t rows, T* to) {
  const T* source = static_cast<const T*>(from) + index * rows * p.channels + region.channel;
  for (int64_t n = 0; n < rows; ++n) {
    std::copy_n(source + n * p.channels, region.channels, to + n * region.width);
    std::fill(to + n * region.width + region.channels, to + (n + 1) * region.width, T{0});
  }
}

template <typename T>
void store_block(const SelectiveScanParams& p, const Region& region, const T* from, int64_t index,
                 int64_t rows, void* to) {
  T* target = static_cast<T*>(to) + index * rows * p.channels + region.channel;
  for (int64_t n = 0; n < rows; ++n)
    std::copy_n(from + n * region.width, region.channels, target + n * p.channels);
}

// An empty sequence passes its state through, in both directions.
template <typename T>
void copy_empty_sequences(const SelectiveScanParams& p, const Region& region, const void* from,
                          void* to, T* scratch) {
  const int64_t begin = p.cu_seqlens != nullptr ? 0 : region.batch;
  const int64_t end = p.cu_seqlens != nullptr ? p.sequences : region.batch + 1;
  for (int64_t s = begin; s < end; ++s) {
    const int64_t length =
        p.cu_seqlens != nullptr ? p.cu_seqlens[s + 1] - p.cu_seqlens[s] : p.length;
    if (length > 0) continue;
    load_sequence_state(p, region, from, s, scratch);
    store_sequence_state(p, region, scratch, s, to);
  }
}

// ------------------------------------------------------------------------------ inputs of a chunk

// A, such that decays are powers of two and angles quarter turns. Of a complex A the rows of A are
// real and imaginary parts in turn.
template <typename T>
struct DecayRates {
  T* A = nullptr;  // [d_state][width], times log2(e)
  // Complex only: Im A times 2 / pi, [d_state / 2][width], as the sum of two numbers: while a state
  // lives it turns much further than by one, so that an error of the rate itself would show.
  T *turn = nullptr, *turn_rest = nullptr;

  static int64_t elements(int64_t width, int64_t d_state) { return 2 * width * d_state; }
};

// What one channel block's parameters and one chunk's rows look like in the kernels: fp32 (or
// fp64), padded, in processing order. With complex states C is doubled, so that y = Re(C . h).
template <typename T>
struct Chunk {
  int64_t width = 0, d_state = 0;
  DecayRates<T> rates;
  T *D = nullptr, *bias = nullptr;                       // [width], zero where not given
  T *u = nullptr, *delta = nullptr, *delta_u = nullptr;  // [kChunk][width]; delta after softplus
  T* slope = nullptr;                                    // [kChunk][width] or null: of the softplus
  T *B = nullptr, *C = nullptr;                          // [kChunk][d_state]

  static int64_t elements(int64_t width, int64_t d_state) {
    return DecayRates<T>::elements(width, d_state) + 2 * width + 4 * kChunk * width +
           2 * kChunk * d_state;
  }
};

template <typename T>
DecayRates<T> load_decay_rates(const SelectiveScanParams& p, const Region& region,
                               Arena<T>& arena) {
  DecayRates<T> rates;
  rates.A = arena.take(p.d_state * region.width);
  load_sequence_state(p, region, p.A, 0, rates.A);
  if (p.complex) {
    rates.turn = arena.take(p.d_state / 2 * region.width);
    rates.turn_rest = arena.take(p.d_state / 2 * region.width);
    for (int64_t n = 0; n < p.d_state / 2; ++n) {
      for (int64_t c = 0; c < region.width; ++c) {
        const double angle = static_cast<double>(rates.A[(2 * n + 1) * region.width + c]);
        const double turn = angle * kTwoOverPi;
        const double rest = std::fma(angle, kTwoOverPi, -turn) + angle * kTwoOverPiRest;
        const T high = static_cast<T>(turn);
        rates.turn[n * region.width + c] = high;
        rates.turn_rest[n * region.width + c] =
            static_cast<T>((turn - static_cast<double>(high)) + rest);
      }
    }
  }
  for (int64_t i = 0; i < p.d_state * region.width; ++i)
    rates.A[i] = static_cast<T>(static_cast<double>(rates.A[i]) * kLog2E);
  return rates;
}

template <typename T>
Chunk<T> make_chunk(const SelectiveScanParams& p, const Region& region, bool slopes,
                    Arena<T>& arena) {
  Chunk<T> chunk;
  chunk.width = region.width;
  chunk.d_state = p.d_state;
  chunk.rates = load_decay_rates(p, region, arena);
  const Region row{region.batch, region.channel, region.channels, region.width, 0, 0};
  chunk.D = arena.take(region.width);
  chunk.bias = arena.take(region.width);
  std::fill_n(chunk.D, region.width, T{0});
  std::fill_n(chunk.bias, region.width, T{0});
  if (p.D != nullptr) load_block(p, row, p.D, 0, 1, chunk.D);
  if (p.delta_bias != nullptr) load_block(p, row, p.delta_bias, 0, 1, chunk.bias);
  for (T** rows : {&chunk.u, &chunk.delta, &chunk.delta_u})
    *rows = arena.take(kChunk * region.width);
  if (slopes) chunk.slope = arena.take(kChunk * region.width);
  chunk.B = arena.take(kChunk * p.d_state);
  chunk.C = arena.take(kChunk * p.d_state);
  return chunk;
}

template <typename T>
void discretize(const SelectiveScanParams& p, const Chunk<T>& chunk, int64_t rows) {
  const hn::ScalableTag<T> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t j = 0; j < rows; ++j) {
    for (int64_t c = 0; c < chunk.width; c += lanes) {
      const int64_t at = j * chunk.width + c;
      const auto x = hn::Add(hn::Load(d, chunk.delta + at), hn::Load(d, chunk.bias + c));
      auto delta = x;
      auto slope = hn::Set(d, T{1});
      if (p.delta_softplus) delta = softplus(d, x, slope);
      hn::Store(delta, d, chunk.delta + at);
      hn::Store(hn::Mul(delta, hn::Load(d, chunk.u + at)), d, chunk.delta_u + at);
      if (chunk.slope != nullptr) hn::Store(slope, d, chunk.slope + at);
    }
  }
}

// Fills the rows of [begin, end), at most kChunk positions.
template <typename T>
void load_chunk(const SelectiveScanParams& p, const Region& region, int64_t begin, int64_t end,
                bool with_C, const Chunk<T>& chunk) {
  for (int64_t tau = begin; tau < end; ++tau) {
    const int64_t j = tau - begin;
    const int64_t position = position_of(p, tau);
    load_row(p.dtype, p.u, region.batch, position, region.channel, region.channels, region.width,
             chunk.u + j * region.width);
    load_row(p.dtype, p.delta, region.batch, position, region.channel, region.channels,
             region.width, chunk.delta + j * region.width);
    load_row(p.dtype, p.B, region.batch, position, 0, p.d_state, p.d_state,
             chunk.B + j * p.d_state);
    if (with_C)
      load_row(p.dtype, p.C, region.batch, position, 0, p.d_state, p.d_state,
               chunk.C + j * p.d_state);
  }
  if (with_C && p.complex)
    for (int64_t i = 0; i < (end - begin) * p.d_state; ++i) chunk.C[i] *= 2;
  discretize(p, chunk, end - begin);
}

// States are summed in groups: 256 terms one after the other would cost digits.
template <typename T>
void add_rows(const Chunk<T>& chunk, int64_t begin, int64_t end, T* HWY_RESTRICT part,
              T* HWY_RESTRICT sum) {
  for (int64_t i = begin * chunk.width; i < end * chunk.width; ++i) {
    sum[i] += part[i];
    part[i] = 0;
  }
}

// ----------------------------------------------------------------------- what the backward keeps

// What the backward recurrence of a channel block reads, accumulates and keeps.
template <typename T>
struct Backward {
  const T* dy = nullptr;
  T* start = nullptr;                   // [d_state][width]: state before the run
  T* g = nullptr;                       // [d_state][width]
  T *dA = nullptr, *dA_rest = nullptr;  // [d_state][width], a compensated sum
  T *dD = nullptr, *dD_rest = nullptr;  // [width]
  T *dbias = nullptr, *dbias_rest = nullptr;
  T *sum_BG = nullptr, *sum_dA = nullptr;  // [kChunk][width]: sum_n B_n G_n; sum_n dL/da_n a_n A_n
  T* y = nullptr;                          // [kChunk][width]: sum_n C_n h_n, only with a gate
  T *part_BG = nullptr, *part_dA = nullptr, *part_y = nullptr;  // the same of a group; else zero
  T *states = nullptr, *decays = nullptr;  // [kChunk + 1 or kChunk][kBackwardRows][lanes]
  T *dB = nullptr, *dC = nullptr;  // [kChunk][kBackwardRows][lanes], summed over channel vectors

  static int64_t elements(int64_t width, int64_t d_state) {
    return width * (4 * d_state + 4 + 6 * kChunk) +
           ((4 * kChunk + 1) * kBackwardRows + 2 * kPad) * kPad;
  }
};

template <typename T>
Backward<T> make_backward(const SelectiveScanParams& p, const Region& region, Arena<T>& arena) {
  Backward<T> b;
  for (T** block : {&b.start, &b.g, &b.dA, &b.dA_rest}) {
    *block = arena.take(p.d_state * region.width);
    std::fill_n(*block, p.d_state * region.width, T{0});
  }
  for (T** row : {&b.dD, &b.dD_rest, &b.dbias, &b.dbias_rest}) {
    *row = arena.take(region.width);
    std::fill_n(*row, region.width, T{0});
  }
  for (T** rows : {&b.sum_BG, &b.sum_dA, &b.y, &b.part_BG, &b.part_dA, &b.part_y}) {
    *rows = arena.take(kChunk * region.width);
    std::fill_n(*rows, kChunk * region.width, T{0});
  }
  b.decays = arena.take(kChunk * kBackwardRows * kPad);
  // With room for the vectors behind the last rows, which are read, not used.
  for (T** sums : {&b.dB, &b.dC}) {
    *sums = arena.take((kChunk * kBackwardRows + kPad) * kPad);
    std::fill_n(*sums, (kChunk * kBackwardRows + kPad) * kPad, T{0});
  }
  b.states = arena.take((kChunk + 1) * kBackwardRows * kPad);
  return b;
}

// sum += value, the rounding error kept in `rest` (Kahan): long sequences add many chunks up.
template <class D, typename T>
HWY_INLINE void add_compensated(D d, hn::Vec<D> value, T* sum, T* rest) {
  const auto corrected = hn::Sub(value, hn::Load(d, rest));
  const auto before = hn::Load(d, sum);
  const auto after = hn::Add(before, corrected);
  hn::Store(hn::Sub(hn::Sub(after, before), corrected), d, rest);
  hn::Store(after, d, sum);
}

// The lane sums of `lanes` consecutive vectors, in order, as one vector.
template <int kVectors, class D, typename T>
HWY_INLINE hn::Vec<D> sums_of_lanes(D d, const T* vectors) {
  if constexpr (kVectors == 1) {
    return hn::Load(d, vectors);
  } else {
    constexpr int kHalf = kVectors / 2;
    const auto low = sums_of_lanes<kHalf>(d, vectors);
    const auto high = sums_of_lanes<kHalf>(d, vectors + kHalf * static_cast<int>(hn::Lanes(d)));
    return hn::Add(hn::ConcatEven(d, high, low), hn::ConcatOdd(d, high, low));
  }
}

// Adds the lanes of dB or dC up, rows [begin, end) of a chunk whose first position is
// `chunk_begin`, and writes them to this block's partial sums `to` (rows of d_state, from state n
// on).
template <int kRows, typename T>
void store_row_partials(const SelectiveScanParams& p, int64_t chunk_begin, int64_t begin,
                        int64_t end, int64_t n, const T* sums, T* to) {
  const hn::ScalableTag<T> d;
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(hn::ScalableTag<T>()));
  HWY_ALIGN T row[kLanes];
  for (int64_t first = begin * kRows; first < end * kRows; first += kLanes) {
    hn::Store(sums_of_lanes<kLanes>(d, sums + first * kLanes), d, row);
    const int64_t last = std::min<int64_t>(first + kLanes, end * kRows);
    for (int64_t at = first; at < last; ++at) {
      const int64_t position = position_of(p, chunk_begin + at / kRows);
      to[position * p.d_state + n + at % kRows] = row[at - first];
    }
  }
}

}  // namespace
}  // namespace strandwave::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
