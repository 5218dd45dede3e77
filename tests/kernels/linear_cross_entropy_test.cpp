#include "kernels/linear_cross_entropy/linear_cross_entropy.h"

#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstring>
#include <limits>

#include "kernels/common/parallel.h"
#include "tests/reference/linear_cross_entropy_reference.h"
#include "tests/support/operator_testing.h"
#include "tests/support/simd_testing.h"

namespace strandwave {
namespace {

using testing::expect_error;
using testing::same_bits;

struct Parameter {
  torch::DeviceType device = torch::kCPU;
  int64_t tokens = 129;
  int64_t d = 64;
  int64_t vocabulary = 16;
  int64_t valid = 12;
  torch::ScalarType dtype = torch::kFloat;
  bool weighted = true;
  double ignored = 0.2;  // share of the targets
};

void PrintTo(const Parameter& p, std::ostream* out) {
  *out << p.dtype << " tokens " << p.tokens << " d " << p.d << " vocabulary " << p.vocabulary
       << " valid " << p.valid << (p.weighted ? " weighted" : "");
}

torch::ScalarType full_type(torch::ScalarType type) {
  return type == torch::kDouble ? torch::kDouble : torch::kFloat;
}

struct Inputs {
  torch::Tensor hidden, head_weight, target, token_weight, dloss;
};

Inputs make_inputs(const Parameter& p) {
  const auto full = full_type(p.dtype);
  Inputs in;
  in.hidden = torch::randn({p.tokens, p.d}).to(p.device, p.dtype);
  in.head_weight = (torch::randn({p.vocabulary, p.d}) * 0.3).to(p.device, p.dtype);
  in.target = torch::randint(p.valid > 0 ? p.valid : p.vocabulary, {p.tokens}, torch::kLong);
  in.target =
      torch::where(torch::rand({p.tokens}) < p.ignored, torch::tensor(int64_t{-100}), in.target)
          .to(p.device);
  if (p.weighted) {
    const auto weight = torch::rand({p.tokens}) + 0.5;
    in.token_weight =
        torch::where(torch::rand({p.tokens}) < 0.1, torch::tensor(0.0f), weight).to(p.device, full);
  }
  in.dloss = torch::randn({p.tokens}).to(p.device, full);
  return in;
}

struct Results {
  torch::Tensor loss, logsumexp, dhidden, dhead;
};

Results run_ours(const Inputs& in, const Parameter& p) {
  const auto hidden = in.hidden.detach().clone().requires_grad_();
  const auto head = in.head_weight.detach().clone().requires_grad_();
  const std::optional<torch::Tensor> weight =
      in.token_weight.defined() ? std::optional<torch::Tensor>(in.token_weight) : std::nullopt;
  const auto out = linear_cross_entropy(hidden, head, in.target, weight, p.valid);
  EXPECT_FALSE(out.logsumexp.requires_grad());
  out.loss.backward(in.dloss);
  return {out.loss.detach(), out.logsumexp, hidden.grad(), head.grad()};
}

Results run_reference(const Inputs& in, const Parameter& p, torch::ScalarType type) {
  const auto hidden = in.hidden.detach().to(type).clone().requires_grad_();
  const auto head = in.head_weight.detach().to(type).clone().requires_grad_();
  const auto [loss, logsumexp] =
      reference::linear_cross_entropy(hidden, head, in.target, in.token_weight, p.valid);
  loss.backward(in.dloss.to(loss.scalar_type()));
  return {loss.detach(), logsumexp.detach(), hidden.grad(), head.grad()};
}

// By the error rule where the gradient of the logits is not rounded; else within a few roundings of
// the largest value, as a linear layer in that type is.
void expect_close(const char* what, const torch::Tensor& ours, const torch::Tensor& baseline,
                  const torch::Tensor& exact) {
  SCOPED_TRACE(what);
  if (ours.scalar_type() == torch::kDouble) {
    EXPECT_TRUE(testing::relatively_close(ours, exact, 1e-12));
  } else if (ours.scalar_type() == torch::kFloat) {
    EXPECT_TRUE(
        testing::follows_error_rule(ours, baseline.to(torch::kFloat), exact, /*cuda_roundings=*/8));
  } else {
    EXPECT_TRUE(testing::relatively_close(ours, exact, 4 * testing::rounding(ours.scalar_type())));
  }
}

class LinearCrossEntropyTest : public ::testing::TestWithParam<Parameter> {
 protected:
  void SetUp() override {
    STRANDWAVE_SKIP_WITHOUT_DEVICE(torch::Device(GetParam().device));
    torch::manual_seed(7);
  }
};

TEST_P(LinearCrossEntropyTest, AgreesWithReference) {
  const Parameter& p = GetParam();
  const Inputs in = make_inputs(p);
  const Results ours = run_ours(in, p);
  const Results baseline = run_reference(in, p, full_type(p.dtype));
  const Results exact = run_reference(in, p, torch::kDouble);

  EXPECT_EQ(ours.loss.scalar_type(), full_type(p.dtype));
  EXPECT_EQ(ours.dhidden.scalar_type(), p.dtype);
  EXPECT_EQ(ours.dhead.scalar_type(), p.dtype);
  // Logits of large vocabularies are rounded on CUDA (see the header).
  const bool rounded = p.device == torch::kCUDA && p.dtype != torch::kFloat && p.vocabulary > 1024;
  auto counts = in.target.ge(0);
  if (in.token_weight.defined()) counts = counts.logical_and(in.token_weight.ne(0));
  const auto logsumexp = torch::where(counts, ours.logsumexp, torch::zeros_like(ours.logsumexp));
  if (rounded) {
    EXPECT_TRUE(testing::relatively_close(ours.loss, exact.loss, testing::rounding(p.dtype)));
    EXPECT_TRUE(testing::relatively_close(logsumexp, exact.logsumexp, testing::rounding(p.dtype)));
  } else {
    expect_close("loss", ours.loss, baseline.loss, exact.loss);
    expect_close("logsumexp", logsumexp, baseline.logsumexp, exact.logsumexp);
  }
  expect_close("dhidden", ours.dhidden, baseline.dhidden, exact.dhidden);
  expect_close("dhead", ours.dhead, baseline.dhead, exact.dhead);
  if (p.valid > 0)
    EXPECT_EQ(testing::max_magnitude(ours.dhead.narrow(0, p.valid, p.vocabulary - p.valid)), 0);
}

TEST_P(LinearCrossEntropyTest, IsDeterministic) {
  const Parameter& p = GetParam();
  const Inputs in = make_inputs(p);
  set_thread_count(1);
  const Results first = run_ours(in, p);
  set_thread_count(2);
  const Results second = run_ours(in, p);
  EXPECT_TRUE(same_bits(first.loss, second.loss));
  EXPECT_TRUE(same_bits(first.logsumexp, second.logsumexp));
  EXPECT_TRUE(same_bits(first.dhidden, second.dhidden));
  EXPECT_TRUE(same_bits(first.dhead, second.dhead));
}

TEST_P(LinearCrossEntropyTest, TokensThatDoNotCountPoisonNothing) {
  const Parameter& p = GetParam();
  Inputs in = make_inputs(p);
  const Results clean = run_ours(in, p);
  auto skipped = in.target.lt(0);
  if (in.token_weight.defined()) skipped = skipped.logical_or(in.token_weight.eq(0));
  const double nan = std::numeric_limits<double>::quiet_NaN();
  in.hidden.masked_fill_(skipped.unsqueeze(1), nan);
  in.dloss.masked_fill_(skipped, nan);
  // Rows that take no part of a padded head neither.
  if (p.valid > 0) in.head_weight.narrow(0, p.valid, p.vocabulary - p.valid).fill_(nan);
  const Results poisoned = run_ours(in, p);
  EXPECT_TRUE(same_bits(poisoned.loss, clean.loss));
  EXPECT_TRUE(same_bits(poisoned.dhidden, clean.dhidden));
  EXPECT_TRUE(same_bits(poisoned.dhead, clean.dhead));
  EXPECT_EQ(testing::max_magnitude(poisoned.loss.masked_select(skipped)), 0);
  EXPECT_EQ(testing::max_magnitude(poisoned.dhidden.index_select(0, skipped.nonzero().squeeze(1))),
            0);
}

std::vector<Parameter> parameters(torch::DeviceType device) {
  std::vector<Parameter> rows;
  const auto add = [&](Parameter p) {
    p.device = device;
    rows.push_back(p);
  };
  add({});
  add({.weighted = false});
  add({.weighted = false, .ignored = 0});
  add({.ignored = 1.1});
  for (const int64_t tokens : {0, 1, 31, 1023, 1025, 2049, 4096, 4099}) add({.tokens = tokens});
  for (const int64_t d : {1, 3, 33, 257}) add({.d = d});
  for (const int64_t vocabulary : {1, 2, 5, 16, 17, 256, 257, 1025, 4099})
    add({.tokens = 300, .vocabulary = vocabulary, .valid = 0});
  add({.tokens = 70, .vocabulary = 1200, .valid = 1111});
  add({.tokens = 40, .d = 1, .vocabulary = 9000, .valid = 0});
  std::vector<torch::ScalarType> types = {torch::kBFloat16, torch::kHalf};
  if (device == torch::kCPU) types.push_back(torch::kDouble);
  for (const auto type : types) {
    add({.dtype = type});
    add({.tokens = 4099, .d = 33, .dtype = type});
    add({.tokens = 77, .vocabulary = 1500, .valid = 1400, .dtype = type});
    add({.tokens = 77, .d = 31, .vocabulary = 2001, .valid = 0, .dtype = type, .weighted = false});
  }
  return rows;
}

INSTANTIATE_TEST_SUITE_P(Cpu, LinearCrossEntropyTest, ::testing::ValuesIn(parameters(torch::kCPU)));
INSTANTIATE_TEST_SUITE_P(Cuda, LinearCrossEntropyTest,
                         ::testing::ValuesIn(parameters(torch::kCUDA)));

class LinearCrossEntropySimd : public testing::SimdTargetTest {};

STRANDWAVE_INSTANTIATE_ON_SIMD_TARGETS(LinearCrossEntropySimd);

TEST_P(LinearCrossEntropySimd, AgreesWithTheBest) {
  const Parameter p{.tokens = 9, .vocabulary = 37, .valid = 0};
  const Inputs in = make_inputs(p);
  const Results here = run_ours(in, p);
  kernels::set_simd_target(kernels::SimdTarget::kBest);
  const Results best = run_ours(in, p);
  EXPECT_TRUE(testing::relatively_close(here.loss, best.loss, 1e-6));
  EXPECT_TRUE(testing::relatively_close(here.dhead, best.dhead, 1e-6));
}

void expect_gradients_along_directions(const Parameter& p, double tolerance) {
  torch::manual_seed(7);
  const Inputs in = make_inputs(p);
  const Results ours = run_ours(in, p);
  const auto target = in.target.cpu();
  const auto token_weight = testing::to_reference(in.token_weight);
  const auto dloss = testing::to_reference(in.dloss);
  testing::expect_directional_derivatives(
      [&](const std::vector<at::Tensor>& point) {
        const auto [loss, logsumexp] =
            reference::linear_cross_entropy(point[0], point[1], target, token_weight, p.valid);
        return (loss * dloss).sum();
      },
      {testing::to_reference(in.hidden), testing::to_reference(in.head_weight)},
      {ours.dhidden, ours.dhead}, tolerance);
}

TEST(LinearCrossEntropy, GradientsAgreeAlongRandomDirections) {
  expect_gradients_along_directions({.dtype = torch::kDouble}, 1e-7);
}

TEST(LinearCrossEntropyCuda, GradientsAgreeAlongRandomDirections) {
  STRANDWAVE_SKIP_WITHOUT_DEVICE(testing::cuda_device());
  expect_gradients_along_directions({.device = torch::kCUDA}, 1e-5);
}

TEST(LinearCrossEntropy, LargeLogitsStayFinite) {
  const auto hidden = torch::tensor({{1000.0f}, {-1000.0f}}).requires_grad_();
  const auto head = torch::tensor({{1.0f}, {-1.0f}, {0.0f}});
  const auto out = linear_cross_entropy(hidden, head, torch::tensor({0, 0}, torch::kLong));
  EXPECT_TRUE(torch::allclose(out.loss, torch::tensor({0.0f, 2000.0f})));
  out.loss.sum().backward();
  EXPECT_TRUE(torch::allclose(hidden.grad(), torch::tensor({{0.0f}, {-2.0f}})));
}

TEST(LinearCrossEntropy, NanOfACountingTokenShows) {
  auto hidden = torch::ones({3, 4});
  hidden[1][2] = std::numeric_limits<float>::quiet_NaN();
  const auto out =
      linear_cross_entropy(hidden, torch::ones({20, 4}), torch::zeros({3}, torch::kLong));
  EXPECT_TRUE(torch::equal(out.loss.isnan(), torch::tensor({false, true, false})));
}

TEST(LinearCrossEntropy, AutocastReducesTheProduct) {
  const auto hidden = torch::randn({9, 8}).requires_grad_();
  const auto head = torch::randn({16, 8});
  const auto target = torch::randint(16, {9}, torch::kLong);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  const auto out = linear_cross_entropy(hidden, head, target);
  out.loss.sum().backward();  // products of the backward pass are not cast again
  at::autocast::set_autocast_enabled(at::kCPU, false);
  at::autocast::clear_cache();
  const auto plain =
      linear_cross_entropy(hidden.to(torch::kBFloat16), head.to(torch::kBFloat16), target);
  EXPECT_TRUE(same_bits(out.loss, plain.loss));
  const auto dhidden = torch::autograd::grad({plain.loss.sum()}, {hidden})[0];
  EXPECT_TRUE(same_bits(hidden.grad(), dhidden));
}

TEST(LinearCrossEntropy, SaysWhatIsWrong) {
  const auto hidden = torch::ones({2, 8});
  const auto head = torch::ones({16, 8});
  const auto target = torch::tensor({0, 12}, torch::kLong);
  expect_error([&] { linear_cross_entropy(hidden, head, target, {}, 12); },
               "targets must be below 12, got 12 at token 1");
  expect_error([&] { linear_cross_entropy(hidden, head, target, {}, 17); },
               "valid_vocabulary must lie in [0, 16], got 17");
  expect_error(
      [&] {
        linear_cross_entropy(torch::ones({1, 2, 8}), head, target);
      },
      "hidden must have shape (tokens, d), got [1, 2, 8]");
  expect_error(
      [&] {
        linear_cross_entropy(hidden, torch::ones({16, 7}), target);
      },
      "head_weight must have shape [16, 8], got [16, 7]");
  expect_error([&] { linear_cross_entropy(hidden, head.to(torch::kHalf), target); },
               "head_weight must be Float, got Half");
  expect_error([&] { linear_cross_entropy(hidden, head, target.to(torch::kInt)); },
               "target must be Long, got Int");
  expect_error([&] { linear_cross_entropy(hidden, head, target, torch::ones({3})); },
               "token_weight must have shape [2], got [3]");
}

TEST(LinearCrossEntropy, RefusesToBeDifferentiatedTwice) {
  const auto hidden = torch::randn({2, 8}).requires_grad_();
  const auto out =
      linear_cross_entropy(hidden, torch::ones({4, 8}), torch::zeros({2}, torch::kLong));
  const auto dhidden = torch::autograd::grad({out.loss.sum()}, {hidden}, {}, true, true)[0];
  expect_error([&] { dhidden.sum().backward(); },
               "linear_cross_entropy can be differentiated once only");
}

}  // namespace
}  // namespace strandwave
