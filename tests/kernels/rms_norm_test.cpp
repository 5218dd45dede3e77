#include "kernels/norm/rms_norm.h"

#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstring>
#include <limits>

#include "kernels/common/parallel.h"
#include "tests/reference/rms_norm_reference.h"
#include "tests/support/operator_testing.h"
#include "tests/support/simd_testing.h"

namespace strandwave {
namespace {

using testing::expect_error;
using testing::same_bits;

enum class Residual { kNone, kSame, kFull };

struct Parameter {
  torch::DeviceType device = torch::kCPU;
  std::vector<int64_t> shape = {2, 33, 256};
  torch::ScalarType dtype = torch::kFloat;
  Residual residual = Residual::kFull;
  bool residual_in_fp32 = true;
};

void PrintTo(const Parameter& p, std::ostream* out) {
  *out << p.dtype << " " << at::IntArrayRef(p.shape) << " residual " << static_cast<int>(p.residual)
       << (p.residual_in_fp32 ? " fp32" : "");
}

struct Inputs {
  torch::Tensor x, residual, weight;
};

torch::ScalarType full_type(torch::ScalarType type) {
  return type == torch::kDouble ? torch::kDouble : torch::kFloat;
}

Inputs make_inputs(const Parameter& p) {
  const auto full = full_type(p.dtype);
  Inputs in;
  in.x = torch::randn(p.shape, torch::kFloat).to(p.device, p.dtype);
  if (p.residual != Residual::kNone)
    in.residual = torch::randn(p.shape, torch::kFloat)
                      .to(p.device, p.residual == Residual::kFull ? full : p.dtype);
  in.weight = (1 + 0.5 * torch::randn({p.shape.back()}, torch::kFloat)).to(p.device, full);
  return in;
}

struct Results {
  torch::Tensor y, sum, dx, dresidual, dweight;
};

// Runs `norm` on inputs of `type` (as they are when not given) and differentiates
// sum(y dy) + sum(sum dsum).
template <typename Norm>
Results run(const Inputs& in, std::optional<torch::ScalarType> type, const torch::Tensor& dy,
            const torch::Tensor& dsum, const Norm& norm) {
  const auto leaf = [&](const torch::Tensor& tensor) {
    if (!tensor.defined()) return tensor;
    return tensor.detach().to(type.value_or(tensor.scalar_type()), false, true).requires_grad_();
  };
  const Inputs leaves = {leaf(in.x), leaf(in.residual), leaf(in.weight)};
  Results r;
  std::tie(r.y, r.sum) = norm(leaves);
  std::vector<torch::Tensor> outputs;
  std::vector<torch::Tensor> directions;
  for (const auto& [output, direction] : {std::pair(r.y, dy), std::pair(r.sum, dsum)}) {
    if (!direction.defined()) continue;
    outputs.push_back(output);
    directions.push_back(direction.to(output.scalar_type()));
  }
  torch::autograd::backward(outputs, directions);
  r.dx = leaves.x.grad();
  if (leaves.residual.defined()) r.dresidual = leaves.residual.grad();
  r.dweight = leaves.weight.grad();
  return r;
}

constexpr double kEps = 1e-5;

Results run_ours(const Inputs& in, const Parameter& p, const torch::Tensor& dy,
                 const torch::Tensor& dsum) {
  return run(in, {}, dy, dsum, [&](const Inputs& i) {
    const std::optional<torch::Tensor> residual =
        i.residual.defined() ? std::optional<torch::Tensor>(i.residual) : std::nullopt;
    const auto out = add_rms_norm(i.x, residual, i.weight, kEps, p.residual_in_fp32);
    return std::pair(out.y, out.residual);
  });
}

Results run_reference(const Inputs& in, torch::ScalarType type, torch::ScalarType sum_type,
                      const torch::Tensor& dy, const torch::Tensor& dsum) {
  return run(in, type, dy, dsum, [&](const Inputs& i) {
    return reference::add_rms_norm(i.x, i.residual, i.weight, kEps, sum_type);
  });
}

torch::ScalarType sum_type(const Parameter& p) {
  return p.residual_in_fp32 ? full_type(p.dtype) : p.dtype;
}

// By the error rule; float64 by a bound of its own, because there baseline and reference agree.
void expect_close(const char* what, const torch::Tensor& ours, const torch::Tensor& baseline,
                  const torch::Tensor& exact) {
  SCOPED_TRACE(what);
  if (ours.scalar_type() == torch::kDouble) {
    EXPECT_TRUE(testing::relatively_close(ours, exact, 1e-13));
  } else {
    EXPECT_TRUE(testing::follows_error_rule(ours, baseline.to(ours.scalar_type()), exact));
  }
}

class AddRmsNormTest : public ::testing::TestWithParam<Parameter> {
 protected:
  void SetUp() override {
    STRANDWAVE_SKIP_WITHOUT_DEVICE(torch::Device(GetParam().device));
    torch::manual_seed(7);
  }
};

TEST_P(AddRmsNormTest, AgreesWithReference) {
  const Parameter& p = GetParam();
  const Inputs in = make_inputs(p);
  const auto dy = torch::randn(p.shape, torch::kFloat).to(p.device, p.dtype);
  const auto dsum = torch::randn(p.shape, torch::kFloat).to(p.device, sum_type(p));
  const Results ours = run_ours(in, p, dy, dsum);
  const Results baseline = run_reference(in, full_type(p.dtype), sum_type(p), dy, dsum);
  const Results exact = run_reference(in, torch::kDouble, torch::kDouble, dy, dsum);

  EXPECT_EQ(ours.y.scalar_type(), p.dtype);
  EXPECT_EQ(ours.sum.scalar_type(), sum_type(p));
  EXPECT_EQ(ours.dx.scalar_type(), p.dtype);
  expect_close("y", ours.y, baseline.y, exact.y);
  expect_close("sum", ours.sum, baseline.sum, exact.sum);
  expect_close("dx", ours.dx, baseline.dx, exact.dx);
  expect_close("dweight", ours.dweight, baseline.dweight, exact.dweight);
  if (in.residual.defined()) {
    EXPECT_EQ(ours.dresidual.scalar_type(), in.residual.scalar_type());
    expect_close("dresidual", ours.dresidual, baseline.dresidual, exact.dresidual);
  }
}

TEST_P(AddRmsNormTest, OneOutputAloneHasGradients) {
  const Parameter& p = GetParam();
  const Inputs in = make_inputs(p);
  const auto direction = torch::randn(p.shape, torch::kFloat).to(p.device, p.dtype);
  const Results from_y = run_ours(in, p, direction, {});
  const Results baseline = run_reference(in, full_type(p.dtype), sum_type(p), direction, {});
  const Results exact = run_reference(in, torch::kDouble, torch::kDouble, direction, {});
  expect_close("dx", from_y.dx, baseline.dx, exact.dx);
  expect_close("dweight", from_y.dweight, baseline.dweight, exact.dweight);

  const Results from_sum = run_ours(in, p, {}, direction);
  EXPECT_TRUE(torch::equal(from_sum.dx, direction));
  EXPECT_FALSE(from_sum.dweight.defined());
}

TEST_P(AddRmsNormTest, IsDeterministic) {
  const Parameter& p = GetParam();
  const Inputs in = make_inputs(p);
  const auto dy = torch::randn(p.shape, torch::kFloat).to(p.device, p.dtype);
  set_thread_count(1);
  const Results first = run_ours(in, p, dy, {});
  set_thread_count(2);
  const Results second = run_ours(in, p, dy, {});
  EXPECT_TRUE(same_bits(first.y, second.y));
  EXPECT_TRUE(same_bits(first.sum, second.sum));
  EXPECT_TRUE(same_bits(first.dx, second.dx));
  EXPECT_TRUE(same_bits(first.dweight, second.dweight));
}

TEST_P(AddRmsNormTest, TakesStridedAndMisalignedInputs) {
  const Parameter& p = GetParam();
  const Inputs in = make_inputs(p);
  const int64_t n = in.x.numel();
  const auto strided = torch::stack({in.x, in.x}, -1).select(-1, 1);
  const auto misaligned =
      torch::cat({in.x.new_zeros({1}), in.x.reshape({-1})}).slice(0, 1, n + 1).view(p.shape);
  const Results plain = run_ours(in, p, in.x, {});
  for (const auto& x : {strided, misaligned}) {
    const auto out = add_rms_norm(
        x, in.residual.defined() ? std::optional<torch::Tensor>(in.residual) : std::nullopt,
        in.weight, kEps, p.residual_in_fp32);
    EXPECT_TRUE(same_bits(out.y, plain.y));
    EXPECT_FALSE(out.residual.is_alias_of(x));
  }
}

std::vector<Parameter> parameters(torch::DeviceType device) {
  std::vector<Parameter> rows;
  const auto add = [&](Parameter p) {
    p.device = device;
    rows.push_back(std::move(p));
  };
  add({});
  for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{{0, 256},
                                                                             {64, 1},
                                                                             {5, 3},
                                                                             {4, 0, 16},
                                                                             {64},
                                                                             {127, 31},
                                                                             {33, 255},
                                                                             {31, 257},
                                                                             {9, 768},
                                                                             {129, 1024},
                                                                             {17, 1025},
                                                                             {7, 2048},
                                                                             {5, 2052},
                                                                             {3, 2049},
                                                                             {3, 4096},
                                                                             {2, 8200},
                                                                             {1337, 64},
                                                                             {5000, 8}})
    add({.shape = shape});
  std::vector<torch::ScalarType> types = {torch::kBFloat16, torch::kHalf};
  if (device == torch::kCPU) types.push_back(torch::kDouble);
  for (const auto type : types) {
    for (const auto residual : {Residual::kNone, Residual::kSame, Residual::kFull})
      for (const bool fp32 : {false, true})
        add({.dtype = type, .residual = residual, .residual_in_fp32 = fp32});
    add({.shape = {40, 767}, .dtype = type});
    add({.shape = {3, 8200}, .dtype = type, .residual_in_fp32 = false});
    add({.shape = {3, 2051}, .dtype = type, .residual = Residual::kSame});
  }
  add({.residual = Residual::kNone});
  add({.residual = Residual::kNone, .residual_in_fp32 = false});
  return rows;
}

INSTANTIATE_TEST_SUITE_P(Cpu, AddRmsNormTest, ::testing::ValuesIn(parameters(torch::kCPU)));
INSTANTIATE_TEST_SUITE_P(Cuda, AddRmsNormTest, ::testing::ValuesIn(parameters(torch::kCUDA)));

class AddRmsNormSimd : public testing::SimdTargetTest {};

STRANDWAVE_INSTANTIATE_ON_SIMD_TARGETS(AddRmsNormSimd);

TEST_P(AddRmsNormSimd, AgreesWithTheBest) {
  const Parameter p{.shape = {9, 131}, .dtype = torch::kBFloat16};
  const Inputs in = make_inputs(p);
  const Results here = run_ours(in, p, in.x, {});
  kernels::set_simd_target(kernels::SimdTarget::kBest);
  const Results best = run_ours(in, p, in.x, {});
  EXPECT_TRUE(torch::allclose(here.y.to(torch::kFloat), best.y.to(torch::kFloat), 1e-2, 1e-6));
  EXPECT_TRUE(torch::allclose(here.dweight, best.dweight, 1e-5, 1e-5));
}

void expect_gradients_along_directions(const Parameter& p, double tolerance) {
  torch::manual_seed(7);
  const Inputs in = make_inputs(p);
  const auto dy = torch::randn(p.shape).to(p.device, p.dtype);
  const auto dsum = torch::randn(p.shape).to(p.device, p.dtype);
  const Results ours = run_ours(in, p, dy, dsum);
  testing::expect_directional_derivatives(
      [&](const std::vector<at::Tensor>& point) {
        const auto [y, sum] =
            reference::add_rms_norm(point[0], point[1], point[2], kEps, torch::kDouble);
        return (y * testing::to_reference(dy)).sum() + (sum * testing::to_reference(dsum)).sum();
      },
      {testing::to_reference(in.x), testing::to_reference(in.residual),
       testing::to_reference(in.weight)},
      {ours.dx, ours.dresidual, ours.dweight}, tolerance);
}

TEST(AddRmsNorm, GradientsAgreeAlongRandomDirections) {
  expect_gradients_along_directions({.dtype = torch::kDouble}, 1e-7);
}

TEST(AddRmsNormCuda, GradientsAgreeAlongRandomDirections) {
  STRANDWAVE_SKIP_WITHOUT_DEVICE(testing::cuda_device());
  expect_gradients_along_directions({.device = torch::kCUDA}, 1e-5);
}

TEST(AddRmsNorm, KeepsNanInItsRow) {
  auto x = torch::randn({3, 40});
  x[1][5] = std::numeric_limits<float>::quiet_NaN();
  const auto y = add_rms_norm(x, {}, torch::ones({40})).y;
  EXPECT_TRUE(y[1].isnan().all().item<bool>());
  EXPECT_FALSE(y[0].isnan().any().item<bool>());
  EXPECT_FALSE(y[2].isnan().any().item<bool>());
}

TEST(AddRmsNorm, AutocastReducesXButNeitherWeightNorResidual) {
  const auto x = torch::randn({3, 40});
  const auto weight = torch::ones({40}).to(torch::kBFloat16);
  const auto residual = torch::randn({3, 40});
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  const auto out = add_rms_norm(x, residual, weight);
  at::autocast::set_autocast_enabled(at::kCPU, false);
  at::autocast::clear_cache();
  const auto plain = add_rms_norm(x.to(torch::kBFloat16), residual, weight.to(torch::kFloat));
  EXPECT_TRUE(same_bits(out.y, plain.y));
  EXPECT_TRUE(same_bits(out.residual, plain.residual));
}

TEST(AddRmsNorm, RunsInInferenceMode) {
  const auto x = torch::randn({3, 40});
  const auto plain = add_rms_norm(x, {}, torch::ones({40}));
  const c10::InferenceMode guard;
  EXPECT_TRUE(same_bits(add_rms_norm(x, {}, torch::ones({40})).y, plain.y));
}

TEST(AddRmsNorm, SaysWhatIsWrong) {
  const auto x = torch::ones({2, 8});
  const auto weight = torch::ones({8});
  expect_error([&] { add_rms_norm(x, {}, torch::ones({7})); },
               "weight must have shape [8], got [7]");
  expect_error([&] { add_rms_norm(x, {}, weight.to(torch::kDouble)); },
               "weight must be Float, got Double");
  expect_error(
      [&] {
        add_rms_norm(x, torch::ones({3, 8}), weight);
      },
      "residual must have shape [2, 8], got [3, 8]");
  expect_error([&] { add_rms_norm(x, x.to(torch::kHalf), weight); },
               "residual must be Float or Float, got Half");
  expect_error([&] { add_rms_norm(x.to(torch::kInt), {}, weight); },
               "x must be float32, bfloat16 or float16");
  expect_error(
      [&] {
        add_rms_norm(torch::ones({2, 0}), {}, torch::ones({0}));
      },
      "last dimension of x must be at least 1, got 0");
  expect_error([&] { add_rms_norm(x, {}, weight, -1); }, "eps must not be negative, got -1");
}

TEST(AddRmsNorm, RefusesToBeDifferentiatedTwice) {
  const auto x = torch::randn({2, 8}).requires_grad_();
  const auto y = add_rms_norm(x, {}, torch::ones({8})).y;
  const auto dx = torch::autograd::grad({y.sum()}, {x}, {}, true, true)[0];
  expect_error([&] { dx.sum().backward(); }, "differentiated once only");
}

}  // namespace
}  // namespace strandwave
