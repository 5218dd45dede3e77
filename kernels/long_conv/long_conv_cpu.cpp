// A task transforms a group of channels of one batch entry, so that its buffers stay in the cache.
#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>

#include "kernels/common/operator_glue.h"
#include "kernels/common/parallel.h"
#include "kernels/long_conv/long_conv_check.h"

// Of MKL, which lies inside LibTorch; null in a LibTorch without it.
extern "C" __attribute__((weak)) int MKL_Set_Num_Threads_Local(int threads);

namespace strandwave {
namespace {

// While one lives, MKL plans the transforms of this thread for one thread. Otherwise it plans them
// for as many as the process has, even where they then run on one, and rounds differently.
class SerialMkl {
 public:
  SerialMkl() : before_(set(1)) {}
  ~SerialMkl() { set(before_); }
  SerialMkl(const SerialMkl&) = delete;
  SerialMkl& operator=(const SerialMkl&) = delete;

 private:
  static int set(int threads) {
    return MKL_Set_Num_Threads_Local == nullptr ? 0 : MKL_Set_Num_Threads_Local(threads);
  }
  int before_;
};

constexpr int64_t kGroup = 8;  // channels
// Partial sums of the kernel's gradient, over parts of the batch: enough for many threads.
constexpr int64_t kBackwardTasks = 64;

// The channels of one batch entry that a task works on.
struct Slice {
  int64_t batch, first, count;
};

int64_t groups_of(const LongConvShape& shape) { return (shape.channels + kGroup - 1) / kGroup; }

Slice slice_of(const LongConvShape& shape, int64_t batch, int64_t group) {
  const int64_t first = group * kGroup;
  return {batch, first, std::min(kGroup, shape.channels - first)};
}

// parallel_for whose tasks transform on one thread each.
void for_each_task(int64_t tasks, FunctionRef<void(int64_t)> work) {
  parallel_for(tasks, [&](int64_t task) {
    const PlainAten plain;
    const SerialMkl serial;
    work(task);
  });
}

// Calls work(channels of a group, shape with those channels only).
template <typename Work>
void for_each_group(const LongConvShape& shape, const Work& work) {
  for_each_task(groups_of(shape), [&](int64_t group) {
    const Slice s = slice_of(shape, 0, group);
    LongConvShape part = shape;
    part.channels = s.count;
    work(s, part);
  });
}

at::Tensor kernel_spectra(const at::Tensor& kernel, const LongConvShape& shape) {
  const at::Tensor result =
      at::empty({shape.channels, shape.bins},
                kernel.options().dtype(c10::toComplexType(kernel.scalar_type())));
  for_each_group(shape, [&](const Slice& s, const LongConvShape& part) {
    result.narrow(0, s.first, s.count)
        .copy_(long_conv_kernel_spectrum(kernel.narrow(0, s.first, s.count), part));
  });
  return result;
}

std::tuple<at::Tensor, at::Tensor> parameter_gradients(const at::Tensor& spectrum,
                                                       const at::Tensor& kernel,
                                                       const std::optional<at::Tensor>& D,
                                                       const LongConvShape& shape) {
  const at::Tensor dkernel = at::empty(kernel.sizes(), kernel.options());
  const at::Tensor dD = at::empty({given(D) ? shape.channels : 0}, kernel.options());
  for_each_group(shape, [&](const Slice& s, const LongConvShape& part) {
    const auto of_group = [&](const at::Tensor& all) { return all.narrow(0, s.first, s.count); };
    const auto [kernel_part, D_part] =
        long_conv_parameter_gradients(of_group(spectrum), of_group(kernel), D, part);
    of_group(dkernel).copy_(kernel_part);
    if (given(D)) of_group(dD).copy_(D_part);
  });
  return {dkernel, dD};
}

// Rows of channels of a contiguous (batch, length, channels) tensor, as spectra.
template <typename Io, typename T>
at::Tensor spectra(const at::Tensor& u, const LongConvShape& shape, const Slice& s) {
  at::Tensor padded =
      at::empty({s.count, shape.points}, u.options().dtype(c10::CppTypeToScalarType<T>::value));
  const Io* from = u.const_data_ptr<Io>() + s.batch * shape.length * shape.channels + s.first;
  T* to = padded.mutable_data_ptr<T>();
  for (int64_t t = 0; t < shape.length; ++t)
    for (int64_t c = 0; c < s.count; ++c)
      to[c * shape.points + t] = static_cast<T>(from[t * shape.channels + c]);
  for (int64_t c = 0; c < s.count; ++c)
    std::fill(to + c * shape.points + shape.length, to + (c + 1) * shape.points, T{0});
  return long_conv_spectrum(padded);
}

// to = from + D x for one slice; D may be null.
template <typename Io, typename T>
void store(const at::Tensor& from, const T* D, const at::Tensor& x, const LongConvShape& shape,
           const Slice& s, at::Tensor& to) {
  const int64_t offset = s.batch * shape.length * shape.channels + s.first;
  const T* values = from.const_data_ptr<T>();
  const Io* skipped = x.const_data_ptr<Io>() + offset;
  Io* out = to.mutable_data_ptr<Io>() + offset;
  T factors[kGroup] = {};
  if (D != nullptr) std::copy_n(D + s.first, s.count, factors);
  for (int64_t t = 0; t < shape.length; ++t) {
    for (int64_t c = 0; c < s.count; ++c) {
      T value = values[c * shape.points + t];
      if (D != nullptr) value += factors[c] * static_cast<T>(skipped[t * shape.channels + c]);
      out[t * shape.channels + c] = static_cast<Io>(value);
    }
  }
}

// Spectra as (re, im) pairs of T.
template <typename T>
T* pairs(const at::Tensor& spectrum) {
  return reinterpret_cast<T*>(spectrum.mutable_data_ptr<c10::complex<T>>());
}

// x *= k
template <typename T>
void multiply(T* __restrict x, const T* __restrict k, int64_t count) {
  for (int64_t i = 0; i < 2 * count; i += 2) {
    const T re = x[i], im = x[i + 1];
    x[i] = re * k[i] - im * k[i + 1];
    x[i + 1] = re * k[i + 1] + im * k[i];
  }
}

// sum += dout conj(u); dout *= conj(k)
template <typename T>
void correlate(T* __restrict dout, const T* __restrict u, const T* __restrict k, T* __restrict sum,
               int64_t count) {
  for (int64_t i = 0; i < 2 * count; i += 2) {
    const T re = dout[i], im = dout[i + 1];
    sum[i] += re * u[i] + im * u[i + 1];
    sum[i + 1] += im * u[i] - re * u[i + 1];
    dout[i] = re * k[i] + im * k[i + 1];
    dout[i + 1] = im * k[i] - re * k[i + 1];
  }
}

template <typename Io, typename T>
at::Tensor forward(const at::Tensor& u, const at::Tensor& kernel, const at::Tensor& D,
                   const LongConvShape& shape) {
  at::Tensor out = at::empty(u.sizes(), u.options());
  if (out.numel() == 0) return out;
  const at::Tensor K = kernel_spectra(kernel, shape);
  const T* factors = static_cast<const T*>(data_or_null(D));
  const int64_t groups = groups_of(shape);
  for_each_task(shape.batch * groups, [&](int64_t task) {
    const Slice s = slice_of(shape, task / groups, task % groups);
    const at::Tensor spectrum = spectra<Io, T>(u, shape, s);
    multiply(pairs<T>(spectrum), pairs<T>(K) + s.first * shape.bins * 2, s.count * shape.bins);
    store<Io, T>(long_conv_values(spectrum, shape.points), factors, u, shape, s, out);
  });
  return out;
}

template <typename Io, typename T>
std::tuple<at::Tensor, at::Tensor> backward(const at::Tensor& dout, const at::Tensor& u,
                                            const at::Tensor& kernel, const at::Tensor& D,
                                            const LongConvShape& shape) {
  at::Tensor du = at::empty(u.sizes(), u.options());
  const at::Tensor K = kernel_spectra(kernel, shape);
  const T* factors = static_cast<const T*>(data_or_null(D));
  const int64_t groups = groups_of(shape);
  const int64_t parts = std::clamp<int64_t>(kBackwardTasks / std::max<int64_t>(groups, 1), 1,
                                            std::max<int64_t>(shape.batch, 1));
  const at::Tensor sums = at::zeros({parts, shape.channels, shape.bins}, K.options());
  for_each_task(parts * groups, [&](int64_t task) {
    const int64_t part = task / groups;
    const int64_t end = shape.batch * (part + 1) / parts;
    for (int64_t b = shape.batch * part / parts; b < end; ++b) {
      const Slice s = slice_of(shape, b, task % groups);
      const int64_t offset = s.first * shape.bins * 2;
      const at::Tensor gradient = spectra<Io, T>(dout, shape, s);
      const at::Tensor input = spectra<Io, T>(u, shape, s);
      correlate(pairs<T>(gradient), pairs<T>(input), pairs<T>(K) + offset,
                pairs<T>(sums) + part * shape.channels * shape.bins * 2 + offset,
                s.count * shape.bins);
      store<Io, T>(long_conv_values(gradient, shape.points), factors, dout, shape, s, du);
    }
  });
  at::Tensor total = sums[0];
  for (int64_t part = 1; part < parts; ++part) total.add_(sums[part]);
  return {du, total};
}

at::Tensor forward_cpu(const at::Tensor& u, const at::Tensor& kernel,
                       const std::optional<at::Tensor>& D) {
  const LongConvShape shape = check_long_conv(u, kernel, D);
  const at::Tensor skip = given(D) ? D->contiguous() : at::Tensor();
  return AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, u.scalar_type(), "long_conv", [&] {
        using T = std::conditional_t<std::is_same_v<scalar_t, double>, double, float>;
        return forward<scalar_t, T>(u.contiguous(), kernel, skip, shape);
      });
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward_cpu(const at::Tensor& dout,
                                                            const at::Tensor& u,
                                                            const at::Tensor& kernel,
                                                            const std::optional<at::Tensor>& D) {
  const LongConvShape shape = check_long_conv_backward(dout, u, kernel, D);
  const at::Tensor skip = given(D) ? D->contiguous() : at::Tensor();
  const auto [du, spectrum] = AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, u.scalar_type(), "long_conv_backward", [&] {
        using T = std::conditional_t<std::is_same_v<scalar_t, double>, double, float>;
        return backward<scalar_t, T>(dout.contiguous(), u.contiguous(), kernel, skip, shape);
      });
  auto [dkernel, dD] = parameter_gradients(spectrum, kernel, D, shape);
  return {du, dkernel, dD};
}

static_assert(std::is_same_v<decltype(forward_cpu), LongConvForwardFunction>);
static_assert(std::is_same_v<decltype(backward_cpu), LongConvBackwardFunction>);

}  // namespace

TORCH_LIBRARY_IMPL(strandwave, CPU, m) {
  m.impl("long_conv", &forward_cpu);
  m.impl("long_conv_backward", &backward_cpu);
}

}  // namespace strandwave
