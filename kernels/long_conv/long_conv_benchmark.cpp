#include <torch/torch.h>

#include <string>
#include <utility>
#include <vector>

#include "kernels/common/benchmark.h"
#include "kernels/long_conv/long_conv.h"

namespace strandwave {
namespace {

struct Size {
  int64_t batch, length, channels;

  std::string text() const {
    return "batch " + std::to_string(batch) + ", length " + std::to_string(length) + ", channels " +
           std::to_string(channels);
  }
  double elements() const {
    return static_cast<double>(batch) * static_cast<double>(length) * static_cast<double>(channels);
  }
};

struct Inputs {
  at::Tensor u, kernel, D;
};

// The same with transforms of whole tensors.
at::Tensor aten(const Inputs& in) {
  const int64_t length = in.u.size(1), points = long_conv_size(2 * length - 1);
  const at::Tensor x = in.u.transpose(1, 2).to(at::kFloat);
  const at::Tensor y =
      at::fft_irfft(at::fft_rfft(x, points) * at::fft_rfft(in.kernel, points), points);
  return (y.narrow(2, 0, length) + in.D.unsqueeze(1) * x).transpose(1, 2).to(in.u.scalar_type());
}

Inputs make_inputs(const Size& size, at::ScalarType type, c10::Device device) {
  const at::TensorOptions options(device);
  return {at::randn({size.batch, size.length, size.channels}, options).to(type),
          at::randn({size.channels, size.length}, options), at::randn({size.channels}, options)};
}

benchmark::Work forward_work(const Size& size, at::ScalarType type, c10::Device device) {
  const Inputs in = make_inputs(size, type, device);
  return {[in] {
            const at::NoGradGuard no_grad;
            long_conv(in.u, in.kernel, in.D);
          },
          [in] {
            const at::NoGradGuard no_grad;
            aten(in);
          }};
}

benchmark::Work backward_work(const Size& size, at::ScalarType type, c10::Device device) {
  Inputs in = make_inputs(size, type, device);
  const std::vector<at::Tensor> leaves{in.u.requires_grad_(), in.kernel.requires_grad_(),
                                       in.D.requires_grad_()};
  const at::Tensor ours = long_conv(in.u, in.kernel, in.D), theirs = aten(in);
  const at::Tensor dout = at::randn_like(ours);
  const auto gradients = [=](const at::Tensor& out) {
    torch::autograd::grad({out}, leaves, {dout}, /*retain_graph=*/true);
  };
  return {[=] { gradients(ours); }, [=] { gradients(theirs); }};
}

std::vector<benchmark::Case> cases(c10::Device device) {
  const bool cuda = device.is_cuda();
  const std::vector<Size> sizes =
      cuda ? std::vector<Size>{{32, 16000, 64}, {32, 4000, 128}, {32, 1000, 256}}
           : std::vector<Size>{{8, 4096, 32}};
  std::vector<std::pair<std::string, at::ScalarType>> types{{"fp32", at::kFloat}};
  if (cuda) types.emplace_back("bf16", at::kBFloat16);
  std::vector<benchmark::Case> result;
  for (const Size& size : sizes) {
    for (const auto& [dtype, type] : types) {
      const double bytes = size.elements() * static_cast<double>(c10::elementSize(type));
      result.push_back({.name = "forward",
                        .shape = size.text(),
                        .dtype = dtype,
                        .bytes = 2 * bytes,
                        .reference_name = "ATen",
                        .prepare = [=, type = type] { return forward_work(size, type, device); }});
      result.push_back({.name = "backward",
                        .shape = size.text(),
                        .dtype = dtype,
                        .bytes = 3 * bytes,
                        .reference_name = "ATen",
                        .prepare = [=, type = type] { return backward_work(size, type, device); }});
    }
  }
  return result;
}

const benchmark::StaticRegistration registration("long_conv", cases);

}  // namespace
}  // namespace strandwave
