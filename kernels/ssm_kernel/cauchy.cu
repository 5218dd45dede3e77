// Raw CUDA kernels of the Cauchy product; p and q as on the CPU (cauchy_simd.cpp).
#include <cstdint>

#include "kernels/ssm_kernel/ssm_kernel_params.h"

namespace strandwave::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kWarp = 32;
constexpr int kStates = 32;     // forward: states whose coefficients are in shared memory at once
constexpr int kPiece = 512;     // backward: nodes of a thread block
constexpr int kMaxRepeats = 4;  // that share the reciprocals
constexpr int kSums = 4;        // backward: of a state and a repeat

template <typename T>
struct alignas(2 * sizeof(T)) Complex {
  T re, im;
};

template <typename T>
__device__ inline Complex<T> reciprocal(T re, T im) {
  const T inverse = T{1} / (re * re + im * im);
  return {re * inverse, -im * inverse};
}

template <typename T>
__device__ inline Complex<T> squared(Complex<T> x) {
  return {x.re * x.re - x.im * x.im, 2 * x.re * x.im};
}

// a + b and i (a - b).
template <typename T>
__device__ inline void combine(Complex<T> a, Complex<T> b, Complex<T>& p, Complex<T>& q) {
  p = {a.re + b.re, a.im + b.im};
  q = {b.im - a.im, a.re - b.re};
}

template <typename T>
struct Node {
  T re, im, low_re, low_im;

  // 1 / (z - w) and 1 / (z - conj(w)).
  __device__ void reciprocals(Complex<T> w, Complex<T>& a, Complex<T>& b) const {
    const T real = (re - w.re) + low_re;
    a = reciprocal(real, (im - w.im) + low_im);
    b = reciprocal(real, (im + w.im) + low_im);
  }
};

template <typename T>
__device__ inline Node<T> node_at(const CauchyParams& p, int64_t j) {
  const T* z = static_cast<const T*>(p.z) + j;
  return {z[0], z[p.nodes], z[2 * p.nodes], z[3 * p.nodes]};
}

// kRepeats products from repeat `first` on: a thread for each node.
template <typename T, int kRepeats>
__global__ __launch_bounds__(kThreads) void forward_kernel(
    const __grid_constant__ CauchyForwardParams p, int64_t first, int64_t node_blocks) {
  __shared__ Complex<T> w[kStates];
  __shared__ Complex<T> v[kStates][kRepeats];
  const int64_t channel = blockIdx.x / node_blocks;
  const int64_t j = blockIdx.x % node_blocks * kThreads + threadIdx.x;
  const Node<T> node = node_at<T>(p, min(j, p.nodes - 1));
  Complex<T> sums[kRepeats] = {};
  for (int64_t tile = 0; tile < p.n; tile += kStates) {
    const int states = static_cast<int>(min(static_cast<int64_t>(kStates), p.n - tile));
    for (int i = threadIdx.x; i < states; i += kThreads)
      w[i] = static_cast<const Complex<T>*>(p.w)[channel * p.n + tile + i];
    for (int i = threadIdx.x; i < states * kRepeats; i += kThreads) {
      const int64_t row = (first + i % kRepeats) * p.channels + channel;
      v[i / kRepeats][i % kRepeats] =
          static_cast<const Complex<T>*>(p.v)[row * p.n + tile + i / kRepeats];
    }
    __syncthreads();
    for (int i = 0; i < states; ++i) {
      Complex<T> a, b, x, y;
      node.reciprocals(w[i], a, b);
      combine(a, b, x, y);
#pragma unroll
      for (int k = 0; k < kRepeats; ++k) {
        sums[k].re += v[i][k].re * x.re + v[i][k].im * y.re;
        sums[k].im += v[i][k].re * x.im + v[i][k].im * y.im;
      }
    }
    __syncthreads();
  }
  if (j >= p.nodes) return;
#pragma unroll
  for (int k = 0; k < kRepeats; ++k)
    static_cast<Complex<T>*>(p.out)[((first + k) * p.channels + channel) * p.nodes + j] = sums[k];
}

// Sums over one piece of the nodes of Re(conj(dout) x), x = p, q of the reciprocals and of their
// squares: partials (pieces, channels, n, repeats, kSums). A warp for each state in turn.
template <typename T, int kRepeats>
__global__ __launch_bounds__(kThreads) void backward_kernel(
    const __grid_constant__ CauchyBackwardParams p, int64_t first, int64_t pieces) {
  __shared__ Node<T> nodes[kPiece];
  __shared__ Complex<T> gradients[kRepeats][kPiece];
  const int64_t channel = blockIdx.x / pieces, piece = blockIdx.x % pieces;
  const int64_t begin = piece * kPiece;
  const int count = static_cast<int>(min(static_cast<int64_t>(kPiece), p.nodes - begin));
  for (int j = threadIdx.x; j < count; j += kThreads) {
    nodes[j] = node_at<T>(p, begin + j);
    for (int k = 0; k < kRepeats; ++k)
      gradients[k][j] = static_cast<const Complex<T>*>(
          p.dout)[((first + k) * p.channels + channel) * p.nodes + begin + j];
  }
  __syncthreads();
  const int lane = threadIdx.x % kWarp;
  for (int64_t n = threadIdx.x / kWarp; n < p.n; n += kThreads / kWarp) {
    const Complex<T> w = static_cast<const Complex<T>*>(p.w)[channel * p.n + n];
    T sums[kRepeats][kSums] = {};
    for (int j = lane; j < count; j += kWarp) {
      Complex<T> a, b, x[kSums];
      nodes[j].reciprocals(w, a, b);
      combine(a, b, x[0], x[1]);
      combine(squared(a), squared(b), x[2], x[3]);
#pragma unroll
      for (int k = 0; k < kRepeats; ++k) {
        const Complex<T> g = gradients[k][j];
#pragma unroll
        for (int m = 0; m < kSums; ++m) sums[k][m] += g.re * x[m].re + g.im * x[m].im;
      }
    }
    double* to = static_cast<double*>(p.partials) +
                 (((piece * p.channels + channel) * p.n + n) * p.repeats + first) * kSums;
#pragma unroll
    for (int k = 0; k < kRepeats; ++k) {
#pragma unroll
      for (int m = 0; m < kSums; ++m) {
        for (int apart = kWarp / 2; apart > 0; apart /= 2)
          sums[k][m] += __shfl_xor_sync(0xFFFFFFFF, sums[k][m], apart);
        if (lane == 0) to[k * kSums + m] = static_cast<double>(sums[k][m]);
      }
    }
  }
}

// With the sums s of a state: dv = (s_p, s_q), and dw gains (Re v s_P + Im v s_Q,
// Re v s_Q - Im v s_P). A thread for each state.
template <typename T>
__global__ __launch_bounds__(kThreads) void gradients_kernel(
    const __grid_constant__ CauchyBackwardParams p, int64_t pieces) {
  const int64_t state = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t states = p.channels * p.n;
  if (state >= states) return;
  double dw_re = 0, dw_im = 0;
  for (int64_t k = 0; k < p.repeats; ++k) {
    double s[kSums] = {};
    for (int64_t piece = 0; piece < pieces; ++piece) {
      const double* from = static_cast<const double*>(p.partials) +
                           ((piece * states + state) * p.repeats + k) * kSums;
      for (int m = 0; m < kSums; ++m) s[m] += from[m];
    }
    const Complex<T> v = static_cast<const Complex<T>*>(p.v)[k * states + state];
    static_cast<Complex<T>*>(p.dv)[k * states + state] = {static_cast<T>(s[0]),
                                                          static_cast<T>(s[1])};
    dw_re += v.re * s[2] + v.im * s[3];
    dw_im += v.re * s[3] - v.im * s[2];
  }
  static_cast<Complex<T>*>(p.dw)[state] = {static_cast<T>(dw_re), static_cast<T>(dw_im)};
}

int64_t pieces_of(const CauchyParams& p) { return (p.nodes + kPiece - 1) / kPiece; }

template <typename T, int kRepeats>
void launch_forward(const CauchyForwardParams& p, int64_t first, cudaStream_t stream) {
  const int64_t node_blocks = (p.nodes + kThreads - 1) / kThreads;
  const auto blocks = static_cast<unsigned>(node_blocks * p.channels);
  forward_kernel<T, kRepeats><<<blocks, kThreads, 0, stream>>>(p, first, node_blocks);
}

template <typename T, int kRepeats>
void launch_backward(const CauchyBackwardParams& p, int64_t first, cudaStream_t stream) {
  const int64_t pieces = pieces_of(p);
  const auto blocks = static_cast<unsigned>(pieces * p.channels);
  backward_kernel<T, kRepeats><<<blocks, kThreads, 0, stream>>>(p, first, pieces);
}

template <typename T>
void forward(const CauchyForwardParams& p, cudaStream_t stream) {
  if (p.nodes == 0 || p.channels == 0) return;
  for (int64_t k = 0; k < p.repeats; k += kMaxRepeats) {
    switch (p.repeats - k) {
      case 1:
        launch_forward<T, 1>(p, k, stream);
        break;
      case 2:
        launch_forward<T, 2>(p, k, stream);
        break;
      case 3:
        launch_forward<T, 3>(p, k, stream);
        break;
      default:
        launch_forward<T, 4>(p, k, stream);
    }
  }
}

template <typename T>
void backward(const CauchyBackwardParams& p, cudaStream_t stream) {
  const int64_t states = p.channels * p.n;
  if (states == 0) return;
  for (int64_t k = 0; k < p.repeats && p.nodes > 0; k += kMaxRepeats) {
    switch (p.repeats - k) {
      case 1:
        launch_backward<T, 1>(p, k, stream);
        break;
      case 2:
        launch_backward<T, 2>(p, k, stream);
        break;
      case 3:
        launch_backward<T, 3>(p, k, stream);
        break;
      default:
        launch_backward<T, 4>(p, k, stream);
    }
  }
  const int64_t blocks = (states + kThreads - 1) / kThreads;
  gradients_kernel<T><<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(p, pieces_of(p));
}

}  // namespace

int64_t cauchy_backward_pieces(const CauchyBackwardParams& params) { return pieces_of(params); }

void cauchy_forward_cuda(const CauchyForwardParams& params, CUstream_st* stream) {
  return params.dtype == Dtype::kFloat64 ? forward<double>(params, stream)
                                         : forward<float>(params, stream);
}

void cauchy_backward_cuda(const CauchyBackwardParams& params, CUstream_st* stream) {
  return params.dtype == Dtype::kFloat64 ? backward<double>(params, stream)
                                         : backward<float>(params, stream);
}

}  // namespace strandwave::kernels
