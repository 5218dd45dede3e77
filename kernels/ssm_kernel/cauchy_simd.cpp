// Raw CPU kernels of the Cauchy product. With p = 1/(z - w) + 1/(z - conj(w)) and
// q = i (1/(z - w) - 1/(z - conj(w))) a pair of conjugate states adds Re(v) p + Im(v) q, so that
// one pair of reciprocals serves all v. Vectors run over nodes.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/common/io_types.h"
#include "kernels/ssm_kernel/ssm_kernel_params.h"

// Baseline, AVX2 and AVX-512 are enough; every further target costs compile time.
#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#endif
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ssm_kernel/cauchy_simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/common/simd_io-inl.h"

#ifndef STRANDWAVE_CAUCHY_ONCE
#define STRANDWAVE_CAUCHY_ONCE
namespace strandwave::kernels {

constexpr int64_t kCauchyTile = 512;      // nodes of a forward task, and between sums in double
constexpr int64_t kCauchyMaxRepeats = 4;  // that share the reciprocals

inline int64_t cauchy_tiles(const CauchyParams& p) {
  return (p.nodes + kCauchyTile - 1) / kCauchyTile;
}

}  // namespace strandwave::kernels
#endif  // STRANDWAVE_CAUCHY_ONCE

HWY_BEFORE_NAMESPACE();
namespace strandwave::kernels::HWY_NAMESPACE {
namespace {

template <class D>
struct Complexes {
  hn::Vec<D> re, im;
};

template <class D>
HWY_INLINE Complexes<D> reciprocal(D d, hn::Vec<D> re, hn::Vec<D> im) {
  const auto inverse = hn::Div(hn::Set(d, 1), hn::MulAdd(re, re, hn::Mul(im, im)));
  return {hn::Mul(re, inverse), hn::Neg(hn::Mul(im, inverse))};
}

template <class D>
HWY_INLINE Complexes<D> squared(Complexes<D> x) {
  const auto twice = hn::Add(x.re, x.re);
  return {hn::MulSub(x.re, x.re, hn::Mul(x.im, x.im)), hn::Mul(twice, x.im)};
}

// p and q of two values a (for w) and b (for conj(w)): a + b and i (a - b).
template <class D>
HWY_INLINE void combine(Complexes<D> a, Complexes<D> b, Complexes<D>& p, Complexes<D>& q) {
  p = {hn::Add(a.re, b.re), hn::Add(a.im, b.im)};
  q = {hn::Sub(b.im, a.im), hn::Sub(a.re, b.re)};
}

// A vector of nodes from `j` on; lanes beyond the last node are far from any pole.
template <typename T>
class Nodes {
 public:
  using D = hn::ScalableTag<T>;
  using V = hn::Vec<D>;

  Nodes(const CauchyParams& p, int64_t j) {
    const auto* z = static_cast<const T*>(p.z) + j;
    const int64_t left = p.nodes - j;
    const D d;
    const auto load = [&](int64_t row)
                          HWY_ATTR { return load_io_some(d, z + row * p.nodes, left); };
    im_ = load(1);
    low_re_ = load(2);
    low_im_ = load(3);
    const auto present =
        hn::Lt(hn::Iota(d, 0), hn::Set(d, static_cast<T>(std::min<int64_t>(left, 64))));
    re_ = hn::IfThenElse(present, load(0), hn::Set(d, static_cast<T>(1e18)));
  }

  // 1 / (z - w) and 1 / (z - conj(w)).
  HWY_INLINE void reciprocals(T w_re, T w_im, Complexes<D>& a, Complexes<D>& b) const {
    const D d;
    const auto re = hn::Add(hn::Sub(re_, hn::Set(d, w_re)), low_re_);
    const auto im = hn::Set(d, w_im);
    a = reciprocal(d, re, hn::Add(hn::Sub(im_, im), low_im_));
    b = reciprocal(d, re, hn::Add(hn::Add(im_, im), low_im_));
  }

 private:
  V re_, im_, low_re_, low_im_;
};

template <class D, typename T>
HWY_INLINE void store_pairs(D d, Complexes<D> x, T* HWY_RESTRICT to, int64_t left) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  if (HWY_LIKELY(left >= lanes)) return hn::StoreInterleaved2(x.re, x.im, d, to);
  T pairs[2 * hn::MaxLanes(D())];
  hn::StoreInterleaved2(x.re, x.im, d, pairs);
  std::copy_n(pairs, 2 * left, to);
}

// kRepeats products from repeat `first` on at the nodes of one tile.
template <typename T, int kRepeats>
void forward_tile(const CauchyForwardParams& p, int64_t channel, int64_t tile, int64_t first) {
  const hn::ScalableTag<T> d;
  using D = hn::ScalableTag<T>;
  const T* w = static_cast<const T*>(p.w) + channel * 2 * p.n;
  const int64_t end = std::min((tile + 1) * kCauchyTile, p.nodes);
  const T* v[kRepeats];
  for (int k = 0; k < kRepeats; ++k)
    v[k] = static_cast<const T*>(p.v) + ((first + k) * p.channels + channel) * 2 * p.n;
  for (int64_t j = tile * kCauchyTile; j < end; j += static_cast<int64_t>(hn::Lanes(d))) {
    const Nodes<T> nodes(p, j);
    Complexes<D> sums[kRepeats];
    for (auto& sum : sums) sum = {hn::Zero(d), hn::Zero(d)};
    for (int64_t i = 0; i < p.n; ++i) {
      Complexes<D> a, b, x, y;
      nodes.reciprocals(w[2 * i], w[2 * i + 1], a, b);
      combine(a, b, x, y);
      for (int k = 0; k < kRepeats; ++k) {
        const auto v_re = hn::Set(d, v[k][2 * i]), v_im = hn::Set(d, v[k][2 * i + 1]);
        sums[k].re = hn::MulAdd(v_im, y.re, hn::MulAdd(v_re, x.re, sums[k].re));
        sums[k].im = hn::MulAdd(v_im, y.im, hn::MulAdd(v_re, x.im, sums[k].im));
      }
    }
    for (int k = 0; k < kRepeats; ++k) {
      T* out = static_cast<T*>(p.out) + ((first + k) * p.channels + channel) * 2 * p.nodes;
      store_pairs(d, sums[k], out + 2 * j, p.nodes - j);
    }
  }
}

// One tile of dout for kRepeats products as (repeat, 2, kCauchyTile), zeros beyond the last node.
template <typename T>
void take_gradients(const CauchyBackwardParams& p, int64_t channel, int64_t begin, int64_t first,
                    int repeats, T* HWY_RESTRICT to) {
  const int64_t count = std::min(kCauchyTile, p.nodes - begin);
  std::fill_n(to, repeats * 2 * kCauchyTile, T{0});
  for (int k = 0; k < repeats; ++k) {
    const T* from = static_cast<const T*>(p.dout) +
                    (((first + k) * p.channels + channel) * p.nodes + begin) * 2;
    for (int64_t j = 0; j < count; ++j) {
      to[2 * k * kCauchyTile + j] = from[2 * j];
      to[(2 * k + 1) * kCauchyTile + j] = from[2 * j + 1];
    }
  }
}

// Adds, for the pairs (p, q) of the reciprocals and (P, Q) of their squares, the sums over one tile
// of Re(conj(dout) p), ... q, ... P, ... Q: (n, repeats, 4) doubles.
template <typename T, int kRepeats>
void add_tile(const CauchyBackwardParams& p, const T* w, int64_t begin,
              const T* HWY_RESTRICT gradients, double* HWY_RESTRICT sums) {
  const hn::ScalableTag<T> d;
  using D = hn::ScalableTag<T>;
  const int64_t count = std::min(kCauchyTile, p.nodes - begin);
  for (int64_t i = 0; i < p.n; ++i) {
    hn::Vec<D> totals[kRepeats][4];
    for (auto& row : totals)
      for (auto& total : row) total = hn::Zero(d);
    for (int64_t j = 0; j < count; j += static_cast<int64_t>(hn::Lanes(d))) {
      Complexes<D> a, b, x[4];
      Nodes<T>(p, begin + j).reciprocals(w[2 * i], w[2 * i + 1], a, b);
      combine(a, b, x[0], x[1]);
      combine(squared(a), squared(b), x[2], x[3]);
      for (int k = 0; k < kRepeats; ++k) {
        const auto re = hn::Load(d, gradients + 2 * k * kCauchyTile + j);
        const auto im = hn::Load(d, gradients + (2 * k + 1) * kCauchyTile + j);
        for (int m = 0; m < 4; ++m)
          totals[k][m] = hn::MulAdd(im, x[m].im, hn::MulAdd(re, x[m].re, totals[k][m]));
      }
    }
    for (int k = 0; k < kRepeats; ++k)
      for (int m = 0; m < 4; ++m)
        sums[(i * kRepeats + k) * 4 + m] +=
            static_cast<double>(hn::GetLane(hn::SumOfLanes(d, totals[k][m])));
  }
}

// With the sums s of a state: dv = (s_p, s_q), and dw gains (Re v s_P + Im v s_Q,
// Re v s_Q - Im v s_P).
template <typename T, int kRepeats>
void backward_repeats(const CauchyBackwardParams& p, int64_t channel, int64_t first,
                      double* HWY_RESTRICT dw) {
  const T* w = static_cast<const T*>(p.w) + channel * 2 * p.n;
  HWY_ALIGN T gradients[kRepeats * 2 * kCauchyTile];
  std::vector<double> sums(static_cast<size_t>(p.n * kRepeats * 4));
  for (int64_t begin = 0; begin < p.nodes; begin += kCauchyTile) {
    take_gradients(p, channel, begin, first, kRepeats, gradients);
    add_tile<T, kRepeats>(p, w, begin, gradients, sums.data());
  }
  for (int k = 0; k < kRepeats; ++k) {
    const int64_t row = ((first + k) * p.channels + channel) * 2 * p.n;
    const T* v = static_cast<const T*>(p.v) + row;
    T* dv = static_cast<T*>(p.dv) + row;
    for (int64_t i = 0; i < p.n; ++i) {
      const double* s = sums.data() + (i * kRepeats + k) * 4;
      const double re = v[2 * i], im = v[2 * i + 1];
      dv[2 * i] = static_cast<T>(s[0]);
      dv[2 * i + 1] = static_cast<T>(s[1]);
      dw[2 * i] += re * s[2] + im * s[3];
      dw[2 * i + 1] += re * s[3] - im * s[2];
    }
  }
}

template <typename T>
void forward(const CauchyForwardParams& p, int64_t task) {
  const int64_t channel = task % p.channels, tile = task / p.channels;
  for (int64_t k = 0; k < p.repeats; k += kCauchyMaxRepeats) {
    switch (std::min(p.repeats - k, kCauchyMaxRepeats)) {
      case 1:
        forward_tile<T, 1>(p, channel, tile, k);
        break;
      case 2:
        forward_tile<T, 2>(p, channel, tile, k);
        break;
      case 3:
        forward_tile<T, 3>(p, channel, tile, k);
        break;
      default:
        forward_tile<T, 4>(p, channel, tile, k);
    }
  }
}

template <typename T>
void backward(const CauchyBackwardParams& p, int64_t channel) {
  std::vector<double> dw(static_cast<size_t>(2 * p.n));
  for (int64_t k = 0; k < p.repeats; k += kCauchyMaxRepeats) {
    switch (std::min(p.repeats - k, kCauchyMaxRepeats)) {
      case 1:
        backward_repeats<T, 1>(p, channel, k, dw.data());
        break;
      case 2:
        backward_repeats<T, 2>(p, channel, k, dw.data());
        break;
      case 3:
        backward_repeats<T, 3>(p, channel, k, dw.data());
        break;
      default:
        backward_repeats<T, 4>(p, channel, k, dw.data());
    }
  }
  std::transform(dw.begin(), dw.end(), static_cast<T*>(p.dw) + channel * 2 * p.n,
                 [](double value) { return static_cast<T>(value); });
}

void Forward(const CauchyForwardParams& p, int64_t task) {
  return p.dtype == Dtype::kFloat64 ? forward<double>(p, task) : forward<float>(p, task);
}
void Backward(const CauchyBackwardParams& p, int64_t task) {
  return p.dtype == Dtype::kFloat64 ? backward<double>(p, task) : backward<float>(p, task);
}

}  // namespace
}  // namespace strandwave::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace strandwave::kernels {
namespace {

HWY_EXPORT(Forward);
HWY_EXPORT(Backward);

}  // namespace

int64_t cauchy_forward_tasks(const CauchyForwardParams& params) {
  return params.channels * cauchy_tiles(params);
}
int64_t cauchy_backward_tasks(const CauchyBackwardParams& params) { return params.channels; }

void cauchy_forward_task(const CauchyForwardParams& params, int64_t task) {
  HWY_DYNAMIC_DISPATCH(Forward)(params, task);
}
void cauchy_backward_task(const CauchyBackwardParams& params, int64_t task) {
  HWY_DYNAMIC_DISPATCH(Backward)(params, task);
}

}  // namespace strandwave::kernels
#endif  // HWY_ONCE
