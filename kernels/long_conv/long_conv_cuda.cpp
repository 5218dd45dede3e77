#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>

#include "kernels/common/operator_glue.h"
#include "kernels/long_conv/long_conv_check.h"
#include "kernels/long_conv/long_conv_params.h"

namespace strandwave {
namespace {

// Values of a part's padded signals: 256 MiB, of which a call needs up to five times as much.
constexpr int64_t kPartValues = int64_t{1} << 26;

// The kernels of one call on the current stream.
class Parts {
 public:
  Parts(const LongConvShape& shape, at::ScalarType type, const at::TensorOptions& options)
      : shape_(shape), options_(options.dtype(at::kFloat)), type_(type) {
    const int64_t values = shape.channels * shape.points;
    step_ = std::clamp<int64_t>(kPartValues / values, 1, std::max<int64_t>(shape.batch, 1));
  }

  // Calls work(first batch entry) for each part, whose size is then current.
  template <typename Work>
  void each(Work work) {
    for (int64_t first = 0; first < shape_.batch; first += step_) {
      part_ = {raw_dtype(type_), std::min(step_, shape_.batch - first),
               shape_.length,    shape_.channels,
               shape_.points,    shape_.bins};
      work(first);
    }
  }

  // The spectra of a part of a contiguous (batch, length, channels) tensor.
  at::Tensor spectra(const at::Tensor& u, int64_t first) const {
    const at::Tensor padded = at::empty({part_.batch, part_.channels, part_.points}, options_);
    kernels::long_conv_pad_cuda(part_, u[first].const_data_ptr(), padded.mutable_data_ptr<float>(),
                                stream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    return long_conv_spectrum(padded);
  }

  // to = what the spectra stand for, plus D x.
  void store(const at::Tensor& spectra, const at::Tensor& D, const at::Tensor& x, int64_t first,
             at::Tensor& to) const {
    const at::Tensor values = long_conv_values(spectra, shape_.points);
    kernels::long_conv_unpad_cuda(
        part_, values.const_data_ptr<float>(), static_cast<const float*>(data_or_null(D)),
        x[first].const_data_ptr(), to[first].mutable_data_ptr(), stream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }

  void multiply(at::Tensor& spectra, const at::Tensor& kernel) const {
    kernels::long_conv_multiply_cuda(part_, pairs(spectra), pairs(kernel), stream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }

  void correlate(at::Tensor& dout, const at::Tensor& u, const at::Tensor& kernel,
                 at::Tensor& sum) const {
    kernels::long_conv_correlate_cuda(part_, pairs(dout), pairs(u), pairs(kernel), pairs(sum),
                                      stream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }

 private:
  static CUstream_st* stream() { return c10::cuda::getCurrentCUDAStream().stream(); }

  static float* pairs(const at::Tensor& spectrum) {
    return reinterpret_cast<float*>(spectrum.mutable_data_ptr<c10::complex<float>>());
  }

  LongConvShape shape_;
  at::TensorOptions options_;
  at::ScalarType type_;
  int64_t step_;
  kernels::LongConvPart part_;
};

at::Tensor forward_cuda(const at::Tensor& u, const at::Tensor& kernel,
                        const std::optional<at::Tensor>& D) {
  const c10::cuda::CUDAGuard guard(u.device());
  const LongConvShape shape = check_long_conv(u, kernel, D);
  at::Tensor out = at::empty(u.sizes(), u.options());
  if (out.numel() == 0) return out;
  const at::Tensor x = u.contiguous();
  const at::Tensor skip = given(D) ? D->contiguous() : at::Tensor();
  const at::Tensor K = long_conv_kernel_spectrum(kernel, shape);
  Parts parts(shape, u.scalar_type(), u.options());
  parts.each([&](int64_t first) {
    at::Tensor spectra = parts.spectra(x, first);
    parts.multiply(spectra, K);
    parts.store(spectra, skip, x, first, out);
  });
  return out;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward_cuda(const at::Tensor& dout,
                                                             const at::Tensor& u,
                                                             const at::Tensor& kernel,
                                                             const std::optional<at::Tensor>& D) {
  const c10::cuda::CUDAGuard guard(u.device());
  const LongConvShape shape = check_long_conv_backward(dout, u, kernel, D);
  at::Tensor du = at::empty(u.sizes(), u.options());
  const at::Tensor x = u.contiguous(), dy = dout.contiguous();
  const at::Tensor skip = given(D) ? D->contiguous() : at::Tensor();
  const at::Tensor K = long_conv_kernel_spectrum(kernel, shape);
  at::Tensor sum = at::zeros({shape.channels, shape.bins}, K.options());
  Parts parts(shape, u.scalar_type(), u.options());
  parts.each([&](int64_t first) {
    at::Tensor gradient = parts.spectra(dy, first);
    parts.correlate(gradient, parts.spectra(x, first), K, sum);
    parts.store(gradient, skip, dy, first, du);
  });
  auto [dkernel, dD] = long_conv_parameter_gradients(sum, kernel, D, shape);
  return {du, dkernel, dD};
}

static_assert(std::is_same_v<decltype(forward_cuda), LongConvForwardFunction>);
static_assert(std::is_same_v<decltype(backward_cuda), LongConvBackwardFunction>);

}  // namespace

TORCH_LIBRARY_IMPL(strandwave, CUDA, m) {
  m.impl("long_conv", &forward_cuda);
  m.impl("long_conv_backward", &backward_cuda);
}

}  // namespace strandwave
