// Raw CUDA kernels of products with a Vandermonde matrix. As on the CPU time is cut into blocks of
// 64 positions, t = 64 j + s, and exp(delta_A t) is an anchor exp(64 delta_A j) times an entry
// exp(delta_A s) of a table in shared memory; states pass through in tiles.
#include <cstdint>

#include "kernels/ssm_kernel/ssm_kernel_params.h"

namespace strandwave::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kBlock = 64;                          // positions that share an anchor
constexpr int kRows = 32;                           // anchors of a thread block
constexpr int64_t kPiece = kBlock * kRows;          // its positions
constexpr int kStates = 16;                         // of a tile
constexpr int kPositionGroups = kThreads / kBlock;  // product: rows that are computed at once
constexpr int kRowGroups = kThreads / kStates;      // moments: likewise

template <typename T>
struct alignas(2 * sizeof(T)) Complex {
  T re, im;
};

// exp((re + i im) t). The phase is reduced and the magnitude split in double precision, so that the
// result is off by a few roundings of float for any t.
__device__ inline Complex<float> power(float re, float im, double t) {
  constexpr double kInverseTwoPi = 0.15915494309189535;
  constexpr double kLog2E = 1.4426950408889634;
  double turns = static_cast<double>(im) * t * kInverseTwoPi;
  turns -= rint(turns);
  const double octaves = static_cast<double>(re) * t * kLog2E;
  const double whole = fmin(fmax(rint(octaves), -300.0), 300.0);
  const double rest = fabs(octaves) > 300.0 ? 0.0 : octaves - whole;  // a NaN passes
  float sin, cos;
  sincospif(static_cast<float>(2 * turns), &sin, &cos);
  const float magnitude = scalbnf(exp2f(static_cast<float>(rest)), static_cast<int>(whole));
  return {magnitude * cos, magnitude * sin};
}

__device__ inline Complex<double> power(double re, double im, double t) {
  double sin, cos;
  sincos(im * t, &sin, &cos);
  const double magnitude = exp(re * t);
  return {magnitude * cos, magnitude * sin};
}

template <typename T>
__device__ inline Complex<T> multiply(Complex<T> a, Complex<T> b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

// Where a thread block works: (piece of the length, channel, repeat).
struct Place {
  int64_t piece, channel, repeat;
};

__device__ inline Place place_of(const VandermondeParams& p, int64_t pieces) {
  const int64_t block = blockIdx.x;
  return {block % pieces, block / pieces % p.channels, block / pieces / p.channels};
}

int64_t pieces_of(const VandermondeParams& p) { return (p.length + kPiece - 1) / kPiece; }

__device__ inline int64_t position_in(const VandermondeParams& p, int64_t t) {
  return p.reverse ? p.length - 1 - t : t;
}

template <typename T>
__global__ __launch_bounds__(kThreads) void product_kernel(
    const __grid_constant__ VandermondeProductParams p, int64_t pieces) {
  __shared__ Complex<T> table[kStates][kBlock];
  __shared__ Complex<T> factors[kStates][kRows];
  const Place at = place_of(p, pieces);
  const int64_t first = at.piece * kPiece;
  const int64_t row = at.repeat * p.channels + at.channel;
  const auto* rates = static_cast<const Complex<T>*>(p.delta_A) + at.channel * p.n;
  const auto* coefficient = static_cast<const Complex<T>*>(p.coefficient) + row * p.n;
  const int s = threadIdx.x % kBlock, group = threadIdx.x / kBlock;
  T sums[kRows / kPositionGroups] = {};
  for (int64_t tile = 0; tile < p.n; tile += kStates) {
    const int states = static_cast<int>(min(static_cast<int64_t>(kStates), p.n - tile));
    for (int i = threadIdx.x; i < states * kBlock; i += kThreads) {
      const Complex<T> rate = rates[tile + i / kBlock];
      table[i / kBlock][i % kBlock] = power(rate.re, rate.im, i % kBlock);
    }
    for (int i = threadIdx.x; i < states * kRows; i += kThreads) {
      const Complex<T> rate = rates[tile + i / kRows];
      const double t = static_cast<double>(first + i % kRows * kBlock);
      factors[i / kRows][i % kRows] =
          multiply(coefficient[tile + i / kRows], power(rate.re, rate.im, t));
    }
    __syncthreads();
    for (int i = 0; i < states; ++i) {
      const Complex<T> entry = table[i][s];
#pragma unroll
      for (int r = 0; r < kRows / kPositionGroups; ++r) {
        const Complex<T> factor = factors[i][r + group * (kRows / kPositionGroups)];
        sums[r] += factor.re * entry.re;
        sums[r] -= factor.im * entry.im;
      }
    }
    __syncthreads();
  }
  T* out = static_cast<T*>(p.out) + row * p.length;
#pragma unroll
  for (int r = 0; r < kRows / kPositionGroups; ++r) {
    const int64_t t = first + (r + group * (kRows / kPositionGroups)) * kBlock + s;
    if (t < p.length) out[position_in(p, t)] = sums[r];
  }
}

// The sums over one block of x E and s x E for one state.
template <typename T>
struct BlockSums {
  T re = 0, im = 0, late_re = 0, late_im = 0;

  __device__ void add(T x, T late, Complex<T> entry) {
    re += x * entry.re;
    im += x * entry.im;
    late_re += late * entry.re;
    late_im += late * entry.im;
  }
};

// Moments of one piece, in double precision: (pieces, orders, repeats, channels, n) pairs.
template <typename T>
__global__ __launch_bounds__(kThreads) void moments_kernel(
    const __grid_constant__ VandermondeMomentsParams p, int64_t pieces) {
  __shared__ T signal[kRows][kBlock + 1];
  __shared__ Complex<T> table[kBlock][kStates];
  __shared__ double totals[4][kRowGroups][kStates];
  const Place at = place_of(p, pieces);
  const int64_t first = at.piece * kPiece;
  const int64_t row = at.repeat * p.channels + at.channel;
  const auto* rates = static_cast<const Complex<T>*>(p.delta_A) + at.channel * p.n;
  const T* from = static_cast<const T*>(p.signal) + row * p.length;
  for (int i = threadIdx.x; i < kPiece; i += kThreads) {
    const int64_t t = first + i;
    signal[i / kBlock][i % kBlock] = t < p.length ? from[position_in(p, t)] : T{0};
  }
  const int state = threadIdx.x % kStates, group = threadIdx.x / kStates;
  for (int64_t tile = 0; tile < p.n; tile += kStates) {
    const int states = static_cast<int>(min(static_cast<int64_t>(kStates), p.n - tile));
    for (int i = threadIdx.x; i < kBlock * kStates; i += kThreads) {
      const int64_t n = tile + i % kStates;
      const Complex<T> rate = n < p.n ? rates[n] : Complex<T>{0, 0};
      table[i / kStates][i % kStates] = power(rate.re, rate.im, i / kStates);
    }
    __syncthreads();
    double sums[4] = {};
    const Complex<T> rate = state < states ? rates[tile + state] : Complex<T>{0, 0};
    for (int r = group; r < kRows; r += kRowGroups) {
      BlockSums<T> block;
      for (int s = 0; s < kBlock; ++s) {
        const T x = signal[r][s];
        block.add(x, x * static_cast<T>(s), table[s][state]);
      }
      const double t = static_cast<double>(first + r * kBlock);
      const Complex<T> anchor = power(rate.re, rate.im, t);
      const Complex<double> wide{anchor.re, anchor.im};
      const auto now = multiply(wide, Complex<double>{block.re, block.im});
      const auto late = multiply(
          wide, Complex<double>{t * block.re + block.late_re, t * block.im + block.late_im});
      sums[0] += now.re;
      sums[1] += now.im;
      sums[2] += late.re;
      sums[3] += late.im;
    }
    for (int m = 0; m < 4; ++m) totals[m][group][state] = sums[m];
    __syncthreads();
    // Thread (order, part, state) adds up the groups in their order.
    const int m = threadIdx.x / kStates;
    if (m < 2 * p.orders && state < states) {
      double total = 0;
      for (int g = 0; g < kRowGroups; ++g) total += totals[m][g][state];
      const int64_t order = m / 2;
      const int64_t index =
          ((at.piece * p.orders + order) * p.repeats * p.channels + row) * p.n + tile + state;
      static_cast<double*>(p.partials)[2 * index + m % 2] = total;
    }
    __syncthreads();
  }
}

template <typename T>
__global__ __launch_bounds__(kThreads) void sum_pieces_kernel(
    const __grid_constant__ VandermondeMomentsParams p, int64_t pieces, int64_t values) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= values) return;
  double total = 0;
  for (int64_t piece = 0; piece < pieces; ++piece)
    total += static_cast<const double*>(p.partials)[piece * values + index];
  static_cast<T*>(p.moments)[index] = static_cast<T>(total);
}

template <typename T>
void launch_product(const VandermondeProductParams& p, cudaStream_t stream) {
  const int64_t pieces = pieces_of(p);
  const int64_t blocks = pieces * p.channels * p.repeats;
  if (blocks > 0)
    product_kernel<T><<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(p, pieces);
}

template <typename T>
void launch_moments(const VandermondeMomentsParams& p, cudaStream_t stream) {
  const int64_t pieces = pieces_of(p);
  const int64_t values = 2 * p.orders * p.repeats * p.channels * p.n;
  if (values == 0) return;
  if (pieces > 0) {
    const int64_t blocks = pieces * p.channels * p.repeats;
    moments_kernel<T><<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(p, pieces);
  }
  const int64_t blocks = (values + kThreads - 1) / kThreads;
  sum_pieces_kernel<T><<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(p, pieces, values);
}

}  // namespace

int64_t vandermonde_moments_pieces(const VandermondeMomentsParams& params) {
  return pieces_of(params);
}

void vandermonde_product_cuda(const VandermondeProductParams& params, CUstream_st* stream) {
  return params.dtype == Dtype::kFloat64 ? launch_product<double>(params, stream)
                                         : launch_product<float>(params, stream);
}

void vandermonde_moments_cuda(const VandermondeMomentsParams& params, CUstream_st* stream) {
  return params.dtype == Dtype::kFloat64 ? launch_moments<double>(params, stream)
                                         : launch_moments<float>(params, stream);
}

}  // namespace strandwave::kernels
