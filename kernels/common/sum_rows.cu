#include "kernels/common/device_io.cuh"
#include "kernels/common/sum_rows.h"

namespace strandwave::kernels {
namespace {

constexpr int kColumns = 8;  // one sector of memory
constexpr int kLanes = 128;  // threads that share a column

template <typename Io>
__global__ void __launch_bounds__(kColumns* kLanes)
    sum_rows_kernel(const float* __restrict__ rows, int64_t count, int64_t width,
                    Io* __restrict__ out) {
  __shared__ float sums[kLanes][kColumns];
  const int64_t column = int64_t{blockIdx.x} * kColumns + threadIdx.x;
  float sum = 0;
  if (column < width) {
#pragma unroll 8
    for (int64_t i = threadIdx.y; i < count; i += kLanes) sum += rows[i * width + column];
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  for (int half = kLanes / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.y < half) sums[threadIdx.y][threadIdx.x] += sums[threadIdx.y + half][threadIdx.x];
  }
  if (threadIdx.y == 0 && column < width) io_from_float(sums[0][threadIdx.x], out[column]);
}

template <typename Io>
void launch(const float* rows, int64_t count, int64_t width, void* out, CUstream_st* stream) {
  const auto blocks = static_cast<unsigned>((width + kColumns - 1) / kColumns);
  sum_rows_kernel<<<blocks, dim3(kColumns, kLanes), 0, stream>>>(rows, count, width,
                                                                 static_cast<Io*>(out));
}

}  // namespace

void sum_rows_cuda(const float* rows, int64_t count, int64_t width, Dtype dtype, void* out,
                   CUstream_st* stream) {
  if (width == 0) return;
  if (dtype == Dtype::kBFloat16) return launch<BFloat16>(rows, count, width, out, stream);
  if (dtype == Dtype::kFloat16) return launch<Float16>(rows, count, width, out, stream);
  launch<float>(rows, count, width, out, stream);
}

}  // namespace strandwave::kernels
