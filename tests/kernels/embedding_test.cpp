#include "kernels/embedding/embedding.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstring>

#include "kernels/common/parallel.h"
#include "tests/reference/embedding_reference.h"
#include "tests/support/operator_testing.h"
#include "tests/support/simd_testing.h"

namespace strandwave {
namespace {

using testing::expect_error;
using testing::same_bits;

struct Parameter {
  torch::DeviceType device = torch::kCPU;
  std::vector<int64_t> ids = {3, 129};
  int64_t vocabulary = 16;
  int64_t d = 64;
  torch::ScalarType dtype = torch::kFloat;
  bool bytes = false;
  int64_t used = 0;  // ids below this occur; 0: all
};

void PrintTo(const Parameter& p, std::ostream* out) {
  *out << p.dtype << " ids " << at::IntArrayRef(p.ids) << " vocabulary " << p.vocabulary << " d "
       << p.d << (p.bytes ? " uint8" : "") << " used " << p.used;
}

class EmbeddingTest : public ::testing::TestWithParam<Parameter> {
 protected:
  void SetUp() override {
    const Parameter& p = GetParam();
    STRANDWAVE_SKIP_WITHOUT_DEVICE(torch::Device(p.device));
    torch::manual_seed(7);
    ids_ = torch::randint(p.used > 0 ? p.used : p.vocabulary, p.ids, torch::kLong)
               .to(p.device, p.bytes ? torch::kByte : torch::kLong);
    weight_ = torch::randn({p.vocabulary, p.d}).to(p.device, p.dtype);
    auto shape = p.ids;
    shape.push_back(p.d);
    dout_ = torch::randn(shape).to(p.device, p.dtype);
  }

  torch::Tensor gradient() const {
    const auto weight = weight_.detach().clone().requires_grad_();
    strandwave::embedding(ids_, weight).backward(dout_);
    return weight.grad();
  }

  torch::Tensor ids_, weight_, dout_;
};

TEST_P(EmbeddingTest, LooksUpRows) {
  EXPECT_TRUE(
      torch::equal(strandwave::embedding(ids_, weight_), reference::embedding(ids_, weight_)));
}

TEST_P(EmbeddingTest, GradientAgreesWithReference) {
  const Parameter& p = GetParam();
  const auto ours = gradient();
  const auto exact = reference::embedding_backward(dout_, ids_, p.vocabulary, torch::kDouble);
  EXPECT_EQ(ours.scalar_type(), p.dtype);
  if (p.dtype == torch::kDouble) {
    EXPECT_TRUE(testing::relatively_close(ours, exact, 1e-14));
    return;
  }
  const auto baseline = reference::embedding_backward(dout_, ids_, p.vocabulary, torch::kFloat);
  EXPECT_TRUE(testing::follows_error_rule(ours, baseline.to(p.dtype), exact));
}

TEST_P(EmbeddingTest, IsDeterministic) {
  set_thread_count(1);
  const auto first = gradient();
  set_thread_count(2);
  EXPECT_TRUE(same_bits(first, gradient()));
}

TEST_P(EmbeddingTest, TakesStridedAndMisalignedInputs) {
  const auto plain = gradient();
  const auto strided_ids = torch::stack({ids_, ids_}, -1).select(-1, 1);
  const auto misaligned = torch::cat({weight_.new_zeros({1}), weight_.reshape({-1})})
                              .slice(0, 1, weight_.numel() + 1)
                              .view(weight_.sizes())
                              .requires_grad_();
  const auto strided_dout = torch::stack({dout_, dout_}, -1).select(-1, 0);
  const auto out = strandwave::embedding(strided_ids, misaligned);
  EXPECT_TRUE(torch::equal(out, reference::embedding(ids_, weight_)));
  const auto dweight = torch::autograd::grad({out}, {misaligned}, {strided_dout})[0];
  EXPECT_TRUE(same_bits(dweight, plain));
}

std::vector<Parameter> parameters(torch::DeviceType device) {
  std::vector<Parameter> rows;
  const auto add = [&](Parameter p) {
    p.device = device;
    rows.push_back(std::move(p));
  };
  add({});
  for (const std::vector<int64_t>& ids :
       std::vector<std::vector<int64_t>>{{}, {0}, {2, 0}, {1}, {31}, {127}, {128}, {2049}})
    add({.ids = ids});
  for (const int64_t d : {1, 2, 3, 63, 65, 130, 257}) {
    add({.d = d});
    add({.ids = {300}, .vocabulary = 1000, .d = d});
  }
  for (const int64_t vocabulary : {1, 192, 193, 1024, 5000}) {
    add({.ids = {700}, .vocabulary = vocabulary});
    add({.ids = {700}, .vocabulary = vocabulary, .used = 1});
  }
  // Runs of equal ids that fill, cross and end at windows of 64 sorted positions.
  for (const int64_t positions : {63, 64, 65, 128, 129, 1337})
    for (const int64_t used : {1, 2, 5, 20})
      add({.ids = {positions}, .vocabulary = 300, .d = 5, .used = used});
  add({.bytes = true});
  add({.ids = {500}, .vocabulary = 256, .bytes = true});
  std::vector<torch::ScalarType> types = {torch::kBFloat16, torch::kHalf};
  if (device == torch::kCPU) types.push_back(torch::kDouble);
  for (const auto type : types) {
    add({.dtype = type});
    add({.d = 33, .dtype = type});
    add({.d = 36, .dtype = type});
    add({.ids = {600}, .vocabulary = 700, .d = 33, .dtype = type, .used = 3});
  }
  return rows;
}

INSTANTIATE_TEST_SUITE_P(Cpu, EmbeddingTest, ::testing::ValuesIn(parameters(torch::kCPU)));
INSTANTIATE_TEST_SUITE_P(Cuda, EmbeddingTest, ::testing::ValuesIn(parameters(torch::kCUDA)));

class EmbeddingSimd : public testing::SimdTargetTest {};

STRANDWAVE_INSTANTIATE_ON_SIMD_TARGETS(EmbeddingSimd);

TEST_P(EmbeddingSimd, AgreesWithTheBest) {
  torch::manual_seed(7);
  const auto ids = torch::randint(16, {200}, torch::kLong);
  const auto dout = torch::randn({200, 37}).to(torch::kHalf);
  const auto gradient = [&] {
    const auto weight = torch::zeros({16, 37}, torch::kHalf).requires_grad_();
    strandwave::embedding(ids, weight).backward(dout);
    return weight.grad();
  };
  const auto here = gradient();
  kernels::set_simd_target(kernels::SimdTarget::kBest);
  // The order of the additions does not depend on the width of a vector.
  EXPECT_TRUE(same_bits(here, gradient()));
}

void expect_gradient_along_directions(torch::Device device, torch::ScalarType type,
                                      double tolerance) {
  torch::manual_seed(7);
  const auto ids = torch::randint(16, {3, 70}, torch::kLong);
  const auto weight = torch::randn({16, 33}, torch::kDouble);
  const auto dout = torch::randn({3, 70, 33}, torch::kDouble);
  const auto leaf = weight.to(device, type, false, true).requires_grad_();
  strandwave::embedding(ids.to(device), leaf).backward(dout.to(device, type));
  testing::expect_directional_derivatives(
      [&](const std::vector<at::Tensor>& point) {
        return (reference::embedding(ids, point[0]) * dout).sum();
      },
      {weight}, {leaf.grad()}, tolerance);
}

TEST(Embedding, GradientAgreesAlongRandomDirections) {
  expect_gradient_along_directions(testing::cpu_device(), torch::kDouble, 1e-7);
}

TEST(EmbeddingCuda, GradientAgreesAlongRandomDirections) {
  STRANDWAVE_SKIP_WITHOUT_DEVICE(testing::cuda_device());
  expect_gradient_along_directions(testing::cuda_device(), torch::kFloat, 1e-5);
}

TEST(Embedding, SaysWhatIsWrong) {
  const auto weight = torch::ones({4, 8});
  const auto ids = torch::tensor({0, 3}, torch::kLong);
  expect_error(
      [&] {
        strandwave::embedding(torch::tensor({0, 4}, torch::kLong), weight);
      },
      "ids must lie in [0, 4), got 4 at position 1");
  expect_error([&] { strandwave::embedding(torch::tensor({-1}, torch::kLong), weight); },
               "ids must lie in [0, 4), got -1 at position 0");
  expect_error([&] { strandwave::embedding(ids.to(torch::kInt), weight); },
               "ids must be int64 or uint8, got Int");
  expect_error([&] { strandwave::embedding(ids, torch::ones({8})); },
               "weight must have shape (vocabulary, d), got [8]");
  expect_error([&] { strandwave::embedding(ids, weight.to(torch::kInt)); },
               "weight must be float32, bfloat16 or float16");
}

TEST(Embedding, RefusesToBeDifferentiatedTwice) {
  const auto weight = torch::randn({4, 8}).requires_grad_();
  const auto dout = torch::ones({2, 8}).requires_grad_();
  const auto out = strandwave::embedding(torch::tensor({0, 3}, torch::kLong), weight);
  const auto dweight = torch::autograd::grad({out}, {weight}, {dout}, true, true)[0];
  expect_error([&] { dweight.sum().backward(); }, "embedding can be differentiated once only");
}

}  // namespace
}  // namespace strandwave
