// Exponentials, cosine and sine for SIMD kernels, per highway target. Include inside the
// foreach_target pattern, after hwy/highway.h. float: relative error below 1.5e-7; double: a few
// units in the last place.

// NOLINTNEXTLINE: the per-target include guard of highway
#if defined(STRANDWAVE_KERNELS_COMMON_SIMD_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef STRANDWAVE_KERNELS_COMMON_SIMD_MATH_INL_H_
#undef STRANDWAVE_KERNELS_COMMON_SIMD_MATH_INL_H_
#else
#define STRANDWAVE_KERNELS_COMMON_SIMD_MATH_INL_H_
#endif

#include <limits>

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace strandwave::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

inline constexpr double kLog2E = 1.4426950408889634;
inline constexpr double kLn2 = 0.6931471805599453;
inline constexpr double kTwoOverPi = 0.6366197723675814;
inline constexpr double kTwoOverPiRest = -3.935735335036497e-17;  // what its rounding left

// 2^r for |r| <= 1/2: 1 + r q(r), q a minimax polynomial (relative error 3e-9) whose error vanishes
// with r, because the decays of a slow state lie close to 1. With `scale` log2(e), e^r instead.
template <class D>
HWY_INLINE hn::Vec<D> exp2_reduced(D d, hn::Vec<D> r, double scale = 1) {
  const auto coefficient = [d](double value)
                               HWY_ATTR { return hn::Set(d, static_cast<float>(value)); };
  const double scale2 = scale * scale;
  hn::Vec<D> q = coefficient(0.00015345960811900223 * scale2 * scale2 * scale2);
  q = hn::MulAdd(q, r, coefficient(0.0013395712868386187 * scale2 * scale2 * scale));
  q = hn::MulAdd(q, r, coefficient(0.009618448641155766 * scale2 * scale2));
  q = hn::MulAdd(q, r, coefficient(0.055503427947686555 * scale2 * scale));
  q = hn::MulAdd(q, r, coefficient(0.24022648026257476 * scale2));
  q = hn::MulAdd(q, r, coefficient(0.6931471957878276 * scale));
  return hn::MulAdd(q, r, coefficient(1));
}

// Min and Max that return `x` where it is NaN.
template <class D>
HWY_INLINE hn::Vec<D> at_most(D d, hn::Vec<D> x, hn::TFromD<D> limit) {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
  return hn::Min(hn::Set(d, limit), x);  // minps gives its second operand for NaN
#else
  return hn::IfThenElse(hn::Gt(x, hn::Set(d, limit)), hn::Set(d, limit), x);
#endif
}
template <class D>
HWY_INLINE hn::Vec<D> at_least(D d, hn::Vec<D> x, hn::TFromD<D> limit) {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
  return hn::Max(hn::Set(d, limit), x);
#else
  return hn::IfThenElse(hn::Lt(x, hn::Set(d, limit)), hn::Set(d, limit), x);
#endif
}

// 2^(x y); with a fused multiply-add the exponent is rounded only once, in y itself. Overflows to
// infinity; 0 below 2^-126 at the latest.
template <class D>
requires(sizeof(hn::TFromD<D>) == 4) HWY_INLINE hn::Vec<D> exp2_of_product(D d, hn::Vec<D> x,
                                                                           hn::Vec<D> y) {
  const auto product = hn::Mul(x, y);
#if HWY_TARGET == HWY_AVX3
  const auto n = hn::Round(product);
  const auto p = exp2_reduced(d, hn::MulSub(x, y, n));
  return hn::Vec<D>{_mm512_scalef_ps(p.raw, n.raw)};
#else
  const hn::RebindToSigned<D> di;
  const auto magic = hn::Set(d, 12582912.0f);  // 1.5 x 2^23: adding it rounds to an integer
  const auto shifted = hn::Add(product, magic);
  const auto n = hn::Sub(shifted, magic);
  const auto p = exp2_reduced(d, hn::MulSub(x, y, n));
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(di, shifted));
  const auto scaled = hn::BitCast(d, hn::Add(hn::BitCast(di, p), exponent));
  const auto infinity = hn::Set(d, std::numeric_limits<float>::infinity());
  return hn::IfThenZeroElse(hn::Lt(product, hn::Set(d, -126.0f)),
                            hn::IfThenElse(hn::Ge(product, hn::Set(d, 128.0f)), infinity, scaled));
#endif
}

// e^x, accurate for large |x| too, for use outside the innermost loops.
template <class D>
requires(sizeof(hn::TFromD<D>) == 4) HWY_INLINE hn::Vec<D> accurate_exp(D d, hn::Vec<D> x) {
  const auto limited = at_least(d, at_most(d, x, 89.0f), -88.0f);
  const auto n = hn::Round(hn::Mul(limited, hn::Set(d, static_cast<float>(kLog2E))));
  // ln 2 in two parts, the first with few enough bits that n times it is exact.
  auto r = hn::NegMulAdd(n, hn::Set(d, 0.693145751953125f), limited);
  r = hn::NegMulAdd(n, hn::Set(d, 1.42860682030941723e-6f), r);
  const auto p = exp2_reduced(d, r, kLog2E);
  // Two factors: n reaches 128, beyond the exponent of a single one.
  const hn::RebindToSigned<D> di;
  // NaN: r carries it, so any integer will do; the emulated target converts by a C++ cast, for
  // which NaN is undefined.
#if HWY_TARGET == HWY_EMU128
  const auto ni = hn::ConvertTo(di, hn::IfThenElseZero(hn::Eq(n, n), n));
#else
  const auto ni = hn::ConvertTo(di, n);
#endif
  const auto half = hn::ShiftRight<1>(ni);
  const auto bias = hn::Set(di, 127);
  const auto scale1 = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(half, bias)));
  const auto scale2 = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::Sub(ni, half), bias)));
  return hn::Mul(hn::Mul(p, scale1), scale2);
}

template <class D>
requires(sizeof(hn::TFromD<D>) == 8) HWY_INLINE hn::Vec<D> accurate_exp(D d, hn::Vec<D> x) {
  const auto infinity = hn::Set(d, std::numeric_limits<double>::infinity());
  const auto result = hn::Exp(d, hn::Min(x, hn::Set(d, 709.0)));
  return hn::IfThenElse(hn::Gt(x, hn::Set(d, 709.0)), infinity,
                        hn::IfThenElse(hn::IsNaN(x), x, result));
}

template <class D>
requires(sizeof(hn::TFromD<D>) == 8) HWY_INLINE hn::Vec<D> exp2_of_product(D d, hn::Vec<D> x,
                                                                           hn::Vec<D> y) {
  return accurate_exp(d, hn::Mul(hn::Mul(x, y), hn::Set(d, kLn2)));
}

// The integer nearest to x y, below 2^22 (double: 2^51), and the same in the lowest bits of `bits`.
template <class D, class DI = hn::RebindToSigned<D>>
HWY_INLINE hn::Vec<D> nearest_integer(D d, hn::Vec<D> x, hn::Vec<D> y, hn::Vec<DI>& bits) {
  using T = hn::TFromD<D>;
  // 1.5 x 2^23 (double: 2^52): adding it rounds to an integer.
  const auto magic = hn::Set(d, sizeof(T) == 4 ? T{12582912} : static_cast<T>(6755399441055744.0));
  const auto shifted = hn::MulAdd(x, y, magic);
  bits = hn::BitCast(DI(), shifted);
  return hn::Sub(shifted, magic);
}

// cos and sin of r quarter turns, |r| <= 1/2 (relative error 4e-9 before rounding). In sin the
// first coefficient, pi / 2, has two parts: its rounding error would turn every step the same way.
template <class D>
requires(sizeof(hn::TFromD<D>) == 4) HWY_INLINE
    void cos_sin_reduced(D d, hn::Vec<D> r, hn::Vec<D>& cos, hn::Vec<D>& sin) {
  const auto r2 = hn::Mul(r, r);
  auto p = hn::Set(d, -0.0046048342f);
  p = hn::MulAdd(p, r2, hn::Set(d, 0.079681413f));
  p = hn::MulAdd(p, r2, hn::Set(d, -0.64596363f));
  p = hn::MulAdd(p, r2, hn::Set(d, -4.371139e-8f));
  sin = hn::MulAdd(r, hn::Set(d, 1.57079637f), hn::Mul(p, r));
  auto q = hn::Set(d, 0.00090402167f);
  q = hn::MulAdd(q, r2, hn::Set(d, -0.020860288f));
  q = hn::MulAdd(q, r2, hn::Set(d, 0.25366924f));
  q = hn::MulAdd(q, r2, hn::Set(d, -1.23370054f));
  cos = hn::MulAdd(q, r2, hn::Set(d, 1.0f));
}

template <class D>
requires(sizeof(hn::TFromD<D>) == 8) HWY_INLINE
    void cos_sin_reduced(D d, hn::Vec<D> r, hn::Vec<D>& cos, hn::Vec<D>& sin) {
  const auto angle = hn::Mul(r, hn::Set(d, 1.5707963267948966));
  cos = hn::Cos(d, angle);
  sin = hn::Sin(d, angle);
}

// x y - z, rounded little more than once also where there is no fused multiply-add.
template <class D>
HWY_INLINE hn::Vec<D> product_minus(D d, hn::Vec<D> x, hn::Vec<D> y, hn::Vec<D> z) {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
  return hn::MulSub(x, y, z);
#else
  // Upper and lower halves of the digits, whose products are exact.
  const hn::RebindToUnsigned<D> du;
  constexpr int kLower = sizeof(hn::TFromD<D>) == 4 ? 12 : 27;
  const auto upper = [=](hn::Vec<D> v) HWY_ATTR {
    return hn::BitCast(d, hn::ShiftLeft<kLower>(hn::ShiftRight<kLower>(hn::BitCast(du, v))));
  };
  const auto x1 = upper(x), y1 = upper(y);
  const auto x2 = hn::Sub(x, x1), y2 = hn::Sub(y, y1);
  const auto sum = hn::Add(hn::Sub(hn::Mul(x1, y1), z), hn::Mul(x1, y2));
  return hn::Add(hn::Add(sum, hn::Mul(x2, y1)), hn::Mul(x2, y2));
#endif
}

// cos and sin of x rate + more quarter turns, the product rounded only after whole quarter turns
// have left it. Beyond 2^22 (double: 2^51) of them the angle is arbitrary, both in [-1, 1].
template <class D>
HWY_INLINE void cos_sin_of_quarter_turns(D d, hn::Vec<D> x, hn::Vec<D> rate, hn::Vec<D> more,
                                         hn::Vec<D>& cos, hn::Vec<D>& sin) {
  using T = hn::TFromD<D>;
  const hn::RebindToSigned<D> di;
  constexpr int kSign = 8 * sizeof(T) - 1;
  auto bits = hn::Zero(di);
  const auto n = nearest_integer(d, x, rate, bits);
  // A little more than 1/2, which `more` may add.
  const auto r = at_least(d, at_most(d, hn::Add(product_minus(d, x, rate, n), more), T{1}), T{-1});
  auto c = hn::Zero(d), s = hn::Zero(d);
  cos_sin_reduced(d, r, c, s);
  const auto odd = hn::RebindMask(d, hn::TestBit(bits, hn::Set(di, 1)));
  const auto sign = hn::SignBit(d);
  const auto negative_sin = hn::And(sign, hn::BitCast(d, hn::ShiftLeft<kSign - 1>(bits)));
  const auto next = hn::Add(bits, hn::Set(di, 1));
  const auto negative_cos = hn::And(sign, hn::BitCast(d, hn::ShiftLeft<kSign - 1>(next)));
  cos = hn::Xor(hn::IfThenElse(odd, s, c), negative_cos);
  sin = hn::Xor(hn::IfThenElse(odd, c, s), negative_sin);
}

// log(1 + e) for 0 <= e <= 1.
template <class D>
requires(sizeof(hn::TFromD<D>) == 4) HWY_INLINE hn::Vec<D> log1p_unit(D d, hn::Vec<D> e) {
  // 2 atanh(s) = t + t s^2 (1/3 + s^2 / 5 + ...), s = e / (2 + e) <= 1/3, t = 2 s = e - e s.
  const auto s = hn::Div(e, hn::Add(e, hn::Set(d, 2.0f)));
  const auto t = hn::NegMulAdd(e, s, e);
  const auto s2 = hn::Mul(s, s);
  auto p = hn::Set(d, 1.0f / 13);
  p = hn::MulAdd(p, s2, hn::Set(d, 1.0f / 11));
  p = hn::MulAdd(p, s2, hn::Set(d, 1.0f / 9));
  p = hn::MulAdd(p, s2, hn::Set(d, 1.0f / 7));
  p = hn::MulAdd(p, s2, hn::Set(d, 1.0f / 5));
  p = hn::MulAdd(p, s2, hn::Set(d, 1.0f / 3));
  return hn::MulAdd(hn::Mul(t, s2), p, t);
}

template <class D>
requires(sizeof(hn::TFromD<D>) == 8) HWY_INLINE hn::Vec<D> log1p_unit(D d, hn::Vec<D> e) {
  return hn::Log1p(d, e);
}

// softplus with LibTorch's threshold: x itself above 20. `derivative` is its slope.
template <class D>
HWY_INLINE hn::Vec<D> softplus(D d, hn::Vec<D> x, hn::Vec<D>& derivative) {
  using T = hn::TFromD<D>;
  const auto one = hn::Set(d, T{1});
  const auto e = accurate_exp(d, hn::Neg(hn::Abs(x)));
  const auto above = hn::Gt(x, hn::Set(d, T{20}));
  const auto positive = hn::Gt(x, hn::Zero(d));
  const auto slope = hn::Div(hn::IfThenElse(positive, one, e), hn::Add(one, e));
  derivative = hn::IfThenElse(above, one, slope);
  const auto value = hn::Add(hn::IfThenElse(positive, x, hn::Zero(d)), log1p_unit(d, e));
  return hn::IfThenElse(above, x, value);
}

template <class D>
HWY_INLINE hn::Vec<D> sigmoid(D d, hn::Vec<D> x) {
  const auto one = hn::Set(d, hn::TFromD<D>{1});
  return hn::Div(one, hn::Add(one, accurate_exp(d, hn::Neg(x))));
}

template <class D>
HWY_INLINE hn::Vec<D> silu(D d, hn::Vec<D> x) {
  return hn::Div(x, hn::Add(hn::Set(d, hn::TFromD<D>{1}), accurate_exp(d, hn::Neg(x))));
}

}  // namespace strandwave::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
