// Raw CPU kernels of the embedding.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "kernels/embedding/embedding_params.h"

// Baseline, AVX2 and AVX-512 are enough; every further target costs compile time.
#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#endif
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/embedding/embedding_simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/common/simd_io-inl.h"

#ifndef STRANDWAVE_EMBEDDING_ONCE
#define STRANDWAVE_EMBEDDING_ONCE
namespace strandwave::kernels {

constexpr int64_t kEmbeddingColumns = 64;  // of one backward task

inline int64_t embedding_id(const void* ids, bool bytes, int64_t position) {
  return bytes ? int64_t{static_cast<const uint8_t*>(ids)[position]}
               : static_cast<const int64_t*>(ids)[position];
}

}  // namespace strandwave::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace strandwave::kernels::HWY_NAMESPACE {
namespace {

// Adds the columns [first, first + count) of all positions to a table, position after position.
template <typename Io>
void add_rows(const EmbeddingBackwardParams& p, int64_t first, int64_t count, Compute<Io>* table,
              int64_t stride) {
  const hn::ScalableTag<Compute<Io>> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const Io* dout = static_cast<const Io*>(p.dout) + first;
  for (int64_t i = 0; i < p.positions; ++i) {
    Compute<Io>* HWY_RESTRICT sums = table + embedding_id(p.ids, p.byte_ids, i) * stride;
    const Io* HWY_RESTRICT row = dout + i * p.d;
    for (int64_t c = 0; c < count; c += lanes) {
      const auto sum =
          hn::Add(load_io_some(d, sums + c, count - c), load_io_some(d, row + c, count - c));
      store_io_some(d, sum, sums + c, count - c);
    }
  }
}

template <typename Io>
void backward_typed(const EmbeddingBackwardParams& p, int64_t first, int64_t count) {
  using T = Compute<Io>;
  Io* dweight = static_cast<Io*>(p.dweight) + first;
  if constexpr (std::is_same_v<Io, T>) {
    for (int64_t v = 0; v < p.vocabulary; ++v) std::fill_n(dweight + v * p.d, count, T{0});
    add_rows<Io>(p, first, count, dweight, p.d);
  } else {
    const hn::ScalableTag<T> d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    std::vector<T> table(static_cast<size_t>(p.vocabulary * count));
    add_rows<Io>(p, first, count, table.data(), count);
    for (int64_t v = 0; v < p.vocabulary; ++v)
      for (int64_t c = 0; c < count; c += lanes)
        store_io_some(d, load_io_some(d, table.data() + v * count + c, count - c),
                      dweight + v * p.d + c, count - c);
  }
}

void backward(const EmbeddingBackwardParams& p, int64_t first, int64_t count) {
  switch (p.dtype) {
    case Dtype::kFloat32:
      return backward_typed<float>(p, first, count);
    case Dtype::kFloat64:
      return backward_typed<double>(p, first, count);
    case Dtype::kBFloat16:
      return backward_typed<BFloat16>(p, first, count);
    case Dtype::kFloat16:
      return backward_typed<Float16>(p, first, count);
  }
}

}  // namespace
}  // namespace strandwave::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace strandwave::kernels {
namespace {

HWY_EXPORT(backward);

int64_t size_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::kFloat64:
      return 8;
    case Dtype::kFloat32:
      return 4;
    default:
      return 2;
  }
}

}  // namespace

void embedding_forward_rows(const EmbeddingParams& params, int64_t begin, int64_t end) {
  const int64_t row_bytes = params.d * size_of(params.dtype);
  const auto* weight = static_cast<const char*>(params.weight);
  auto* out = static_cast<char*>(params.out);
  for (int64_t i = begin; i < end; ++i)
    std::memcpy(out + i * row_bytes,
                weight + embedding_id(params.ids, params.byte_ids, i) * row_bytes,
                static_cast<size_t>(row_bytes));
}

int64_t embedding_backward_tasks(const EmbeddingBackwardParams& params) {
  return (params.d + kEmbeddingColumns - 1) / kEmbeddingColumns;
}

void embedding_backward_columns(const EmbeddingBackwardParams& params, int64_t task) {
  const int64_t first = task * kEmbeddingColumns;
  HWY_DYNAMIC_DISPATCH(backward)(params, first, std::min(kEmbeddingColumns, params.d - first));
}

}  // namespace strandwave::kernels
#endif
