#include "kernels/long_conv/long_conv.h"

#include <ATen/ops/_fft_c2r.h>
#include <ATen/ops/_fft_r2c.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>

#include "kernels/common/operator_glue.h"
#include "kernels/long_conv/long_conv_check.h"

namespace strandwave {
namespace {

constexpr const char* kName = "long_conv";

// How at::fft scales: not at all, or by one over the number of points.
constexpr int64_t kUnscaled = 0;
constexpr int64_t kByPoints = 2;

}  // namespace

// ---- validation ----

LongConvShape check_long_conv(const at::Tensor& u, const at::Tensor& kernel,
                              const OptionalTensor& D) {
  TORCH_CHECK(u.dim() == 3, kName, ": u must have shape (batch, length, channels), got ",
              u.sizes());
  const at::ScalarType compute_type = check_io_type(kName, "u", u);
  const int64_t channels = u.size(2);
  TORCH_CHECK(channels >= 1, kName, ": u must have at least one channel, got ", channels);
  TORCH_CHECK(kernel.dim() == 2, kName, ": kernel must have shape (channels, kernel_length), got ",
              kernel.sizes());
  check_operand(kName, "kernel", kernel, {channels, kernel.size(1)}, compute_type, u);
  if (given(D)) check_operand(kName, "D", *D, {channels}, compute_type, u);
  const int64_t length = u.size(1);
  const int64_t taps = std::min(length, kernel.size(1));
  const int64_t points =
      long_conv_size(std::max<int64_t>(length + std::max<int64_t>(taps, 1) - 1, 1));
  return {u.size(0), length, channels, taps, points, points / 2 + 1, compute_type};
}

LongConvShape check_long_conv_backward(const at::Tensor& dout, const at::Tensor& u,
                                       const at::Tensor& kernel, const OptionalTensor& D) {
  const LongConvShape shape = check_long_conv(u, kernel, D);
  check_operand(kName, "dout", dout, u.sizes(), u.scalar_type(), u);
  return shape;
}

// ---- transforms ----

at::Tensor long_conv_spectrum(const at::Tensor& values) {
  return at::_fft_r2c(values, {values.dim() - 1}, kUnscaled, /*onesided=*/true);
}

at::Tensor long_conv_values(const at::Tensor& spectrum, int64_t points) {
  return at::_fft_c2r(spectrum, {spectrum.dim() - 1}, kByPoints, points);
}

at::Tensor long_conv_kernel_spectrum(const at::Tensor& kernel, const LongConvShape& shape) {
  const at::Tensor padded = at::zeros({shape.channels, shape.points}, kernel.options());
  padded.narrow(1, 0, shape.taps).copy_(kernel.narrow(1, 0, shape.taps));
  return long_conv_spectrum(padded);
}

std::tuple<at::Tensor, at::Tensor> long_conv_parameter_gradients(const at::Tensor& spectrum,
                                                                 const at::Tensor& kernel,
                                                                 const OptionalTensor& D,
                                                                 const LongConvShape& shape) {
  const at::Tensor correlation = long_conv_values(spectrum, shape.points);
  at::Tensor dkernel = at::zeros(kernel.sizes(), kernel.options());
  dkernel.narrow(1, 0, shape.taps).copy_(correlation.narrow(1, 0, shape.taps));
  at::Tensor dD = given(D) ? correlation.select(1, 0).clone() : at::empty({0}, kernel.options());
  return {dkernel, dD};
}

namespace {

// ---- the operators ----

const c10::TypedOperatorHandle<LongConvForwardFunction>& forward_operator() {
  static const auto handle = find_operator<LongConvForwardFunction>("strandwave::long_conv");
  return handle;
}

const c10::TypedOperatorHandle<LongConvBackwardFunction>& backward_operator() {
  static const auto handle =
      find_operator<LongConvBackwardFunction>("strandwave::long_conv_backward");
  return handle;
}

at::Tensor like(const at::Tensor& tensor) {
  return at::empty_symint(tensor.sym_sizes(), tensor.options());
}

at::Tensor forward_meta(const at::Tensor& u, const at::Tensor&, const OptionalTensor&) {
  return like(u);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward_meta(const at::Tensor&, const at::Tensor& u,
                                                             const at::Tensor& kernel,
                                                             const OptionalTensor& D) {
  return {like(u), like(kernel), given(D) ? like(*D) : at::empty({0}, kernel.options())};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward_autograd(const at::Tensor& dout,
                                                                 const at::Tensor& u,
                                                                 const at::Tensor& kernel,
                                                                 const OptionalTensor& D) {
  std::vector<at::Tensor> inputs{dout, u, kernel};
  if (given(D)) inputs.push_back(*D);
  const auto gradients = OnceDifferentiable::apply(
      at::TensorList(inputs), std::string(kName), [&]() -> torch::autograd::variable_list {
        auto [du, dkernel, dD] = backward_operator().call(dout, u, kernel, D);
        return {du, dkernel, dD};
      });
  return {gradients[0], gradients[1], gradients[2]};
}

class LongConv : public torch::autograd::Function<LongConv> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& u,
                            const at::Tensor& kernel, const OptionalTensor& D) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({u, kernel, or_undefined(D)});
    return forward_operator().call(u, kernel, D);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    auto [du, dkernel, dD] =
        backward_operator().call(gradients[0], saved[0], saved[1], normalised(saved[2]));
    return {du, dkernel, saved[2].defined() ? dD : at::Tensor()};
  }
};

at::Tensor forward_autograd(const at::Tensor& u, const at::Tensor& kernel,
                            const OptionalTensor& D) {
  return LongConv::apply(u, kernel, D);
}

}  // namespace

at::Tensor long_conv(const at::Tensor& u, const at::Tensor& kernel, const OptionalTensor& D) {
  return forward_operator().call(u, kernel, normalised(D));
}

int64_t long_conv_size(int64_t n) {
  for (;; ++n) {
    int64_t rest = n;
    for (const int64_t prime : {2, 3, 5, 7})
      while (rest % prime == 0) rest /= prime;
    if (rest == 1) return n;
  }
}

TORCH_LIBRARY_FRAGMENT(strandwave, m) {
  m.def("long_conv(Tensor u, Tensor kernel, Tensor? D=None) -> Tensor");
  m.def(
      "long_conv_backward(Tensor dout, Tensor u, Tensor kernel, Tensor? D) -> (Tensor, Tensor, "
      "Tensor)");
}

TORCH_LIBRARY_IMPL(strandwave, Meta, m) {
  m.impl("long_conv", &forward_meta);
  m.impl("long_conv_backward", &backward_meta);
}

TORCH_LIBRARY_IMPL(strandwave, Autograd, m) {
  m.impl("long_conv", &forward_autograd);
  m.impl("long_conv_backward", &backward_autograd);
}

}  // namespace strandwave
