#include <gtest/gtest.h>
#include <torch/torch.h>

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
using ::strandwave::testing::RandomTensors;
using ::strandwave::testing::relatively_close;
using ::strandwave::testing::same_bits;

struct Case {
  std::string name;
  int64_t repeats = 4, channels = 3, n = 8, nodes = 130;
  at::ScalarType type = at::kComplexFloat;
  bool exact_nodes = true;  // z in complex128
};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const int64_t nodes : {0, 1, 2, 15, 16, 17, 33, 511, 512, 513, 1024, 1025, 8001})
    cases.push_back({.name = "nodes" + std::to_string(nodes), .nodes = nodes});
  for (const int64_t n : {0, 1, 31, 32, 33, 128})
    cases.push_back({.name = "n" + std::to_string(n), .n = n});
  for (const int64_t channels : {1, 65})
    cases.push_back({.name = "channels" + std::to_string(channels), .channels = channels});
  for (const int64_t repeats : {0, 1, 2, 3, 5, 8})
    cases.push_back({.name = "repeats" + std::to_string(repeats), .repeats = repeats});
  cases.push_back({.name = "rounded_nodes", .exact_nodes = false});
  cases.push_back({.name = "fp64", .type = at::kComplexDouble});
  cases.push_back({.name = "fp64_nodes1025", .nodes = 1025, .type = at::kComplexDouble});
  return cases;
}

struct Inputs {
  at::Tensor v, z, w, dout;
};

// Poles as in S4: decays between 1e-3 and 0.1 a step, frequencies up to 50; nodes on the bilinear
// image of the unit circle.
Inputs make_inputs(const Case& c, at::Device device) {
  RandomTensors random(5);
  const auto real = at::TensorOptions(c10::toRealValueType(c.type));
  const auto complex = [&](at::IntArrayRef sizes) {
    const at::Tensor re = random.normal(sizes, real);
    return at::complex(re, random.normal(sizes, real)).to(device);
  };
  Inputs in;
  in.v = complex({c.repeats, c.channels, c.n});
  const at::Tensor decay = at::exp(random.uniform({c.channels, c.n}, real, -7, -2.3));
  in.w = at::complex(-decay, random.uniform({c.channels, c.n}, real, 0, 50)).to(device);
  const at::Tensor angle = at::arange(c.nodes, at::kDouble) * (std::numbers::pi / (c.nodes + 1.0));
  in.z = at::complex(at::zeros_like(angle), 2 * at::tan(angle / 2)).to(device);
  if (!c.exact_nodes) in.z = in.z.to(c.type);
  in.dout = complex({c.repeats, c.channels, c.nodes});
  return in;
}

// The product and the gradients of v and w.
using Results = std::vector<at::Tensor>;

template <typename Function>
Results run(Inputs in, Function function) {
  for (at::Tensor* tensor : {&in.v, &in.w}) *tensor = tensor->detach().clone().requires_grad_();
  Results results{function(in.v, in.z, in.w)};
  for (const auto& gradient : torch::autograd::grad({results[0]}, {in.v, in.w}, {in.dout}))
    results.push_back(gradient);
  return results;
}

Results run(const Inputs& in) { return run(in, ssm_kernel_cauchy); }

Results run_reference(Inputs in) {
  for (at::Tensor* tensor : {&in.v, &in.z, &in.w, &in.dout})
    *tensor = tensor->to(at::kCPU, at::kComplexDouble);
  return run(in, reference::ssm_kernel_cauchy);
}

const char* kNames[] = {"product", "gradient of v", "gradient of w"};

void expect_close(const Results& ours, const Results& exact, at::ScalarType type) {
  for (size_t i = 0; i < exact.size(); ++i)
    EXPECT_TRUE(relatively_close(ours[i], exact[i], type == at::kComplexDouble ? 1e-13 : 2e-6))
        << kNames[i];
}

void expect_equal_bits(const Results& a, const Results& b) {
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(same_bits(a[i], b[i])) << kNames[i];
}

class SsmKernelCauchyCases : public ::testing::TestWithParam<std::tuple<c10::DeviceType, Case>> {};

INSTANTIATE_TEST_SUITE_P(All, SsmKernelCauchyCases,
                         ::testing::Combine(::testing::ValuesIn(devices()),
                                            ::testing::ValuesIn(all_cases())),
                         [](const auto& info) {
                           return c10::DeviceTypeName(std::get<0>(info.param)) + "_" +
                                  std::get<1>(info.param).name;
                         });

TEST_P(SsmKernelCauchyCases, EqualsTheReference) {
  const auto& [type, c] = GetParam();
  const auto device = device_of(type);
  STRANDWAVE_SKIP_WITHOUT_DEVICE(device);
  const Inputs in = make_inputs(c, device);
  expect_close(run(in), run_reference(in), c.type);
}

class SsmKernelCauchyOn : public ::testing::TestWithParam<c10::DeviceType> {
 protected:
  void SetUp() override { STRANDWAVE_SKIP_WITHOUT_DEVICE(device()); }
  at::Device device() const { return device_of(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(All, SsmKernelCauchyOn, ::testing::ValuesIn(devices()),
                         [](const auto& info) { return c10::DeviceTypeName(info.param); });

TEST_P(SsmKernelCauchyOn, GradientsAreDerivativesAlongRandomDirections) {
  Inputs in = make_inputs({.name = "directions", .type = at::kComplexDouble}, device());
  in.w = in.w - 0.5;  // away from the nodes, where finite differences see too much curvature
  const Results ours = run(in);
  const auto pairs = [](const at::Tensor& complex) { return at::view_as_real(complex).cpu(); };
  const auto on = [&](const at::Tensor& real) { return at::view_as_complex(real).to(device()); };
  testing::expect_directional_derivatives(
      [&](const std::vector<at::Tensor>& x) {
        return at::real(ssm_kernel_cauchy(on(x[0]), in.z, on(x[1])) * in.dout.conj()).sum().cpu();
      },
      {pairs(in.v), pairs(in.w)}, {pairs(ours[1]), pairs(ours[2])}, 1e-6);
}

// A pole 1e-6 beside a node at 100: rounding the node to float32 moves it by several times that.
TEST_P(SsmKernelCauchyOn, NodesInDoublePrecisionResolveANearPole) {
  const auto complex = at::TensorOptions(at::kComplexDouble);
  const at::Tensor w =
      at::full({1, 1}, c10::complex<double>(-1e-6, 100), complex).to(at::kComplexFloat);
  const at::Tensor z = at::full({3}, c10::complex<double>(0, 100), complex) +
                       at::tensor({0.0, 1.3e-6, -2.1e-6}) * c10::complex<double>(0, 1);
  const at::Tensor v = at::ones({1, 1, 1}, at::kComplexFloat);
  const at::Tensor ours = ssm_kernel_cauchy(v.to(device()), z.to(device()), w.to(device()));
  const at::Tensor exact =
      reference::ssm_kernel_cauchy(v.to(at::kComplexDouble), z, w.to(at::kComplexDouble));
  EXPECT_TRUE(relatively_close(ours, exact, 1e-6));
}

TEST_P(SsmKernelCauchyOn, TwoRunsGiveTheSameBits) {
  const Inputs in = make_inputs({.name = "bits", .channels = 17, .n = 32, .nodes = 2049}, device());
  expect_equal_bits(run(in), run(in));
}

TEST_P(SsmKernelCauchyOn, ConjugateAndStridedViewsAreAccepted) {
  const Inputs in = make_inputs({.name = "views"}, device());
  const at::Tensor expected =
      ssm_kernel_cauchy(in.v.conj_physical(), in.z.conj_physical(), in.w.conj_physical());
  const at::Tensor wide = at::stack({in.v, in.v}, 3).select(3, 0);
  EXPECT_TRUE(same_bits(ssm_kernel_cauchy(wide.conj(), in.z.conj(), in.w.conj()), expected));
}

TEST_P(SsmKernelCauchyOn, DoubleBackwardIsRefused) {
  const Inputs in = make_inputs({.name = "twice"}, device());
  const at::Tensor v = in.v.detach().clone().requires_grad_();
  const at::Tensor product = ssm_kernel_cauchy(v, in.z, in.w);
  const at::Tensor dv = torch::autograd::grad({product}, {v}, {in.dout}, true, true).at(0);
  expect_error([&] { at::real(dv).sum().backward(); }, "can be differentiated once only");
}

TEST_P(SsmKernelCauchyOn, ViolatedFactsAreNamed) {
  const Inputs in = make_inputs({.name = "checks"}, device());
  expect_error([&] { ssm_kernel_cauchy(in.v, in.z, at::real(in.w)); },
               "w must be complex64 or complex128, got Float");
  expect_error([&] { ssm_kernel_cauchy(in.v, in.z, in.w[0]); },
               "w must have shape (channels, n), got [8]");
  expect_error([&] { ssm_kernel_cauchy(in.v[0], in.z, in.w); },
               "v must have shape (k, channels, n), got [3, 8]");
  expect_error([&] { ssm_kernel_cauchy(in.v.slice(2, 1), in.z, in.w); },
               "v must have shape [4, 3, 8], got [4, 3, 7]");
  expect_error([&] { ssm_kernel_cauchy(in.v, in.z.unsqueeze(0), in.w); },
               "z must have shape (nodes), got [1, 130]");
  expect_error([&] { ssm_kernel_cauchy(in.v, at::imag(in.z), in.w); },
               "z must be ComplexFloat or complex128, got Double");
  expect_error([&] { ssm_kernel_cauchy(in.v, in.z.detach().clone().requires_grad_(), in.w); },
               "z has no gradient, but requires one");
}

TEST(SsmKernelCauchy, MetaTensorsGiveShapes) {
  const auto meta = at::TensorOptions(at::kMeta).dtype(at::kComplexFloat);
  const at::Tensor w = at::empty({6, 4}, meta).requires_grad_();
  const at::Tensor product = ssm_kernel_cauchy(at::empty({2, 6, 4}, meta), at::empty({9}, meta), w);
  EXPECT_EQ(product.sizes(), (at::IntArrayRef{2, 6, 9}));
  EXPECT_EQ(torch::autograd::grad({product}, {w}, {at::empty_like(product)})[0].sizes(), w.sizes());
}

TEST(SsmKernelCauchy, AnyNumberOfThreadsGivesTheSameBits) {
  const int before = thread_count();
  const Inputs in = make_inputs({.name = "threads", .channels = 7, .nodes = 5000}, cpu_device());
  set_thread_count(1);
  const Results one = run(in);
  for (const int threads : {2, 3}) {
    set_thread_count(threads);
    expect_equal_bits(run(in), one);
  }
  set_thread_count(before);
}

class SsmKernelCauchySimd : public testing::SimdTargetTest {};

STRANDWAVE_INSTANTIATE_ON_SIMD_TARGETS(SsmKernelCauchySimd);

TEST_P(SsmKernelCauchySimd, EqualsTheReference) {
  for (const at::ScalarType type : {at::kComplexFloat, at::kComplexDouble}) {
    const Inputs in =
        make_inputs({.name = "target", .repeats = 3, .nodes = 700, .type = type}, cpu_device());
    expect_close(run(in), run_reference(in), type);
  }
}

}  // namespace
}  // namespace strandwave
