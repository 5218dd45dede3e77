// The recurrence of the selective scan over real states, per highway target.

// NOLINTNEXTLINE: the per-target include guard of highway
#if defined(STRANDWAVE_KERNELS_SELECTIVE_SCAN_REAL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef STRANDWAVE_KERNELS_SELECTIVE_SCAN_REAL_INL_H_
#undef STRANDWAVE_KERNELS_SELECTIVE_SCAN_REAL_INL_H_
#else
#define STRANDWAVE_KERNELS_SELECTIVE_SCAN_REAL_INL_H_
#endif

#include <cstdint>

#include <hwy/highway.h>

#include "kernels/common/simd_math-inl.h"
#include "kernels/selective_scan/selective_scan_block-inl.h"

HWY_BEFORE_NAMESPACE();
namespace strandwave::kernels::HWY_NAMESPACE {
namespace {

// How real states advance. The same members are those of ComplexStates.
struct RealStates {
  static constexpr int kRows = 1;  // of block states that are one state
  // States whose value and decay rate fit in registers together.
  static constexpr int kForwardTile = HWY_TARGET == HWY_AVX3 ? 8 : 4;
  static constexpr int kMiddleTile = 4;
  static constexpr int kBackwardTile = kBackwardRows;
  static constexpr int64_t kGroup = 16;     // rows whose sums over n are added one after the other
  static constexpr int64_t kDeltaSums = 1;  // rows that hold the sum of delta over a segment

  // Rows [begin, end) of a chunk for kTile states from n and the channels of one vector from c:
  // h = exp2(delta A) h + delta u B, and, with kOutput, y += C h.
  template <int kTile, bool kOutput, typename T>
  static HWY_INLINE void scan_tile(const Chunk<T>& chunk, int64_t begin, int64_t end, int64_t n,
                                   int64_t c, T* HWY_RESTRICT states, T* HWY_RESTRICT y) {
    const hn::ScalableTag<T> d;
    using V = hn::Vec<decltype(d)>;
    const int64_t width = chunk.width;
    V h[kTile], A[kTile];
    for (int i = 0; i < kTile; ++i) {
      h[i] = hn::Load(d, states + (n + i) * width + c);
      A[i] = hn::Load(d, chunk.rates.A + (n + i) * width + c);
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

  // The adjoint state alone, rows from end - 1 down to begin: g = exp2(delta A) (g + dy C).
  template <int kTile, typename T>
  static HWY_INLINE void adjoint_state_tile(const Chunk<T>& chunk, int64_t begin, int64_t end,
                                            int64_t n, int64_t c, const T* dy,
                                            T* HWY_RESTRICT states) {
    const hn::ScalableTag<T> d;
    using V = hn::Vec<decltype(d)>;
    const int64_t width = chunk.width;
    V g[kTile], A[kTile];
    for (int i = 0; i < kTile; ++i) {
      g[i] = hn::Load(d, states + (n + i) * width + c);
      A[i] = hn::Load(d, chunk.rates.A + (n + i) * width + c);
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

  // Runs rows [begin, end) forward once more, keeping the states (before each row) and the decays.
  template <int kTile, bool kGate, typename T>
  static HWY_INLINE void recompute_tile(const Chunk<T>& chunk, int64_t begin, int64_t end,
                                        int64_t n, int64_t c, const Backward<T>& b) {
    const hn::ScalableTag<T> d;
    using V = hn::Vec<decltype(d)>;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    const int64_t width = chunk.width;
    V h[kTile], A[kTile];
    for (int i = 0; i < kTile; ++i) {
      h[i] = hn::Load(d, b.start + (n + i) * width + c);
      A[i] = hn::Load(d, chunk.rates.A + (n + i) * width + c);
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
  // sum_BG += B G, ga = a G is the gradient that enters h_{j-1}, and q = ga h_{j-1} that of delta
  // A.
  template <int kTile, bool kFirst, typename T>
  static HWY_INLINE void adjoint_tile(const Chunk<T>& chunk, int64_t begin, int64_t end, int64_t n,
                                      int64_t c, const Backward<T>& b) {
    const hn::ScalableTag<T> d;
    using V = hn::Vec<decltype(d)>;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    const int64_t width = chunk.width;
    V g[kTile], dA[kTile], A[kTile], h[kTile];
    for (int i = 0; i < kTile; ++i) {
      g[i] = hn::Load(d, b.g + (n + i) * width + c);
      dA[i] = hn::Zero(d);
      A[i] = hn::Load(d, chunk.rates.A + (n + i) * width + c);
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

  // Adds a chunk's rows of delta to the sums.
  template <typename T>
  static void add_deltas(const Chunk<T>& chunk, int64_t rows, T* sums) {
    for (int64_t j = 0; j < rows; ++j)
      for (int64_t c = 0; c < chunk.width; ++c) sums[c] += chunk.delta[j * chunk.width + c];
  }

  // carry = exp(A sum) carry + local, all [d_state][width]; sums [kDeltaSums][width].
  template <typename T>
  static void compose(const DecayRates<T>& rates, int64_t d_state, int64_t width, const T* sums,
                      const T* local, bool /*adjoint*/, T* carry) {
    const hn::ScalableTag<T> d;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    for (int64_t n = 0; n < d_state; ++n) {
      for (int64_t c = 0; c < width; c += lanes) {
        const int64_t at = n * width + c;
        const auto decay = exp2_of_product(d, hn::Load(d, sums + c), hn::Load(d, rates.A + at));
        hn::Store(hn::MulAdd(decay, hn::Load(d, carry + at), hn::Load(d, local + at)), d,
                  carry + at);
      }
    }
  }
};

}  // namespace
}  // namespace strandwave::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
