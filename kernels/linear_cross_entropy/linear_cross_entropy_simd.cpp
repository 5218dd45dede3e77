// Raw CPU kernels of linear_cross_entropy.
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/linear_cross_entropy/linear_cross_entropy_params.h"

// Baseline, AVX2 and AVX-512 are enough; every further target costs compile time.
#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#endif
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear_cross_entropy/linear_cross_entropy_simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

#include "kernels/common/simd_io-inl.h"

#ifndef STRANDWAVE_LINEAR_CROSS_ENTROPY_ONCE
#define STRANDWAVE_LINEAR_CROSS_ENTROPY_ONCE
namespace strandwave::kernels {

// The factor of a row, 0 where the row does not count.
template <typename T>
T cross_entropy_weight(const CrossEntropyParams& p, int64_t row) {
  if (p.target[row] < 0) return T{0};
  return p.token_weight == nullptr ? T{1} : static_cast<const T*>(p.token_weight)[row];
}

}  // namespace strandwave::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace strandwave::kernels::HWY_NAMESPACE {
namespace {

// highway's Exp of NaN is 0.
template <class D>
HWY_INLINE hn::Vec<D> exp_with_nan(D d, hn::Vec<D> x) {
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(d, x));
}

template <typename T>
T logsumexp_of(const T* HWY_RESTRICT logits, int64_t count) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const T lowest = -std::numeric_limits<T>::infinity();
  const int64_t whole = count / lanes * lanes;
  auto most = hn::Set(d, lowest);
  for (int64_t c = 0; c < whole; c += lanes) most = hn::Max(most, hn::LoadU(d, logits + c));
  T maximum = hn::GetLane(hn::MaxOfLanes(d, most));
  for (int64_t c = whole; c < count; ++c) maximum = logits[c] > maximum ? logits[c] : maximum;
  if (!std::isfinite(maximum)) maximum = T{0};

  const auto shift = hn::Set(d, maximum);
  auto sums = hn::Zero(d);
  for (int64_t c = 0; c < whole; c += lanes)
    sums = hn::Add(sums, exp_with_nan(d, hn::Sub(hn::LoadU(d, logits + c), shift)));
  T sum = hn::GetLane(hn::SumOfLanes(d, sums));
  if (whole < count) {
    T rest[hn::MaxLanes(d)];
    for (int64_t c = 0; c < lanes; ++c) rest[c] = whole + c < count ? logits[whole + c] : lowest;
    const auto tail = exp_with_nan(d, hn::Sub(hn::LoadU(d, rest), shift));
    sum += hn::GetLane(hn::SumOfLanes(d, tail));
  }
  return maximum + std::log(sum);
}

template <typename T>
void forward_typed(const CrossEntropyForwardParams& p, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const T* logits = static_cast<const T*>(p.logits) + row * p.stride;
    const T logsumexp = logsumexp_of(logits, p.vocabulary);
    const T weight = cross_entropy_weight<T>(p, row);
    static_cast<T*>(p.logsumexp)[row] = logsumexp;
    static_cast<T*>(p.loss)[row] =
        weight == T{0} ? T{0} : weight * (logsumexp - logits[p.target[row]]);
  }
}

template <typename T>
void backward_typed(const CrossEntropyBackwardParams& p, int64_t begin, int64_t end) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t row = begin; row < end; ++row) {
    const T* logits = static_cast<const T*>(p.logits) + row * p.stride;
    T* gradient = static_cast<T*>(p.gradient) + row * p.stride;
    const T weight = cross_entropy_weight<T>(p, row);
    if (weight == T{0}) {
      for (int64_t c = 0; c < p.vocabulary; ++c) gradient[c] = T{0};
      continue;
    }
    const T factor = weight * static_cast<const T*>(p.dloss)[row];
    const auto scale = hn::Set(d, factor);
    const auto shift = hn::Set(d, static_cast<const T*>(p.logsumexp)[row]);
    const T* target_logit = logits + p.target[row];
    const T probability = hn::GetLane(exp_with_nan(d, hn::Sub(hn::Set(d, *target_logit), shift)));
    for (int64_t c = 0; c < p.vocabulary; c += lanes) {
      const auto x = load_io_some(d, logits + c, p.vocabulary - c);
      store_io_some(d, hn::Mul(exp_with_nan(d, hn::Sub(x, shift)), scale), gradient + c,
                    p.vocabulary - c);
    }
    gradient[p.target[row]] = (probability - T{1}) * factor;
  }
}

void forward(const CrossEntropyForwardParams& p, int64_t begin, int64_t end) {
  if (p.logits_dtype == Dtype::kFloat64) return forward_typed<double>(p, begin, end);
  forward_typed<float>(p, begin, end);
}

void backward(const CrossEntropyBackwardParams& p, int64_t begin, int64_t end) {
  if (p.logits_dtype == Dtype::kFloat64) return backward_typed<double>(p, begin, end);
  backward_typed<float>(p, begin, end);
}

}  // namespace
}  // namespace strandwave::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace strandwave::kernels {
namespace {

HWY_EXPORT(forward);
HWY_EXPORT(backward);

}  // namespace

void cross_entropy_forward_rows(const CrossEntropyForwardParams& params, int64_t begin,
                                int64_t end) {
  HWY_DYNAMIC_DISPATCH(forward)(params, begin, end);
}

void cross_entropy_backward_rows(const CrossEntropyBackwardParams& params, int64_t begin,
                                 int64_t end) {
  HWY_DYNAMIC_DISPATCH(backward)(params, begin, end);
}

}  // namespace strandwave::kernels
#endif
