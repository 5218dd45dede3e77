#include <torch/torch.h>

#include <numbers>
#include <string>
#include <vector>

#include "kernels/common/benchmark.h"
#include "kernels/ssm_kernel/ssm_kernel.h"

namespace strandwave {
namespace {

struct Size {
  int64_t channels, n, length;

  std::string text() const {
    return "channels " + std::to_string(channels) + ", n " + std::to_string(n) + ", length " +
           std::to_string(length);
  }
  double terms() const {
    return static_cast<double>(channels) * static_cast<double>(n) * static_cast<double>(length);
  }
};

at::Tensor random_poles(const Size& size, const at::TensorOptions& options) {
  const at::Tensor decay = at::exp(at::rand({size.channels, size.n}, options) * 4.6 - 7);
  return at::complex(-decay, at::rand({size.channels, size.n}, options) * std::numbers::pi);
}

// `value` of leaves, and its gradients where `backward`.
template <typename Function>
benchmark::Work work(bool backward, std::vector<at::Tensor> leaves, Function value) {
  if (!backward)
    return {[=] {
              const at::NoGradGuard no_grad;
              value(leaves);
            },
            {}};
  for (at::Tensor& leaf : leaves) leaf.requires_grad_();
  const at::Tensor out = value(leaves);
  const at::Tensor gradient = at::ones_like(out);
  return {[=] { torch::autograd::grad({out}, leaves, {gradient}, /*retain_graph=*/true); }, {}};
}

benchmark::Work vandermonde_work(const Size& size, c10::Device device, bool backward) {
  const at::TensorOptions options(device);
  const auto complex = options.dtype(at::kComplexFloat);
  return work(backward, {at::randn({size.channels, size.n}, complex), random_poles(size, options)},
              [size](const std::vector<at::Tensor>& in) {
                return ssm_kernel_vandermonde(in[0], in[1], size.length);
              });
}

// As S4 with one copy of the output: four products at the nodes of one kernel.
constexpr int64_t kCauchyProducts = 4;

benchmark::Work cauchy_work(const Size& size, c10::Device device, bool backward) {
  const at::TensorOptions options(device);
  const auto complex = options.dtype(at::kComplexFloat);
  const at::Tensor angle = at::rand({size.length / 2}, options.dtype(at::kDouble)) * 3;
  const at::Tensor z = at::complex(at::zeros_like(angle), 2 * at::tan(angle / 2));
  return work(
      backward,
      {at::randn({kCauchyProducts, size.channels, size.n}, complex), random_poles(size, options)},
      [z](const std::vector<at::Tensor>& in) { return ssm_kernel_cauchy(in[0], z, in[1]); });
}

std::vector<benchmark::Case> cases(c10::Device device) {
  const std::vector<Size> sizes = device.is_cuda()
                                      ? std::vector<Size>{{64, 32, 16000}, {256, 32, 1000}}
                                      : std::vector<Size>{{32, 32, 4096}};
  std::vector<benchmark::Case> result;
  for (const Size& size : sizes) {
    for (const bool backward : {false, true}) {
      const std::string pass = backward ? " backward" : " forward";
      result.push_back({.name = "vandermonde" + pass,
                        .shape = size.text(),
                        .dtype = "fp32",
                        .flops = size.terms() * (backward ? 8 : 4),
                        .reference_name = "",
                        .prepare = [=] { return vandermonde_work(size, device, backward); }});
      // Reciprocals and, for each product, multiply-adds.
      const double per_term = backward ? 26 + 16 * kCauchyProducts : 20 + 8 * kCauchyProducts;
      result.push_back({.name = "cauchy" + pass,
                        .shape = size.text(),
                        .dtype = "fp32",
                        .flops = size.terms() / 2 * per_term,
                        .reference_name = "",
                        .prepare = [=] { return cauchy_work(size, device, backward); }});
    }
  }
  return result;
}

const benchmark::StaticRegistration registration("ssm_kernel", cases);

}  // namespace
}  // namespace strandwave
