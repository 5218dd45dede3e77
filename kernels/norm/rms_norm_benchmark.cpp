#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/rms_norm.h>

#include "kernels/common/benchmark.h"
#include "kernels/common/operator_glue.h"
#include "kernels/norm/rms_norm_check.h"

namespace strandwave {
namespace {

using benchmark::Case;
using benchmark::Work;

struct Shape {
  int64_t rows, d;
};

constexpr double kEps = 1e-5;

struct Tensors {
  at::Tensor x, residual, weight;

  Tensors(const Shape& shape, at::ScalarType type, c10::Device device)
      : x(at::randn({shape.rows, shape.d}, device).to(type)),
        residual(at::randn({shape.rows, shape.d}, device)),
        weight(at::ones({shape.d}, device)) {}
};

Work forward(const Shape& shape, at::ScalarType type, c10::Device device) {
  static const auto op =
      find_operator<AddRmsNormForwardFunction>("strandwave::add_rms_norm_forward");
  const Tensors in(shape, type, device);
  return {[=] { op.call(in.x, in.residual, in.weight, kEps, true); },
          [=] {
            const at::Tensor sum = in.residual + in.x;
            at::rms_norm(sum, {shape.d}, in.weight, kEps).to(in.x.scalar_type());
          }};
}

Work backward(const Shape& shape, at::ScalarType type, c10::Device device) {
  static const auto op =
      find_operator<AddRmsNormBackwardFunction>("strandwave::add_rms_norm_backward");
  const Tensors in(shape, type, device);
  const at::Tensor rstd = at::ones({shape.rows}, device);
  return {[=] { op.call(in.x, in.residual, in.residual, in.weight, rstd, true); }, {}};
}

std::vector<Case> cases(c10::Device device) {
  std::vector<Shape> shapes = {{4096, 256}, {2048, 768}};
  std::vector<at::ScalarType> types = {at::kFloat};
  if (device.is_cuda()) {
    shapes = {{131072, 256}, {16384, 768}, {16384, 1024}, {16384, 2048}, {16384, 4096}};
    types = {at::kBFloat16, at::kFloat};
  }
  std::vector<Case> result;
  for (const at::ScalarType type : types) {
    for (const Shape& shape : shapes) {
      const auto size = static_cast<double>(c10::elementSize(type));
      const auto elements = static_cast<double>(shape.rows * shape.d);
      Case c;
      c.shape = "rows " + std::to_string(shape.rows) + ", d " + std::to_string(shape.d);
      c.dtype = type == at::kFloat ? "fp32" : "bf16";
      c.name = "forward";
      c.bytes = elements * (2 * size + 8);  // x, y; residual in and out
      c.reference_name = "ATen: add, rms_norm, cast";
      c.prepare = [=] { return forward(shape, type, device); };
      result.push_back(c);
      c.name = "backward";
      // dy, dx; sum and its gradient; the residual's gradient where it differs from dx
      c.bytes = elements * (2 * size + 12);
      c.reference_name.clear();
      c.prepare = [=] { return backward(shape, type, device); };
      result.push_back(c);
    }
  }
  return result;
}

const benchmark::StaticRegistration registration("add_rms_norm", cases);

}  // namespace
}  // namespace strandwave
