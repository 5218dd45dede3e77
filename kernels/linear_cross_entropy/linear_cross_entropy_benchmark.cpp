#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>

#include "kernels/common/benchmark.h"
#include "kernels/common/operator_glue.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy_check.h"

namespace strandwave {
namespace {

using benchmark::Case;
using benchmark::Work;

struct Shape {
  int64_t tokens, d, vocabulary, valid;
};

struct Tensors {
  at::Tensor hidden, head, target;

  Tensors(const Shape& shape, at::ScalarType type, c10::Device device)
      : hidden(at::randn({shape.tokens, shape.d}, device).to(type)),
        head((at::randn({shape.vocabulary, shape.d}, device) * 0.05).to(type)),
        target(
            at::randint(shape.valid, {shape.tokens}, at::TensorOptions(device).dtype(at::kLong))) {}
};

// All logits at once, their loss in float32.
at::Tensor in_aten(const Tensors& in, const Shape& shape) {
  const at::Tensor logits = at::mm(in.hidden, in.head.narrow(0, 0, shape.valid).t());
  return at::cross_entropy_loss(logits.to(at::kFloat), in.target, {}, at::Reduction::None);
}

Work forward(const Shape& shape, at::ScalarType type, c10::Device device) {
  static const auto op =
      find_operator<LinearCrossEntropyFunction>("strandwave::linear_cross_entropy_forward");
  const Tensors in(shape, type, device);
  return {[=] { op.call(in.hidden, in.head, in.target, {}, shape.valid); },
          [=] { in_aten(in, shape); }};
}

// Both sides include the forward pass: ATen's cannot be run without it.
Work training(const Shape& shape, at::ScalarType type, c10::Device device) {
  static const auto op =
      find_operator<LinearCrossEntropyFunction>("strandwave::linear_cross_entropy");
  Tensors in(shape, type, device);
  in.hidden.requires_grad_();
  in.head.requires_grad_();
  const at::Tensor dloss = at::ones({shape.tokens}, device);
  const auto differentiate = [=](const at::Tensor& loss) {
    torch::autograd::grad({loss}, {in.hidden, in.head}, {dloss});
  };
  return {
      [=] { differentiate(std::get<0>(op.call(in.hidden, in.head, in.target, {}, shape.valid))); },
      [=] { differentiate(in_aten(in, shape)); }};
}

std::vector<Case> cases(c10::Device device) {
  std::vector<Shape> shapes = {{16384, 256, 16, 12}, {256, 256, 8192, 8192}};
  std::vector<at::ScalarType> types = {at::kFloat};
  if (device.is_cuda()) {
    shapes = {{131072, 256, 16, 12}, {16384, 768, 50280, 50280}};
    types = {at::kBFloat16, at::kFloat};
  }
  std::vector<Case> result;
  for (const at::ScalarType type : types) {
    for (const Shape& shape : shapes) {
      const auto size = static_cast<double>(c10::elementSize(type));
      const auto d = static_cast<double>(shape.d);
      const auto tokens = static_cast<double>(shape.tokens);
      const auto vocabulary = static_cast<double>(shape.valid);
      Case c;
      c.shape = "tokens " + std::to_string(shape.tokens) + ", d " + std::to_string(shape.d) +
                ", vocabulary " + std::to_string(shape.vocabulary);
      c.dtype = type == at::kFloat ? "fp32" : "bf16";
      c.reference_name = "ATen: mm, cross_entropy_loss in fp32";
      c.name = "forward";
      c.bytes = size * d * (tokens + vocabulary);
      c.flops = 2 * tokens * d * vocabulary;
      c.prepare = [=] { return forward(shape, type, device); };
      result.push_back(c);
      c.name = "forward+backward";
      c.bytes = size * d * (3 * tokens + 3 * vocabulary);
      c.flops = 8 * tokens * d * vocabulary;  // the logits twice, two gradients
      c.prepare = [=] { return training(shape, type, device); };
      result.push_back(c);
    }
  }
  return result;
}

const benchmark::StaticRegistration registration("linear_cross_entropy", cases);

}  // namespace
}  // namespace strandwave
