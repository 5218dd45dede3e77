// Raw CUDA kernels around the transforms of the long convolution.
#include <cstdint>

#include "kernels/common/device_io.cuh"
#include "kernels/long_conv/long_conv_params.h"

namespace strandwave::kernels {
namespace {

constexpr int kTile = 32;  // positions by channels that go through shared memory at once
constexpr int kTileRows = 8;
constexpr int kThreads = 256;

// Thread blocks over (position tiles, channel tiles, batch) on one grid dimension.
struct Tiles {
  int64_t positions, channels, batch;

  int64_t count() const { return positions * channels * batch; }
};

struct Corner {
  int64_t position, channel, batch;
};

__device__ inline Corner corner_of(const Tiles& tiles) {
  const int64_t block = blockIdx.x;
  return {block % tiles.positions * kTile, block / tiles.positions % tiles.channels * kTile,
          block / tiles.positions / tiles.channels};
}

Tiles tiles_of(const LongConvPart& part, int64_t positions) {
  return {(positions + kTile - 1) / kTile, (part.channels + kTile - 1) / kTile, part.batch};
}

template <typename Io>
__global__ __launch_bounds__(kTile* kTileRows) void pad_kernel(
    const __grid_constant__ LongConvPart part, const Tiles tiles, const Io* from, float* to) {
  __shared__ float tile[kTile][kTile + 1];
  const Corner at = corner_of(tiles);
  const int64_t channel = at.channel + threadIdx.x;
  for (int i = threadIdx.y; i < kTile; i += kTileRows) {
    const int64_t t = at.position + i;
    const bool inside = t < part.length && channel < part.channels;
    tile[i][threadIdx.x] =
        inside ? io_to_float(from[(at.batch * part.length + t) * part.channels + channel]) : 0.0f;
  }
  __syncthreads();
  const int64_t t = at.position + threadIdx.x;
  if (t >= part.points) return;
  for (int i = threadIdx.y; i < kTile && at.channel + i < part.channels; i += kTileRows)
    to[(at.batch * part.channels + at.channel + i) * part.points + t] = tile[threadIdx.x][i];
}

template <typename Io>
__global__ __launch_bounds__(kTile* kTileRows) void unpad_kernel(
    const __grid_constant__ LongConvPart part, const Tiles tiles, const float* from, const float* D,
    const Io* x, Io* to) {
  __shared__ float tile[kTile][kTile + 1];
  const Corner at = corner_of(tiles);
  const int64_t position = at.position + threadIdx.x;
  for (int i = threadIdx.y; i < kTile && at.channel + i < part.channels; i += kTileRows)
    if (position < part.length)
      tile[i][threadIdx.x] =
          from[(at.batch * part.channels + at.channel + i) * part.points + position];
  __syncthreads();
  const int64_t channel = at.channel + threadIdx.x;
  if (channel >= part.channels) return;
  const float factor = D == nullptr ? 0.0f : D[channel];
  for (int i = threadIdx.y; i < kTile && at.position + i < part.length; i += kTileRows) {
    const int64_t index = (at.batch * part.length + at.position + i) * part.channels + channel;
    float value = tile[threadIdx.x][i];
    if (D != nullptr) value += factor * io_to_float(x[index]);
    io_from_float(value, to[index]);
  }
}

// A thread for each complex value of a batch entry's spectra; the batch in turn.
__global__ __launch_bounds__(kThreads) void multiply_kernel(int64_t batch, int64_t values,
                                                            float2* spectrum,
                                                            const float2* kernel) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= values) return;
  const float2 k = kernel[i];
  for (int64_t b = 0; b < batch; ++b) {
    const float2 x = spectrum[b * values + i];
    spectrum[b * values + i] = {x.x * k.x - x.y * k.y, x.x * k.y + x.y * k.x};
  }
}

__global__ __launch_bounds__(kThreads) void correlate_kernel(int64_t batch, int64_t values,
                                                             float2* dout, const float2* u,
                                                             const float2* kernel, float2* sum) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= values) return;
  const float2 k = kernel[i];
  float2 total = sum[i];
  for (int64_t b = 0; b < batch; ++b) {
    const float2 g = dout[b * values + i], x = u[b * values + i];
    total.x += g.x * x.x + g.y * x.y;
    total.y += g.y * x.x - g.x * x.y;
    dout[b * values + i] = {g.x * k.x + g.y * k.y, g.y * k.x - g.x * k.y};
  }
  sum[i] = total;
}

template <typename Io>
void launch_pad(const LongConvPart& part, const void* from, float* to, cudaStream_t stream) {
  const Tiles tiles = tiles_of(part, part.points);
  if (tiles.count() == 0) return;
  pad_kernel<<<static_cast<unsigned>(tiles.count()), dim3(kTile, kTileRows), 0, stream>>>(
      part, tiles, static_cast<const Io*>(from), to);
}

template <typename Io>
void launch_unpad(const LongConvPart& part, const float* from, const float* D, const void* x,
                  void* to, cudaStream_t stream) {
  const Tiles tiles = tiles_of(part, part.length);
  if (tiles.count() == 0) return;
  unpad_kernel<<<static_cast<unsigned>(tiles.count()), dim3(kTile, kTileRows), 0, stream>>>(
      part, tiles, from, D, static_cast<const Io*>(x), static_cast<Io*>(to));
}

int64_t blocks_of(int64_t values) { return (values + kThreads - 1) / kThreads; }

}  // namespace

void long_conv_pad_cuda(const LongConvPart& part, const void* from, float* to,
                        CUstream_st* stream) {
  switch (part.dtype) {
    case Dtype::kBFloat16:
      return launch_pad<BFloat16>(part, from, to, stream);
    case Dtype::kFloat16:
      return launch_pad<Float16>(part, from, to, stream);
    default:
      return launch_pad<float>(part, from, to, stream);
  }
}

void long_conv_unpad_cuda(const LongConvPart& part, const float* from, const float* D,
                          const void* x, void* to, CUstream_st* stream) {
  switch (part.dtype) {
    case Dtype::kBFloat16:
      return launch_unpad<BFloat16>(part, from, D, x, to, stream);
    case Dtype::kFloat16:
      return launch_unpad<Float16>(part, from, D, x, to, stream);
    default:
      return launch_unpad<float>(part, from, D, x, to, stream);
  }
}

void long_conv_multiply_cuda(const LongConvPart& part, float* spectrum, const float* kernel,
                             CUstream_st* stream) {
  const int64_t values = part.channels * part.bins;
  multiply_kernel<<<static_cast<unsigned>(blocks_of(values)), kThreads, 0, stream>>>(
      part.batch, values, reinterpret_cast<float2*>(spectrum),
      reinterpret_cast<const float2*>(kernel));
}

void long_conv_correlate_cuda(const LongConvPart& part, float* dout, const float* u,
                              const float* kernel, float* sum, CUstream_st* stream) {
  const int64_t values = part.channels * part.bins;
  correlate_kernel<<<static_cast<unsigned>(blocks_of(values)), kThreads, 0, stream>>>(
      part.batch, values, reinterpret_cast<float2*>(dout), reinterpret_cast<const float2*>(u),
      reinterpret_cast<const float2*>(kernel), reinterpret_cast<float2*>(sum));
}

}  // namespace strandwave::kernels
