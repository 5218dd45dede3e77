#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <numbers>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/common/parallel.h"
#include "kernels/ssm_kernel/ssm_kernel.h"
#include "tests/reference/ssm_kernel_reference.h"
#include "tests/support/operator_testing.h"
#include "tests/support/simd_testing.h"

namespace strandwave {
namespace {

using ::strandwave::testing::cpu_device;
using ::strandwave::testing::device_of;
using ::strandwave::testing::devices;
using ::strandwave::testing::expect_error;
using ::strandwave::testing::max_error;
using ::strandwave::testing::RandomTensors;
using ::strandwave::testing::relatively_close;
using ::strandwave::testing::same_bits;

struct Case {
  std::string name;
  int64_t length = 129, channels = 3, n = 8, batch = 2;
  at::ScalarType type = at::kComplexFloat;
};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const int64_t length : {0,   1,   2,   31,   32,   33,   63,   64,   65,    127,  128,
                               255, 256, 257, 1023, 1024, 1025, 1337, 4096, 16001, 16385})
    cases.push_back({.name = "length" + std::to_string(length), .length = length});
  for (const int64_t channels : {1, 5, 64})
    cases.push_back({.name = "channels" + std::to_string(channels), .channels = channels});
  for (const int64_t n : {0, 1, 3, 15, 16, 17, 32, 33, 128})
    cases.push_back({.name = "n" + std::to_string(n), .length = 300, .n = n});
  for (const int64_t batch : {0, 1, 5})
    cases.push_back({.name = "batch" + std::to_string(batch), .batch = batch});
  for (const int64_t length : {1, 64, 1000})
    cases.push_back({.name = "fp64_length" + std::to_string(length),
                     .length = length,
                     .type = at::kComplexDouble});
  cases.push_back({.name = "fp64_n33", .n = 33, .type = at::kComplexDouble});
  return cases;
}

struct Inputs {
  at::Tensor coefficient, delta_A, u;
  at::Tensor dkernel, dstate;
};

// Decays between 1e-3 and 0.1 a step, frequencies up to half the sampling rate.
at::Tensor random_delta_A(RandomTensors& random, int64_t channels, int64_t n,
                          at::TensorOptions real) {
  const at::Tensor decay = at::exp(random.uniform({channels, n}, real, -7, -2.3));
  return at::complex(-decay, random.uniform({channels, n}, real, 0, std::numbers::pi));
}

Inputs make_inputs(const Case& c, at::Device device) {
  RandomTensors random(5);
  const auto real = at::TensorOptions(c10::toRealValueType(c.type));
  const auto normal = [&](at::IntArrayRef sizes) { return random.normal(sizes, real); };
  const auto complex = [&](at::IntArrayRef sizes) {
    const at::Tensor re = normal(sizes);
    return at::complex(re, normal(sizes));
  };
  Inputs in;
  in.coefficient = complex({c.channels, c.n}).to(device);
  in.delta_A = random_delta_A(random, c.channels, c.n, real).to(device);
  in.u = normal({c.batch, c.length, c.channels}).to(device);
  in.dkernel = normal({c.channels, c.length}).to(device);
  in.dstate = complex({c.batch, c.channels, c.n}).to(device);
  return in;
}

// The kernel, its gradients by coefficient and delta_A, the state, its gradients by u and delta_A.
using Results = std::vector<at::Tensor>;

template <typename KernelFunction, typename StateFunction>
Results run(Inputs in, KernelFunction kernel_function, StateFunction state_function) {
  for (at::Tensor* tensor : {&in.coefficient, &in.delta_A, &in.u})
    *tensor = tensor->detach().clone().requires_grad_();
  const at::Tensor kernel = kernel_function(in.coefficient, in.delta_A, in.u.size(1));
  const at::Tensor state = state_function(in.u, in.delta_A);
  Results results{kernel};
  for (const auto& gradient :
       torch::autograd::grad({kernel}, {in.coefficient, in.delta_A}, {in.dkernel}))
    results.push_back(gradient);
  results.push_back(state);
  for (const auto& gradient : torch::autograd::grad({state}, {in.u, in.delta_A}, {in.dstate}))
    results.push_back(gradient);
  return results;
}

Results run(const Inputs& in) { return run(in, ssm_kernel_vandermonde, ssm_state_vandermonde); }

Results run_reference(Inputs in) {
  for (at::Tensor* tensor : {&in.coefficient, &in.delta_A, &in.dstate})
    *tensor = tensor->to(at::kCPU, at::kComplexDouble);
  for (at::Tensor* tensor : {&in.u, &in.dkernel}) *tensor = tensor->to(at::kCPU, at::kDouble);
  return run(in, reference::ssm_kernel_vandermonde, reference::ssm_state_vandermonde);
}

const char* kNames[] = {"kernel", "gradient of coefficient", "gradient of delta_A by the kernel",
                        "state",  "gradient of u",           "gradient of delta_A by the state"};

void expect_close(const Results& ours, const Results& exact, double tolerance) {
  for (size_t i = 0; i < exact.size(); ++i)
    EXPECT_TRUE(relatively_close(ours[i], exact[i], tolerance)) << kNames[i];
}

void expect_equal_bits(const Results& a, const Results& b) {
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(same_bits(a[i], b[i])) << kNames[i];
}

double tolerance_of(const Inputs& in) {
  return in.delta_A.scalar_type() == at::kComplexDouble ? 1e-12 : 1e-6;
}

class SsmKernelVandermondeCases
    : public ::testing::TestWithParam<std::tuple<c10::DeviceType, Case>> {};

INSTANTIATE_TEST_SUITE_P(All, SsmKernelVandermondeCases,
                         ::testing::Combine(::testing::ValuesIn(devices()),
                                            ::testing::ValuesIn(all_cases())),
                         [](const auto& info) {
                           return c10::DeviceTypeName(std::get<0>(info.param)) + "_" +
                                  std::get<1>(info.param).name;
                         });

TEST_P(SsmKernelVandermondeCases, EqualsTheReference) {
  const auto device = device_of(std::get<0>(GetParam()));
  STRANDWAVE_SKIP_WITHOUT_DEVICE(device);
  const Inputs in = make_inputs(std::get<1>(GetParam()), device);
  expect_close(run(in), run_reference(in), tolerance_of(in));
}

class SsmKernelVandermondeOn : public ::testing::TestWithParam<c10::DeviceType> {
 protected:
  void SetUp() override { STRANDWAVE_SKIP_WITHOUT_DEVICE(device()); }
  at::Device device() const { return device_of(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(All, SsmKernelVandermondeOn, ::testing::ValuesIn(devices()),
                         [](const auto& info) { return c10::DeviceTypeName(info.param); });

TEST_P(SsmKernelVandermondeOn, GradientsAreDerivativesAlongRandomDirections) {
  const Inputs in =
      make_inputs({.name = "directions", .length = 50, .type = at::kComplexDouble}, device());
  const Results ours = run(in);
  const auto pairs = [](const at::Tensor& complex) { return at::view_as_real(complex).cpu(); };
  const auto on = [&](const at::Tensor& real) { return at::view_as_complex(real).to(device()); };
  testing::expect_directional_derivatives(
      [&](const std::vector<at::Tensor>& x) {
        return (ssm_kernel_vandermonde(on(x[0]), on(x[1]), 50) * in.dkernel).sum();
      },
      {pairs(in.coefficient), pairs(in.delta_A)}, {pairs(ours[1]), pairs(ours[2])}, 1e-6);
  testing::expect_directional_derivatives(
      [&](const std::vector<at::Tensor>& x) {
        return at::real((ssm_state_vandermonde(x[0].to(device()), on(x[1])) * in.dstate.conj()))
            .sum();
      },
      {in.u.cpu(), pairs(in.delta_A)}, {ours[4].cpu(), pairs(ours[5])}, 1e-6);
}

// exp(i 3 t) after 2^20 steps has turned by 3 million radians; a power in float32 would be noise.
TEST_P(SsmKernelVandermondeOn, PhasesOfMillionsOfRadiansKeepTheirPrecision) {
  const int64_t length = (1 << 20) + 3;
  RandomTensors random(9);
  const auto real = at::TensorOptions(at::kFloat);
  const at::Tensor phase = random.uniform({1, 4}, real, 2, 3);
  const at::Tensor delta_A = at::complex(at::full({1, 4}, -1e-7f), phase);
  const at::Tensor coefficient = at::complex(random.normal({1, 4}, real), at::zeros({1, 4}));
  const at::Tensor ours =
      ssm_kernel_vandermonde(coefficient.to(device()), delta_A.to(device()), length);
  const at::Tensor exact = reference::ssm_kernel_vandermonde(
      coefficient.to(at::kComplexDouble), delta_A.to(at::kComplexDouble), length);
  EXPECT_LE(max_error(ours, exact), 4e-7 * 2 * coefficient.abs().sum().item<double>());

  const at::Tensor u = at::zeros({1, length, 1});
  u[0][0][0] = 1;
  EXPECT_LE(max_error(ssm_state_vandermonde(u.to(device()), delta_A.to(device())),
                      reference::ssm_state_vandermonde(u.to(at::kDouble),
                                                       delta_A.to(at::kComplexDouble))),
            4e-7);
}

TEST_P(SsmKernelVandermondeOn, StrongDecayEndsInZeros) {
  const auto options = at::TensorOptions(device()).dtype(at::kComplexFloat);
  const at::Tensor delta_A = at::full({2, 3}, c10::complex<float>(-50.0f, 1.0f), options);
  const at::Tensor coefficient = at::ones({2, 3}, options);
  const at::Tensor kernel = ssm_kernel_vandermonde(coefficient, delta_A, 5000);
  EXPECT_TRUE((kernel.select(1, 0) == 6).all().item<bool>());
  EXPECT_TRUE((kernel.slice(1, 3) == 0).all().item<bool>());
}

TEST_P(SsmKernelVandermondeOn, TwoRunsGiveTheSameBits) {
  const Inputs in =
      make_inputs({.name = "bits", .length = 5000, .channels = 17, .n = 32, .batch = 3}, device());
  expect_equal_bits(run(in), run(in));
}

// The state after L inputs, carried on by exp(delta_A M), is part of the state after L + M.
TEST_P(SsmKernelVandermondeOn, StatesOfPiecesAddUp) {
  const Inputs in = make_inputs({.name = "pieces", .length = 1000}, device());
  const at::Tensor whole = ssm_state_vandermonde(in.u, in.delta_A);
  for (const int64_t first : {1, 63, 64, 999}) {
    const at::Tensor head = ssm_state_vandermonde(in.u.slice(1, 0, first), in.delta_A);
    const at::Tensor tail = ssm_state_vandermonde(in.u.slice(1, first), in.delta_A);
    const at::Tensor carried = at::exp(in.delta_A.to(at::kComplexDouble) * (1000 - first)) * head;
    EXPECT_TRUE(relatively_close(carried + tail, whole, 1e-6)) << first;
  }
}

TEST_P(SsmKernelVandermondeOn, HalfPrecisionInputsAreReadExactly) {
  const Inputs in = make_inputs({.name = "half"}, device());
  for (const at::ScalarType type : {at::kHalf, at::kBFloat16}) {
    Inputs low = in;
    low.u = in.u.to(type);
    Inputs full = in;
    full.u = low.u.to(at::kFloat);
    const Results ours = run(low), expected = run(full);
    EXPECT_TRUE(same_bits(ours[3], expected[3]));
    EXPECT_TRUE(same_bits(ours[4], expected[4].to(type)));
    EXPECT_TRUE(same_bits(ours[5], expected[5]));
  }
}

TEST_P(SsmKernelVandermondeOn, ConjugateAndStridedViewsAreAccepted) {
  const Inputs in = make_inputs({.name = "views"}, device());
  const at::Tensor expected =
      ssm_kernel_vandermonde(in.coefficient.conj_physical(), in.delta_A.conj_physical(), 100);
  const at::Tensor wide = at::stack({in.coefficient, in.coefficient}, 2);
  EXPECT_TRUE(same_bits(ssm_kernel_vandermonde(wide.select(2, 0).conj(), in.delta_A.conj(), 100),
                        expected));
}

TEST_P(SsmKernelVandermondeOn, DoubleBackwardIsRefused) {
  const Inputs in = make_inputs({.name = "twice"}, device());
  const at::Tensor coefficient = in.coefficient.detach().clone().requires_grad_();
  const at::Tensor kernel = ssm_kernel_vandermonde(coefficient, in.delta_A, 10);
  const at::Tensor gradient =
      torch::autograd::grad({kernel.square().sum()}, {coefficient}, {}, true, true).at(0);
  expect_error([&] { at::real(gradient).sum().backward(); }, "can be differentiated once only");
}

TEST_P(SsmKernelVandermondeOn, ViolatedFactsAreNamed) {
  const Inputs in = make_inputs({.name = "checks"}, device());
  expect_error([&] { ssm_kernel_vandermonde(in.coefficient, in.delta_A[0], 5); },
               "delta_A must have shape (channels, n), got [8]");
  expect_error([&] { ssm_kernel_vandermonde(in.coefficient, at::real(in.delta_A), 5); },
               "delta_A must be complex64 or complex128, got Float");
  expect_error([&] { ssm_kernel_vandermonde(in.coefficient.slice(1, 1), in.delta_A, 5); },
               "coefficient must have the shape of delta_A, [3, 8], got [3, 7]");
  expect_error([&] { ssm_kernel_vandermonde(at::real(in.coefficient), in.delta_A, 5); },
               "coefficient must be ComplexFloat, got Float");
  expect_error([&] { ssm_kernel_vandermonde(in.coefficient, in.delta_A, -1); },
               "length must not be negative, got -1");
  expect_error([&] { ssm_state_vandermonde(in.u[0], in.delta_A); },
               "u must have shape (batch, length, channels), got [129, 3]");
  expect_error([&] { ssm_state_vandermonde(in.u.slice(2, 1), in.delta_A); },
               "u has 2 channels, delta_A has 3");
  expect_error([&] { ssm_state_vandermonde(in.u.to(at::kDouble), in.delta_A); },
               "u must be Float, float16 or bfloat16 with ComplexFloat, got Double");
}

TEST(SsmKernelVandermonde, MetaTensorsGiveShapes) {
  const auto meta = at::TensorOptions(at::kMeta);
  const at::Tensor delta_A = at::empty({6, 4}, meta.dtype(at::kComplexFloat)).requires_grad_();
  const at::Tensor kernel = ssm_kernel_vandermonde(at::empty_like(delta_A), delta_A, 50);
  EXPECT_EQ(kernel.sizes(), (at::IntArrayRef{6, 50}));
  EXPECT_EQ(kernel.scalar_type(), at::kFloat);
  const at::Tensor state = ssm_state_vandermonde(at::empty({2, 50, 6}, meta), delta_A);
  EXPECT_EQ(state.sizes(), (at::IntArrayRef{2, 6, 4}));
  EXPECT_EQ(torch::autograd::grad({state}, {delta_A}, {at::empty_like(state)})[0].sizes(),
            delta_A.sizes());
}

TEST(SsmKernelVandermonde, AnyNumberOfThreadsGivesTheSameBits) {
  const int before = thread_count();
  const Inputs in = make_inputs({.name = "threads", .length = 40000, .channels = 7}, cpu_device());
  set_thread_count(1);
  const Results one = run(in);
  for (const int threads : {2, 3}) {
    set_thread_count(threads);
    expect_equal_bits(run(in), one);
  }
  set_thread_count(before);
}

class SsmKernelVandermondeSimd : public testing::SimdTargetTest {};

STRANDWAVE_INSTANTIATE_ON_SIMD_TARGETS(SsmKernelVandermondeSimd);

TEST_P(SsmKernelVandermondeSimd, EqualsTheReference) {
  for (const at::ScalarType type : {at::kComplexFloat, at::kComplexDouble}) {
    const Inputs in =
        make_inputs({.name = "target", .length = 1337, .n = 17, .type = type}, cpu_device());
    expect_close(run(in), run_reference(in), tolerance_of(in));
  }
}

}  // namespace
}  // namespace strandwave
