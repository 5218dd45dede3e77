// See selective_scan_raw.h for the division of work. Lanes hold channels: rows of u and delta are
// contiguous, and B_t and C_t are the same for all lanes. Inside a chunk the loops run over tiles
// of states, then vectors of channels, then positions, so that a tile's states and decay rates stay
// in registers; independent states hide the latency of the exponential.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/selective_scan/selective_scan_simd.cpp"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per target.
#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>

#include "kernels/common/half.h"
#include "kernels/common/simd_math-inl.h"
#include "kernels/selective_scan/selective_scan_raw.h"

HWY_BEFORE_NAMESPACE();
namespace strandwave::kernels::HWY_NAMESPACE {
namespace {

constexpr int64_t kChunk = SelectiveScanDivision::kChunk;
constexpr int64_t kPad = 16;  // channels of a block are padded to a multiple of any vector
// States whose value and decay rate fit in registers together.
constexpr int kForwardTile = HWY_TARGET == HWY_AVX3 ? 8 : 4;
constexpr int kBackwardTile = 4;
constexpr int64_t kGroup = 16;  // states whose sums over n are added one after the other
constexpr int64_t kRowsPerSum =
    16;  // terms of dA added in fp32 before they join the compensated sum

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

// What one channel block's parameters and one chunk's rows look like in the kernels: fp32 (or
// fp64), padded, in processing order.
template <typename T>
struct Chunk {
  int64_t width = 0, d_state = 0;
  T* A = nullptr;                                        // [d_state][width], times log2(e)
  T *D = nullptr, *bias = nullptr;                       // [width], zero where not given
  T *u = nullptr, *delta = nullptr, *delta_u = nullptr;  // [kChunk][width]; delta after softplus
  T* slope = nullptr;                                    // [kChunk][width] or null: of the softplus
  T *B = nullptr, *C = nullptr;                          // [kChunk][d_state]

  static int64_t elements(int64_t width, int64_t d_state) {
    return width * (d_state + 2) + 4 * kChunk * width + 2 * kChunk * d_state;
  }
};

template <typename T>
void load_decay_rates(const SelectiveScanParams& p, const Region& region, T* A) {
  load_sequence_state(p, region, p.A, 0, A);
  for (int64_t i = 0; i < p.d_state * region.width; ++i)
    A[i] = static_cast<T>(static_cast<double>(A[i]) * kLog2E);
}

template <typename T>
Chunk<T> make_chunk(const SelectiveScanParams& p, const Region& region, bool slopes,
                    Arena<T>& arena) {
  Chunk<T> chunk;
  chunk.width = region.width;
  chunk.d_state = p.d_state;
  chunk.A = arena.take(p.d_state * region.width);
  load_decay_rates(p, region, chunk.A);
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
  discretize(p, chunk, end - begin);
}

// ------------------------------------------------------------------------------ forward recurrence

// Rows [begin, end) of a chunk for kTile states from n and the channels of one vector from c:
// h = exp2(delta A) h + delta u B, and, with kOutput, y += C h.
template <int kTile, bool kOutput, typename T>
HWY_INLINE void scan_tile(const Chunk<T>& chunk, int64_t begin, int64_t end, int64_t n, int64_t c,
                          T* HWY_RESTRICT states, T* HWY_RESTRICT y) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const int64_t width = chunk.width;
  V h[kTile], A[kTile];
  for (int i = 0; i < kTile; ++i) {
    h[i] = hn::Load(d, states + (n + i) * width + c);
    A[i] = hn::Load(d, chunk.A + (n + i) * width + c);
  }
  for (int64_t j = begin; j < end; ++j) {
    const V delta = hn::Load(d, chunk.delta + j * width + c);
    const V delta_u = hn::Load(d, chunk.delta_u + j * width + c);
    const T* HWY_RESTRICT B = chunk.B + j * chunk.d_state + n;
    const T* HWY_RESTRICT C = chunk.C + j * chunk.d_state + n;
    V sum = hn::Zero(d);
    for (int i = 0; i < kTile; ++i) {
      const V decay = exp2_of_product(d, delta, A[i]);
      h[i] = hn::MulAdd(decay, h[i], hn::Mul(delta_u, hn::Set(d, B[i])));
      if constexpr (kOutput) sum = hn::MulAdd(hn::Set(d, C[i]), h[i], sum);
    }
    if constexpr (kOutput)
      hn::Store(hn::Add(sum, hn::Load(d, y + j * width + c)), d, y + j * width + c);
  }
  for (int i = 0; i < kTile; ++i) hn::Store(h[i], d, states + (n + i) * width + c);
}

template <int kTile, bool kOutput, typename T>
int64_t scan_tiles(const Chunk<T>& chunk, int64_t begin, int64_t end, int64_t n, int64_t n_end,
                   T* states, T* y) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(hn::ScalableTag<T>()));
  for (; n + kTile <= n_end; n += kTile)
    for (int64_t c = 0; c < chunk.width; c += lanes)
      scan_tile<kTile, kOutput>(chunk, begin, end, n, c, states, y);
  return n;
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

// states [d_state][width] before row `begin` become those after row end - 1. y and part:
// [kChunk][width]; part is zero before and after.
template <bool kOutput, typename T>
void scan_rows(const Chunk<T>& chunk, int64_t begin, int64_t end, T* states, T* y, T* part) {
  for (int64_t n = 0; n < chunk.d_state;) {
    const int64_t group = std::min(n + kGroup, chunk.d_state);
    T* sum = n == 0 ? y : part;
    n = scan_tiles<kForwardTile, kOutput>(chunk, begin, end, n, group, states, sum);
    n = scan_tiles<4, kOutput>(chunk, begin, end, n, group, states, sum);
    n = scan_tiles<1, kOutput>(chunk, begin, end, n, group, states, sum);
    if (kOutput && sum == part) add_rows(chunk, begin, end, part, y);
  }
}

// y holds sum_n C_n h_n; adds D u, applies the gate and stores the rows.
template <typename T>
void finish_output(const SelectiveScanForwardParams& p, const Region& region, int64_t begin,
                   int64_t end, const Chunk<T>& chunk, T* y, T* z) {
  const hn::ScalableTag<T> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t tau = begin; tau < end; ++tau) {
    const int64_t position = position_of(p, tau);
    const T* u = chunk.u + (tau - begin) * region.width;
    T* row = y + (tau - begin) * region.width;
    if (p.z.data != nullptr)
      load_row(p.dtype, p.z, region.batch, position, region.channel, region.channels, region.width,
               z);
    for (int64_t c = 0; c < region.width; c += lanes) {
      auto value = hn::MulAdd(hn::Load(d, chunk.D + c), hn::Load(d, u + c), hn::Load(d, row + c));
      if (p.z.data != nullptr) {
        const auto gate = hn::Load(d, z + c);
        value = hn::Mul(value, silu(d, gate));
      }
      hn::Store(value, d, row + c);
    }
    store_row(p.dtype, p.out, region.batch, position, region.channel, region.channels, row);
  }
}

template <typename T>
void forward_task(const SelectiveScanForwardParams& p, const SelectiveScanDivision& division,
                  const SelectiveScanTask& task, const SelectiveScanCarries* carries) {
  const Region region = region_of(p, division, task);
  Arena<T> arena(Chunk<T>::elements(region.width, p.d_state) +
                 (2 * kChunk + 1 + p.d_state) * region.width);
  const Chunk<T> chunk = make_chunk(p, region, false, arena);
  T* y = arena.take(kChunk * region.width);
  T* part = arena.take(kChunk * region.width);
  std::fill_n(part, kChunk * region.width, T{0});
  T* z = arena.take(region.width);
  T* h = arena.take(p.d_state * region.width);
  if (task.segment == 0) copy_empty_sequences(p, region, p.initial_state, p.final_state, h);
  if (carries != nullptr)
    load_block(p, region, carries->states, task.batch * division.segments + task.segment, p.d_state,
               h);
  const bool output = p.out.data != nullptr;
  for (int64_t k = region.chunk_begin; k < region.chunk_end; ++k) {
    const int64_t begin = k * kChunk;
    const int64_t end = std::min(begin + kChunk, p.length);
    load_chunk(p, region, begin, end, output, chunk);
    if (output) std::fill_n(y, (end - begin) * region.width, T{0});
    for (int64_t tau = begin; tau < end;) {
      const Run run = run_at(p, region.batch, tau, end);
      if (run.first) load_sequence_state(p, region, p.initial_state, run.sequence, h);
      if (tau == begin && p.checkpoints != nullptr)
        store_block(p, region, h, task.batch * division.chunks + k, p.d_state, p.checkpoints);
      if (output)
        scan_rows<true>(chunk, run.begin - begin, run.end - begin, h, y, part);
      else
        scan_rows<false>(chunk, run.begin - begin, run.end - begin, h, y, part);
      if (run.last) store_sequence_state(p, region, h, run.sequence, p.final_state);
      tau = run.end;
    }
    if (output) finish_output(p, region, begin, end, chunk, y, z);
  }
}

// --------------------------------------------------------------------------- carries of segments

template <typename T>
void add_deltas(const Chunk<T>& chunk, int64_t rows, T* sums) {
  for (int64_t j = 0; j < rows; ++j)
    for (int64_t c = 0; c < chunk.width; ++c) sums[c] += chunk.delta[j * chunk.width + c];
}

template <typename T>
void end_states(const SelectiveScanParams& p, const SelectiveScanDivision& division,
                const SelectiveScanTask& task, const SelectiveScanCarries& carries) {
  const Region region = region_of(p, division, task);
  Arena<T> arena(Chunk<T>::elements(region.width, p.d_state) + (1 + p.d_state) * region.width);
  const Chunk<T> chunk = make_chunk(p, region, false, arena);
  T* sums = arena.take(region.width);
  T* h = arena.take(p.d_state * region.width);
  std::fill_n(sums, region.width, T{0});
  std::fill_n(h, p.d_state * region.width, T{0});
  for (int64_t k = region.chunk_begin; k < region.chunk_end; ++k) {
    const int64_t begin = k * kChunk;
    const int64_t end = std::min(begin + kChunk, p.length);
    load_chunk(p, region, begin, end, false, chunk);
    add_deltas(chunk, end - begin, sums);
    for (int64_t tau = begin; tau < end;) {
      const Run run = run_at(p, region.batch, tau, end);
      if (run.first) load_sequence_state(p, region, p.initial_state, run.sequence, h);
      scan_rows<false, T>(chunk, run.begin - begin, run.end - begin, h, nullptr, nullptr);
      tau = run.end;
    }
  }
  const int64_t index = task.batch * division.segments + task.segment;
  store_block(p, region, h, index, p.d_state, carries.states);
  store_block(p, region, sums, index, 1, carries.delta_sums);
}

// Replaces each segment's end state by the state that enters it: carry = exp(A sum) carry + end,
// unless a border cuts the segment. The adjoint runs through the segments backwards.
template <typename T>
void pass_carries(const SelectiveScanParams& p, const SelectiveScanDivision& division,
                  const SelectiveScanTask& task, const SelectiveScanCarries& carries,
                  bool adjoint) {
  const hn::ScalableTag<T> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const Region block = region_of(p, division, task);
  const int64_t size = p.d_state * block.width;
  Arena<T> arena(3 * size + block.width);
  T* A = arena.take(size);
  T* carry = arena.take(size);
  T* local = arena.take(size);
  T* sums = arena.take(block.width);
  load_decay_rates(p, block, A);
  std::fill_n(carry, size, T{0});
  for (int64_t step = 0; step < division.segments; ++step) {
    const int64_t segment = adjoint ? division.segments - 1 - step : step;
    const int64_t index = task.batch * division.segments + segment;
    const Region region = region_of(p, division, {task.batch, task.channel_block, segment});
    load_block(p, block, carries.states, index, p.d_state, local);
    load_block(p, block, carries.delta_sums, index, 1, sums);
    store_block(p, block, carry, index, p.d_state, carries.states);
    if (has_border(p, region, !adjoint)) {
      std::swap(carry, local);
      continue;
    }
    for (int64_t n = 0; n < p.d_state; ++n) {
      for (int64_t c = 0; c < block.width; c += lanes) {
        const int64_t at = n * block.width + c;
        const auto decay = exp2_of_product(d, hn::Load(d, sums + c), hn::Load(d, A + at));
        hn::Store(hn::MulAdd(decay, hn::Load(d, carry + at), hn::Load(d, local + at)), d,
                  carry + at);
      }
    }
  }
}

// --------------------------------------------------------------------------------------- backward

// dy, the gradient that enters y before the gate, of a chunk. With a gate also keeps dout and z.
template <typename T>
struct OutputGradient {
  T *dy = nullptr, *dout = nullptr, *z = nullptr;  // [kChunk][width]

  static int64_t elements(int64_t width) { return 3 * kChunk * width; }
};

template <typename T>
OutputGradient<T> make_output_gradient(int64_t width, Arena<T>& arena) {
  OutputGradient<T> gradient;
  for (T** rows : {&gradient.dy, &gradient.dout, &gradient.z}) *rows = arena.take(kChunk * width);
  return gradient;
}

template <typename T>
void load_output_gradient(const SelectiveScanBackwardParams& p, const Region& region, int64_t begin,
                          int64_t end, const OutputGradient<T>& gradient) {
  const hn::ScalableTag<T> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t tau = begin; tau < end; ++tau) {
    const int64_t position = position_of(p, tau);
    const int64_t at = (tau - begin) * region.width;
    if (p.z.data == nullptr) {
      load_row(p.dtype, p.dout, region.batch, position, region.channel, region.channels,
               region.width, gradient.dy + at);
      continue;
    }
    load_row(p.dtype, p.dout, region.batch, position, region.channel, region.channels, region.width,
             gradient.dout + at);
    load_row(p.dtype, p.z, region.batch, position, region.channel, region.channels, region.width,
             gradient.z + at);
    for (int64_t c = at; c < at + region.width; c += lanes) {
      const auto z = hn::Load(d, gradient.z + c);
      hn::Store(hn::Mul(hn::Load(d, gradient.dout + c), silu(d, z)), d, gradient.dy + c);
    }
  }
}

// The adjoint state alone: g = exp2(delta A) (g + dy C), rows from end - 1 down to begin.
template <int kTile, typename T>
int64_t adjoint_tiles(const Chunk<T>& chunk, int64_t begin, int64_t end, int64_t n, const T* dy,
                      T* HWY_RESTRICT states) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t width = chunk.width;
  for (; n + kTile <= chunk.d_state; n += kTile) {
    for (int64_t c = 0; c < width; c += lanes) {
      V g[kTile], A[kTile];
      for (int i = 0; i < kTile; ++i) {
        g[i] = hn::Load(d, states + (n + i) * width + c);
        A[i] = hn::Load(d, chunk.A + (n + i) * width + c);
      }
      for (int64_t j = end - 1; j >= begin; --j) {
        const V delta = hn::Load(d, chunk.delta + j * width + c);
        const V dy_j = hn::Load(d, dy + j * width + c);
        const T* C = chunk.C + j * chunk.d_state + n;
        for (int i = 0; i < kTile; ++i) {
          const V decay = exp2_of_product(d, delta, A[i]);
          g[i] = hn::Mul(decay, hn::MulAdd(dy_j, hn::Set(d, C[i]), g[i]));
        }
      }
      for (int i = 0; i < kTile; ++i) hn::Store(g[i], d, states + (n + i) * width + c);
    }
  }
  return n;
}

template <typename T>
void end_adjoints(const SelectiveScanBackwardParams& p, const SelectiveScanDivision& division,
                  const SelectiveScanTask& task, const SelectiveScanCarries& carries) {
  const Region region = region_of(p, division, task);
  Arena<T> arena(Chunk<T>::elements(region.width, p.d_state) +
                 OutputGradient<T>::elements(region.width) + (1 + p.d_state) * region.width);
  const Chunk<T> chunk = make_chunk(p, region, false, arena);
  const OutputGradient<T> gradient = make_output_gradient(region.width, arena);
  T* sums = arena.take(region.width);
  T* g = arena.take(p.d_state * region.width);
  std::fill_n(sums, region.width, T{0});
  std::fill_n(g, p.d_state * region.width, T{0});
  for (int64_t k = region.chunk_end - 1; k >= region.chunk_begin; --k) {
    const int64_t begin = k * kChunk;
    const int64_t end = std::min(begin + kChunk, p.length);
    load_chunk(p, region, begin, end, true, chunk);
    load_output_gradient(p, region, begin, end, gradient);
    add_deltas(chunk, end - begin, sums);
    for (int64_t tau = end; tau > begin;) {
      const Run run = run_before(p, region.batch, tau, begin);
      if (run.last) load_sequence_state(p, region, p.dfinal_state, run.sequence, g);
      const int64_t from = run.begin - begin, to = run.end - begin;
      const int64_t n = adjoint_tiles<kBackwardTile>(chunk, from, to, 0, gradient.dy, g);
      adjoint_tiles<1>(chunk, from, to, n, gradient.dy, g);
      tau = run.begin;
    }
  }
  const int64_t index = task.batch * division.segments + task.segment;
  store_block(p, region, g, index, p.d_state, carries.states);
  store_block(p, region, sums, index, 1, carries.delta_sums);
}

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
  T *states = nullptr, *decays = nullptr;  // [kChunk + 1 or kChunk][tile][lanes]
  T *dB = nullptr, *dC = nullptr;          // [kChunk][tile][lanes], summed over channel vectors

  static int64_t elements(int64_t width, int64_t d_state) {
    return width * (4 * d_state + 4 + 6 * kChunk) +
           ((4 * kChunk + 1) * kBackwardTile + 2 * kPad) * kPad;
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
  b.decays = arena.take(kChunk * kBackwardTile * kPad);
  // With room for the vectors behind the last rows, which are read, not used.
  for (T** sums : {&b.dB, &b.dC}) {
    *sums = arena.take((kChunk * kBackwardTile + kPad) * kPad);
    std::fill_n(*sums, (kChunk * kBackwardTile + kPad) * kPad, T{0});
  }
  b.states = arena.take((kChunk + 1) * kBackwardTile * kPad);
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

// Runs rows [begin, end) forward once more, keeping the states (before each row) and the decays.
template <int kTile, bool kGate, typename T>
HWY_INLINE void recompute_tile(const Chunk<T>& chunk, int64_t begin, int64_t end, int64_t n,
                               int64_t c, const Backward<T>& b) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t width = chunk.width;
  V h[kTile], A[kTile];
  for (int i = 0; i < kTile; ++i) {
    h[i] = hn::Load(d, b.start + (n + i) * width + c);
    A[i] = hn::Load(d, chunk.A + (n + i) * width + c);
  }
  T* HWY_RESTRICT states = b.states;
  T* HWY_RESTRICT decays = b.decays;
  T* HWY_RESTRICT y = b.y;
  for (int64_t j = begin; j < end; ++j) {
    const V delta = hn::Load(d, chunk.delta + j * width + c);
    const V delta_u = hn::Load(d, chunk.delta_u + j * width + c);
    const T* B = chunk.B + j * chunk.d_state + n;
    const T* C = chunk.C + j * chunk.d_state + n;
    V sum = hn::Zero(d);
    for (int i = 0; i < kTile; ++i) {
      const V decay = exp2_of_product(d, delta, A[i]);
      hn::Store(h[i], d, states + (j * kTile + i) * lanes);
      hn::Store(decay, d, decays + (j * kTile + i) * lanes);
      h[i] = hn::MulAdd(decay, h[i], hn::Mul(delta_u, hn::Set(d, B[i])));
      if constexpr (kGate) sum = hn::MulAdd(hn::Set(d, C[i]), h[i], sum);
    }
    if constexpr (kGate)
      hn::Store(hn::Add(sum, hn::Load(d, y + j * width + c)), d, y + j * width + c);
  }
  for (int i = 0; i < kTile; ++i) hn::Store(h[i], d, states + (end * kTile + i) * lanes);
}

// With G the gradient that enters h_j: dC += dy h, dB += delta u G (kFirst: both start here),
// sum_BG += B G, ga = a G is the gradient that enters h_{j-1}, and q = ga h_{j-1} that of delta A.
template <int kTile, bool kFirst, typename T>
HWY_INLINE void adjoint_tile(const Chunk<T>& chunk, int64_t begin, int64_t end, int64_t n,
                             int64_t c, const Backward<T>& b) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t width = chunk.width;
  V g[kTile], dA[kTile], A[kTile], h[kTile];
  for (int i = 0; i < kTile; ++i) {
    g[i] = hn::Load(d, b.g + (n + i) * width + c);
    dA[i] = hn::Zero(d);
    A[i] = hn::Load(d, chunk.A + (n + i) * width + c);
    h[i] = hn::Load(d, b.states + (end * kTile + i) * lanes);
  }
  T* HWY_RESTRICT dB = b.dB;
  T* HWY_RESTRICT dC = b.dC;
  T* HWY_RESTRICT sum_BG = b.sum_BG;
  T* HWY_RESTRICT sum_dA = b.sum_dA;
  for (int64_t j = end - 1; j >= begin; --j) {
    const V delta = hn::Load(d, chunk.delta + j * width + c);
    const V delta_u = hn::Load(d, chunk.delta_u + j * width + c);
    const V dy = hn::Load(d, b.dy + j * width + c);
    const T* B = chunk.B + j * chunk.d_state + n;
    const T* C = chunk.C + j * chunk.d_state + n;
    V bg = hn::Zero(d), qa = hn::Zero(d);
    for (int i = 0; i < kTile; ++i) {
      const int64_t at = (j * kTile + i) * lanes;
      const V previous = hn::Load(d, b.states + at);
      const V G = hn::MulAdd(dy, hn::Set(d, C[i]), g[i]);
      hn::Store(kFirst ? hn::Mul(dy, h[i]) : hn::MulAdd(dy, h[i], hn::Load(d, dC + at)), d,
                dC + at);
      hn::Store(kFirst ? hn::Mul(delta_u, G) : hn::MulAdd(delta_u, G, hn::Load(d, dB + at)), d,
                dB + at);
      bg = hn::MulAdd(G, hn::Set(d, B[i]), bg);
      g[i] = hn::Mul(hn::Load(d, b.decays + at), G);
      const V q = hn::Mul(g[i], previous);
      qa = hn::MulAdd(q, A[i], qa);
      dA[i] = hn::MulAdd(q, delta, dA[i]);
      h[i] = previous;
    }
    hn::Store(hn::Add(bg, hn::Load(d, sum_BG + j * width + c)), d, sum_BG + j * width + c);
    hn::Store(hn::Add(qa, hn::Load(d, sum_dA + j * width + c)), d, sum_dA + j * width + c);
    if (j % kRowsPerSum != 0 && j != begin) continue;
    for (int i = 0; i < kTile; ++i) {
      const int64_t at = (n + i) * width + c;
      add_compensated(d, dA[i], b.dA + at, b.dA_rest + at);
      dA[i] = hn::Zero(d);
    }
  }
  for (int i = 0; i < kTile; ++i) hn::Store(g[i], d, b.g + (n + i) * width + c);
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
template <int kTile, typename T>
void store_row_partials(const SelectiveScanParams& p, int64_t chunk_begin, int64_t begin,
                        int64_t end, int64_t n, const T* sums, T* to) {
  const hn::ScalableTag<T> d;
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(hn::ScalableTag<T>()));
  HWY_ALIGN T row[kLanes];
  for (int64_t first = begin * kTile; first < end * kTile; first += kLanes) {
    hn::Store(sums_of_lanes<kLanes>(d, sums + first * kLanes), d, row);
    const int64_t last = std::min<int64_t>(first + kLanes, end * kTile);
    for (int64_t at = first; at < last; ++at) {
      const int64_t position = position_of(p, chunk_begin + at / kTile);
      to[position * p.d_state + n + at % kTile] = row[at - first];
    }
  }
}

template <int kTile, bool kGate, typename T>
int64_t backward_tiles(const SelectiveScanBackwardParams& p, const Chunk<T>& chunk, int64_t begin,
                       const Run& run, int64_t row_index, int64_t n, int64_t n_end,
                       const Backward<T>& b, const SelectiveScanPartials& partials) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(hn::ScalableTag<T>()));
  const int64_t from = run.begin - begin, to = run.end - begin;
  for (; n + kTile <= n_end; n += kTile) {
    for (int64_t c = 0; c < chunk.width; c += lanes) {
      recompute_tile<kTile, kGate>(chunk, from, to, n, c, b);
      if (c == 0)
        adjoint_tile<kTile, true>(chunk, from, to, n, c, b);
      else
        adjoint_tile<kTile, false>(chunk, from, to, n, c, b);
    }
    store_row_partials<kTile>(p, begin, from, to, n, b.dB,
                              static_cast<T*>(partials.dB) + row_index * p.d_state);
    store_row_partials<kTile>(p, begin, from, to, n, b.dC,
                              static_cast<T*>(partials.dC) + row_index * p.d_state);
  }
  return n;
}

template <bool kGate, typename T>
void backward_run(const SelectiveScanBackwardParams& p, const Chunk<T>& chunk, int64_t begin,
                  const Run& run, int64_t row_index, const Backward<T>& b,
                  const SelectiveScanPartials& partials) {
  for (int64_t n = 0; n < chunk.d_state;) {
    const int64_t group = std::min(n + kGroup, chunk.d_state);
    Backward<T> sums = b;
    if (n > 0) {
      sums.sum_BG = b.part_BG;
      sums.sum_dA = b.part_dA;
      sums.y = b.part_y;
    }
    n = backward_tiles<kBackwardTile, kGate>(p, chunk, begin, run, row_index, n, group, sums,
                                             partials);
    n = backward_tiles<1, kGate>(p, chunk, begin, run, row_index, n, group, sums, partials);
    if (sums.y == b.y) continue;
    add_rows(chunk, run.begin - begin, run.end - begin, b.part_BG, b.sum_BG);
    add_rows(chunk, run.begin - begin, run.end - begin, b.part_dA, b.sum_dA);
    add_rows(chunk, run.begin - begin, run.end - begin, b.part_y, b.y);
  }
}

// The rows' own gradients from the sums over states. Adds to dD and dbias.
template <typename T>
void finish_gradients(const SelectiveScanBackwardParams& p, const Region& region, int64_t begin,
                      int64_t end, const Chunk<T>& chunk, const OutputGradient<T>& gradient,
                      const Backward<T>& b, T* row) {
  const hn::ScalableTag<T> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto one = hn::Set(d, T{1});
  const auto ln2 = hn::Set(d, static_cast<T>(kLn2));
  T* du = row;
  T* ddelta = row + region.width;
  T* dz = row + 2 * region.width;
  for (int64_t tau = begin; tau < end; ++tau) {
    const int64_t j = tau - begin;
    for (int64_t c = 0; c < region.width; c += lanes) {
      const int64_t at = j * region.width + c;
      const auto u = hn::Load(d, chunk.u + at);
      const auto dy = hn::Load(d, gradient.dy + at);
      const auto D = hn::Load(d, chunk.D + c);
      const auto sum_BG = hn::Load(d, b.sum_BG + at);
      const auto delta_term = hn::Mul(hn::Load(d, b.sum_dA + at), ln2);
      const auto into_delta =
          hn::Mul(hn::MulAdd(u, sum_BG, delta_term), hn::Load(d, chunk.slope + at));
      hn::Store(hn::MulAdd(hn::Load(d, chunk.delta + at), sum_BG, hn::Mul(D, dy)), d, du + c);
      hn::Store(into_delta, d, ddelta + c);
      add_compensated(d, hn::Mul(dy, u), b.dD + c, b.dD_rest + c);
      add_compensated(d, into_delta, b.dbias + c, b.dbias_rest + c);
      if (p.z.data == nullptr) continue;
      const auto y = hn::MulAdd(D, u, hn::Load(d, b.y + at));
      const auto z = hn::Load(d, gradient.z + at);
      const auto s = sigmoid(d, z);
      const auto slope = hn::Mul(s, hn::MulAdd(z, hn::Sub(one, s), one));
      hn::Store(hn::Mul(hn::Mul(hn::Load(d, gradient.dout + at), y), slope), d, dz + c);
    }
    const int64_t position = position_of(p, tau);
    store_row(p.dtype, p.du, region.batch, position, region.channel, region.channels, du);
    store_row(p.dtype, p.ddelta, region.batch, position, region.channel, region.channels, ddelta);
    if (p.z.data != nullptr)
      store_row(p.dtype, p.dz, region.batch, position, region.channel, region.channels, dz);
  }
}

template <typename T>
void backward_chunk(const SelectiveScanBackwardParams& p, const SelectiveScanDivision& division,
                    const SelectiveScanTask& task, const Region& region, int64_t k,
                    const Chunk<T>& chunk, const OutputGradient<T>& gradient, const Backward<T>& b,
                    const SelectiveScanPartials& partials) {
  const int64_t begin = k * kChunk;
  const int64_t end = std::min(begin + kChunk, p.length);
  load_chunk(p, region, begin, end, true, chunk);
  load_output_gradient(p, region, begin, end, gradient);
  for (T* sums : {b.sum_BG, b.sum_dA, b.y}) std::fill_n(sums, (end - begin) * region.width, T{0});
  const int64_t row_index = (task.channel_block * p.batch + task.batch) * p.length;
  for (int64_t tau = end; tau > begin;) {
    const Run run = run_before(p, region.batch, tau, begin);
    if (run.last) load_sequence_state(p, region, p.dfinal_state, run.sequence, b.g);
    if (run.first)
      load_sequence_state(p, region, p.initial_state, run.sequence, b.start);
    else
      load_block(p, region, p.checkpoints, task.batch * division.chunks + k, p.d_state, b.start);
    if (p.z.data != nullptr)
      backward_run<true>(p, chunk, begin, run, row_index, b, partials);
    else
      backward_run<false>(p, chunk, begin, run, row_index, b, partials);
    if (run.first && p.dinitial_state != nullptr)
      store_sequence_state(p, region, b.g, run.sequence, p.dinitial_state);
    tau = run.begin;
  }
}

template <typename T>
void backward_task(const SelectiveScanBackwardParams& p, const SelectiveScanDivision& division,
                   const SelectiveScanTask& task, const SelectiveScanCarries* carries,
                   const SelectiveScanPartials& partials) {
  const Region region = region_of(p, division, task);
  Arena<T> arena(Chunk<T>::elements(region.width, p.d_state) +
                 OutputGradient<T>::elements(region.width) +
                 Backward<T>::elements(region.width, p.d_state) + 3 * region.width);
  const Chunk<T> chunk = make_chunk(p, region, true, arena);
  const OutputGradient<T> gradient = make_output_gradient(region.width, arena);
  Backward<T> b = make_backward(p, region, arena);
  b.dy = gradient.dy;
  T* row = arena.take(3 * region.width);
  if (task.segment == 0 && p.dinitial_state != nullptr)
    copy_empty_sequences(p, region, p.dfinal_state, p.dinitial_state, b.start);
  const int64_t index = task.batch * division.segments + task.segment;
  if (carries != nullptr) load_block(p, region, carries->states, index, p.d_state, b.g);
  for (int64_t k = region.chunk_end - 1; k >= region.chunk_begin; --k) {
    const int64_t begin = k * kChunk;
    const int64_t end = std::min(begin + kChunk, p.length);
    backward_chunk(p, division, task, region, k, chunk, gradient, b, partials);
    finish_gradients(p, region, begin, end, chunk, gradient, b, row);
  }
  store_block(p, region, b.dA, index, p.d_state, partials.dA);
  store_block(p, region, b.dD, index, 1, partials.dD);
  store_block(p, region, b.dbias, index, 1, partials.ddelta_bias);
}

// ------------------------------------------------------------------------------- sums of partials

template <typename T>
void reduce_channels(const SelectiveScanBackwardParams& p, const SelectiveScanDivision& division,
                     int64_t channel_block, const SelectiveScanPartials& partials) {
  const Region region = region_of(p, division, {0, channel_block, 0});
  const int64_t size = p.d_state * region.width;
  Arena<T> arena(2 * size);
  T* sum = arena.take(size);
  T* part = arena.take(size);
  const auto reduce = [&](const void* from, int64_t rows, void* to) {
    if (to == nullptr) return;
    std::fill_n(sum, size, T{0});
    for (int64_t index = 0; index < p.batch * division.segments; ++index) {
      load_block(p, region, from, index, rows, part);
      for (int64_t i = 0; i < rows * region.width; ++i) sum[i] += part[i];
    }
    if (rows == 1)
      store_block(p, region, sum, 0, 1, to);
    else
      store_sequence_state(p, region, sum, 0, to);
  };
  reduce(partials.dA, p.d_state, p.dA);
  reduce(partials.dD, 1, p.dD);
  reduce(partials.ddelta_bias, 1, p.ddelta_bias);
}

template <typename T>
void reduce_rows(const SelectiveScanBackwardParams& p, const SelectiveScanDivision& division,
                 int64_t batch, int64_t chunk, const SelectiveScanPartials& partials) {
  Arena<T> arena(round_up(p.d_state, kPad));
  T* sum = arena.take(round_up(p.d_state, kPad));
  const int64_t end = std::min((chunk + 1) * kChunk, p.length);
  const auto reduce = [&](const void* from, int64_t position, const MutableRows& to) {
    std::fill_n(sum, p.d_state, T{0});
    for (int64_t block = 0; block < division.channel_blocks; ++block) {
      const T* part = static_cast<const T*>(from) +
                      ((block * p.batch + batch) * p.length + position) * p.d_state;
      for (int64_t n = 0; n < p.d_state; ++n) sum[n] += part[n];
    }
    store_row(p.dtype, to, batch, position, 0, p.d_state, sum);
  };
  for (int64_t position = chunk * kChunk; position < end; ++position) {
    reduce(partials.dB, position, p.dB);
    reduce(partials.dC, position, p.dC);
  }
}

}  // namespace

// ------------------------------------------------------------------ entries, by type of arithmetic

void run_end_states(const SelectiveScanParams& p, const SelectiveScanDivision& division,
                    const SelectiveScanTask& task, const SelectiveScanCarries& carries) {
  p.dtype == Dtype::kFloat64 ? end_states<double>(p, division, task, carries)
                             : end_states<float>(p, division, task, carries);
}

void run_pass_carries(const SelectiveScanParams& p, const SelectiveScanDivision& division,
                      const SelectiveScanTask& task, const SelectiveScanCarries& carries,
                      bool adjoint) {
  p.dtype == Dtype::kFloat64 ? pass_carries<double>(p, division, task, carries, adjoint)
                             : pass_carries<float>(p, division, task, carries, adjoint);
}

void run_forward_task(const SelectiveScanForwardParams& p, const SelectiveScanDivision& division,
                      const SelectiveScanTask& task, const SelectiveScanCarries* carries) {
  p.dtype == Dtype::kFloat64 ? forward_task<double>(p, division, task, carries)
                             : forward_task<float>(p, division, task, carries);
}

void run_end_adjoints(const SelectiveScanBackwardParams& p, const SelectiveScanDivision& division,
                      const SelectiveScanTask& task, const SelectiveScanCarries& carries) {
  p.dtype == Dtype::kFloat64 ? end_adjoints<double>(p, division, task, carries)
                             : end_adjoints<float>(p, division, task, carries);
}

void run_backward_task(const SelectiveScanBackwardParams& p, const SelectiveScanDivision& division,
                       const SelectiveScanTask& task, const SelectiveScanCarries* carries,
                       const SelectiveScanPartials& partials) {
  p.dtype == Dtype::kFloat64 ? backward_task<double>(p, division, task, carries, partials)
                             : backward_task<float>(p, division, task, carries, partials);
}

void run_reduce_channels(const SelectiveScanBackwardParams& p,
                         const SelectiveScanDivision& division, int64_t channel_block,
                         const SelectiveScanPartials& partials) {
  p.dtype == Dtype::kFloat64 ? reduce_channels<double>(p, division, channel_block, partials)
                             : reduce_channels<float>(p, division, channel_block, partials);
}

void run_reduce_rows(const SelectiveScanBackwardParams& p, const SelectiveScanDivision& division,
                     int64_t batch, int64_t chunk, const SelectiveScanPartials& partials) {
  p.dtype == Dtype::kFloat64 ? reduce_rows<double>(p, division, batch, chunk, partials)
                             : reduce_rows<float>(p, division, batch, chunk, partials);
}

}  // namespace strandwave::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace strandwave::kernels {

HWY_EXPORT(run_end_states);
HWY_EXPORT(run_pass_carries);
HWY_EXPORT(run_forward_task);
HWY_EXPORT(run_end_adjoints);
HWY_EXPORT(run_backward_task);
HWY_EXPORT(run_reduce_channels);
HWY_EXPORT(run_reduce_rows);

namespace {

int64_t divide_up(int64_t n, int64_t by) { return (n + by - 1) / by; }

}  // namespace

SelectiveScanDivision divide_selective_scan(const SelectiveScanParams& params) {
  constexpr int64_t kEnoughTasks = 16;       // narrow the channel blocks below this
  constexpr int64_t kFewTasks = 8;           // cut the length below this: costs half as much again
  constexpr int64_t kMinSegmentChunks = 16;  // or the carries cost more than they bring
  SelectiveScanDivision division;
  division.chunks = divide_up(params.length, SelectiveScanDivision::kChunk);
  // Wide blocks share each row of B and C and their gradients' partial sums among more channels.
  const int64_t narrowest = std::max<int64_t>(16, params.d_state / 4);
  int64_t block = 64;
  while (block > narrowest && params.batch * divide_up(params.channels, block) < kEnoughTasks)
    block /= 2;
  division.channel_block = block;
  division.channel_blocks = divide_up(params.channels, block);
  const int64_t tasks = std::max<int64_t>(1, params.batch * division.channel_blocks);
  int64_t segments = 1;
  if (tasks < kFewTasks)
    segments = std::min(divide_up(kFewTasks, tasks), division.chunks / kMinSegmentChunks);
  division.segment_chunks = divide_up(division.chunks, std::max<int64_t>(1, segments));
  division.segments =
      division.chunks == 0 ? 1 : divide_up(division.chunks, division.segment_chunks);
  return division;
}

void selective_scan_end_states(const SelectiveScanParams& params,
                               const SelectiveScanDivision& division, const SelectiveScanTask& task,
                               const SelectiveScanCarries& carries) {
  HWY_DYNAMIC_DISPATCH(run_end_states)(params, division, task, carries);
}

void selective_scan_enter_states(const SelectiveScanParams& params,
                                 const SelectiveScanDivision& division,
                                 const SelectiveScanTask& task,
                                 const SelectiveScanCarries& carries) {
  HWY_DYNAMIC_DISPATCH(run_pass_carries)(params, division, task, carries, false);
}

void selective_scan_forward_task(const SelectiveScanForwardParams& params,
                                 const SelectiveScanDivision& division,
                                 const SelectiveScanTask& task,
                                 const SelectiveScanCarries* carries) {
  HWY_DYNAMIC_DISPATCH(run_forward_task)(params, division, task, carries);
}

void selective_scan_end_adjoints(const SelectiveScanBackwardParams& params,
                                 const SelectiveScanDivision& division,
                                 const SelectiveScanTask& task,
                                 const SelectiveScanCarries& carries) {
  HWY_DYNAMIC_DISPATCH(run_end_adjoints)(params, division, task, carries);
}

void selective_scan_enter_adjoints(const SelectiveScanBackwardParams& params,
                                   const SelectiveScanDivision& division,
                                   const SelectiveScanTask& task,
                                   const SelectiveScanCarries& carries) {
  HWY_DYNAMIC_DISPATCH(run_pass_carries)(params, division, task, carries, true);
}

void selective_scan_backward_task(const SelectiveScanBackwardParams& params,
                                  const SelectiveScanDivision& division,
                                  const SelectiveScanTask& task,
                                  const SelectiveScanCarries* carries,
                                  const SelectiveScanPartials& partials) {
  HWY_DYNAMIC_DISPATCH(run_backward_task)(params, division, task, carries, partials);
}

void selective_scan_reduce_channels(const SelectiveScanBackwardParams& params,
                                    const SelectiveScanDivision& division, int64_t channel_block,
                                    const SelectiveScanPartials& partials) {
  HWY_DYNAMIC_DISPATCH(run_reduce_channels)(params, division, channel_block, partials);
}

void selective_scan_reduce_rows(const SelectiveScanBackwardParams& params,
                                const SelectiveScanDivision& division, int64_t batch, int64_t chunk,
                                const SelectiveScanPartials& partials) {
  HWY_DYNAMIC_DISPATCH(run_reduce_rows)(params, division, batch, chunk, partials);
}

}  // namespace strandwave::kernels
#endif  // HWY_ONCE
