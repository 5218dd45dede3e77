#include <ATen/ops/embedding.h>
#include <ATen/ops/embedding_dense_backward.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>

#include "kernels/common/benchmark.h"
#include "kernels/common/operator_glue.h"
#include "kernels/embedding/embedding.h"

namespace strandwave {
namespace {

using benchmark::Case;
using benchmark::Work;

struct Shape {
  int64_t positions, d, vocabulary;
};

at::Tensor random_ids(const Shape& shape, c10::Device device) {
  return at::randint(shape.vocabulary, {shape.positions},
                     at::TensorOptions(device).dtype(at::kLong));
}

Work forward(const Shape& shape, at::ScalarType type, c10::Device device) {
  const at::Tensor ids = random_ids(shape, device);
  const at::Tensor weight = at::randn({shape.vocabulary, shape.d}, device).to(type);
  return {[=] { strandwave::embedding(ids, weight); }, [=] { at::embedding(weight, ids); }};
}

Work backward(const Shape& shape, at::ScalarType type, c10::Device device) {
  static const auto op =
      find_operator<at::Tensor(const at::Tensor&, const at::Tensor&, c10::SymInt)>(
          "strandwave::embedding_backward");
  const at::Tensor ids = random_ids(shape, device);
  const at::Tensor dout = at::randn({shape.positions, shape.d}, device).to(type);
  return {[=] { op.call(dout, ids, shape.vocabulary); },
          [=] { at::embedding_dense_backward(dout, ids, shape.vocabulary, -1, false); }};
}

std::vector<Case> cases(c10::Device device) {
  std::vector<Shape> shapes = {{16384, 256, 16}, {4096, 768, 50280}};
  std::vector<at::ScalarType> types = {at::kFloat};
  if (device.is_cuda()) {
    shapes = {{131072, 256, 16}, {16384, 768, 50280}};
    types = {at::kBFloat16, at::kFloat};
  }
  std::vector<Case> result;
  for (const at::ScalarType type : types) {
    for (const Shape& shape : shapes) {
      const auto row = static_cast<double>(c10::elementSize(type)) * static_cast<double>(shape.d);
      const auto positions = static_cast<double>(shape.positions);
      const auto vocabulary = static_cast<double>(shape.vocabulary);
      Case c;
      c.shape = "positions " + std::to_string(shape.positions) + ", d " + std::to_string(shape.d) +
                ", vocabulary " + std::to_string(shape.vocabulary);
      c.dtype = type == at::kFloat ? "fp32" : "bf16";
      c.name = "forward";
      c.bytes = positions * (row + 8) + std::min(positions, vocabulary) * row;
      c.reference_name = "ATen: embedding";
      c.prepare = [=] { return forward(shape, type, device); };
      result.push_back(c);
      c.name = "backward";
      c.bytes = positions * (row + 8) + vocabulary * row;
      c.reference_name = "ATen: embedding_dense_backward";
      c.prepare = [=] { return backward(shape, type, device); };
      result.push_back(c);
    }
  }
  return result;
}

const benchmark::StaticRegistration registration("embedding", cases);

}  // namespace
}  // namespace strandwave
