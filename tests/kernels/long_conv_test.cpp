#include "kernels/long_conv/long_conv.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <string>
#include <tuple>
#include <vector>

#include "kernels/common/parallel.h"
#include "tests/reference/long_conv_reference.h"
#include "tests/support/operator_testing.h"

namespace strandwave {
namespace {

using ::strandwave::testing::cpu_device;
using ::strandwave::testing::device_of;
using ::strandwave::testing::devices;
using ::strandwave::testing::expect_error;
using ::strandwave::testing::max_error;
using ::strandwave::testing::max_magnitude;
using ::strandwave::testing::RandomTensors;
using ::strandwave::testing::relatively_close;
using ::strandwave::testing::rounding;
using ::strandwave::testing::same_bits;

// One row of the table; each row changes one thing. taps -1: as many as the length.
struct Case {
  std::string name;
  int64_t batch = 2, length = 129, channels = 5, taps = -1;
  at::ScalarType type = at::kFloat;
  bool skip = true;
};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const int64_t length : {0, 1, 2, 3, 31, 32, 33, 127, 128, 255, 1023, 1024, 1025})
    cases.push_back({.name = "length" + std::to_string(length), .length = length});
  for (const int64_t channels : {1, 7, 8, 9, 33, 65})
    cases.push_back({.name = "channels" + std::to_string(channels), .channels = channels});
  for (const int64_t taps : {0, 1, 2, 64, 128, 130, 500})
    cases.push_back({.name = "taps" + std::to_string(taps), .taps = taps});
  for (const int64_t batch : {0, 1, 13, 70})
    cases.push_back({.name = "batch" + std::to_string(batch), .batch = batch});
  cases.push_back({.name = "no_skip", .skip = false});
  for (const auto& [name, type] :
       {std::pair{"fp64", at::kDouble}, {"bf16", at::kBFloat16}, {"fp16", at::kHalf}}) {
    cases.push_back({.name = name, .type = type});
    cases.push_back({.name = std::string(name) + "_wide", .channels = 40, .type = type});
  }
  return cases;
}

struct Inputs {
  at::Tensor u, kernel, D, dout;
};

Inputs make_inputs(const Case& c, at::Device device) {
  RandomTensors random(3);
  const auto io = at::TensorOptions(device).dtype(c.type);
  const auto full = io.dtype(c.type == at::kDouble ? at::kDouble : at::kFloat);
  Inputs in;
  in.u = random.normal({c.batch, c.length, c.channels}, io);
  in.kernel = random.normal({c.channels, c.taps < 0 ? c.length : c.taps}, full);
  if (c.skip) in.D = random.normal({c.channels}, full);
  in.dout = random.normal({c.batch, c.length, c.channels}, io);
  return in;
}

// The output and the gradients of u, kernel and, where there is one, D.
using Results = std::vector<at::Tensor>;

template <typename Function>
Results run(Inputs in, Function function) {
  std::vector<at::Tensor> wanted;
  for (at::Tensor* tensor : {&in.u, &in.kernel, &in.D}) {
    if (!tensor->defined()) continue;
    *tensor = tensor->detach().clone().requires_grad_();
    wanted.push_back(*tensor);
  }
  Results results{function(in.u, in.kernel, in.D)};
  for (const auto& gradient : torch::autograd::grad({results[0]}, wanted, {in.dout}))
    results.push_back(gradient);
  return results;
}

Results run(const Inputs& in) {
  return run(in, [](const at::Tensor& u, const at::Tensor& kernel, const at::Tensor& D) {
    return long_conv(u, kernel, D);
  });
}

Results run_reference(Inputs in) {
  for (at::Tensor* tensor : {&in.u, &in.kernel, &in.D, &in.dout})
    if (tensor->defined()) *tensor = tensor->to(at::kCPU, at::kDouble);
  return run(in, reference::long_conv);
}

const char* kNames[] = {"out", "gradient of u", "gradient of kernel", "gradient of D"};

// Relative to the largest value: a few roundings of the transforms, and one of a 16-bit result.
void expect_close(const Results& ours, const Results& exact, at::ScalarType type) {
  ASSERT_EQ(ours.size(), exact.size());
  for (size_t i = 0; i < exact.size(); ++i) {
    const bool io = i < 2 && type != at::kDouble;
    const double tolerance = (type == at::kDouble ? 1e-14 : 2e-6) + (io ? 2 * rounding(type) : 0);
    EXPECT_TRUE(relatively_close(ours[i], exact[i], tolerance)) << kNames[i];
  }
}

void expect_equal_bits(const Results& a, const Results& b) {
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(same_bits(a[i], b[i])) << kNames[i];
}

class LongConvCases : public ::testing::TestWithParam<std::tuple<c10::DeviceType, Case>> {};

INSTANTIATE_TEST_SUITE_P(All, LongConvCases,
                         ::testing::Combine(::testing::ValuesIn(devices()),
                                            ::testing::ValuesIn(all_cases())),
                         [](const auto& info) {
                           return c10::DeviceTypeName(std::get<0>(info.param)) + "_" +
                                  std::get<1>(info.param).name;
                         });

TEST_P(LongConvCases, EqualsTheReference) {
  const auto& [type, c] = GetParam();
  const auto device = device_of(type);
  STRANDWAVE_SKIP_WITHOUT_DEVICE(device);
  if (device.is_cuda() && c.type == at::kDouble) GTEST_SKIP() << "float64 runs on the CPU only";
  const Inputs in = make_inputs(c, device);
  expect_close(run(in), run_reference(in), c.type);
}

class LongConvOn : public ::testing::TestWithParam<c10::DeviceType> {
 protected:
  void SetUp() override { STRANDWAVE_SKIP_WITHOUT_DEVICE(device()); }
  at::Device device() const { return device_of(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(All, LongConvOn, ::testing::ValuesIn(devices()),
                         [](const auto& info) { return c10::DeviceTypeName(info.param); });

TEST_P(LongConvOn, TwoRunsGiveTheSameBits) {
  const Inputs in =
      make_inputs({.name = "bits", .batch = 5, .length = 3001, .channels = 37}, device());
  expect_equal_bits(run(in), run(in));
}

// Every batch entry and channel is transformed on its own: a NaN stays there.
TEST_P(LongConvOn, NaNStaysInItsBatchEntryAndChannel) {
  Inputs in = make_inputs({.name = "nan", .batch = 3, .channels = 11}, device());
  const at::Tensor expected = long_conv(in.u, in.kernel, in.D);
  in.u[1][100][4] = std::nan("");
  const at::Tensor out = long_conv(in.u, in.kernel, in.D);
  EXPECT_TRUE(out[1].select(1, 4).slice(0, 100).isnan().all().item<bool>());
  const at::Tensor elsewhere = at::ones_like(out, at::kBool);
  elsewhere[1].select(1, 4).fill_(false);
  EXPECT_TRUE(same_bits(out.masked_select(elsewhere), expected.masked_select(elsewhere)));
}

TEST_P(LongConvOn, IsCausalUpToRounding) {
  Inputs in = make_inputs({.name = "causal", .length = 1000}, device());
  const at::Tensor before = long_conv(in.u, in.kernel, in.D);
  in.u.slice(1, 600).add_(1);
  const at::Tensor after = long_conv(in.u, in.kernel, in.D);
  const double bound =
      4 * rounding(at::kFloat) * max_magnitude(in.u) * max_magnitude(in.kernel.abs().sum(1));
  EXPECT_LE(max_error(after.slice(1, 0, 600), before.slice(1, 0, 600)), bound);
}

TEST_P(LongConvOn, StridedInputsEqualContiguousOnes) {
  const Inputs in = make_inputs({.name = "strided"}, device());
  Inputs strided = in;
  strided.u = at::stack({in.u, in.u}, 3).select(3, 1);
  strided.kernel = in.kernel.t().contiguous().t();
  strided.D = at::stack({in.D, in.D}, 1).select(1, 0);
  EXPECT_TRUE(
      same_bits(long_conv(strided.u, strided.kernel, strided.D), long_conv(in.u, in.kernel, in.D)));
  strided.dout = at::ones({1, 1, 1}, device()).expand_as(in.dout);
  Inputs ones = in;
  ones.dout = at::ones_like(in.dout);
  expect_equal_bits(run(strided), run(ones));
}

TEST_P(LongConvOn, DoubleBackwardIsRefused) {
  const Inputs in = make_inputs({.name = "twice"}, device());
  const at::Tensor u = in.u.detach().clone().requires_grad_();
  const at::Tensor out = long_conv(u, in.kernel, in.D);
  const at::Tensor du = torch::autograd::grad({out}, {u}, {in.dout}, true, true).at(0);
  expect_error([&] { du.sum().backward(); }, "can be differentiated once only");
}

TEST_P(LongConvOn, ViolatedFactsAreNamed) {
  const Inputs in = make_inputs({.name = "checks"}, device());
  expect_error([&] { long_conv(in.u[0], in.kernel, in.D); },
               "u must have shape (batch, length, channels), got [129, 5]");
  expect_error([&] { long_conv(in.u.to(at::kInt), in.kernel, in.D); }, "u must be float32");
  expect_error([&] { long_conv(in.u, in.kernel[0], in.D); },
               "kernel must have shape (channels, kernel_length), got [129]");
  expect_error([&] { long_conv(in.u, in.kernel.slice(0, 1), in.D); },
               "kernel must have shape [5, 129], got [4, 129]");
  expect_error([&] { long_conv(in.u, in.kernel.to(at::kBFloat16), in.D); },
               "kernel must be Float, got BFloat16");
  expect_error([&] { long_conv(in.u, in.kernel, in.D.slice(0, 1)); },
               "D must have shape [5], got [4]");
}

TEST(LongConv, GradientsAreDerivativesAlongRandomDirections) {
  const Inputs in = make_inputs({.name = "directions", .type = at::kDouble}, cpu_device());
  const Results ours = run(in);
  testing::expect_directional_derivatives(
      [&](const std::vector<at::Tensor>& x) {
        return (long_conv(x[0], x[1], x[2]) * in.dout).sum();
      },
      {in.u, in.kernel, in.D}, {ours[1], ours[2], ours[3]}, 1e-7);
}

TEST(LongConv, SizesHaveSmallPrimeFactorsOnly) {
  const std::vector<int64_t> sizes{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 12, 14, 14, 15, 16};
  for (size_t n = 1; n <= sizes.size(); ++n)
    EXPECT_EQ(long_conv_size(static_cast<int64_t>(n)), sizes[n - 1]);
  EXPECT_EQ(long_conv_size(31999), 32000);
  EXPECT_EQ(long_conv_size(32001), 32256);
}

TEST(LongConv, MetaTensorsGiveShapes) {
  const auto meta = at::TensorOptions(at::kMeta);
  const at::Tensor u = at::empty({2, 50, 6}, meta.dtype(at::kBFloat16)).requires_grad_();
  const at::Tensor out = long_conv(u, at::empty({6, 50}, meta));
  EXPECT_EQ(out.sizes(), u.sizes());
  EXPECT_EQ(out.scalar_type(), at::kBFloat16);
  EXPECT_EQ(torch::autograd::grad({out}, {u}, {at::empty_like(out)})[0].sizes(), u.sizes());
}

TEST(LongConv, AnyNumberOfThreadsGivesTheSameBits) {
  const int before = thread_count();
  for (const Case& c : {Case{.name = "many", .batch = 9, .length = 1500, .channels = 19},
                        Case{.name = "one", .batch = 1, .length = 40000, .channels = 1}}) {
    const Inputs in = make_inputs(c, cpu_device());
    set_thread_count(1);
    const Results one = run(in);
    for (const int threads : {2, 3}) {
      set_thread_count(threads);
      expect_equal_bits(run(in), one);
    }
  }
  set_thread_count(before);
}

}  // namespace
}  // namespace strandwave
