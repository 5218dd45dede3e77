// Raw CPU kernels of products with a Vandermonde matrix. Time is cut into blocks: t = 64 j + s, so
// exp(delta_A t) is an anchor exp(64 delta_A j) times an entry exp(delta_A s) of one small table.
// Both come from powers in double precision and are rounded once; what remains is a matrix product
// of (blocks, 2 n) with (2 n, 64) values of the channel's type.
#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <limits>

#include <hwy/aligned_allocator.h>

#include "kernels/ssm_kernel/ssm_kernel_params.h"

// Baseline, AVX2 and AVX-512 are enough; every further target costs compile time.
#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#endif
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ssm_kernel/vandermonde_simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef STRANDWAVE_VANDERMONDE_ONCE
#define STRANDWAVE_VANDERMONDE_ONCE
namespace strandwave::kernels {

constexpr int64_t kVandermondeBlock = 64;        // positions
constexpr int64_t kVandermondeRows = 4;          // blocks that go through a product at once
constexpr int64_t kVandermondeSegment = 256;     // blocks of a task
constexpr int64_t kVandermondeMaxLanes = 16;     // of any target
constexpr double kVandermondeSmallest = 1e-290;  // powers below are zero: no slow subnormals

inline int64_t vandermonde_blocks(const VandermondeParams& p) {
  return (p.length + kVandermondeBlock - 1) / kVandermondeBlock;
}

// States of a channel, rounded up to whole vectors.
inline int64_t vandermonde_padded(const VandermondeParams& p) {
  return (p.n + kVandermondeMaxLanes - 1) / kVandermondeMaxLanes * kVandermondeMaxLanes;
}

template <typename T>
hwy::AlignedFreeUniquePtr<T[]> vandermonde_zeros(int64_t count) {
  auto memory = hwy::AllocateAligned<T>(static_cast<size_t>(std::max<int64_t>(count, 1)));
  std::fill_n(memory.get(), count, T{0});
  return memory;
}

}  // namespace strandwave::kernels
#endif  // STRANDWAVE_VANDERMONDE_ONCE

HWY_BEFORE_NAMESPACE();
namespace strandwave::kernels::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using DoubleTag = hn::ScalableTag<double>;
using Doubles = hn::Vec<DoubleTag>;

HWY_INLINE int64_t double_lanes() { return static_cast<int64_t>(hn::Lanes(DoubleTag())); }

// (re, im) += (a_re, a_im) (b_re, b_im)
HWY_INLINE void add_product(Doubles a_re, Doubles a_im, Doubles b_re, Doubles b_im, Doubles& re,
                            Doubles& im) {
  re = hn::NegMulAdd(a_im, b_im, hn::MulAdd(a_re, b_re, re));
  im = hn::MulAdd(a_im, b_re, hn::MulAdd(a_re, b_im, im));
}

HWY_INLINE void store_rounded(Doubles v, double* HWY_RESTRICT to) {
  hn::StoreU(v, DoubleTag(), to);
}
HWY_INLINE void store_rounded(Doubles v, float* HWY_RESTRICT to) {
  const DoubleTag d;
  const hn::Rebind<float, DoubleTag> narrow;
  const auto tiny = hn::Set(d, static_cast<double>(std::numeric_limits<float>::min()));
  const auto kept = hn::IfThenZeroElse(hn::Lt(hn::Abs(v), tiny), v);
  hn::StoreU(hn::DemoteTo(narrow, kept), narrow, to);
}

HWY_INLINE Doubles load_doubles(const double* HWY_RESTRICT from) {
  return hn::LoadU(DoubleTag(), from);
}
HWY_INLINE Doubles load_doubles(const float* HWY_RESTRICT from) {
  const hn::Rebind<float, DoubleTag> narrow;
  return hn::PromoteTo(DoubleTag(), hn::LoadU(narrow, from));
}

// exp(delta_A (start + step k)) of a channel's states for k = 0, 1, ... as planar doubles.
class Powers {
 public:
  template <typename T>
  Powers(const T* delta_A, int64_t n, int64_t padded, int64_t start, int64_t step)
      : padded_(padded), memory_(vandermonde_zeros<double>(4 * padded)) {
    for (int64_t i = 0; i < n; ++i) {
      const std::complex<double> rate(delta_A[2 * i], delta_A[2 * i + 1]);
      set(0, i, std::exp(rate * static_cast<double>(start)));
      set(2, i, std::exp(rate * static_cast<double>(step)));
    }
  }

  // (re, im), each `padded` values.
  const double* now() const { return memory_.get(); }

  void advance() {
    const DoubleTag d;
    const auto smallest = hn::Set(d, kVandermondeSmallest);
    double* re = memory_.get();
    double* im = re + padded_;
    const double* step_re = im + padded_;
    const double* step_im = step_re + padded_;
    for (int64_t i = 0; i < padded_; i += double_lanes()) {
      auto next_re = hn::Zero(d), next_im = hn::Zero(d);
      add_product(hn::Load(d, re + i), hn::Load(d, im + i), hn::Load(d, step_re + i),
                  hn::Load(d, step_im + i), next_re, next_im);
      const auto gone = hn::Lt(hn::Max(hn::Abs(next_re), hn::Abs(next_im)), smallest);
      hn::Store(hn::IfThenZeroElse(gone, next_re), d, re + i);
      hn::Store(hn::IfThenZeroElse(gone, next_im), d, im + i);
    }
  }

 private:
  void set(int64_t row, int64_t i, std::complex<double> value) {
    memory_[row * padded_ + i] = value.real();
    memory_[(row + 1) * padded_ + i] = value.imag();
  }

  int64_t padded_;
  hwy::AlignedFreeUniquePtr<double[]> memory_;
};

// The anchors of up to kVandermondeRows blocks: (rows, 2, padded) doubles. Leaves `powers` behind
// them.
void take_anchors(Powers& powers, int64_t rows, int64_t padded, double* HWY_RESTRICT anchors) {
  for (int64_t r = 0; r < rows; ++r) {
    std::copy_n(powers.now(), 2 * padded, anchors + r * 2 * padded);
    powers.advance();
  }
}

// sums (kVandermondeRows, columns) = a (kVandermondeRows, depth) b (depth, columns); columns is a
// multiple of two vectors.
template <typename T>
void multiply_rows(const T* HWY_RESTRICT a, int64_t a_stride, const T* HWY_RESTRICT b,
                   int64_t depth, int64_t columns, T* HWY_RESTRICT sums) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t column = 0; column < columns; column += 2 * lanes) {
    auto s00 = hn::Zero(d), s01 = s00, s10 = s00, s11 = s00;
    auto s20 = s00, s21 = s00, s30 = s00, s31 = s00;
    for (int64_t i = 0; i < depth; ++i) {
      const auto b0 = hn::Load(d, b + i * columns + column);
      const auto b1 = hn::Load(d, b + i * columns + column + lanes);
      const auto a0 = hn::Set(d, a[i]);
      const auto a1 = hn::Set(d, a[i + a_stride]);
      const auto a2 = hn::Set(d, a[i + 2 * a_stride]);
      const auto a3 = hn::Set(d, a[i + 3 * a_stride]);
      s00 = hn::MulAdd(a0, b0, s00);
      s01 = hn::MulAdd(a0, b1, s01);
      s10 = hn::MulAdd(a1, b0, s10);
      s11 = hn::MulAdd(a1, b1, s11);
      s20 = hn::MulAdd(a2, b0, s20);
      s21 = hn::MulAdd(a2, b1, s21);
      s30 = hn::MulAdd(a3, b0, s30);
      s31 = hn::MulAdd(a3, b1, s31);
    }
    T* to = sums + column;
    hn::Store(s00, d, to);
    hn::Store(s01, d, to + lanes);
    hn::Store(s10, d, to + columns);
    hn::Store(s11, d, to + columns + lanes);
    hn::Store(s20, d, to + 2 * columns);
    hn::Store(s21, d, to + 2 * columns + lanes);
    hn::Store(s30, d, to + 3 * columns);
    hn::Store(s31, d, to + 3 * columns + lanes);
  }
}

// ---- the product ----

// The table as (2 padded, kVandermondeBlock): real parts of all states, then imaginary parts.
template <typename T>
hwy::AlignedFreeUniquePtr<T[]> table_by_state(const T* delta_A, int64_t n, int64_t padded) {
  auto table = vandermonde_zeros<T>(2 * padded * kVandermondeBlock);
  Powers powers(delta_A, n, padded, 0, 1);
  for (int64_t s = 0; s < kVandermondeBlock; ++s) {
    const double* now = powers.now();
    for (int64_t i = 0; i < padded; i += double_lanes()) {
      HWY_ALIGN T re[kVandermondeMaxLanes];
      HWY_ALIGN T im[kVandermondeMaxLanes];
      store_rounded(load_doubles(now + i), re);
      store_rounded(load_doubles(now + padded + i), im);
      for (int64_t k = 0; k < double_lanes(); ++k) {
        table[(i + k) * kVandermondeBlock + s] = re[k];
        table[(padded + i + k) * kVandermondeBlock + s] = im[k];
      }
    }
    powers.advance();
  }
  return table;
}

// One row of factors, (2 padded): re and -im of coefficient times anchor.
template <typename T>
void weigh(const double* HWY_RESTRICT coefficient, const double* HWY_RESTRICT anchor,
           int64_t padded, T* HWY_RESTRICT to) {
  const DoubleTag d;
  for (int64_t i = 0; i < padded; i += double_lanes()) {
    auto re = hn::Zero(d), im = hn::Zero(d);
    add_product(hn::Load(d, coefficient + i), hn::Load(d, coefficient + padded + i),
                hn::Load(d, anchor + i), hn::Load(d, anchor + padded + i), re, im);
    store_rounded(re, to + i);
    store_rounded(hn::Neg(im), to + padded + i);
  }
}

// The coefficients of one channel as (repeats, 2, padded) doubles.
template <typename T>
hwy::AlignedFreeUniquePtr<double[]> planar_coefficients(const VandermondeProductParams& p,
                                                        int64_t channel, int64_t padded) {
  auto planar = vandermonde_zeros<double>(p.repeats * 2 * padded);
  for (int64_t k = 0; k < p.repeats; ++k) {
    const T* from = static_cast<const T*>(p.coefficient) + (k * p.channels + channel) * 2 * p.n;
    double* to = planar.get() + k * 2 * padded;
    for (int64_t i = 0; i < p.n; ++i) {
      to[i] = from[2 * i];
      to[padded + i] = from[2 * i + 1];
    }
  }
  return planar;
}

template <typename T>
void product(const VandermondeProductParams& p, int64_t task) {
  const int64_t channel = task % p.channels;
  const int64_t first = task / p.channels * kVandermondeSegment;
  const int64_t last = std::min(first + kVandermondeSegment, vandermonde_blocks(p));
  const int64_t padded = vandermonde_padded(p);
  const T* delta_A = static_cast<const T*>(p.delta_A) + channel * 2 * p.n;
  const auto table = table_by_state(delta_A, p.n, padded);
  const auto coefficients = planar_coefficients<T>(p, channel, padded);
  Powers powers(delta_A, p.n, padded, first * kVandermondeBlock, kVandermondeBlock);
  const auto anchors = vandermonde_zeros<double>(kVandermondeRows * 2 * padded);
  const auto factors = vandermonde_zeros<T>(kVandermondeRows * 2 * padded);
  HWY_ALIGN T sums[kVandermondeRows * kVandermondeBlock];
  for (int64_t block = first; block < last; block += kVandermondeRows) {
    const int64_t rows = std::min(kVandermondeRows, last - block);
    const int64_t begin = block * kVandermondeBlock;
    const int64_t count = std::min(rows * kVandermondeBlock, p.length - begin);
    take_anchors(powers, rows, padded, anchors.get());
    for (int64_t k = 0; k < p.repeats; ++k) {
      for (int64_t r = 0; r < rows; ++r)
        weigh(coefficients.get() + k * 2 * padded, anchors.get() + r * 2 * padded, padded,
              factors.get() + r * 2 * padded);
      multiply_rows(factors.get(), 2 * padded, table.get(), 2 * padded, kVandermondeBlock, sums);
      T* out = static_cast<T*>(p.out) + (k * p.channels + channel) * p.length;
      if (p.reverse) {
        std::reverse_copy(sums, sums + count, out + p.length - begin - count);
      } else {
        std::copy_n(sums, count, out + begin);
      }
    }
  }
}

// ---- the moments ----

// The table as (kVandermondeBlock, 2 padded).
template <typename T>
hwy::AlignedFreeUniquePtr<T[]> table_by_position(const T* delta_A, int64_t n, int64_t padded) {
  auto table = vandermonde_zeros<T>(kVandermondeBlock * 2 * padded);
  Powers powers(delta_A, n, padded, 0, 1);
  for (int64_t s = 0; s < kVandermondeBlock; ++s) {
    for (int64_t i = 0; i < 2 * padded; i += double_lanes())
      store_rounded(load_doubles(powers.now() + i), table.get() + s * 2 * padded + i);
    powers.advance();
  }
  return table;
}

// Adds anchor (re, im) times the sums of one block to the moments: order 0, and with orders = 2
// also order 1, for which the block's sums over s x[s] follow `rows_apart` values later.
template <typename T>
void add_block(const double* HWY_RESTRICT anchor, const T* HWY_RESTRICT sums, int64_t rows_apart,
               double begin, int orders, int64_t padded, double* HWY_RESTRICT moments) {
  const DoubleTag d;
  const auto add = [&](int64_t i, Doubles re, Doubles im, double* to) HWY_ATTR {
    auto sum_re = hn::Load(d, to + i), sum_im = hn::Load(d, to + padded + i);
    add_product(hn::Load(d, anchor + i), hn::Load(d, anchor + padded + i), re, im, sum_re, sum_im);
    hn::Store(sum_re, d, to + i);
    hn::Store(sum_im, d, to + padded + i);
  };
  const auto t = hn::Set(d, begin);
  for (int64_t i = 0; i < padded; i += double_lanes()) {
    const auto re = load_doubles(sums + i), im = load_doubles(sums + padded + i);
    add(i, re, im, moments);
    if (orders == 1) continue;
    const auto late_re = load_doubles(sums + rows_apart + i);
    const auto late_im = load_doubles(sums + rows_apart + padded + i);
    add(i, hn::MulAdd(t, re, late_re), hn::MulAdd(t, im, late_im), moments + 2 * padded);
  }
}

// The `count` values of a signal from position `begin`, zeros up to whole rows, and behind them the
// same times s.
template <typename T>
void take_blocks(const VandermondeMomentsParams& p, const T* HWY_RESTRICT signal, int64_t begin,
                 int64_t count, T* HWY_RESTRICT to) {
  constexpr int64_t kValues = kVandermondeRows * kVandermondeBlock;
  if (p.reverse) {
    const T* end = signal + p.length - begin;
    std::reverse_copy(end - count, end, to);
  } else {
    std::copy_n(signal + begin, count, to);
  }
  std::fill_n(to + count, kValues - count, T{0});
  for (int64_t i = 0; i < kValues; ++i)
    to[kValues + i] = to[i] * static_cast<T>(i % kVandermondeBlock);
}

template <typename T>
void moments(const VandermondeMomentsParams& p, int64_t channel) {
  const int64_t padded = vandermonde_padded(p);
  const T* delta_A = static_cast<const T*>(p.delta_A) + channel * 2 * p.n;
  const auto table = table_by_position(delta_A, p.n, padded);
  Powers powers(delta_A, p.n, padded, 0, kVandermondeBlock);
  const auto anchors = vandermonde_zeros<double>(kVandermondeRows * 2 * padded);
  const int64_t rows_apart = kVandermondeRows * 2 * padded;
  const auto sums = vandermonde_zeros<T>(2 * rows_apart);
  const auto totals = vandermonde_zeros<double>(p.repeats * 4 * padded);
  HWY_ALIGN T blocks[2 * kVandermondeRows * kVandermondeBlock];
  for (int64_t block = 0; block < vandermonde_blocks(p); block += kVandermondeRows) {
    const int64_t rows = std::min(kVandermondeRows, vandermonde_blocks(p) - block);
    const int64_t begin = block * kVandermondeBlock;
    const int64_t count = std::min(rows * kVandermondeBlock, p.length - begin);
    take_anchors(powers, rows, padded, anchors.get());
    for (int64_t k = 0; k < p.repeats; ++k) {
      take_blocks(p, static_cast<const T*>(p.signal) + (k * p.channels + channel) * p.length, begin,
                  count, blocks);
      for (int order = 0; order < p.orders; ++order)
        multiply_rows(blocks + order * kVandermondeRows * kVandermondeBlock, kVandermondeBlock,
                      table.get(), kVandermondeBlock, 2 * padded, sums.get() + order * rows_apart);
      for (int64_t r = 0; r < rows; ++r)
        add_block(anchors.get() + r * 2 * padded, sums.get() + r * 2 * padded, rows_apart,
                  static_cast<double>(begin + r * kVandermondeBlock), p.orders, padded,
                  totals.get() + k * 4 * padded);
    }
  }
  for (int64_t k = 0; k < p.repeats; ++k) {
    for (int order = 0; order < p.orders; ++order) {
      const double* from = totals.get() + (k * 2 + order) * 2 * padded;
      T* to =
          static_cast<T*>(p.moments) + ((order * p.repeats + k) * p.channels + channel) * 2 * p.n;
      for (int64_t i = 0; i < p.n; ++i) {
        to[2 * i] = static_cast<T>(from[i]);
        to[2 * i + 1] = static_cast<T>(from[padded + i]);
      }
    }
  }
}

void Product(const VandermondeProductParams& p, int64_t task) {
  return p.dtype == Dtype::kFloat64 ? product<double>(p, task) : product<float>(p, task);
}
void Moments(const VandermondeMomentsParams& p, int64_t task) {
  return p.dtype == Dtype::kFloat64 ? moments<double>(p, task) : moments<float>(p, task);
}

}  // namespace
}  // namespace strandwave::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace strandwave::kernels {
namespace {

HWY_EXPORT(Product);
HWY_EXPORT(Moments);

}  // namespace

int64_t vandermonde_product_tasks(const VandermondeProductParams& params) {
  const int64_t blocks = vandermonde_blocks(params);
  return params.channels * ((blocks + kVandermondeSegment - 1) / kVandermondeSegment);
}
int64_t vandermonde_moments_tasks(const VandermondeMomentsParams& params) {
  return params.channels;
}

void vandermonde_product_task(const VandermondeProductParams& params, int64_t task) {
  HWY_DYNAMIC_DISPATCH(Product)(params, task);
}
void vandermonde_moments_task(const VandermondeMomentsParams& params, int64_t task) {
  HWY_DYNAMIC_DISPATCH(Moments)(params, task);
}

}  // namespace strandwave::kernels
#endif  // HWY_ONCE
