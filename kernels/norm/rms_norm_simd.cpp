// Raw CPU kernels of add_rms_norm: rows one after the other, columns in vectors.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/norm/rms_norm_params.h"

// Baseline, AVX2 and AVX-512 are enough; every further target costs compile time.
#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#endif
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm/rms_norm_simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/common/simd_io-inl.h"

HWY_BEFORE_NAMESPACE();
namespace strandwave::kernels::HWY_NAMESPACE {
namespace {

template <typename T>
HWY_INLINE const T* row_of(const void* data, int64_t row, int64_t d) {
  return static_cast<const T*>(data) + row * d;
}
template <typename T>
HWY_INLINE T* row_of(void* data, int64_t row, int64_t d) {
  return static_cast<T*>(data) + row * d;
}

template <typename Io, typename Residual, typename Sum>
void forward_row(const AddRmsNormParams& p, int64_t row, Compute<Io>* HWY_RESTRICT values) {
  using T = Compute<Io>;
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const Io* x = row_of<Io>(p.x, row, p.d);
  const Residual* residual =
      p.residual == nullptr ? nullptr : row_of<Residual>(p.residual, row, p.d);
  Sum* sum = row_of<Sum>(p.sum, row, p.d);
  auto squares = hn::Zero(d);
  for (int64_t c = 0; c < p.d; c += lanes) {
    auto v = load_io_some(d, x + c, p.d - c);
    if (residual != nullptr) v = hn::Add(v, load_io_some(d, residual + c, p.d - c));
    hn::StoreU(v, d, values + c);
    store_io_some(d, v, sum + c, p.d - c);
    squares = hn::MulAdd(v, v, squares);
  }
  const T mean = hn::GetLane(hn::SumOfLanes(d, squares)) / static_cast<T>(p.d);
  const T rstd = T{1} / std::sqrt(mean + static_cast<T>(p.eps));
  static_cast<T*>(p.rstd)[row] = rstd;
  const T* weight = static_cast<const T*>(p.weight);
  Io* y = row_of<Io>(p.y, row, p.d);
  for (int64_t c = 0; c < p.d; c += lanes) {
    const auto normed = hn::Mul(hn::LoadU(d, values + c), hn::Set(d, rstd));
    store_io_some(d, hn::Mul(normed, load_io_some(d, weight + c, p.d - c)), y + c, p.d - c);
  }
}

template <typename Io, typename Sum>
void backward_row(const AddRmsNormBackwardParams& p, int64_t row,
                  Compute<Io>* HWY_RESTRICT dweight) {
  using T = Compute<Io>;
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const Io* dy = row_of<Io>(p.dy, row, p.d);
  const Sum* sum = row_of<Sum>(p.sum, row, p.d);
  const Sum* dsum = p.dsum == nullptr ? nullptr : row_of<Sum>(p.dsum, row, p.d);
  const T* weight = static_cast<const T*>(p.weight);
  auto dots = hn::Zero(d);
  for (int64_t c = 0; c < p.d; c += lanes) {
    const auto g = hn::Mul(load_io_some(d, dy + c, p.d - c), load_io_some(d, weight + c, p.d - c));
    dots = hn::MulAdd(g, load_io_some(d, sum + c, p.d - c), dots);
  }
  const T rstd = static_cast<const T*>(p.rstd)[row];
  const T dot = hn::GetLane(hn::SumOfLanes(d, dots));
  const auto scale = hn::Set(d, rstd);
  const auto pull = hn::Set(d, rstd * rstd * (dot / static_cast<T>(p.d)));
  Io* dx = row_of<Io>(p.dx, row, p.d);
  T* dx_full = p.dx_full == nullptr ? nullptr : row_of<T>(p.dx_full, row, p.d);
  for (int64_t c = 0; c < p.d; c += lanes) {
    const auto g = load_io_some(d, dy + c, p.d - c);
    const auto s = load_io_some(d, sum + c, p.d - c);
    const auto gw = hn::Mul(g, load_io_some(d, weight + c, p.d - c));
    auto dr = hn::Mul(scale, hn::NegMulAdd(s, pull, gw));
    if (dsum != nullptr) dr = hn::Add(dr, load_io_some(d, dsum + c, p.d - c));
    store_io_some(d, dr, dx + c, p.d - c);
    if (dx_full != nullptr) store_io_some(d, dr, dx_full + c, p.d - c);
    const auto before = load_io_some(d, dweight + c, p.d - c);
    store_io_some(d, hn::MulAdd(g, hn::Mul(s, scale), before), dweight + c, p.d - c);
  }
}

template <typename Io, typename Residual, typename Sum>
void forward_range(const AddRmsNormParams& p, int64_t begin, int64_t end) {
  const hn::ScalableTag<Compute<Io>> d;
  std::vector<Compute<Io>> values(static_cast<size_t>(p.d) + hn::Lanes(d));
  for (int64_t row = begin; row < end; ++row) forward_row<Io, Residual, Sum>(p, row, values.data());
}

template <typename Io, typename Sum>
void backward_range(const AddRmsNormBackwardParams& p, int64_t partial) {
  auto* dweight = row_of<Compute<Io>>(p.partials, partial, p.d);
  std::fill_n(dweight, p.d, Compute<Io>{0});
  const int64_t begin = partial * p.rows_per_partial;
  const int64_t end = std::min(p.rows, begin + p.rows_per_partial);
  for (int64_t row = begin; row < end; ++row) backward_row<Io, Sum>(p, row, dweight);
}

template <typename Io>
void forward_typed(const AddRmsNormParams& p, int64_t begin, int64_t end) {
  using Full = Compute<Io>;
  if (p.residual_full && p.sum_full) return forward_range<Io, Full, Full>(p, begin, end);
  if (p.residual_full) return forward_range<Io, Full, Io>(p, begin, end);
  if (p.sum_full) return forward_range<Io, Io, Full>(p, begin, end);
  forward_range<Io, Io, Io>(p, begin, end);
}

template <typename Io>
void backward_typed(const AddRmsNormBackwardParams& p, int64_t partial) {
  if (p.sum_full) return backward_range<Io, Compute<Io>>(p, partial);
  backward_range<Io, Io>(p, partial);
}

void forward(const AddRmsNormParams& p, int64_t begin, int64_t end) {
  switch (p.dtype) {
    case Dtype::kFloat32:
      return forward_range<float, float, float>(p, begin, end);
    case Dtype::kFloat64:
      return forward_range<double, double, double>(p, begin, end);
    case Dtype::kBFloat16:
      return forward_typed<BFloat16>(p, begin, end);
    case Dtype::kFloat16:
      return forward_typed<Float16>(p, begin, end);
  }
}

void backward(const AddRmsNormBackwardParams& p, int64_t partial) {
  switch (p.dtype) {
    case Dtype::kFloat32:
      return backward_range<float, float>(p, partial);
    case Dtype::kFloat64:
      return backward_range<double, double>(p, partial);
    case Dtype::kBFloat16:
      return backward_typed<BFloat16>(p, partial);
    case Dtype::kFloat16:
      return backward_typed<Float16>(p, partial);
  }
}

}  // namespace
}  // namespace strandwave::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace strandwave::kernels {
namespace {

HWY_EXPORT(forward);
HWY_EXPORT(backward);

// In double: hundreds of float additions one after the other would show in the result.
template <typename T>
void sum_partials(const AddRmsNormBackwardParams& p, int64_t begin, int64_t end) {
  std::vector<double> sums(static_cast<size_t>(end - begin));
  for (int64_t i = 0; i < p.partial_count; ++i) {
    const T* partial = static_cast<const T*>(p.partials) + i * p.d + begin;
    for (size_t c = 0; c < sums.size(); ++c) sums[c] += static_cast<double>(partial[c]);
  }
  T* dweight = static_cast<T*>(p.dweight) + begin;
  for (size_t c = 0; c < sums.size(); ++c) dweight[c] = static_cast<T>(sums[c]);
}

}  // namespace

int64_t add_rms_norm_cpu_rows(int64_t rows) {
  constexpr int64_t kMostTasks = 256;
  constexpr int64_t kLeastRows = 8;
  return std::max(kLeastRows, (rows + kMostTasks - 1) / kMostTasks);
}

void add_rms_norm_forward_rows(const AddRmsNormParams& params, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(forward)(params, begin, end);
}

void add_rms_norm_backward_rows(const AddRmsNormBackwardParams& params, int64_t partial) {
  HWY_DYNAMIC_DISPATCH(backward)(params, partial);
}

void add_rms_norm_backward_sum(const AddRmsNormBackwardParams& params, int64_t begin, int64_t end) {
  if (params.dtype == Dtype::kFloat64) return sum_partials<double>(params, begin, end);
  sum_partials<float>(params, begin, end);
}

}  // namespace strandwave::kernels
#endif
