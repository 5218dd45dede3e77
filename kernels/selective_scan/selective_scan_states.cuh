// States of the CUDA kernels of the selective scan, real and complex: how they are loaded, stored
// and advanced, and the arithmetic that this and the gates need. The layout:
// selective_scan_device.cuh.
#pragma once

#include <cstdint>

#include "kernels/selective_scan/selective_scan_device.cuh"

namespace strandwave::kernels {

constexpr float kScanLog2E = 1.4426950408889634f;
constexpr float kScanLn2 = 0.6931471805599453f;

// ------------------------------------------------------------------------------- load and store

// Calls visit(channel, state, c, n) for the lane's elements that exist.
template <typename Visit>
__device__ inline void scan_each_state(const ScanArgs& p, int64_t warp, int lane, Visit&& visit) {
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    const int64_t channel = warp * kScanChannels + lane / 4 * 4 + c;
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      const int state = p.first_state + lane % 4 * 4 + n;
      if (channel < p.channels && state < p.d_state) visit(channel, state, c, n);
    }
  }
}

// A log2(e), so that decays are powers of two. Finite, so that steps of length zero keep the state.
__device__ inline float scan_decay(float A) {
  const float value = A * kScanLog2E;
  return value < -3.4e38f ? -3.4e38f : value;
}

// A lane's decay rates, [channel][state].
template <bool kComplex>
struct ScanRates {
  float scale[4][4];  // A log2(e)
};

// exp(delta A) is 2^(delta scale), turned by delta (turn + rest) quarter turns. The rate of turning
// is the sum of two numbers: while a state lives it turns much further than by one, so that an
// error of the rate itself would show.
template <>
struct ScanRates<true> {
  float scale[4][2];  // Re A log2(e)
  float turn[4][2];   // Im A 2 / pi
  float rest[4][2];   // what rounding took from it
};

__device__ inline void scan_split_turn(float imaginary, float& turn, float& rest) {
  constexpr float kTwoOverPi = 0.636619747f;
  constexpr float kTwoOverPiRest = 2.5682553e-8f;
  turn = imaginary * kTwoOverPi;
  rest = fmaf(imaginary, kTwoOverPiRest, fmaf(imaginary, kTwoOverPi, -turn));
}

__device__ inline void scan_load_rates(const ScanArgs& p, int64_t warp, int lane,
                                       ScanRates<false>& rates) {
#pragma unroll
  for (int c = 0; c < 4; ++c) {
#pragma unroll
    for (int n = 0; n < 4; ++n) rates.scale[c][n] = 0;
  }
  scan_each_state(p, warp, lane, [&](int64_t channel, int state, int c, int n) {
    rates.scale[c][n] = scan_decay(p.A[channel * p.d_state + state]);
  });
}

__device__ inline void scan_load_rates(const ScanArgs& p, int64_t warp, int lane,
                                       ScanRates<true>& rates) {
#pragma unroll
  for (int c = 0; c < 4; ++c) {
#pragma unroll
    for (int k = 0; k < 2; ++k) rates.scale[c][k] = rates.turn[c][k] = rates.rest[c][k] = 0;
  }
  scan_each_state(p, warp, lane, [&](int64_t channel, int state, int c, int n) {
    const float value = p.A[channel * p.d_state + state];
    if (n % 2 == 0)
      rates.scale[c][n / 2] = scan_decay(value);
    else
      scan_split_turn(value, rates.turn[c][n / 2], rates.rest[c][n / 2]);
  });
}

// (rows, channels, d_state); a null tensor is zero.
__device__ inline void scan_load_state(const ScanArgs& p, const float* states, int64_t row,
                                       int64_t warp, int lane, float (&to)[4][4]) {
#pragma unroll
  for (int c = 0; c < 4; ++c) {
#pragma unroll
    for (int n = 0; n < 4; ++n) to[c][n] = 0;
  }
  if (states == nullptr) return;
  scan_each_state(p, warp, lane, [&](int64_t channel, int state, int c, int n) {
    to[c][n] = states[(row * p.channels + channel) * p.d_state + state];
  });
}

__device__ inline void scan_store_state(const ScanArgs& p, float* states, int64_t row, int64_t warp,
                                        int lane, const float (&from)[4][4]) {
  if (states == nullptr) return;
  scan_each_state(p, warp, lane, [&](int64_t channel, int state, int c, int n) {
    states[(row * p.channels + channel) * p.d_state + state] = from[c][n];
  });
}

__device__ inline void scan_load_tile(const float* tile, int lane, float (&to)[4][4]) {
#pragma unroll
  for (int c = 0; c < 4; ++c) scan_load4(tile + c * 128 + lane * 4, to[c]);
}

__device__ inline void scan_store_tile(float* tile, int lane, const float (&from)[4][4]) {
#pragma unroll
  for (int c = 0; c < 4; ++c)
    *reinterpret_cast<float4*>(tile + c * 128 + lane * 4) =
        make_float4(from[c][0], from[c][1], from[c][2], from[c][3]);
}

// What enters the segment of `place`: from the carries, or zero.
__device__ inline void scan_load_carry(const ScanArgs& p, const ScanPlace& place, bool enters,
                                       int lane, float (&to)[4][4]) {
  if (enters) {
    scan_load_tile(p.carries.states + (place.part * p.channel_warps + place.warp) * kScanTile, lane,
                   to);
    return;
  }
#pragma unroll
  for (int c = 0; c < 4; ++c) {
#pragma unroll
    for (int n = 0; n < 4; ++n) to[c][n] = 0;
  }
}

// The sum of delta' of the lane's 8 channels over its steps.
template <bool kComplex>
struct ScanDeltaSum {
  float sum[8] = {};

  __device__ void add(const float (&delta)[8]) {
#pragma unroll
    for (int i = 0; i < 8; ++i) sum[i] += delta[i];
  }
};

// With what rounding took from it: a segment turns its states many times, and the angle's absolute
// error counts.
template <>
struct ScanDeltaSum<true> {
  float sum[8] = {};
  float rest[8] = {};

  __device__ void add(const float (&delta)[8]) {
#pragma unroll
    for (int i = 0; i < 8; ++i) add(i, delta[i], 0);
  }
  __device__ void add(int i, float value, float value_rest) {
    const float before = sum[i];
    sum[i] = before + value;
    const float added = sum[i] - before;
    rest[i] += (before - (sum[i] - added)) + (value - added) + value_rest;
  }
};

// Over the lanes that share channels.
__device__ inline void scan_sum_lanes(ScanDeltaSum<false>& deltas) {
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    deltas.sum[i] += __shfl_xor_sync(~0u, deltas.sum[i], 4);
    deltas.sum[i] += __shfl_xor_sync(~0u, deltas.sum[i], 8);
    deltas.sum[i] += __shfl_xor_sync(~0u, deltas.sum[i], 16);
  }
}

__device__ inline void scan_sum_lanes(ScanDeltaSum<true>& deltas) {
#pragma unroll
  for (int i = 0; i < 8; ++i) {
#pragma unroll
    for (int mask = 4; mask <= 16; mask *= 2) {
      const float sum = __shfl_xor_sync(~0u, deltas.sum[i], mask);
      const float rest = __shfl_xor_sync(~0u, deltas.rest[i], mask);
      deltas.add(i, sum, rest);
    }
  }
}

// What leaves it.
template <bool kComplex>
__device__ inline void scan_store_carry(const ScanArgs& p, const ScanPlace& place, bool cut,
                                        int lane, const float (&state)[4][4],
                                        ScanDeltaSum<kComplex>& deltas) {
  scan_store_tile(p.carries.states + (place.part * p.channel_warps + place.warp) * kScanTile, lane,
                  state);
  scan_sum_lanes(deltas);
  if (lane < 4) {
    const int64_t at = (place.part * p.channel_warps + place.warp) * kScanChannels + lane * 8;
    scan_store8(p.carries.delta_sums + at, deltas.sum);
    if constexpr (kComplex) scan_store8(p.carries.delta_rests + at, deltas.rest);
  }
  if (place.warp == 0 && lane == 0) p.carries.cuts[place.part] = cut;
}

// ----------------------------------------------------------------------------------- arithmetic

__device__ inline float scan_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ inline float scan_reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// cos and sin of time turn + more quarter turns. Beyond 2^22 of them the angle is arbitrary.
__device__ inline void scan_cos_sin(float time, float turn, float more, float& cos, float& sin) {
  constexpr float kMagic = 12582912;  // 1.5 x 2^23: adding it rounds to an integer
  const float shifted = fmaf(time, turn, kMagic);
  float r = fmaf(time, turn, kMagic - shifted) + more;
  r = fabsf(r) > 1 ? 0 : r;
  const float r2 = r * r;
  // The first coefficient, pi / 2, has two parts: its rounding error would turn every step the same
  // way.
  float p = fmaf(-0.0046048342f, r2, 0.079681413f);
  p = fmaf(p, r2, -0.64596363f);
  p = fmaf(p, r2, -4.371139e-8f);
  const float s = fmaf(r, 1.57079637f, p * r);
  float q = fmaf(0.00090402167f, r2, -0.020860288f);
  q = fmaf(q, r2, 0.25366924f);
  q = fmaf(q, r2, -1.23370054f);
  const float c = fmaf(q, r2, 1.0f);
  const uint32_t quarter = __float_as_uint(shifted);
  const bool odd = (quarter & 1) != 0;
  cos = __uint_as_float(__float_as_uint(odd ? s : c) ^ ((quarter + 1) << 30 & 0x80000000u));
  sin = __uint_as_float(__float_as_uint(odd ? c : s) ^ (quarter << 30 & 0x80000000u));
}

struct ScanComplex {
  float real, imaginary;
};

__device__ inline ScanComplex scan_decay(const ScanRates<true>& rates, int c, int k, float time) {
  float cos, sin;
  scan_cos_sin(time, rates.turn[c][k], time * rates.rest[c][k], cos, sin);
  const float modulus = scan_exp2(time * rates.scale[c][k]);
  return {modulus * cos, modulus * sin};
}

// One step of the lane's states of channel c: h = exp(delta' A) h + delta' u B, and, with kOutput,
// y += C h.
template <bool kOutput>
__device__ inline void scan_advance(const ScanRates<false>& rates, int c, float time, float input,
                                    const float (&B)[4], const float (&C)[4], float (&h)[4],
                                    float& y) {
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    h[n] = fmaf(scan_exp2(time * rates.scale[c][n]), h[n], input * B[n]);
    if (kOutput) y = fmaf(C[n], h[n], y);
  }
}

template <bool kOutput>
__device__ inline void scan_advance(const ScanRates<true>& rates, int c, float time, float input,
                                    const float (&B)[4], const float (&C)[4], float (&h)[4],
                                    float& y) {
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    const ScanComplex a = scan_decay(rates, c, k, time);
    const float real = h[2 * k];
    const float imaginary = h[2 * k + 1];
    h[2 * k] = fmaf(-a.imaginary, imaginary, fmaf(a.real, real, input * B[2 * k]));
    h[2 * k + 1] = fmaf(a.imaginary, real, fmaf(a.real, imaginary, input * B[2 * k + 1]));
    if (kOutput) y = fmaf(-C[2 * k + 1], h[2 * k + 1], fmaf(C[2 * k], h[2 * k], y));
  }
}

// One step back of the adjoint state alone: g = conj(exp(delta' A)) (g + dy conj(C)).
__device__ inline void scan_retreat(const ScanRates<false>& rates, int c, float time, float dy,
                                    const float (&C)[4], float (&g)[4]) {
#pragma unroll
  for (int n = 0; n < 4; ++n) g[n] = scan_exp2(time * rates.scale[c][n]) * fmaf(dy, C[n], g[n]);
}

__device__ inline void scan_retreat(const ScanRates<true>& rates, int c, float time, float dy,
                                    const float (&C)[4], float (&g)[4]) {
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    const ScanComplex a = scan_decay(rates, c, k, time);
    const float real = fmaf(dy, C[2 * k], g[2 * k]);
    const float imaginary = fmaf(-dy, C[2 * k + 1], g[2 * k + 1]);
    g[2 * k] = fmaf(a.real, real, a.imaginary * imaginary);
    g[2 * k + 1] = fmaf(a.real, imaginary, -a.imaginary * real);
  }
}

// e^-|x|. The product's rounding error goes back in, or it would grow with |x|.
__device__ inline float scan_exp_of_minus_abs(float x) {
  const float m = fabsf(x) > 100 ? -100 : -fabsf(x);
  const float t = m * kScanLog2E;
  const float e = scan_exp2(t);
  return fmaf(e * fmaf(m, kScanLog2E, -t), kScanLn2, e);
}

// artanh(s) / s for 0 <= s <= 1/3 as a polynomial in s^2 (relative error 4e-9).
__device__ inline float scan_artanh_ratio(float s2) {
  float p = 0.14087328614628397f;
  p = fmaf(p, s2, 0.1398070942145964f);
  p = fmaf(p, s2, 0.20012426861445045f);
  p = fmaf(p, s2, 0.33333157967547067f);
  return fmaf(p, s2, 1.0f);
}

// max(x, 0) + log(1 + e^-|x|), which above 20 is x itself.
__device__ inline float scan_softplus(float x) {
  const float e = scan_exp_of_minus_abs(x);
  const float s = e * scan_reciprocal(2 + e);
  return fmaxf(x, 0) + 2 * s * scan_artanh_ratio(s * s);
}

__device__ inline float scan_softplus(float x, float& slope) {
  const float e = scan_exp_of_minus_abs(x);
  const float r = scan_reciprocal((1 + e) * (2 + e));
  const float s = e * (r * (1 + e));
  slope = (x > 0 ? 1 : e) * (r * (2 + e));
  return fmaxf(x, 0) + 2 * s * scan_artanh_ratio(s * s);
}

__device__ inline float scan_sigmoid(float x) {
  return scan_reciprocal(1 + scan_exp2(-kScanLog2E * x));
}

// delta' from delta. One branch for all eight: their latencies overlap.
__device__ inline void scan_deltas(const ScanArgs& p, const float (&bias)[8], float (&delta)[8]) {
#pragma unroll
  for (int i = 0; i < 8; ++i) delta[i] += bias[i];
  if (!p.delta_softplus) return;
#pragma unroll
  for (int i = 0; i < 8; ++i) delta[i] = scan_softplus(delta[i]);
}

__device__ inline void scan_deltas(const ScanArgs& p, const float (&bias)[8], float (&delta)[8],
                                   float (&slope)[8]) {
#pragma unroll
  for (int i = 0; i < 8; ++i) delta[i] += bias[i];
#pragma unroll
  for (int i = 0; i < 8; ++i) slope[i] = 1;
  if (!p.delta_softplus) return;
#pragma unroll
  for (int i = 0; i < 8; ++i) delta[i] = scan_softplus(delta[i], slope[i]);
}

// Sums v[i] over the four lanes that share channels; lane 4g + q gets that of channel q.
__device__ inline float scan_sum_states(const float (&v)[4], int lane) {
  const bool upper = (lane & 2) != 0;
  float a = upper ? v[2] : v[0];
  float b = upper ? v[3] : v[1];
  a += __shfl_xor_sync(~0u, upper ? v[0] : v[2], 2);
  b += __shfl_xor_sync(~0u, upper ? v[1] : v[3], 2);
  const bool odd = (lane & 1) != 0;
  return (odd ? b : a) + __shfl_xor_sync(~0u, odd ? a : b, 1);
}

// Sums v[i] over the eight lanes that share states; lane 4g + q gets that of i = g.
__device__ inline float scan_sum_channels(const float (&v)[8], int lane) {
  float w[4];
  const bool bit4 = (lane & 16) != 0;
#pragma unroll
  for (int i = 0; i < 4; ++i)
    w[i] = (bit4 ? v[i + 4] : v[i]) + __shfl_xor_sync(~0u, bit4 ? v[i] : v[i + 4], 16);
  const bool bit3 = (lane & 8) != 0;
  const float a = (bit3 ? w[2] : w[0]) + __shfl_xor_sync(~0u, bit3 ? w[0] : w[2], 8);
  const float b = (bit3 ? w[3] : w[1]) + __shfl_xor_sync(~0u, bit3 ? w[1] : w[3], 8);
  const bool bit2 = (lane & 4) != 0;
  return (bit2 ? b : a) + __shfl_xor_sync(~0u, bit2 ? a : b, 4);
}

}  // namespace strandwave::kernels
