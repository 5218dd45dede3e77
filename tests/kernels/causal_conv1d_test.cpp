#include "kernels/causal_conv1d/causal_conv1d.h"

#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/common/parallel.h"
#include "tests/reference/causal_conv1d_reference.h"
#include "tests/support/operator_testing.h"
#include "tests/support/simd_testing.h"

namespace strandwave {
namespace {

using reference::CausalConv1dArguments;
using ::strandwave::testing::cpu_device;
using ::strandwave::testing::cuda_device;
using ::strandwave::testing::expect_error;
using ::strandwave::testing::follows_error_rule;
using ::strandwave::testing::RandomTensors;
using ::strandwave::testing::relatively_close;
using ::strandwave::testing::same_bits;

// One row of the table; each row changes one thing.
struct Case {
  std::string name;
  int64_t batch = 2, length = 129, channels = 37, width = 4;
  at::ScalarType type = at::kFloat;
  bool silu = true, reverse = false, bias = true, state = true;
  std::vector<int64_t> lengths = {};  // packed sequences; batch and length follow from them
};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const int64_t length :
       {0, 1, 2, 3, 31, 32, 33, 127, 128, 129, 1023, 1024, 1025, 1337, 2047, 2048, 2049})
    cases.push_back({.name = "length" + std::to_string(length), .length = length});
  for (const int64_t channels : {1, 3, 8, 130, 256, 257})
    cases.push_back({.name = "channels" + std::to_string(channels), .channels = channels});
  for (const int64_t width : {2, 3})
    cases.push_back({.name = "width" + std::to_string(width), .width = width});
  for (const auto& [name, type] :
       {std::pair{"fp64", at::kDouble}, {"bf16", at::kBFloat16}, {"fp16", at::kHalf}}) {
    cases.push_back({.name = name, .length = 300, .type = type});
    cases.push_back({.name = std::string(name) + "_vectors", .channels = 136, .type = type});
    cases.push_back({.name = std::string(name) + "_reverse", .type = type, .reverse = true});
  }
  cases.push_back({.name = "linear", .silu = false});
  cases.push_back({.name = "no_bias", .bias = false});
  cases.push_back({.name = "no_state", .state = false});
  cases.push_back({.name = "batch0", .batch = 0});
  cases.push_back({.name = "batch5", .batch = 5});
  const std::vector<int64_t> lengths{0, 5, 1, 0, 0, 2, 250, 1, 3, 256, 64, 1, 0};
  for (const int64_t width : {2, 3, 4}) {
    for (const bool reverse : {false, true}) {
      const std::string suffix = std::to_string(width) + (reverse ? "_reverse" : "");
      cases.push_back(
          {.name = "packed" + suffix, .width = width, .reverse = reverse, .lengths = lengths});
      cases.push_back({.name = "short" + suffix, .length = 1, .width = width, .reverse = reverse});
      cases.push_back(
          {.name = "reverse" + suffix, .length = 515, .width = width, .reverse = reverse});
    }
  }
  cases.push_back({.name = "packed_no_state", .state = false, .lengths = lengths});
  cases.push_back({.name = "packed_one", .lengths = {1}});
  cases.push_back({.name = "packed_empty", .lengths = {0, 0}});
  cases.push_back({.name = "packed_none", .lengths = {}});
  cases.push_back(
      {.name = "packed_bf16_vectors", .channels = 64, .type = at::kBFloat16, .lengths = lengths});
  cases.push_back({.name = "packed_ones", .lengths = std::vector<int64_t>(300, 1)});
  return cases;
}

struct Inputs {
  at::Tensor x, weight, bias, initial_state, cu_seqlens;
  std::vector<int64_t> offsets;
  bool silu = true, reverse = false;
  at::Tensor dout, dfinal_state;

  std::vector<at::Tensor> differentiable() const {
    std::vector<at::Tensor> result{x, weight};
    if (bias.defined()) result.push_back(bias);
    if (initial_state.defined()) result.push_back(initial_state);
    return result;
  }
};

std::vector<int64_t> offsets_of(const std::vector<int64_t>& lengths) {
  std::vector<int64_t> offsets{0};
  for (const int64_t length : lengths) offsets.push_back(offsets.back() + length);
  return offsets;
}

Inputs make_inputs(const Case& c, at::Device device, uint64_t seed = 7) {
  RandomTensors random(seed);
  const bool packed = !c.lengths.empty() || c.name == "packed_none";
  Inputs in;
  int64_t batch = c.batch, length = c.length, sequences = c.batch;
  if (packed) {
    in.offsets = offsets_of(c.lengths);
    in.cu_seqlens = at::tensor(in.offsets, at::kLong).to(device);
    batch = 1;
    length = in.offsets.back();
    sequences = static_cast<int64_t>(c.lengths.size());
  }
  const auto io = at::TensorOptions(device).dtype(c.type);
  const auto full = io.dtype(c.type == at::kDouble ? at::kDouble : at::kFloat);
  in.x = random.normal({batch, length, c.channels}, io);
  in.weight = random.normal({c.channels, c.width}, full, 0.7);
  if (c.bias) in.bias = random.normal({c.channels}, full);
  if (c.state) in.initial_state = random.normal({sequences, c.width - 1, c.channels}, full);
  in.silu = c.silu;
  in.reverse = c.reverse;
  in.dout = random.normal(in.x.sizes(), io);
  in.dfinal_state = random.normal({sequences, c.width - 1, c.channels}, full);
  return in;
}

struct Results {
  at::Tensor out, final_state;
  std::vector<at::Tensor> gradients;  // as Inputs::differentiable
};

CausalConv1dOutput call(const Inputs& in) {
  return causal_conv1d(in.x, in.weight, in.bias, in.initial_state, in.cu_seqlens, in.silu,
                       in.reverse);
}

at::Tensor leaf(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.detach().clone().requires_grad_() : tensor;
}

Results run(Inputs in) {
  for (at::Tensor* tensor : {&in.x, &in.weight, &in.bias, &in.initial_state})
    *tensor = leaf(*tensor);
  const auto [out, final_state] = call(in);
  return {
      out, final_state,
      torch::autograd::grad({out, final_state}, in.differentiable(), {in.dout, in.dfinal_state})};
}

// The reference in `compute` arithmetic on the CPU; float32 rounds x and its gradient to the I/O
// type.
Results run_reference(const Inputs& in, at::ScalarType compute) {
  const auto convert = [&](const at::Tensor& tensor, at::ScalarType type) {
    return tensor.defined() ? leaf(tensor.detach().to(at::kCPU, type)) : tensor;
  };
  const at::ScalarType io = compute == at::kDouble ? at::kDouble : in.x.scalar_type();
  CausalConv1dArguments arguments{convert(in.x, io),
                                  convert(in.weight, compute),
                                  convert(in.bias, compute),
                                  convert(in.initial_state, compute),
                                  in.offsets,
                                  in.silu,
                                  in.reverse};
  std::vector<at::Tensor> wanted{arguments.x, arguments.weight};
  if (in.bias.defined()) wanted.push_back(arguments.bias);
  if (in.initial_state.defined()) wanted.push_back(arguments.initial_state);
  const auto [out, final_state] = reference::causal_conv1d(arguments);
  const auto on_cpu = [](const at::Tensor& tensor, const at::Tensor& like) {
    return tensor.to(at::kCPU, like.scalar_type());
  };
  auto gradients = torch::autograd::grad(
      {(out * on_cpu(in.dout, out)).sum() +
       (final_state * on_cpu(in.dfinal_state, final_state)).sum()},
      wanted, {}, /*retain_graph=*/false, /*create_graph=*/false, /*allow_unused=*/true);
  for (size_t i = 0; i < wanted.size(); ++i)
    if (!gradients[i].defined()) gradients[i] = at::zeros_like(wanted[i]);
  return {out.detach(), final_state.detach(), gradients};
}

const char* kGradientNames[] = {"x", "weight", "bias or initial_state", "initial_state"};

void expect_equal_bits(const Results& a, const Results& b) {
  EXPECT_TRUE(same_bits(a.out, b.out));
  EXPECT_TRUE(same_bits(a.final_state, b.final_state));
  for (size_t i = 0; i < a.gradients.size(); ++i)
    EXPECT_TRUE(same_bits(a.gradients[i], b.gradients[i])) << "gradient of " << kGradientNames[i];
}

void expect_follows_rule(const Results& ours, const Inputs& in) {
  const bool is_double = in.x.scalar_type() == at::kDouble;
  const Results exact = run_reference(in, at::kDouble);
  if (is_double) {
    EXPECT_TRUE(relatively_close(ours.out, exact.out, 1e-13));
    EXPECT_TRUE(relatively_close(ours.final_state, exact.final_state, 0));
    for (size_t i = 0; i < exact.gradients.size(); ++i)
      EXPECT_TRUE(relatively_close(ours.gradients[i], exact.gradients[i], 1e-12))
          << "gradient of " << kGradientNames[i];
    return;
  }
  const Results baseline = run_reference(in, at::kFloat);
  EXPECT_TRUE(follows_error_rule(ours.out, baseline.out, exact.out));
  EXPECT_TRUE(relatively_close(ours.final_state, exact.final_state, 0));
  for (size_t i = 0; i < exact.gradients.size(); ++i)
    EXPECT_TRUE(follows_error_rule(ours.gradients[i], baseline.gradients[i], exact.gradients[i]))
        << "gradient of " << kGradientNames[i];
}

class CausalConv1dTable : public ::testing::TestWithParam<std::tuple<at::Device, Case>> {};

TEST_P(CausalConv1dTable, OutputsAndGradientsFollowTheErrorRule) {
  const auto& [device, c] = GetParam();
  STRANDWAVE_SKIP_WITHOUT_DEVICE(device);
  if (device.is_cuda() && c.type == at::kDouble) GTEST_SKIP() << "float64 is for the CPU only";
  const Inputs in = make_inputs(c, device);
  expect_follows_rule(run(in), in);
}

std::string table_name(const ::testing::TestParamInfo<std::tuple<at::Device, Case>>& info) {
  return std::get<1>(info.param).name;
}

INSTANTIATE_TEST_SUITE_P(Cpu, CausalConv1dTable,
                         ::testing::Combine(::testing::Values(cpu_device()),
                                            ::testing::ValuesIn(all_cases())),
                         table_name);
INSTANTIATE_TEST_SUITE_P(Cuda, CausalConv1dTable,
                         ::testing::Combine(::testing::Values(cuda_device()),
                                            ::testing::ValuesIn(all_cases())),
                         table_name);

class CausalConv1dOn : public ::testing::TestWithParam<at::Device> {
 protected:
  void SetUp() override { STRANDWAVE_SKIP_WITHOUT_DEVICE(GetParam()); }
  at::Device device() const { return GetParam(); }
  at::TensorOptions options() const { return at::TensorOptions(device()); }
};

INSTANTIATE_TEST_SUITE_P(Cpu, CausalConv1dOn, ::testing::Values(cpu_device()));
INSTANTIATE_TEST_SUITE_P(Cuda, CausalConv1dOn, ::testing::Values(cuda_device()));

TEST_P(CausalConv1dOn, WorkedExample) {
  const auto x = at::tensor({1.0f, 2.0f, 3.0f}, options()).view({1, 3, 1});
  const auto weight = at::tensor({100.0f, 10.0f, 1.0f}, options()).view({1, 3});
  const auto bias = at::tensor({0.5f}, options());
  const auto state = at::tensor({8.0f, 9.0f}, options()).view({1, 2, 1});
  const auto causal = causal_conv1d(x, weight, bias, state, {}, false, false);
  // 100 x 8 + 10 x 9 + 1 x 1, 100 x 9 + 10 x 1 + 1 x 2, 100 x 1 + 10 x 2 + 1 x 3
  EXPECT_TRUE(same_bits(causal.out.flatten(), at::tensor({891.5f, 912.5f, 123.5f})));
  EXPECT_TRUE(same_bits(causal.final_state.flatten(), at::tensor({2.0f, 3.0f})));
  const auto anticausal = causal_conv1d(x, weight, bias, state, {}, false, true);
  // From the end: 3 after (8, 9), then 2, then 1.
  EXPECT_TRUE(same_bits(anticausal.out.flatten(), at::tensor({321.5f, 932.5f, 893.5f})));
  EXPECT_TRUE(same_bits(anticausal.final_state.flatten(), at::tensor({2.0f, 1.0f})));
}

TEST_P(CausalConv1dOn, ShortSequencesShiftTheirState) {
  const auto x = at::tensor({1.0f, 2.0f, 3.0f}, options()).view({1, 3, 1});
  const auto weight = at::ones({1, 4}, options());
  const auto state = at::arange(10, 22, options().dtype(at::kFloat)).view({4, 3, 1});
  const auto borders = at::tensor({0, 1, 1, 3, 3}, at::kLong).to(device());
  const auto expected = at::tensor({11.0f, 12.0f, 1.0f, 13.0f, 14.0f, 15.0f,  //
                                    18.0f, 2.0f, 3.0f, 19.0f, 20.0f, 21.0f});
  EXPECT_TRUE(
      same_bits(causal_conv1d(x, weight, {}, state, borders).final_state.flatten(), expected));
  const auto reversed = at::tensor({11.0f, 12.0f, 1.0f, 13.0f, 14.0f, 15.0f,  //
                                    18.0f, 3.0f, 2.0f, 19.0f, 20.0f, 21.0f});
  EXPECT_TRUE(same_bits(
      causal_conv1d(x, weight, {}, state, borders, true, true).final_state.flatten(), reversed));
}

TEST_P(CausalConv1dOn, GradientsAgreeAlongRandomDirections) {
  const Case c{.name = "directions",
               .channels = 24,
               .type = device().is_cpu() ? at::kDouble : at::kFloat,
               .lengths = {70, 0, 2, 1, 130}};
  const Inputs in = make_inputs(c, device());
  const auto point = in.differentiable();
  const Results ours = run(in);
  const auto loss = [&](const std::vector<at::Tensor>& at_point) {
    const auto [out, final_state] = reference::causal_conv1d(
        {at_point[0], at_point[1], at_point[2], at_point[3], in.offsets, in.silu, in.reverse});
    return (out * testing::to_reference(in.dout)).sum() +
           (final_state * testing::to_reference(in.dfinal_state)).sum();
  };
  std::vector<at::Tensor> exact;
  for (const auto& tensor : point) exact.push_back(testing::to_reference(tensor));
  testing::expect_directional_derivatives(loss, exact, ours.gradients,
                                          device().is_cpu() ? 1e-7 : 1e-5);
}

TEST_P(CausalConv1dOn, PackedEqualsSeparate) {
  for (const bool reverse : {false, true}) {
    const Case c{.name = "packed", .reverse = reverse, .lengths = {257, 1, 0, 2, 64, 3, 512}};
    const Inputs packed = make_inputs(c, device());
    const Results together = run(packed);
    at::Tensor dweight = at::zeros_like(together.gradients[1]);
    for (size_t s = 0; s < c.lengths.size(); ++s) {
      const int64_t i = static_cast<int64_t>(s);
      const auto rows = [&](const at::Tensor& tensor) {
        return tensor.slice(1, packed.offsets[s], packed.offsets[s + 1]);
      };
      Inputs one = packed;
      one.x = rows(packed.x);
      one.dout = rows(packed.dout);
      one.initial_state = packed.initial_state.narrow(0, i, 1);
      one.dfinal_state = packed.dfinal_state.narrow(0, i, 1);
      one.cu_seqlens = at::Tensor();
      one.offsets = {};
      const Results alone = run(one);
      EXPECT_TRUE(relatively_close(rows(together.out), alone.out, 1e-5));
      EXPECT_TRUE(same_bits(together.final_state.narrow(0, i, 1), alone.final_state));
      EXPECT_TRUE(relatively_close(rows(together.gradients[0]), alone.gradients[0], 1e-5));
      EXPECT_TRUE(
          relatively_close(together.gradients[3].narrow(0, i, 1), alone.gradients[3], 1e-5));
      dweight += alone.gradients[1];
    }
    EXPECT_TRUE(relatively_close(together.gradients[1], dweight, 1e-5));
  }
}

// Pieces that hand their states on equal one call, in values and in gradients.
TEST_P(CausalConv1dOn, SplitsWithStatesEqualOneShot) {
  for (const bool reverse : {false, true}) {
    const Inputs in = make_inputs({.name = "split", .length = 300, .reverse = reverse}, device());
    const Results whole = run(in);
    Inputs leaves = in;
    for (at::Tensor* tensor : {&leaves.x, &leaves.weight, &leaves.bias, &leaves.initial_state})
      *tensor = leaf(*tensor);
    std::vector<int64_t> borders{0, 1, 3, 130, 131, 256, 300};
    std::vector<at::Tensor> outs(borders.size() - 1);
    at::Tensor state = leaves.initial_state;
    for (size_t i = 0; i + 1 < borders.size(); ++i) {
      const size_t piece = reverse ? borders.size() - 2 - i : i;
      Inputs part = leaves;
      part.x = leaves.x.slice(1, borders[piece], borders[piece + 1]);
      part.initial_state = state;
      const auto result = call(part);
      outs[piece] = result.out;
      state = result.final_state;
    }
    const at::Tensor out = at::cat(outs, 1);
    EXPECT_TRUE(relatively_close(out, whole.out, 1e-5));
    EXPECT_TRUE(same_bits(state, whole.final_state));
    const auto gradients =
        torch::autograd::grad({out, state}, leaves.differentiable(), {in.dout, in.dfinal_state});
    for (size_t i = 0; i < gradients.size(); ++i)
      EXPECT_TRUE(relatively_close(gradients[i], whole.gradients[i], 1e-5))
          << "gradient of " << kGradientNames[i];
  }
}

TEST_P(CausalConv1dOn, ReverseEqualsFlip) {
  const Inputs in = make_inputs({.name = "flip", .length = 700, .reverse = true}, device());
  const Results reversed = run(in);
  Inputs flipped = in;
  flipped.x = in.x.flip({1});
  flipped.dout = in.dout.flip({1});
  flipped.reverse = false;
  const Results forward = run(flipped);
  EXPECT_TRUE(relatively_close(reversed.out, forward.out.flip({1}), 1e-6));
  EXPECT_TRUE(same_bits(reversed.final_state, forward.final_state));
  EXPECT_TRUE(relatively_close(reversed.gradients[0], forward.gradients[0].flip({1}), 1e-6));
  for (size_t i = 1; i < forward.gradients.size(); ++i)
    EXPECT_TRUE(relatively_close(reversed.gradients[i], forward.gradients[i], 1e-5))
        << "gradient of " << kGradientNames[i];
}

TEST_P(CausalConv1dOn, NanStaysWithinItsSequenceAndTheFilter) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const int64_t channels : {3, 16}) {
    for (const int64_t width : {2, 3, 4}) {
      for (const bool reverse : {false, true}) {
        Inputs in = make_inputs({.name = "nan",
                                 .channels = channels,
                                 .width = width,
                                 .reverse = reverse,
                                 .lengths = {20, 30, 20}},
                                device());
        in.x.slice(1, 19, 21).fill_(nan);  // the last of one sequence, the first of the next
        in.x.slice(1, 49, 50).fill_(nan);
        in.dout.slice(1, 19, 21).fill_(nan);
        in.dout.slice(1, 49, 50).fill_(nan);
        const Results result = run(in);
        const auto bad = [](const at::Tensor& tensor) {
          return tensor[0].isnan().any(1).to(at::kCPU);
        };
        at::Tensor expected_out = at::zeros({70}, at::kBool), expected_dx = expected_out.clone();
        const int64_t tail = width - 1;
        if (reverse) {
          expected_out.slice(0, 19 - tail, 21).fill_(true);
          expected_out.slice(0, 49 - tail, 50).fill_(true);
          // dx meets dp at q .. q - tail, and dp is NaN where out is.
          expected_dx.slice(0, 19 - tail, 20).fill_(true);
          expected_dx.slice(0, 20, 21 + tail).fill_(true);
          expected_dx.slice(0, 49 - tail, 50).fill_(true);
        } else {
          expected_out.slice(0, 19, 21 + tail).fill_(true);
          expected_out.slice(0, 49, 50).fill_(true);
          expected_dx.slice(0, 19 - tail, 20).fill_(true);
          expected_dx.slice(0, 20, 21 + tail).fill_(true);
          expected_dx.slice(0, 49 - tail, 50).fill_(true);
        }
        EXPECT_TRUE(at::equal(bad(result.out), expected_out)) << width << reverse;
        EXPECT_TRUE(at::equal(bad(result.gradients[0]), expected_dx)) << width << reverse;
        EXPECT_FALSE(result.final_state[2].isnan().any().item<bool>());
      }
    }
  }
}

TEST_P(CausalConv1dOn, TwoRunsGiveTheSameBits) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const Inputs in =
        make_inputs({.name = "bits", .length = 1500, .channels = 264, .type = type}, device());
    expect_equal_bits(run(in), run(in));
  }
}

TEST_P(CausalConv1dOn, StridedRowsEqualContiguousOnes) {
  for (const int64_t first : {0, 8, 5}) {
    const Inputs in =
        make_inputs({.name = "strided", .channels = 40, .type = at::kBFloat16}, device());
    Inputs strided = in;
    const auto wide = [&](const at::Tensor& tensor) {
      const at::Tensor all = at::full({2, 129, 64}, 1e4, tensor.options());
      all.slice(2, first, first + 40).copy_(tensor);
      return all.slice(2, first, first + 40);
    };
    const at::Tensor x = wide(in.x);
    ASSERT_FALSE(x.is_contiguous());
    const auto expected = call(in);
    const auto got = causal_conv1d(x, in.weight, in.bias, in.initial_state);
    EXPECT_TRUE(same_bits(got.out, expected.out));
    EXPECT_TRUE(same_bits(got.final_state, expected.final_state));
    const auto gradients = causal_conv1d_backward(in.dout, in.dfinal_state, in.x, in.weight,
                                                  in.bias, in.initial_state, {}, true, false);
    const auto from_strided = causal_conv1d_backward(wide(in.dout), in.dfinal_state, x, in.weight,
                                                     in.bias, in.initial_state, {}, true, false);
    EXPECT_TRUE(same_bits(from_strided.x, gradients.x));
    EXPECT_TRUE(relatively_close(from_strided.weight, gradients.weight, 1e-5));
    EXPECT_TRUE(relatively_close(from_strided.bias, gradients.bias, 1e-5));
    EXPECT_TRUE(same_bits(from_strided.initial_state, gradients.initial_state));
  }
}

TEST_P(CausalConv1dOn, ChannelsFirstMemoryAndExpandedGradientsAreAccepted) {
  const Inputs in = make_inputs({.name = "transposed"}, device());
  const at::Tensor x = leaf(in.x.transpose(1, 2).contiguous());
  call([&] {
    Inputs transposed = in;
    transposed.x = x.transpose(1, 2);
    return transposed;
  }())
      .out.sum()
      .backward();
  Inputs ones = in;
  ones.dout = at::ones_like(in.dout);
  ones.dfinal_state = at::zeros_like(in.dfinal_state);
  EXPECT_TRUE(same_bits(x.grad().transpose(1, 2), run(ones).gradients[0]));
}

TEST_P(CausalConv1dOn, OneOfTheOutputsMayBeUnused) {
  const Inputs in = make_inputs({.name = "unused"}, device());
  Inputs no_state = in, no_out = in;
  no_state.dfinal_state = at::zeros_like(in.dfinal_state);
  no_out.dout = at::zeros_like(in.dout);
  Inputs leaves = in;
  for (at::Tensor* tensor : {&leaves.x, &leaves.weight, &leaves.bias, &leaves.initial_state})
    *tensor = leaf(*tensor);
  const auto [out, final_state] = call(leaves);
  const auto from_out = torch::autograd::grad({out}, leaves.differentiable(), {in.dout}, true);
  const auto from_state =
      torch::autograd::grad({final_state}, leaves.differentiable(), {in.dfinal_state}, true);
  const Results expected_out = run(no_state), expected_state = run(no_out);
  for (size_t i = 0; i < from_out.size(); ++i) {
    EXPECT_TRUE(relatively_close(from_out[i], expected_out.gradients[i], 0));
    EXPECT_TRUE(relatively_close(from_state[i], expected_state.gradients[i], 0));
  }
}

TEST_P(CausalConv1dOn, OutputsNeverAliasInputs) {
  const Inputs in = make_inputs({.name = "alias", .lengths = {0, 0}}, device());
  const auto result = call(in);
  EXPECT_TRUE(same_bits(result.final_state, in.initial_state));
  EXPECT_NE(result.final_state.const_data_ptr(), in.initial_state.const_data_ptr());
}

TEST_P(CausalConv1dOn, ForwardEntryRecordsNoGraph) {
  Inputs in = make_inputs({.name = "entry"}, device());
  const auto expected = call(in);
  in.x = leaf(in.x);
  const auto [out, final_state] =
      causal_conv1d_forward(in.x, in.weight, in.bias, in.initial_state, {}, true, false);
  EXPECT_TRUE(same_bits(out, expected.out));
  EXPECT_TRUE(same_bits(final_state, expected.final_state));
  EXPECT_FALSE(out.requires_grad());
  const auto gradients =
      causal_conv1d_backward(in.dout, {}, in.x, in.weight, {}, {}, {}, true, false);
  EXPECT_FALSE(gradients.x.requires_grad());
  EXPECT_FALSE(gradients.bias.defined());
  EXPECT_FALSE(gradients.initial_state.defined());
}

TEST_P(CausalConv1dOn, DoubleBackwardIsRefused) {
  Inputs in = make_inputs({.name = "twice"}, device());
  in.x = leaf(in.x);
  const at::Tensor out = call(in).out;
  const at::Tensor dx =
      torch::autograd::grad({out}, {in.x}, {in.dout}, /*retain_graph=*/true, /*create_graph=*/true)
          .at(0);
  ASSERT_TRUE(dx.requires_grad());
  expect_error([&] { dx.sum().backward(); }, "can be differentiated once only");
}

TEST_P(CausalConv1dOn, ViolatedFactsAreNamed) {
  const Inputs good = make_inputs({.name = "checks", .channels = 8}, device());
  const auto with = [&](auto change) {
    Inputs in = good;
    change(in);
    return [in] { call(in); };
  };
  expect_error(with([](Inputs& in) { in.x = in.x[0]; }),
               "x must have shape (batch, length, channels), got [129, 8]");
  expect_error(with([](Inputs& in) { in.x = in.x.to(at::kInt); }), "x must be float32, bfloat16");
  expect_error(with([](Inputs& in) { in.weight = in.weight[0]; }),
               "weight must have shape (channels, width), got [4]");
  expect_error(with([](Inputs& in) {
                 in.weight = at::cat({in.weight, in.weight}, 1);
               }),
               "width must be 2, 3 or 4, got 8");
  expect_error(with([](Inputs& in) { in.weight = in.weight.slice(0, 1); }),
               "weight must have shape [8, 4], got [7, 4]");
  expect_error(with([](Inputs& in) { in.weight = in.weight.to(at::kBFloat16); }),
               "weight must be Float, got BFloat16");
  expect_error(with([](Inputs& in) { in.bias = in.bias.slice(0, 1); }),
               "bias must have shape [8], got [7]");
  expect_error(with([](Inputs& in) { in.initial_state = in.initial_state.slice(1, 1); }),
               "initial_state must have shape [2, 3, 8], got [2, 2, 8]");
  expect_error(with([&](Inputs& in) {
                 in.cu_seqlens = at::tensor({0, 129}, at::kLong).to(device());
               }),
               "packed sequences need batch 1, got 2");
  expect_error(
      [&] {
        causal_conv1d_backward(good.dout.slice(1, 1), {}, good.x, good.weight, {}, {}, {}, true,
                               false);
      },
      "dout must have shape [2, 129, 8], got [2, 128, 8]");
  expect_error(
      [&] {
        causal_conv1d_backward(good.dout, good.dout, good.x, good.weight, {}, {}, {}, true, false);
      },
      "dfinal_state must have shape [2, 3, 8]");
}

TEST_P(CausalConv1dOn, AutocastTakesAnyFloatingType) {
  const Inputs in = make_inputs({.name = "autocast"}, device());
  const auto type = device().type();
  at::autocast::set_autocast_enabled(type, true);
  const auto result = causal_conv1d(in.x, in.weight.to(at::kBFloat16), in.bias, in.initial_state);
  at::autocast::set_autocast_enabled(type, false);
  at::autocast::clear_cache();
  const auto reduced = at::autocast::get_autocast_dtype(type);
  const auto expected = causal_conv1d(in.x.to(reduced), in.weight.to(at::kBFloat16).to(at::kFloat),
                                      in.bias, in.initial_state);
  EXPECT_TRUE(same_bits(result.out, expected.out));
  EXPECT_EQ(result.final_state.scalar_type(), at::kFloat);
}

TEST(CausalConv1d, MetaTensorsGiveShapes) {
  const auto meta = at::TensorOptions(at::kMeta);
  const auto x = at::empty({1, 50, 6}, meta.dtype(at::kBFloat16)).requires_grad_();
  const auto weight = at::empty({6, 3}, meta);
  const auto borders = at::empty({5}, meta.dtype(at::kLong));
  const auto [out, final_state] = causal_conv1d(x, weight, {}, {}, borders);
  EXPECT_EQ(out.sizes(), x.sizes());
  EXPECT_EQ(out.scalar_type(), at::kBFloat16);
  EXPECT_EQ(final_state.sizes(), (at::IntArrayRef{4, 2, 6}));
  EXPECT_EQ(final_state.scalar_type(), at::kFloat);
  EXPECT_EQ(torch::autograd::grad({out}, {x}, {at::empty_like(out)})[0].sizes(), x.sizes());
}

TEST(CausalConv1d, PackedBordersAreCheckedOnTheCpu) {
  const auto x = at::randn({1, 10, 2});
  const auto weight = at::randn({2, 4});
  const auto borders = [](std::vector<int64_t> values) { return at::tensor(values, at::kLong); };
  expect_error(
      [&] {
        causal_conv1d(x, weight, {}, {}, borders({0, 6, 5, 10}));
      },
      "must not decrease");
  expect_error(
      [&] {
        causal_conv1d(x, weight, {}, {}, borders({0, 9}));
      },
      "must end at the length 10, got 9");
}

TEST(CausalConv1d, AnyNumberOfThreadsGivesTheSameBits) {
  const int before = thread_count();
  for (const auto& lengths : {std::vector<int64_t>{}, std::vector<int64_t>{700, 0, 1, 899}}) {
    const Inputs in = make_inputs(
        {.name = "threads", .length = 1600, .channels = 300, .lengths = lengths}, cpu_device());
    set_thread_count(1);
    const Results one = run(in);
    for (const int threads : {2, 3}) {
      set_thread_count(threads);
      expect_equal_bits(run(in), one);
    }
  }
  set_thread_count(before);
}

class CausalConv1dSimd : public testing::SimdTargetTest {};

STRANDWAVE_INSTANTIATE_ON_SIMD_TARGETS(CausalConv1dSimd);

TEST_P(CausalConv1dSimd, FollowsTheErrorRule) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
    const Inputs in = make_inputs({.name = "target", .type = type}, cpu_device());
    expect_follows_rule(run(in), in);
  }
}

// All 65536 values of a 16-bit type pass through unchanged, and float32 is rounded as ATen does.
TEST_P(CausalConv1dSimd, SixteenBitTypesConvertExactly) {
  const int64_t n = 65536;
  const auto bits = at::arange(n, at::kInt).to(at::kShort);
  RandomTensors random(11);
  const auto wide =
      random.normal({n}, at::kFloat) * at::exp2(random.uniform({n}, at::kFloat, -30, 18));
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
    const auto x = bits.view(type).view({1, 1, n});
    const auto pass = at::stack({at::zeros({n}), at::ones({n})}, 1);
    const auto same = causal_conv1d(x, pass, {}, {}, {}, false).out;
    const auto is_nan = x.to(at::kFloat).isnan();
    EXPECT_TRUE(at::equal(same.to(at::kFloat).isnan(), is_nan));
    // -0 + 0 is +0.
    EXPECT_TRUE(at::equal(same.masked_fill(is_nan, 0).to(at::kFloat),
                          x.masked_fill(is_nan, 0).to(at::kFloat)));
    const auto scale = at::stack({at::zeros({n}), wide}, 1);
    const auto rounded = causal_conv1d(at::ones_like(x).fill_(1), scale, {}, {}, {}, false).out;
    EXPECT_TRUE(at::equal(rounded.flatten(), wide.to(type)));
  }
}

// The largest grid dimension but one holds 65535 blocks; the reference kernels stop at 4.2 M.
TEST(CausalConv1dCuda, LengthsAboveFourMillion) {
  STRANDWAVE_SKIP_WITHOUT_DEVICE(cuda_device());
  const Inputs cpu =
      make_inputs({.name = "long", .batch = 1, .length = 4'300'001, .channels = 1}, cpu_device());
  Inputs cuda = cpu;
  for (at::Tensor* tensor :
       {&cuda.x, &cuda.weight, &cuda.bias, &cuda.initial_state, &cuda.dout, &cuda.dfinal_state})
    *tensor = tensor->to(cuda_device());
  const Results expected = run(cpu), got = run(cuda);
  EXPECT_TRUE(relatively_close(got.out, expected.out, 1e-5));
  EXPECT_TRUE(same_bits(got.final_state, expected.final_state));
  for (size_t i = 0; i < got.gradients.size(); ++i)
    EXPECT_TRUE(relatively_close(got.gradients[i], expected.gradients[i], 1e-4))
        << "gradient of " << kGradientNames[i];
}

}  // namespace
}  // namespace strandwave
