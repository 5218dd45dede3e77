// Loads and stores that convert between the I/O types and what they are computed in, per highway
// target. Include inside the foreach_target pattern, after hwy/highway.h.

// NOLINTNEXTLINE: the per-target include guard of highway
#if defined(STRANDWAVE_KERNELS_COMMON_SIMD_IO_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef STRANDWAVE_KERNELS_COMMON_SIMD_IO_INL_H_
#undef STRANDWAVE_KERNELS_COMMON_SIMD_IO_INL_H_
#else
#define STRANDWAVE_KERNELS_COMMON_SIMD_IO_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

#include "kernels/common/io_types.h"

HWY_BEFORE_NAMESPACE();
namespace strandwave::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class D>
HWY_INLINE hn::Vec<D> load_io(D d, const float* HWY_RESTRICT from) {
  return hn::LoadU(d, from);
}

template <class D>
HWY_INLINE hn::Vec<D> load_io(D d, const double* HWY_RESTRICT from) {
  return hn::LoadU(d, from);
}

template <class D>
HWY_INLINE hn::Vec<D> load_io(D d, const BFloat16* HWY_RESTRICT from) {
  const hn::Rebind<uint32_t, D> d32;
  const hn::Rebind<uint16_t, D> d16;
  const auto bits = hn::PromoteTo(d32, hn::LoadU(d16, reinterpret_cast<const uint16_t*>(from)));
  return hn::BitCast(d, hn::ShiftLeft<16>(bits));
}

// Half precision through integers: highway 1.0's own conversion truncates without F16C.
template <class D>
HWY_INLINE hn::Vec<D> load_io(D d, const Float16* HWY_RESTRICT from) {
  const hn::Rebind<uint32_t, D> d32;
  const hn::Rebind<uint16_t, D> d16;
  const auto half = hn::PromoteTo(d32, hn::LoadU(d16, reinterpret_cast<const uint16_t*>(from)));
  const auto magnitude = hn::And(half, hn::Set(d32, 0x7FFF));
  const auto sign = hn::ShiftLeft<16>(hn::Sub(half, magnitude));
  const auto shifted = hn::ShiftLeft<13>(magnitude);
  // The product moves the exponent's bias, also of subnormal numbers.
  const auto finite = hn::BitCast(d32, hn::Mul(hn::BitCast(d, shifted), hn::Set(d, 0x1p112f)));
  const auto special = hn::Or(shifted, hn::Set(d32, 0x7F800000));
  const auto is_special = hn::Gt(magnitude, hn::Set(d32, 0x7BFF));
  return hn::BitCast(d, hn::Or(hn::IfThenElse(is_special, special, finite), sign));
}

template <class D>
HWY_INLINE void store_io(D d, hn::Vec<D> v, float* HWY_RESTRICT to) {
  hn::StoreU(v, d, to);
}

template <class D>
HWY_INLINE void store_io(D d, hn::Vec<D> v, double* HWY_RESTRICT to) {
  hn::StoreU(v, d, to);
}

// Rounds to nearest, ties to even; NaN stays NaN.
template <class D>
HWY_INLINE void store_io(D /*d*/, hn::Vec<D> v, BFloat16* HWY_RESTRICT to) {
  const hn::Rebind<uint32_t, D> d32;
  const hn::Rebind<int32_t, D> di32;
  const hn::Rebind<uint16_t, D> d16;
  const auto bits = hn::BitCast(d32, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d32, 1));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(d32, 0x7FFF)));
  const auto nan = hn::RebindMask(d32, hn::IsNaN(v));
  const auto chosen = hn::IfThenElse(nan, hn::Set(d32, 0x7FC00000), rounded);
  const auto upper = hn::BitCast(di32, hn::ShiftRight<16>(chosen));
  hn::StoreU(hn::DemoteTo(d16, upper), d16, reinterpret_cast<uint16_t*>(to));
}

template <class D>
HWY_INLINE void store_io(D d, hn::Vec<D> v, Float16* HWY_RESTRICT to) {
  const hn::Rebind<uint32_t, D> d32;
  const hn::Rebind<int32_t, D> di32;
  const hn::Rebind<uint16_t, D> d16;
  const auto bits = hn::BitCast(d32, v);
  const auto magnitude = hn::And(bits, hn::Set(d32, 0x7FFFFFFF));
  const auto sign = hn::ShiftRight<16>(hn::Sub(bits, magnitude));
  const auto odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(d32, 1));
  const auto rebias = hn::Set(d32, 0xC8000FFF);  // (15 - 127) << 23, and just under half a unit
  const auto normal = hn::ShiftRight<13>(hn::Add(magnitude, hn::Add(rebias, odd)));
  // Adding 0.5 leaves the bits of a subnormal half, rounded, at the bottom of the sum.
  const auto half_added = hn::Add(hn::BitCast(d, magnitude), hn::Set(d, 0.5f));
  const auto small = hn::Sub(hn::BitCast(d32, half_added), hn::Set(d32, 0x3F000000));
  const auto is_nan = hn::Gt(magnitude, hn::Set(d32, 0x7F800000));
  const auto special = hn::IfThenElse(is_nan, hn::Set(d32, 0x7E00), hn::Set(d32, 0x7C00));
  const auto is_small = hn::Lt(magnitude, hn::Set(d32, 0x38800000));
  const auto finite = hn::IfThenElse(is_small, small, normal);
  const auto is_special = hn::Gt(magnitude, hn::Set(d32, 0x477FFFFF));
  const auto half = hn::Or(hn::IfThenElse(is_special, special, finite), sign);
  hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di32, half)), d16, reinterpret_cast<uint16_t*>(to));
}

// The first `count` lanes at most; the lanes beyond are zero.
template <class D, typename Io>
HWY_INLINE hn::Vec<D> load_io_some(D d, const Io* HWY_RESTRICT from, int64_t count) {
  if (HWY_LIKELY(count >= static_cast<int64_t>(hn::Lanes(d)))) return load_io(d, from);
  Io lanes[hn::MaxLanes(D())] = {};
  std::memcpy(lanes, from, static_cast<size_t>(count) * sizeof(Io));
  return load_io(d, lanes);
}

template <class D, typename Io>
HWY_INLINE void store_io_some(D d, hn::Vec<D> v, Io* HWY_RESTRICT to, int64_t count) {
  if (HWY_LIKELY(count >= static_cast<int64_t>(hn::Lanes(d)))) return store_io(d, v, to);
  Io lanes[hn::MaxLanes(D())];
  store_io(d, v, lanes);
  std::memcpy(to, lanes, static_cast<size_t>(count) * sizeof(Io));
}

}  // namespace strandwave::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
