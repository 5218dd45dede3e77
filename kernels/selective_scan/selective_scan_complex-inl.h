// The recurrence of the selective scan over complex states, per highway target.

// NOLINTNEXTLINE: the per-target include guard of highway
#if defined(STRANDWAVE_KERNELS_SELECTIVE_SCAN_COMPLEX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef STRANDWAVE_KERNELS_SELECTIVE_SCAN_COMPLEX_INL_H_
#undef STRANDWAVE_KERNELS_SELECTIVE_SCAN_COMPLEX_INL_H_
#else
#define STRANDWAVE_KERNELS_SELECTIVE_SCAN_COMPLEX_INL_H_
#endif

#include <cstdint>

#include <hwy/highway.h>

#include "kernels/common/simd_math-inl.h"
#include "kernels/selective_scan/selective_scan_block-inl.h"

HWY_BEFORE_NAMESPACE();
namespace strandwave::kernels::HWY_NAMESPACE {
namespace {

// exp(delta A), A given by the rates' rows: 2^(delta scale), turned by delta (turn + turn_rest)
// quarter turns.
template <class D>
HWY_INLINE void complex_decay(D d, hn::Vec<D> delta, hn::Vec<D> scale, hn::Vec<D> turn,
                              hn::Vec<D> turn_rest, hn::Vec<D>& real, hn::Vec<D>& imaginary) {
  const auto modulus = exp2_of_product(d, delta, scale);
  cos_sin_of_quarter_turns(d, delta, turn, hn::Mul(delta, turn_rest), real, imaginary);
  real = hn::Mul(real, modulus);
  imaginary = hn::Mul(imaginary, modulus);
}

// A tile's decay rates at one vector of channels; n counts rows of block states.
template <int kTile, typename T>
struct ComplexRates {
  using D = hn::ScalableTag<T>;
  using V = hn::Vec<D>;
  V scale[kTile], turn[kTile], turn_rest[kTile];

  HWY_INLINE ComplexRates(const DecayRates<T>& rates, int64_t width, int64_t n, int64_t c) {
    const D d;
    for (int i = 0; i < kTile; ++i) {
      const int64_t at = (n / 2 + i) * width + c;
      scale[i] = hn::Load(d, rates.A + (n + 2 * i) * width + c);
      turn[i] = hn::Load(d, rates.turn + at);
      turn_rest[i] = hn::Load(d, rates.turn_rest + at);
    }
  }
  HWY_INLINE void decay(int i, V delta, V& real, V& imaginary) const {
    complex_decay(D(), delta, scale[i], turn[i], turn_rest[i], real, imaginary);
  }
};

// How complex states advance: rows 2n and 2n + 1 of block states are the parts of state n. Members
// as those of RealStates; a tile is kTile complex states. C is doubled (see Chunk).
struct ComplexStates {
  static constexpr int kRows = 2;
  static constexpr int kForwardTile = HWY_TARGET == HWY_AVX3 ? 4 : 2;
  static constexpr int kMiddleTile = 2;
  static constexpr int kBackwardTile = kBackwardRows / kRows;
  static constexpr int64_t kGroup = 32;
  static constexpr int64_t kDeltaSums = 2;  // the second row holds the rounding errors of the first

  template <int kTile, bool kOutput, typename T>
  static HWY_INLINE void scan_tile(const Chunk<T>& chunk, int64_t begin, int64_t end, int64_t n,
                                   int64_t c, T* HWY_RESTRICT states, T* HWY_RESTRICT y) {
    const hn::ScalableTag<T> d;
    using V = hn::Vec<decltype(d)>;
    const int64_t width = chunk.width;
    const ComplexRates<kTile, T> rates(chunk.rates, width, n, c);
    V real[kTile], imaginary[kTile];
    for (int i = 0; i < kTile; ++i) {
      real[i] = hn::Load(d, states + (n + 2 * i) * width + c);
      imaginary[i] = hn::Load(d, states + (n + 2 * i + 1) * width + c);
    }
    for (int64_t j = begin; j < end; ++j) {
      const V delta = hn::Load(d, chunk.delta + j * width + c);
      const V delta_u = hn::Load(d, chunk.delta_u + j * width + c);
      const T* HWY_RESTRICT B = chunk.B + j * chunk.d_state + n;
      const T* HWY_RESTRICT C = chunk.C + j * chunk.d_state + n;
      V sum = hn::Zero(d);
      for (int i = 0; i < kTile; ++i) {
        advance(d, rates, i, delta, delta_u, B, real[i], imaginary[i]);
        if constexpr (kOutput) sum = add_output(d, C + 2 * i, real[i], imaginary[i], sum);
      }
      if constexpr (kOutput)
        hn::Store(hn::Add(sum, hn::Load(d, y + j * width + c)), d, y + j * width + c);
    }
    for (int i = 0; i < kTile; ++i) {
      hn::Store(real[i], d, states + (n + 2 * i) * width + c);
      hn::Store(imaginary[i], d, states + (n + 2 * i + 1) * width + c);
    }
  }

  // g = conj(exp(delta A)) (g + dy conj(C)).
  template <int kTile, typename T>
  static HWY_INLINE void adjoint_state_tile(const Chunk<T>& chunk, int64_t begin, int64_t end,
                                            int64_t n, int64_t c, const T* dy,
                                            T* HWY_RESTRICT states) {
    const hn::ScalableTag<T> d;
    using V = hn::Vec<decltype(d)>;
    const int64_t width = chunk.width;
    const ComplexRates<kTile, T> rates(chunk.rates, width, n, c);
    V real[kTile], imaginary[kTile];
    for (int i = 0; i < kTile; ++i) {
      real[i] = hn::Load(d, states + (n + 2 * i) * width + c);
      imaginary[i] = hn::Load(d, states + (n + 2 * i + 1) * width + c);
    }
    for (int64_t j = end - 1; j >= begin; --j) {
      const V delta = hn::Load(d, chunk.delta + j * width + c);
      const V dy_j = hn::Load(d, dy + j * width + c);
      const T* C = chunk.C + j * chunk.d_state + n;
      for (int i = 0; i < kTile; ++i) {
        V decay_real, decay_imaginary;
        rates.decay(i, delta, decay_real, decay_imaginary);
        const V G_real = hn::MulAdd(dy_j, hn::Set(d, C[2 * i]), real[i]);
        const V G_imaginary = hn::NegMulAdd(dy_j, hn::Set(d, C[2 * i + 1]), imaginary[i]);
        real[i] = hn::MulAdd(decay_real, G_real, hn::Mul(decay_imaginary, G_imaginary));
        imaginary[i] = hn::MulSub(decay_real, G_imaginary, hn::Mul(decay_imaginary, G_real));
      }
    }
    for (int i = 0; i < kTile; ++i) {
      hn::Store(real[i], d, states + (n + 2 * i) * width + c);
      hn::Store(imaginary[i], d, states + (n + 2 * i + 1) * width + c);
    }
  }

  // Runs rows [begin, end) forward once more, keeping the states (before each row) and the decays.
  template <int kTile, bool kGate, typename T>
  static HWY_INLINE void recompute_tile(const Chunk<T>& chunk, int64_t begin, int64_t end,
                                        int64_t n, int64_t c, const Backward<T>& b) {
    const hn::ScalableTag<T> d;
    using V = hn::Vec<decltype(d)>;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    const int64_t width = chunk.width;
    const ComplexRates<kTile, T> rates(chunk.rates, width, n, c);
    V real[kTile], imaginary[kTile];
    for (int i = 0; i < kTile; ++i) {
      real[i] = hn::Load(d, b.start + (n + 2 * i) * width + c);
      imaginary[i] = hn::Load(d, b.start + (n + 2 * i + 1) * width + c);
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
        const int64_t at = (j * kTile + i) * 2 * lanes;
        hn::Store(real[i], d, states + at);
        hn::Store(imaginary[i], d, states + at + lanes);
        const auto [decay_real, decay_imaginary] =
            advance(d, rates, i, delta, delta_u, B, real[i], imaginary[i]);
        hn::Store(decay_real, d, decays + at);
        hn::Store(decay_imaginary, d, decays + at + lanes);
        if constexpr (kGate) sum = add_output(d, C + 2 * i, real[i], imaginary[i], sum);
      }
      if constexpr (kGate)
        hn::Store(hn::Add(sum, hn::Load(d, y + j * width + c)), d, y + j * width + c);
    }
    for (int i = 0; i < kTile; ++i) {
      hn::Store(real[i], d, states + (end * kTile + i) * 2 * lanes);
      hn::Store(imaginary[i], d, states + (end * kTile + i) * 2 * lanes + lanes);
    }
  }

  // With G = g + dy conj(C) the gradient that enters h_j: dC += 2 dy conj(h), dB += delta u G
  // (kFirst: both start here), sum_BG += Re(conj(B) G), ga = conj(a) G is the gradient that enters
  // h_{j-1}, and q = ga conj(h_{j-1}) that of delta A.
  template <int kTile, bool kFirst, typename T>
  static HWY_INLINE void adjoint_tile(const Chunk<T>& chunk, int64_t begin, int64_t end, int64_t n,
                                      int64_t c, const Backward<T>& b) {
    const hn::ScalableTag<T> d;
    using V = hn::Vec<decltype(d)>;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    const int64_t width = chunk.width;
    V g_real[kTile], g_imaginary[kTile], h_real[kTile], h_imaginary[kTile];
    V dA_real[kTile], dA_imaginary[kTile];
    for (int i = 0; i < kTile; ++i) {
      g_real[i] = hn::Load(d, b.g + (n + 2 * i) * width + c);
      g_imaginary[i] = hn::Load(d, b.g + (n + 2 * i + 1) * width + c);
      h_real[i] = hn::Load(d, b.states + (end * kTile + i) * 2 * lanes);
      h_imaginary[i] = hn::Load(d, b.states + (end * kTile + i) * 2 * lanes + lanes);
      dA_real[i] = hn::Zero(d);
      dA_imaginary[i] = hn::Zero(d);
    }
    const auto add = [d](T* HWY_RESTRICT sum, V value) HWY_ATTR {
      hn::Store(kFirst ? value : hn::Add(value, hn::Load(d, sum)), d, sum);
    };
    const T* HWY_RESTRICT A = chunk.rates.A + n * width + c;
    for (int64_t j = end - 1; j >= begin; --j) {
      const V delta = hn::Load(d, chunk.delta + j * width + c);
      const V delta_u = hn::Load(d, chunk.delta_u + j * width + c);
      const V dy = hn::Load(d, b.dy + j * width + c);
      const V twice_dy = hn::Add(dy, dy);
      const T* B = chunk.B + j * chunk.d_state + n;
      const T* C = chunk.C + j * chunk.d_state + n;
      V bg = hn::Zero(d), qa = hn::Zero(d);
      for (int i = 0; i < kTile; ++i) {
        const int64_t at = (j * kTile + i) * 2 * lanes;
        const V previous_real = hn::Load(d, b.states + at);
        const V previous_imaginary = hn::Load(d, b.states + at + lanes);
        const V decay_real = hn::Load(d, b.decays + at);
        const V decay_imaginary = hn::Load(d, b.decays + at + lanes);
        const V G_real = hn::MulAdd(dy, hn::Set(d, C[2 * i]), g_real[i]);
        const V G_imaginary = hn::NegMulAdd(dy, hn::Set(d, C[2 * i + 1]), g_imaginary[i]);
        add(b.dC + at, hn::Mul(twice_dy, h_real[i]));
        add(b.dC + at + lanes, hn::Neg(hn::Mul(twice_dy, h_imaginary[i])));
        add(b.dB + at, hn::Mul(delta_u, G_real));
        add(b.dB + at + lanes, hn::Mul(delta_u, G_imaginary));
        bg = hn::MulAdd(G_real, hn::Set(d, B[2 * i]), bg);
        bg = hn::MulAdd(G_imaginary, hn::Set(d, B[2 * i + 1]), bg);
        g_real[i] = hn::MulAdd(decay_real, G_real, hn::Mul(decay_imaginary, G_imaginary));
        g_imaginary[i] = hn::MulSub(decay_real, G_imaginary, hn::Mul(decay_imaginary, G_real));
        const V q_real =
            hn::MulAdd(g_real[i], previous_real, hn::Mul(g_imaginary[i], previous_imaginary));
        const V q_imaginary =
            hn::MulSub(g_imaginary[i], previous_real, hn::Mul(g_real[i], previous_imaginary));
        qa = hn::MulAdd(q_real, hn::Load(d, A + 2 * i * width), qa);
        qa = hn::MulAdd(q_imaginary, hn::Load(d, A + (2 * i + 1) * width), qa);
        dA_real[i] = hn::MulAdd(q_real, delta, dA_real[i]);
        dA_imaginary[i] = hn::MulAdd(q_imaginary, delta, dA_imaginary[i]);
        h_real[i] = previous_real;
        h_imaginary[i] = previous_imaginary;
      }
      add_to(d, bg, b.sum_BG + j * width + c);
      add_to(d, qa, b.sum_dA + j * width + c);
      if (j % kRowsPerSum != 0 && j != begin) continue;
      for (int i = 0; i < kTile; ++i) {
        const int64_t at = (n + 2 * i) * width + c;
        add_compensated(d, dA_real[i], b.dA + at, b.dA_rest + at);
        add_compensated(d, dA_imaginary[i], b.dA + at + width, b.dA_rest + at + width);
        dA_real[i] = hn::Zero(d);
        dA_imaginary[i] = hn::Zero(d);
      }
    }
    for (int i = 0; i < kTile; ++i) {
      hn::Store(g_real[i], d, b.g + (n + 2 * i) * width + c);
      hn::Store(g_imaginary[i], d, b.g + (n + 2 * i + 1) * width + c);
    }
  }

  // The second row of sums takes what rounding takes from the first: a segment turns its states by
  // many times, and the angle's absolute error counts.
  template <typename T>
  static void add_deltas(const Chunk<T>& chunk, int64_t rows, T* sums) {
    T* rest = sums + chunk.width;
    for (int64_t j = 0; j < rows; ++j) {
      for (int64_t c = 0; c < chunk.width; ++c) {
        const T value = chunk.delta[j * chunk.width + c];
        const T before = sums[c];
        const T after = before + value;
        const T added = after - before;
        rest[c] += (before - (after - added)) + (value - added);
        sums[c] = after;
      }
    }
  }

  // carry = exp(A sum) carry + local; of adjoint states conj(exp(A sum)) carry + local.
  template <typename T>
  static void compose(const DecayRates<T>& rates, int64_t d_state, int64_t width, const T* sums,
                      const T* local, bool adjoint, T* carry) {
    const hn::ScalableTag<T> d;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    for (int64_t n = 0; n < d_state; n += 2) {
      for (int64_t c = 0; c < width; c += lanes) {
        const auto sum = hn::Load(d, sums + c);
        const auto turn = hn::Load(d, rates.turn + n / 2 * width + c);
        const auto turn_rest = hn::Load(d, rates.turn_rest + n / 2 * width + c);
        const auto modulus = exp2_of_product(d, sum, hn::Load(d, rates.A + n * width + c));
        auto real = hn::Zero(d), imaginary = hn::Zero(d);
        const auto more = hn::MulAdd(sum, turn_rest, hn::Mul(hn::Load(d, sums + width + c), turn));
        cos_sin_of_quarter_turns(d, sum, turn, more, real, imaginary);
        real = hn::Mul(real, modulus);
        imaginary = hn::Mul(imaginary, modulus);
        if (adjoint) imaginary = hn::Neg(imaginary);
        const int64_t at = n * width + c;
        const auto carry_real = hn::Load(d, carry + at);
        const auto carry_imaginary = hn::Load(d, carry + at + width);
        const auto from_real = hn::MulAdd(real, carry_real, hn::Load(d, local + at));
        const auto from_imaginary =
            hn::MulAdd(real, carry_imaginary, hn::Load(d, local + at + width));
        hn::Store(hn::NegMulAdd(imaginary, carry_imaginary, from_real), d, carry + at);
        hn::Store(hn::MulAdd(imaginary, carry_real, from_imaginary), d, carry + at + width);
      }
    }
  }

 private:
  template <class D>
  struct Decay {
    hn::Vec<D> real, imaginary;
  };

  // h = exp(delta A) h + delta u B of the tile's state i; returns the decay.
  template <class D, class Rates, typename T>
  static HWY_INLINE Decay<D> advance(D d, const Rates& rates, int i, hn::Vec<D> delta,
                                     hn::Vec<D> delta_u, const T* HWY_RESTRICT B, hn::Vec<D>& real,
                                     hn::Vec<D>& imaginary) {
    Decay<D> decay;
    rates.decay(i, delta, decay.real, decay.imaginary);
    const auto input_real = hn::Mul(delta_u, hn::Set(d, B[2 * i]));
    const auto input_imaginary = hn::Mul(delta_u, hn::Set(d, B[2 * i + 1]));
    const auto from_real = hn::MulAdd(decay.real, real, input_real);
    const auto from_imaginary = hn::MulAdd(decay.real, imaginary, input_imaginary);
    const auto before = real;
    real = hn::NegMulAdd(decay.imaginary, imaginary, from_real);
    imaginary = hn::MulAdd(decay.imaginary, before, from_imaginary);
    return decay;
  }

  // sum + Re(C h).
  template <class D, typename T>
  static HWY_INLINE hn::Vec<D> add_output(D d, const T* HWY_RESTRICT C, hn::Vec<D> real,
                                          hn::Vec<D> imaginary, hn::Vec<D> sum) {
    return hn::NegMulAdd(hn::Set(d, C[1]), imaginary, hn::MulAdd(hn::Set(d, C[0]), real, sum));
  }

  template <class D, typename T>
  static HWY_INLINE void add_to(D d, hn::Vec<D> value, T* HWY_RESTRICT sum) {
    hn::Store(hn::Add(value, hn::Load(d, sum)), d, sum);
  }
};

}  // namespace
}  // namespace strandwave::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
