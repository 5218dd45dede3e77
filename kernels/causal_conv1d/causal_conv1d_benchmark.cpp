#include <torch/torch.h>

#include <string>
#include <utility>
#include <vector>

#include "kernels/causal_conv1d/causal_conv1d.h"
#include "kernels/common/benchmark.h"

namespace strandwave {
namespace {

constexpr int64_t kWidth = 4;

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
  at::Tensor x, weight, bias, dout;
};

Inputs make_inputs(const Size& size, at::ScalarType type, c10::Device device) {
  const auto options = at::TensorOptions(device);
  const auto x = at::randn({size.batch, size.length, size.channels}, options).to(type);
  return {x, at::randn({size.channels, kWidth}, options), at::randn({size.channels}, options),
          at::randn_like(x)};
}

// The same with ATen's grouped convolution, channels first inside.
at::Tensor aten_forward(const Inputs& in) {
  const auto type = in.x.scalar_type();
  const auto padded = at::conv1d(in.x.transpose(1, 2), in.weight.to(type).unsqueeze(1),
                                 in.bias.to(type), 1, kWidth - 1, 1, in.x.size(2));
  return at::silu(padded.narrow(2, 0, in.x.size(1))).transpose(1, 2);
}

benchmark::Work forward_work(const Size& size, at::ScalarType type, c10::Device device) {
  const Inputs in = make_inputs(size, type, device);
  return {[in] {
            const at::NoGradGuard no_grad;
            causal_conv1d(in.x, in.weight, in.bias);
          },
          [in] {
            const at::NoGradGuard no_grad;
            aten_forward(in);
          }};
}

benchmark::Work backward_work(const Size& size, at::ScalarType type, c10::Device device) {
  Inputs in = make_inputs(size, type, device);
  for (at::Tensor* tensor : {&in.x, &in.weight, &in.bias}) tensor->requires_grad_();
  const at::Tensor out = aten_forward(in);
  return {
      [in] { causal_conv1d_backward(in.dout, {}, in.x, in.weight, in.bias, {}, {}, true, false); },
      [in, out] {
        torch::autograd::grad({out}, {in.x, in.weight, in.bias}, {in.dout},
                              /*retain_graph=*/true);
      }};
}

std::vector<benchmark::Case> cases(c10::Device device) {
  const bool cuda = device.is_cuda();
  const std::vector<Size> sizes = cuda ? std::vector<Size>{{8, 8192, 1536},
                                                           {64, 1024, 1536},
                                                           {1, 131072, 512},
                                                           {1, 1048576, 512}}
                                       : std::vector<Size>{{1, 8192, 512}};
  std::vector<std::pair<std::string, at::ScalarType>> types{{"fp32", at::kFloat}};
  if (cuda) types.insert(types.begin(), {"bf16", at::kBFloat16});
  std::vector<benchmark::Case> result;
  for (const Size& size : sizes) {
    for (const auto& [dtype, type] : types) {
      const double bytes = size.elements() * static_cast<double>(c10::elementSize(type));
      const double taps = size.elements() * 2 * kWidth;
      result.push_back({.name = "forward",
                        .shape = size.text(),
                        .dtype = dtype,
                        .bytes = 2 * bytes,
                        .flops = taps,
                        .reference_name = "ATen",
                        .prepare = [=, type = type] { return forward_work(size, type, device); }});
      result.push_back({.name = "backward",
                        .shape = size.text(),
                        .dtype = dtype,
                        .bytes = 3 * bytes,
                        .flops = 3 * taps,
                        .reference_name = "ATen",
                        .prepare = [=, type = type] { return backward_work(size, type, device); }});
    }
  }
  return result;
}

const benchmark::StaticRegistration registration("causal_conv1d", cases);

}  // namespace
}  // namespace strandwave
