// See selective_scan_raw.h for the division of work. Lanes hold channels: rows of u and delta are
// contiguous, and B_t and C_t are the same for all lanes. Inside a chunk the loops run over tiles
// of states, then vectors of channels, then positions, so that a tile's states and decay rates stay
// in registers; independent states hide the latency of the exponential.
// What differs between real and complex states is in selective_scan_real-inl.h and
// selective_scan_complex-inl.h; complex states lie as rows of real and imaginary parts in turn.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/selective_scan/selective_scan_simd.cpp"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per target.
#include <hwy/highway.h>

#include "kernels/common/simd_math-inl.h"
#include "kernels/selective_scan/selective_scan_block-inl.h"
#include "kernels/selective_scan/selective_scan_complex-inl.h"
#include "kernels/selective_scan/selective_scan_raw.h"
#include "kernels/selective_scan/selective_scan_real-inl.h"

HWY_BEFORE_NAMESPACE();
namespace strandwave::kernels::HWY_NAMESPACE {
namespace {
// ------------------------------------------------------------------------------ forward recurrence

// States is RealStates or ComplexStates. n counts rows of block states.
template <class States, int kTile, bool kOutput, typename T>
int64_t scan_tiles(const Chunk<T>& chunk, int64_t begin, int64_t end, int64_t n, int64_t n_end,
                   T* states, T* y) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(hn::ScalableTag<T>()));
  for (; n + kTile * States::kRows <= n_end; n += kTile * States::kRows)
    for (int64_t c = 0; c < chunk.width; c += lanes)
      States::template scan_tile<kTile, kOutput>(chunk, begin, end, n, c, states, y);
  return n;
}

// states [d_state][width] before row `begin` become those after row end - 1. y and part:
// [kChunk][width]; part is zero before and after.
template <class States, bool kOutput, typename T>
void scan_rows(const Chunk<T>& chunk, int64_t begin, int64_t end, T* states, T* y, T* part) {
  for (int64_t n = 0; n < chunk.d_state;) {
    const int64_t group = std::min(n + States::kGroup, chunk.d_state);
    T* sum = n == 0 ? y : part;
    n = scan_tiles<States, States::kForwardTile, kOutput>(chunk, begin, end, n, group, states, sum);
    n = scan_tiles<States, States::kMiddleTile, kOutput>(chunk, begin, end, n, group, states, sum);
    n = scan_tiles<States, 1, kOutput>(chunk, begin, end, n, group, states, sum);
    if (kOutput && sum == part) add_rows(chunk, begin, end, part, y);
  }
}

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

template <class States, typename T>
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
        scan_rows<States, true>(chunk, run.begin - begin, run.end - begin, h, y, part);
      else
        scan_rows<States, false>(chunk, run.begin - begin, run.end - begin, h, y, part);
      if (run.last) store_sequence_state(p, region, h, run.sequence, p.final_state);
      tau = run.end;
    }
    if (output) finish_output(p, region, begin, end, chunk, y, z);
  }
}

// --------------------------------------------------------------------------- carries of segments

template <class States, typename T>
void end_states(const SelectiveScanParams& p, const SelectiveScanDivision& division,
                const SelectiveScanTask& task, const SelectiveScanCarries& carries) {
  const Region region = region_of(p, division, task);
  Arena<T> arena(Chunk<T>::elements(region.width, p.d_state) +
                 (States::kDeltaSums + p.d_state) * region.width);
  const Chunk<T> chunk = make_chunk(p, region, false, arena);
  T* sums = arena.take(States::kDeltaSums * region.width);
  T* h = arena.take(p.d_state * region.width);
  std::fill_n(sums, States::kDeltaSums * region.width, T{0});
  std::fill_n(h, p.d_state * region.width, T{0});
  for (int64_t k = region.chunk_begin; k < region.chunk_end; ++k) {
    const int64_t begin = k * kChunk;
    const int64_t end = std::min(begin + kChunk, p.length);
    load_chunk(p, region, begin, end, false, chunk);
    States::add_deltas(chunk, end - begin, sums);
    for (int64_t tau = begin; tau < end;) {
      const Run run = run_at(p, region.batch, tau, end);
      if (run.first) load_sequence_state(p, region, p.initial_state, run.sequence, h);
      scan_rows<States, false, T>(chunk, run.begin - begin, run.end - begin, h, nullptr, nullptr);
      tau = run.end;
    }
  }
  const int64_t index = task.batch * division.segments + task.segment;
  store_block(p, region, h, index, p.d_state, carries.states);
  store_block(p, region, sums, index, States::kDeltaSums, carries.delta_sums);
}

// Replaces each segment's end state by the state that enters it: carry = exp(A sum) carry + end,
// unless a border cuts the segment. The adjoint runs through the segments backwards.
template <class States, typename T>
void pass_carries(const SelectiveScanParams& p, const SelectiveScanDivision& division,
                  const SelectiveScanTask& task, const SelectiveScanCarries& carries,
                  bool adjoint) {
  const Region block = region_of(p, division, task);
  const int64_t size = p.d_state * block.width;
  Arena<T> arena(DecayRates<T>::elements(block.width, p.d_state) + 2 * size +
                 States::kDeltaSums * block.width);
  const DecayRates<T> rates = load_decay_rates(p, block, arena);
  T* carry = arena.take(size);
  T* local = arena.take(size);
  T* sums = arena.take(States::kDeltaSums * block.width);
  std::fill_n(carry, size, T{0});
  for (int64_t step = 0; step < division.segments; ++step) {
    const int64_t segment = adjoint ? division.segments - 1 - step : step;
    const int64_t index = task.batch * division.segments + segment;
    const Region region = region_of(p, division, {task.batch, task.channel_block, segment});
    load_block(p, block, carries.states, index, p.d_state, local);
    load_block(p, block, carries.delta_sums, index, States::kDeltaSums, sums);
    store_block(p, block, carry, index, p.d_state, carries.states);
    if (has_border(p, region, !adjoint)) {
      std::swap(carry, local);
      continue;
    }
    States::compose(rates, p.d_state, block.width, sums, local, adjoint, carry);
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

template <class States, int kTile, typename T>
int64_t adjoint_tiles(const Chunk<T>& chunk, int64_t begin, int64_t end, int64_t n, const T* dy,
                      T* states) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(hn::ScalableTag<T>()));
  for (; n + kTile * States::kRows <= chunk.d_state; n += kTile * States::kRows)
    for (int64_t c = 0; c < chunk.width; c += lanes)
      States::template adjoint_state_tile<kTile>(chunk, begin, end, n, c, dy, states);
  return n;
}

template <class States, typename T>
void end_adjoints(const SelectiveScanBackwardParams& p, const SelectiveScanDivision& division,
                  const SelectiveScanTask& task, const SelectiveScanCarries& carries) {
  const Region region = region_of(p, division, task);
  Arena<T> arena(Chunk<T>::elements(region.width, p.d_state) +
                 OutputGradient<T>::elements(region.width) +
                 (States::kDeltaSums + p.d_state) * region.width);
  const Chunk<T> chunk = make_chunk(p, region, false, arena);
  const OutputGradient<T> gradient = make_output_gradient(region.width, arena);
  T* sums = arena.take(States::kDeltaSums * region.width);
  T* g = arena.take(p.d_state * region.width);
  std::fill_n(sums, States::kDeltaSums * region.width, T{0});
  std::fill_n(g, p.d_state * region.width, T{0});
  for (int64_t k = region.chunk_end - 1; k >= region.chunk_begin; --k) {
    const int64_t begin = k * kChunk;
    const int64_t end = std::min(begin + kChunk, p.length);
    load_chunk(p, region, begin, end, true, chunk);
    load_output_gradient(p, region, begin, end, gradient);
    States::add_deltas(chunk, end - begin, sums);
    for (int64_t tau = end; tau > begin;) {
      const Run run = run_before(p, region.batch, tau, begin);
      if (run.last) load_sequence_state(p, region, p.dfinal_state, run.sequence, g);
      const int64_t from = run.begin - begin, to = run.end - begin;
      const int64_t n =
          adjoint_tiles<States, States::kBackwardTile>(chunk, from, to, 0, gradient.dy, g);
      adjoint_tiles<States, 1>(chunk, from, to, n, gradient.dy, g);
      tau = run.begin;
    }
  }
  const int64_t index = task.batch * division.segments + task.segment;
  store_block(p, region, g, index, p.d_state, carries.states);
  store_block(p, region, sums, index, States::kDeltaSums, carries.delta_sums);
}

template <class States, int kTile, bool kGate, typename T>
int64_t backward_tiles(const SelectiveScanBackwardParams& p, const Chunk<T>& chunk, int64_t begin,
                       const Run& run, int64_t row_index, int64_t n, int64_t n_end,
                       const Backward<T>& b, const SelectiveScanPartials& partials) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(hn::ScalableTag<T>()));
  const int64_t from = run.begin - begin, to = run.end - begin;
  constexpr int kRows = kTile * States::kRows;
  for (; n + kRows <= n_end; n += kRows) {
    for (int64_t c = 0; c < chunk.width; c += lanes) {
      States::template recompute_tile<kTile, kGate>(chunk, from, to, n, c, b);
      if (c == 0)
        States::template adjoint_tile<kTile, true>(chunk, from, to, n, c, b);
      else
        States::template adjoint_tile<kTile, false>(chunk, from, to, n, c, b);
    }
    store_row_partials<kRows>(p, begin, from, to, n, b.dB,
                              static_cast<T*>(partials.dB) + row_index * p.d_state);
    store_row_partials<kRows>(p, begin, from, to, n, b.dC,
                              static_cast<T*>(partials.dC) + row_index * p.d_state);
  }
  return n;
}

template <class States, bool kGate, typename T>
void backward_run(const SelectiveScanBackwardParams& p, const Chunk<T>& chunk, int64_t begin,
                  const Run& run, int64_t row_index, const Backward<T>& b,
                  const SelectiveScanPartials& partials) {
  for (int64_t n = 0; n < chunk.d_state;) {
    const int64_t group = std::min(n + States::kGroup, chunk.d_state);
    Backward<T> sums = b;
    if (n > 0) {
      sums.sum_BG = b.part_BG;
      sums.sum_dA = b.part_dA;
      sums.y = b.part_y;
    }
    n = backward_tiles<States, States::kBackwardTile, kGate>(p, chunk, begin, run, row_index, n,
                                                             group, sums, partials);
    n = backward_tiles<States, 1, kGate>(p, chunk, begin, run, row_index, n, group, sums, partials);
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

template <class States, typename T>
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
      backward_run<States, true>(p, chunk, begin, run, row_index, b, partials);
    else
      backward_run<States, false>(p, chunk, begin, run, row_index, b, partials);
    if (run.first && p.dinitial_state != nullptr)
      store_sequence_state(p, region, b.g, run.sequence, p.dinitial_state);
    tau = run.begin;
  }
}

template <class States, typename T>
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
    backward_chunk<States>(p, division, task, region, k, chunk, gradient, b, partials);
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

// Calls call(states, zero) with objects of the types that the parameters ask for.
template <typename Call>
void with_types(const SelectiveScanParams& p, Call&& call) {
  const bool is_double = p.dtype == Dtype::kFloat64;
  if (p.complex)
    is_double ? call(ComplexStates(), double()) : call(ComplexStates(), float());
  else
    is_double ? call(RealStates(), double()) : call(RealStates(), float());
}

void run_end_states(const SelectiveScanParams& p, const SelectiveScanDivision& division,
                    const SelectiveScanTask& task, const SelectiveScanCarries& carries) {
  with_types(p, [&](auto states, auto zero) {
    end_states<decltype(states), decltype(zero)>(p, division, task, carries);
  });
}

void run_pass_carries(const SelectiveScanParams& p, const SelectiveScanDivision& division,
                      const SelectiveScanTask& task, const SelectiveScanCarries& carries,
                      bool adjoint) {
  with_types(p, [&](auto states, auto zero) {
    pass_carries<decltype(states), decltype(zero)>(p, division, task, carries, adjoint);
  });
}

void run_forward_task(const SelectiveScanForwardParams& p, const SelectiveScanDivision& division,
                      const SelectiveScanTask& task, const SelectiveScanCarries* carries) {
  with_types(p, [&](auto states, auto zero) {
    forward_task<decltype(states), decltype(zero)>(p, division, task, carries);
  });
}

void run_end_adjoints(const SelectiveScanBackwardParams& p, const SelectiveScanDivision& division,
                      const SelectiveScanTask& task, const SelectiveScanCarries& carries) {
  with_types(p, [&](auto states, auto zero) {
    end_adjoints<decltype(states), decltype(zero)>(p, division, task, carries);
  });
}

void run_backward_task(const SelectiveScanBackwardParams& p, const SelectiveScanDivision& division,
                       const SelectiveScanTask& task, const SelectiveScanCarries* carries,
                       const SelectiveScanPartials& partials) {
  with_types(p, [&](auto states, auto zero) {
    backward_task<decltype(states), decltype(zero)>(p, division, task, carries, partials);
  });
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
