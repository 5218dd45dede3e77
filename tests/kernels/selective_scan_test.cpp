#include "kernels/selective_scan/selective_scan.h"

#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/common/parallel.h"
#include "kernels/common/sequence_layout.h"
#include "kernels/common/simd_target.h"
#include "tests/reference/selective_scan_reference.h"
#include "tests/support/operator_testing.h"
#include "tests/support/simd_testing.h"

namespace strandwave {
namespace {

using namespace strandwave::testing;
using at::Tensor;

const char* const kNames[] = {"u", "delta", "A", "B", "C", "D", "z", "delta_bias", "initial_state"};

// -------------------------------------------------------------------------------------- the cases

struct Case {
  std::string name;
  int64_t batch = 2;
  int64_t length = 129;
  int64_t channels = 3;
  int64_t d_state = 16;
  at::ScalarType type = at::kFloat;
  std::vector<int64_t> offsets = {};  // packed; batch is 1 then
  bool reverse = false;
  bool delta_softplus = true;
  bool D = true, z = true, delta_bias = true, initial_state = true;
  double delta_mean = -1;  // before the softplus
  double delta_scale = 1;
  double A_low = -4, A_high = -0.25;
  bool complex = false;
  double A_turn = 6;  // complex: the largest |Im A|

  at::ScalarType real_type() const { return type == at::kDouble ? at::kDouble : at::kFloat; }
  at::ScalarType state_type() const {
    return complex ? at::toComplexType(real_type()) : real_type();
  }
};

// Normally distributed, in both parts where `type` is complex.
Tensor normal_states(RandomTensors& random, at::IntArrayRef sizes, at::ScalarType type) {
  const at::ScalarType part = c10::toRealValueType(type);
  const Tensor real = random.normal(sizes, part);
  return at::isComplexType(type) ? at::complex(real, random.normal(sizes, part)) : real;
}

Case with(Case c, const std::function<void(Case&)>& change) {
  change(c);
  return c;
}

Case length_case(int64_t length) {
  Case c;
  c.name = "length_" + std::to_string(length);
  c.length = length;
  c.channels = length > 300 ? 7 : 3;
  c.d_state = length > 300 ? 4 : 16;
  c.batch = length > 300 ? 1 : 2;
  return c;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const int64_t length :
       {0, 1, 2, 31, 32, 33, 127, 128, 129, 1023, 1024, 1025, 1337, 2047, 2048, 2049})
    all.push_back(length_case(length));
  const auto add = [&](const std::string& name, const std::function<void(Case&)>& change) {
    all.push_back(with({.name = name}, change));
  };
  for (const int64_t channels : {1, 37, 64, 130})
    add("channels_" + std::to_string(channels), [=](Case& c) {
      c.channels = channels;
      c.length = 70;
    });
  for (const int64_t d_state : {1, 2, 5, 8, 64, 100, 256})
    add("d_state_" + std::to_string(d_state), [=](Case& c) {
      c.d_state = d_state;
      c.length = 70;
      c.channels = 37;
    });
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf, at::kDouble}) {
    add(dtype_name(type), [=](Case& c) { c.type = type; });
    add(dtype_name(type) + "_wide", [=](Case& c) {
      c.type = type;
      c.channels = 130;
      c.reverse = true;
      c.length = 200;
    });
  }
  add("plain", [](Case& c) { c.D = c.z = c.delta_bias = c.initial_state = false; });
  add("no_gate", [](Case& c) { c.z = false; });
  add("only_gate", [](Case& c) { c.D = c.delta_bias = c.initial_state = false; });
  add("reverse", [](Case& c) { c.reverse = true; });
  add("no_softplus", [](Case& c) {
    c.delta_softplus = false;
    c.delta_mean = 0.3;
    c.delta_scale = 0.1;
  });
  add("delta_tiny", [](Case& c) { c.delta_mean = -30; });
  add("delta_large", [](Case& c) {  // on both sides of the softplus threshold of 20
    c.delta_mean = 20;
    c.delta_scale = 5;
  });
  add("A_very_negative", [](Case& c) {
    c.A_low = -1e6;
    c.A_high = -1e-3;
  });
  add("slow_decay", [](Case& c) {
    c.A_low = -1e-3;
    c.A_high = -1e-4;
    c.length = 1000;
    c.channels = 2;
  });
  const auto packed = [&](const std::string& name, std::vector<int64_t> offsets, bool reverse) {
    add("packed_" + name, [=](Case& c) {
      c.batch = 1;
      c.offsets = offsets;
      c.length = offsets.back();
      c.reverse = reverse;
    });
  };
  packed("ones", {0, 1, 2, 3, 40, 41}, false);
  packed("empty", {0, 0, 10, 10, 10, 75, 75}, false);
  packed("empty_reverse", {0, 0, 10, 10, 10, 75, 75}, true);
  packed("all_empty", {0, 0, 0}, false);
  packed("none", {0}, false);
  packed("chunk_ends", {0, 64, 128, 192, 193, 256, 300}, false);
  packed("chunk_ends_reverse", {0, 64, 128, 192, 193, 256, 300}, true);
  packed("long", {0, 2048, 2049, 2112, 3000}, false);
  packed("long_reverse", {0, 1, 952, 1000, 3000}, true);
  const size_t real_cases = all.size();
  for (size_t i = 0; i < real_cases; ++i)
    all.push_back(with(all[i], [](Case& c) {
      c.complex = true;
      if (c.name == "slow_decay") {  // a thousand steps turn softplus's error into an angle
        c.delta_softplus = false;
        c.delta_mean = 0.3;
        c.delta_scale = 0.1;
      }
      c.name = "complex_" + c.name;
    }));
  add("complex_fast", [](Case& c) {  // turns by up to twenty circles within a step
    c.complex = true;
    c.A_turn = 300;
    c.delta_softplus = false;  // whose error would be all that one sees
    c.delta_mean = 0.3;
    c.delta_scale = 0.1;
  });
  add("complex_slow_decay_fast", [](Case& c) {
    c.complex = true;
    c.A_low = -1e-3;
    c.A_high = -1e-4;
    c.A_turn = 100;
    c.delta_softplus = false;
    c.delta_mean = 0.3;
    c.delta_scale = 0.1;
    c.length = 1000;
    c.channels = 2;
  });
  return all;
}

std::vector<Case> cuda_cases() {
  std::vector<Case> result;
  for (const Case& c : cases())
    if (c.type != at::kDouble) result.push_back(c);
  return result;
}

ScanArguments make_arguments(const Case& c, uint64_t seed = 1) {
  RandomTensors random(seed);
  const at::ScalarType real_type = c.real_type();
  const int64_t row = c.complex ? 2 * c.d_state : c.d_state;
  const int64_t sequences =
      c.offsets.empty() ? c.batch : static_cast<int64_t>(c.offsets.size()) - 1;
  ScanArguments a;
  a.u = random.normal({c.batch, c.length, c.channels}, c.type);
  a.delta = random.normal({c.batch, c.length, c.channels}, c.type, c.delta_scale, c.delta_mean);
  a.A = random.uniform({c.channels, c.d_state}, real_type, c.A_low, c.A_high);
  if (c.complex)
    a.A = at::complex(a.A, random.uniform({c.channels, c.d_state}, real_type, -c.A_turn, c.A_turn));
  a.B = random.normal({c.batch, c.length, row}, c.type);
  a.C = random.normal({c.batch, c.length, row}, c.type);
  if (c.D) a.D = random.normal({c.channels}, real_type);
  if (c.z) a.z = random.normal({c.batch, c.length, c.channels}, c.type);
  if (c.delta_bias) a.delta_bias = random.normal({c.channels}, real_type, 0.1);
  if (c.initial_state)
    a.initial_state = normal_states(random, {sequences, c.channels, c.d_state}, c.state_type());
  a.offsets = c.offsets;
  a.delta_softplus = c.delta_softplus;
  a.reverse = c.reverse;
  return a;
}

std::optional<Tensor> optional(const Tensor& tensor) {
  return tensor.defined() ? std::optional<Tensor>(tensor) : std::nullopt;
}

std::optional<Tensor> layout_of(const ScanArguments& a) {
  if (a.offsets.empty()) return std::nullopt;
  return SequenceLayout::from_offsets(a.offsets, a.u.device()).cu_seqlens();
}

SelectiveScanOutput run(const ScanArguments& a) {
  return selective_scan(a.u, a.delta, a.A, a.B, a.C, optional(a.D), optional(a.z),
                        optional(a.delta_bias), optional(a.initial_state), layout_of(a),
                        a.delta_softplus, a.reverse);
}

ScanArguments moved(ScanArguments a, at::Device device) {
  for (Tensor* tensor : a.tensors())
    if (tensor->defined()) *tensor = tensor->to(device);
  return a;
}

ScanArguments as_leaves(ScanArguments a) {
  for (Tensor* tensor : a.tensors())
    if (tensor->defined()) *tensor = tensor->detach().clone().requires_grad_();
  return a;
}

Tensor real_sum(const Tensor& values) {
  const Tensor sum = values.sum();
  return sum.is_complex() ? at::real(sum) : sum;
}

std::vector<Tensor> defined_tensors(ScanArguments& a) {
  std::vector<Tensor> result;
  for (Tensor* tensor : a.tensors())
    if (tensor->defined()) result.push_back(*tensor);
  return result;
}

// out, final_state, then the gradients of the given inputs.
struct Results {
  Tensor out, final_state;
  std::vector<Tensor> gradients;

  std::vector<Tensor> all() const {
    std::vector<Tensor> result = {out, final_state};
    result.insert(result.end(), gradients.begin(), gradients.end());
    return result;
  }
};

// Inputs that do not matter (no position, say) have gradient zero.
Results differentiate(ScanArguments& a, const Tensor& out, const Tensor& final_state,
                      const Tensor& dout, const Tensor& dfinal) {
  const std::vector<Tensor> inputs = defined_tensors(a);
  std::vector<Tensor> gradients =
      torch::autograd::grad({out, final_state}, inputs, {dout, dfinal}, std::nullopt, false, true);
  for (size_t i = 0; i < inputs.size(); ++i)
    if (!gradients[i].defined()) gradients[i] = at::zeros_like(inputs[i]);
  return {out.detach(), final_state.detach(), gradients};
}

// The gradients that enter: the same for all implementations of a case.
std::pair<Tensor, Tensor> incoming(const Case& c, const Tensor& out, const Tensor& final_state) {
  RandomTensors random(99);
  return {random.normal(out.sizes(), c.type),
          normal_states(random, final_state.sizes(), c.state_type())};
}

Results ours(const Case& c, const ScanArguments& arguments, at::Device device) {
  ScanArguments a = as_leaves(moved(arguments, device));
  const auto [out, final_state] = run(a);
  const auto [dout, dfinal] = incoming(c, out, final_state);
  return differentiate(a, out, final_state, dout.to(device), dfinal.to(device));
}

Results reference(const Case& c, const ScanArguments& arguments, at::ScalarType type) {
  ScanArguments a = as_leaves(arguments);
  if (type == at::kDouble)
    for (Tensor* tensor : a.tensors())
      if (tensor->defined()) *tensor = to_precision(tensor->detach(), at::kDouble).requires_grad_();
  auto [out, final_state] = selective_scan_reference(a, type);
  if (type != at::kDouble) out = out.to(c.type);
  const auto [dout, dfinal] = incoming(c, out, final_state);
  return differentiate(a, out, final_state, dout.to(out.scalar_type()),
                       dfinal.to(final_state.scalar_type()));
}

std::vector<std::string> result_names(ScanArguments a) {
  std::vector<std::string> names = {"out", "final_state"};
  const auto tensors = a.tensors();
  for (size_t i = 0; i < tensors.size(); ++i)
    if (tensors[i]->defined()) names.push_back(std::string("gradient of ") + kNames[i]);
  return names;
}

void expect_follows_reference(const Case& c, at::Device device) {
  const int64_t values = std::max<int64_t>(1, c.batch * c.length * c.channels);
  const int64_t draws = std::clamp<int64_t>(2000 / values, 1, 6);
  const std::vector<std::string> names = result_names(make_arguments(c));
  // In complex states the angle Im A delta' multiplies the error of our softplus (at most 3
  // rounding errors on the CPU, where ATen's has 2) by itself.
  const ErrorRule rule = c.complex ? ErrorRule(/*cuda_roundings=*/24, /*cpu_roundings=*/10)
                                   : ErrorRule(/*cuda_roundings=*/12);
  std::vector<ErrorRule> rules(names.size(), rule);
  for (int64_t draw = 0; draw < draws; ++draw) {
    const ScanArguments a = make_arguments(c, 1 + draw);
    const std::vector<Tensor> actual = ours(c, a, device).all();
    const std::vector<Tensor> expected = reference(c, a, at::kDouble).all();
    const std::vector<Tensor> baseline = reference(c, a, at::kFloat).all();
    for (size_t i = 0; i < names.size(); ++i) {
      if (c.type == at::kDouble)
        EXPECT_TRUE(relatively_close(actual[i], expected[i], 1e-12)) << names[i];
      else
        rules[i].add(actual[i], baseline[i], expected[i]);
    }
  }
  if (c.type == at::kDouble) return;
  for (size_t i = 0; i < names.size(); ++i) EXPECT_TRUE(rules[i].holds()) << names[i];
}

void expect_same_bits(const Results& a, const Results& b, const std::vector<std::string>& names) {
  const auto x = a.all(), y = b.all();
  for (size_t i = 0; i < names.size(); ++i) EXPECT_TRUE(same_bits(x[i], y[i])) << names[i];
}

class SelectiveScanCaseTest : public ::testing::TestWithParam<std::tuple<at::Device, Case>> {
 protected:
  void SetUp() override { STRANDWAVE_SKIP_WITHOUT_DEVICE(device()); }
  at::Device device() const { return std::get<0>(GetParam()); }
  const Case& the_case() const { return std::get<1>(GetParam()); }
};

TEST_P(SelectiveScanCaseTest, FollowsReference) { expect_follows_reference(the_case(), device()); }

std::string case_name(const ::testing::TestParamInfo<SelectiveScanCaseTest::ParamType>& info) {
  return std::get<1>(info.param).name;
}

INSTANTIATE_TEST_SUITE_P(Cpu, SelectiveScanCaseTest,
                         ::testing::Combine(::testing::Values(cpu_device()),
                                            ::testing::ValuesIn(cases())),
                         case_name);
INSTANTIATE_TEST_SUITE_P(Cuda, SelectiveScanCaseTest,
                         ::testing::Combine(::testing::Values(cuda_device()),
                                            ::testing::ValuesIn(cuda_cases())),
                         case_name);

// ------------------------------------------------------------------------------------- properties

// Parameters: the device, whether states are complex.
class SelectiveScanTest : public ::testing::TestWithParam<std::tuple<at::Device, bool>> {
 protected:
  void SetUp() override { STRANDWAVE_SKIP_WITHOUT_DEVICE(device()); }
  at::Device device() const { return std::get<0>(GetParam()); }
  bool complex() const { return std::get<1>(GetParam()); }
  Case of(Case c) const {
    c.complex = complex();
    return c;
  }
  ScanArguments arguments(const Case& c, uint64_t seed = 1) const {
    return moved(make_arguments(c, seed), device());
  }
};

std::string states_name(const ::testing::TestParamInfo<std::tuple<at::Device, bool>>& info) {
  return std::get<1>(info.param) ? "complex" : "real";
}
INSTANTIATE_TEST_SUITE_P(Cpu, SelectiveScanTest,
                         ::testing::Combine(::testing::Values(cpu_device()), ::testing::Bool()),
                         states_name);
INSTANTIATE_TEST_SUITE_P(Cuda, SelectiveScanTest,
                         ::testing::Combine(::testing::Values(cuda_device()), ::testing::Bool()),
                         states_name);

// Many channels, a long and a cut length: every way in which the work is divided.
std::vector<Case> division_cases() {
  return {{.name = "few_channels", .batch = 1, .length = 2100, .channels = 5, .d_state = 3},
          {.name = "blocks", .batch = 2, .length = 200, .channels = 200, .d_state = 9},
          {.name = "packed",
           .batch = 1,
           .length = 2600,
           .channels = 20,
           .d_state = 5,
           .offsets = {0, 1000, 1024, 1025, 2048, 2048, 2600}},
          {.name = "half",
           .batch = 1,
           .length = 2222,
           .channels = 33,
           .d_state = 4,
           .type = at::kBFloat16,
           .reverse = true}};
}

TEST_P(SelectiveScanTest, TwoRunsGiveTheSameBits) {
  for (Case c : division_cases()) {
    c = of(c);
    SCOPED_TRACE(c.name);
    const ScanArguments a = make_arguments(c);
    expect_same_bits(ours(c, a, device()), ours(c, a, device()), result_names(a));
  }
}

TEST_P(SelectiveScanTest, DividedWorkFollowsReference) {
  for (Case c : division_cases()) {
    c = of(c);
    SCOPED_TRACE(c.name);
    expect_follows_reference(c, device());
  }
}

// States decay at different rates per channel and the input changes its scale along the sequence,
// so that composing (decay, state) pairs of two parts in the wrong order gives another result.
TEST_P(SelectiveScanTest, OrderOfSegmentsMatters) {
  Case c = of({.name = "order", .batch = 1, .length = 4096, .channels = 4, .d_state = 2});
  c.A_low = -2e-3;
  c.A_high = -1e-4;
  c.z = false;
  ScanArguments a = make_arguments(c);
  a.u = a.u * at::pow(10, at::linspace(-2, 2, c.length)).view({1, -1, 1});
  a.delta = a.delta + at::linspace(-3, 3, c.length).view({1, -1, 1});
  const auto [expected, expected_state] = selective_scan_reference(a, at::kDouble);
  const auto [out, final_state] = run(moved(a, device()));
  // A turning state takes a rounding error in every step, not only where it decays.
  const double tolerance = complex() ? 3e-5 : 1e-5;
  EXPECT_TRUE(relatively_close(out, expected, tolerance));
  EXPECT_TRUE(relatively_close(final_state, expected_state, tolerance));
}

TEST_P(SelectiveScanTest, PackedEqualsSeparate) {
  Case c = of({.name = "packed", .batch = 1, .channels = 37, .d_state = 5});
  c.offsets = {0, 64, 65, 65, 128, 400, 2448, 2449};
  c.length = c.offsets.back();
  for (const bool reverse : {false, true}) {
    c.reverse = reverse;
    const ScanArguments a = make_arguments(c);
    const Results packed = ours(c, a, device());
    const auto [dout, dfinal] = incoming(c, packed.out, packed.final_state);
    std::vector<Tensor> sums(9);
    for (size_t s = 0; s + 1 < c.offsets.size(); ++s) {
      SCOPED_TRACE("sequence " + std::to_string(s));
      const auto rows = [&](const Tensor& t) { return t.slice(1, c.offsets[s], c.offsets[s + 1]); };
      const int64_t index = static_cast<int64_t>(s);
      ScanArguments part = a;
      part.offsets.clear();
      for (Tensor* t : {&part.u, &part.delta, &part.B, &part.C, &part.z}) *t = rows(*t);
      part.initial_state = a.initial_state.slice(0, index, index + 1);
      part = as_leaves(moved(part, device()));
      const auto [out, final_state] = run(part);
      EXPECT_TRUE(relatively_close(out, rows(packed.out), 1e-5));
      EXPECT_TRUE(
          relatively_close(final_state, packed.final_state.slice(0, index, index + 1), 1e-5));
      const Results separate = differentiate(part, out, final_state, rows(dout).to(device()),
                                             dfinal.slice(0, index, index + 1).to(device()));
      for (const size_t i : {0, 1, 3, 4, 6})
        EXPECT_TRUE(relatively_close(separate.gradients[i], rows(packed.gradients[i]), 1e-5))
            << kNames[i];
      EXPECT_TRUE(relatively_close(separate.gradients[8],
                                   packed.gradients[8].slice(0, index, index + 1), 1e-5));
      for (const size_t i : {2, 5, 7})
        sums[i] = sums[i].defined() ? sums[i] + separate.gradients[i] : separate.gradients[i];
    }
    for (const size_t i : {2, 5, 7})
      EXPECT_TRUE(relatively_close(sums[i], packed.gradients[i], 2e-5)) << kNames[i];
  }
}

// NaN in one sequence beside a border: nothing of the neighbours may change.
TEST_P(SelectiveScanTest, NaNStaysInItsSequence) {
  for (const int64_t border : {60, 64, 1024, 2048}) {
    Case c = of({.name = "nan", .batch = 1, .channels = 5, .d_state = 3});
    c.offsets = {0, border, border + 70, 3000};
    c.length = 3000;
    for (const bool reverse : {false, true}) {
      SCOPED_TRACE(std::to_string(border) + (reverse ? " reverse" : ""));
      c.reverse = reverse;
      const ScanArguments clean = make_arguments(c);
      ScanArguments dirty = clean;
      const double nan = std::numeric_limits<double>::quiet_NaN();
      for (Tensor* t : {&dirty.u, &dirty.delta, &dirty.B, &dirty.C, &dirty.z}) {
        *t = t->clone();
        t->select(1, border).fill_(nan);
        t->select(1, border + 69).fill_(nan);
      }
      dirty.initial_state = clean.initial_state.clone();
      dirty.initial_state[1].fill_(nan);
      const Results a = ours(c, clean, device()), b = ours(c, dirty, device());
      EXPECT_TRUE(b.out.slice(1, border, border + 1).isnan().all().item<bool>());
      const auto before = [&](const Tensor& t) { return t.slice(1, 0, border); };
      const auto after = [&](const Tensor& t) { return t.slice(1, border + 70); };
      EXPECT_TRUE(same_bits(before(a.out), before(b.out)));
      EXPECT_TRUE(same_bits(after(a.out), after(b.out)));
      for (const size_t i : {0, 1, 3, 4, 6}) {
        EXPECT_TRUE(same_bits(before(a.gradients[i]), before(b.gradients[i]))) << kNames[i];
        EXPECT_TRUE(same_bits(after(a.gradients[i]), after(b.gradients[i]))) << kNames[i];
      }
      for (const int64_t s : {0, 2}) {
        EXPECT_TRUE(same_bits(a.final_state[s], b.final_state[s]));
        EXPECT_TRUE(same_bits(a.gradients[8][s], b.gradients[8][s]));
      }
    }
  }
}

TEST_P(SelectiveScanTest, NaNIsNotHidden) {
  const Case c = of({.name = "nan", .length = 10});
  for (const size_t input : {0, 1, 3, 4, 6}) {
    ScanArguments a = make_arguments(c);
    a.tensors()[input]->select(1, 5).fill_(std::numeric_limits<double>::quiet_NaN());
    const Tensor out = run(moved(a, device())).out;
    EXPECT_TRUE(out.select(1, 5).isnan().all().item<bool>()) << kNames[input];
    EXPECT_FALSE(out.slice(1, 0, 5).isnan().any().item<bool>()) << kNames[input];
  }
}

// A > 0 is unusual but allowed: states grow, and overflow to infinity as they do in ATen.
TEST_P(SelectiveScanTest, GrowingStates) {
  Case c = of({.name = "growing", .length = 12});
  c.A_low = 0.1;
  c.A_high = 0.5;
  const ScanArguments a = make_arguments(c);
  EXPECT_TRUE(relatively_close(run(moved(a, device())).out,
                               selective_scan_reference(a, at::kDouble).first, 1e-6));
  if (complex()) return;  // infinity times a turn is not a number
  ScanArguments b = make_arguments(c);
  b.A.fill_(100);
  const Tensor final_state = run(moved(b, device())).final_state;
  EXPECT_TRUE(final_state.isinf().all().item<bool>());
}

TEST_P(SelectiveScanTest, ReverseEqualsFlip) {
  Case c = of({.name = "flip", .length = 257, .channels = 37, .d_state = 5});
  const ScanArguments a = arguments(c);
  ScanArguments flipped = a;
  for (Tensor* t : {&flipped.u, &flipped.delta, &flipped.B, &flipped.C, &flipped.z})
    *t = t->flip(1);
  flipped.reverse = true;
  const auto forward = run(a), reverse = run(flipped);
  EXPECT_TRUE(relatively_close(reverse.out.flip(1), forward.out, 1e-6));
  EXPECT_TRUE(relatively_close(reverse.final_state, forward.final_state, 1e-6));
}

TEST_P(SelectiveScanTest, SplitEqualsOneShot) {
  Case c = of({.name = "split", .length = 300, .channels = 19, .d_state = 7});
  for (const bool reverse : {false, true}) {
    c.reverse = reverse;
    const ScanArguments base = make_arguments(c);
    const Results whole = ours(c, base, device());
    const auto [dout, dfinal] = incoming(c, whole.out, whole.final_state);
    for (const int64_t at : {0, 1, 63, 64, 65, 150, 299, 300}) {
      SCOPED_TRACE(at);
      ScanArguments a = as_leaves(moved(base, device()));
      const auto part = [&](int64_t from, int64_t to, const Tensor& state) {
        ScanArguments p = a;
        for (Tensor* t : {&p.u, &p.delta, &p.B, &p.C, &p.z}) *t = t->slice(1, from, to);
        p.initial_state = state;
        return run(p);
      };
      const auto first = reverse ? part(at, 300, a.initial_state) : part(0, at, a.initial_state);
      const auto second =
          reverse ? part(0, at, first.final_state) : part(at, 300, first.final_state);
      const Tensor out =
          reverse ? at::cat({second.out, first.out}, 1) : at::cat({first.out, second.out}, 1);
      const Results split =
          differentiate(a, out, second.final_state, dout.to(device()), dfinal.to(device()));
      const auto names = result_names(base);
      const auto x = split.all(), y = whole.all();
      for (size_t i = 0; i < names.size(); ++i)
        EXPECT_TRUE(relatively_close(x[i], y[i], 1e-5)) << names[i];
    }
  }
}

TEST_P(SelectiveScanTest, StridedInputs) {
  const Case c = of({.name = "strided", .length = 70, .channels = 21, .d_state = 6});
  const ScanArguments a = arguments(c);
  ScanArguments strided = a;
  // u and z, and B and C, as slices of wider tensors, delta with a strided last dimension.
  const Tensor uz = at::cat({a.u, a.z}, 2), BC = at::cat({a.B, a.C}, 2);
  strided.u = uz.slice(2, 0, 21);
  strided.z = uz.slice(2, 21);
  strided.B = BC.slice(2, 0, a.B.size(2));
  strided.C = BC.slice(2, a.B.size(2));
  strided.delta = a.delta.transpose(1, 2).contiguous().transpose(1, 2);
  strided.A = a.A.t().contiguous().t();
  ASSERT_FALSE(strided.u.is_contiguous() || strided.delta.is_contiguous());
  const auto result = [&](ScanArguments arguments) {
    const std::vector<Tensor> sources = defined_tensors(arguments);
    for (Tensor* t : arguments.tensors()) *t = t->detach().requires_grad_();
    const auto [out, final_state] = run(arguments);
    const auto [dout, dfinal] = incoming(c, out, final_state);
    return differentiate(arguments, out, final_state,
                         dout.to(device()).transpose(1, 2).contiguous().transpose(1, 2),
                         dfinal.to(device()));
  };
  expect_same_bits(result(strided), result(a), result_names(a));
}

TEST_P(SelectiveScanTest, OnlyOneOutputIsUsed) {
  for (const int64_t d_state : {6, 100}) {
    const Case c = of({.name = "one", .length = 70, .channels = 5, .d_state = d_state});
    for (const bool use_out : {false, true}) {
      SCOPED_TRACE(use_out ? "out" : "final_state");
      const ScanArguments base = make_arguments(c);
      ScanArguments a = as_leaves(moved(base, device())), r = as_leaves(base);
      for (Tensor* t : r.tensors()) *t = to_precision(t->detach(), at::kDouble).requires_grad_();
      const auto [out, final_state] = run(a);
      const auto [expected_out, expected_final] = selective_scan_reference(r, at::kDouble);
      const auto actual = torch::autograd::grad({use_out ? out.sum() : real_sum(final_state)},
                                                defined_tensors(a), {}, std::nullopt, false, true);
      const auto expected =
          torch::autograd::grad({use_out ? expected_out.sum() : real_sum(expected_final)},
                                defined_tensors(r), {}, std::nullopt, false, true);
      for (size_t i = 0; i < actual.size(); ++i)
        EXPECT_TRUE(relatively_close(
            actual[i], expected[i].defined() ? expected[i] : at::zeros_like(actual[i]), 2e-5))
            << kNames[i];
    }
  }
}

TEST_P(SelectiveScanTest, CheckpointsDoNotChangeGradients) {
  const Case c = of({.name = "checkpoints", .length = 333, .channels = 18, .d_state = 6});
  const ScanArguments a = arguments(c);
  const auto [out, final_state, checkpoints] = selective_scan_forward(
      a.u, a.delta, a.A, a.B, a.C, a.D, a.z, a.delta_bias, a.initial_state, {}, true, false, true);
  const auto none = selective_scan_forward(a.u, a.delta, a.A, a.B, a.C, a.D, a.z, a.delta_bias,
                                           a.initial_state, {}, true, false, false);
  EXPECT_EQ(std::get<2>(none).numel(), 0);
  EXPECT_TRUE(same_bits(std::get<0>(none), out));
  const auto backward = [&](const std::optional<Tensor>& saved) {
    const SelectiveScanGradients g = selective_scan_backward(
        at::ones_like(out), at::ones_like(final_state), a.u, a.delta, a.A, a.B, a.C, a.D, a.z,
        a.delta_bias, a.initial_state, {}, saved, true, false);
    return std::vector<Tensor>{g.u,          g.delta,        g.A, g.B, g.C, g.D, g.z,
                               g.delta_bias, g.initial_state};
  };
  const auto with_saved = backward(checkpoints), without = backward({});
  for (size_t i = 0; i < with_saved.size(); ++i)
    EXPECT_TRUE(relatively_close(with_saved[i], without[i], 1e-5)) << kNames[i];
}

TEST_P(SelectiveScanTest, GradientsOfAbsentInputsAreUndefined) {
  const Case c = of({.name = "absent", .length = 5});
  const ScanArguments a = arguments(c);
  const SelectiveScanGradients g = selective_scan_backward(
      at::ones_like(a.u), {}, a.u, a.delta, a.A, a.B, a.C, {}, {}, {}, {}, {}, {}, true, false);
  EXPECT_TRUE(g.u.defined() && g.delta.defined() && g.A.defined() && g.B.defined() &&
              g.C.defined());
  EXPECT_FALSE(g.D.defined() || g.z.defined() || g.delta_bias.defined() ||
               g.initial_state.defined());
}

TEST_P(SelectiveScanTest, DoubleBackwardIsRefused) {
  ScanArguments a = as_leaves(arguments(of({.name = "double", .length = 5})));
  const Tensor out = run(a).out;
  const Tensor du = torch::autograd::grad({out.square().sum()}, {a.u}, {}, /*retain_graph=*/true,
                                          /*create_graph=*/true)[0];
  expect_error([&] { torch::autograd::grad({du.sum()}, {a.u}); },
               "selective_scan can be differentiated once only");
}

TEST_P(SelectiveScanTest, StateOfASegment) {
  for (const bool packed : {false, true}) {
    for (const bool reverse : {false, true}) {
      Case c = of(
          {.name = "state", .batch = packed ? 1 : 2, .length = 300, .channels = 7, .d_state = 3});
      if (packed) c.offsets = {0, 0, 130, 131, 300};
      c.initial_state = c.D = c.z = false;
      c.reverse = reverse;
      ScanArguments a = as_leaves(arguments(c));
      const auto [sum, state] =
          selective_scan_state(a.u, a.delta, a.A, a.B, a.delta_bias, layout_of(a), true, reverse);
      ScanArguments r = as_leaves(make_arguments(c));
      for (Tensor* t : r.tensors())
        if (t->defined()) *t = to_precision(t->detach(), at::kDouble).requires_grad_();
      const Tensor expected_state = selective_scan_reference(r, at::kDouble).second;
      const Tensor delta = at::softplus(r.delta + r.delta_bias);
      std::vector<Tensor> sums;
      for (size_t s = 0; packed && s + 1 < c.offsets.size(); ++s)
        sums.push_back(delta.slice(1, c.offsets[s], c.offsets[s + 1]).sum(1));
      const Tensor expected_sum = packed ? at::cat(sums, 0) : delta.sum(1);
      EXPECT_TRUE(relatively_close(sum, expected_sum, 1e-5));
      EXPECT_TRUE(relatively_close(state, expected_state, 1e-5));
      const auto gradients =
          torch::autograd::grad({sum.square().sum() + state.abs().square().sum()},
                                {a.u, a.delta, a.A, a.B, a.delta_bias});
      const auto expected =
          torch::autograd::grad({expected_sum.square().sum() + expected_state.abs().square().sum()},
                                {r.u, r.delta, r.A, r.B, r.delta_bias});
      for (size_t i = 0; i < gradients.size(); ++i)
        EXPECT_TRUE(relatively_close(gradients[i], expected[i], 2e-5)) << i;
    }
  }
}

class SelectiveScanDeviceTest : public ::testing::TestWithParam<at::Device> {
 protected:
  void SetUp() override { STRANDWAVE_SKIP_WITHOUT_DEVICE(GetParam()); }
  at::Device device() const { return GetParam(); }
};

std::string device_name(const ::testing::TestParamInfo<at::Device>& info) {
  return info.param.is_cuda() ? "Cuda" : "Cpu";
}
INSTANTIATE_TEST_SUITE_P(Cpu, SelectiveScanDeviceTest, ::testing::Values(cpu_device()),
                         device_name);
INSTANTIATE_TEST_SUITE_P(Cuda, SelectiveScanDeviceTest, ::testing::Values(cuda_device()),
                         device_name);

TEST_P(SelectiveScanDeviceTest, RefusesWhatItCannotDo) {
  const ScanArguments good = moved(make_arguments({.name = "errors", .length = 10}), device());
  const auto expect = [&](const std::function<void(ScanArguments&)>& spoil,
                          const std::string& message) {
    ScanArguments a = good;
    spoil(a);
    expect_error([&] { run(a); }, message);
  };
  const auto options = good.u.options();
  expect([](ScanArguments& a) { a.u = a.u[0]; },
         "u must have shape (batch, length, channels), got [10, 3]");
  expect([](ScanArguments& a) { a.u = a.u.to(at::kInt); },
         "u must be float32, bfloat16 or float16 (float64 on the CPU), got Int");
  expect([](ScanArguments& a) { a.delta = a.delta.slice(1, 1); },
         "delta must have shape [2, 10, 3], got [2, 9, 3]");
  expect([](ScanArguments& a) { a.delta = a.delta.to(at::kHalf); },
         "delta must be Float, got Half");
  expect([](ScanArguments& a) { a.A = a.A[0]; }, "A must have shape (channels, d_state), got [16]");
  expect(
      [&](ScanArguments& a) {
        a.A = at::zeros({3, 257}, options);
      },
      "d_state must be 1..256, got 257");
  expect(
      [&](ScanArguments& a) {
        a.A = at::zeros({3, 0}, options);
      },
      "d_state must be 1..256, got 0");
  expect(
      [&](ScanArguments& a) {
        a.A = at::zeros({4, 16}, options);
      },
      "A must have shape [3, 16], got [4, 16]");
  expect([](ScanArguments& a) { a.A = a.A.to(at::kDouble); }, "A must be Float, got Double");
  expect([](ScanArguments& a) { a.B = a.B.slice(2, 1); },
         "B must have shape [2, 10, 16], got [2, 10, 15]");
  expect([](ScanArguments& a) { a.C = a.C.slice(0, 1); },
         "C must have shape [2, 10, 16], got [1, 10, 16]");
  expect([](ScanArguments& a) { a.D = a.D.slice(0, 1); }, "D must have shape [3], got [2]");
  expect([](ScanArguments& a) { a.z = a.z.to(at::kBFloat16); }, "z must be Float, got BFloat16");
  expect([](ScanArguments& a) { a.delta_bias = a.delta_bias.to(at::kHalf); },
         "delta_bias must be Float, got Half");
  expect([](ScanArguments& a) { a.initial_state = a.initial_state.slice(0, 1); },
         "initial_state must have shape [2, 3, 16], got [1, 3, 16]");
  expect([](ScanArguments& a) { a.offsets = {0, 10}; }, "packed sequences need batch 1, got 2");
  expect_error(
      [&] {
        selective_scan_backward(good.u.slice(1, 1), {}, good.u, good.delta, good.A, good.B, good.C,
                                {}, {}, {}, {}, {}, {}, true, false);
      },
      "dout must have shape [2, 10, 3], got [2, 9, 3]");
  expect_error(
      [&] {
        selective_scan_backward(good.u, good.A, good.u, good.delta, good.A, good.B, good.C, {}, {},
                                {}, {}, {}, {}, true, false);
      },
      "dfinal_state must have shape [2, 3, 16], got [3, 16]");
}

TEST_P(SelectiveScanTest, AutocastPicksTheTypes) {
  const auto type = device().type();
  const Case c = of({.name = "autocast", .length = 20});
  ScanArguments a = arguments(c);
  const bool was_enabled = at::autocast::is_autocast_enabled(type);
  at::autocast::set_autocast_enabled(type, true);
  const auto mixed = run(a);
  at::autocast::set_autocast_enabled(type, was_enabled);
  at::autocast::clear_cache();
  EXPECT_EQ(mixed.out.scalar_type(), at::autocast::get_autocast_dtype(type));
  EXPECT_EQ(mixed.final_state.scalar_type(), c.state_type());
  EXPECT_TRUE(relatively_close(mixed.out, run(a).out, 0.05));
}

// --------------------------------------------------------------------------------- complex states

// Values and zero imaginary parts, as pairs or as complex numbers.
Tensor with_zeros(const Tensor& values) { return at::stack({values, values * 0}, -1); }
Tensor as_complex(const Tensor& values) { return at::complex(values, at::zeros_like(values)); }

TEST_P(SelectiveScanDeviceTest, ZeroImaginaryPartsGiveTwiceTheRealStateTerm) {
  for (const bool reverse : {false, true}) {
    Case c{.name = "zero", .length = 150, .channels = 37, .d_state = 11, .reverse = reverse};
    c.D = c.z = false;
    ScanArguments real = as_leaves(moved(make_arguments(c), device()));
    ScanArguments complex = real;
    complex.A = as_complex(real.A);
    complex.B = with_zeros(real.B).flatten(2);
    complex.C = with_zeros(real.C).flatten(2);
    complex.initial_state = as_complex(real.initial_state);
    const auto expected = run(real), actual = run(complex);
    EXPECT_TRUE(relatively_close(actual.out, 2 * expected.out, 1e-6));
    EXPECT_TRUE(relatively_close(at::real(actual.final_state), expected.final_state, 1e-6));
    EXPECT_TRUE((at::imag(actual.final_state) == 0).all().item<bool>());
    RandomTensors random(9);
    const Tensor dout = random.normal(expected.out.sizes(), expected.out.options());
    const std::vector<Tensor> inputs = defined_tensors(real);
    const auto ours = torch::autograd::grad({actual.out}, inputs, {dout});
    const auto theirs = torch::autograd::grad({expected.out}, inputs, {dout});
    for (size_t i = 0; i < inputs.size(); ++i)
      EXPECT_TRUE(relatively_close(ours[i], 2 * theirs[i], 1e-5)) << i;
  }
}

// A state and its conjugate are one pair of a real system: twice the states give the same sums.
TEST_P(SelectiveScanDeviceTest, ConjugatedInputsConjugateTheState) {
  Case c{.name = "conjugate", .length = 90, .channels = 5, .d_state = 3, .complex = true};
  const ScanArguments a = moved(make_arguments(c), device());
  ScanArguments conjugate = a;
  // Lazily conjugated tensors, as autograd hands them out.
  conjugate.A = a.A.conj();
  conjugate.initial_state = a.initial_state.conj();
  const Tensor sign = at::tensor({1.0f, -1.0f}, a.B.options()).repeat({c.d_state});
  conjugate.B = a.B * sign;
  conjugate.C = a.C * sign;
  ASSERT_TRUE(conjugate.A.is_conj());
  const auto expected = run(a), actual = run(conjugate);
  EXPECT_TRUE(same_bits(actual.out, expected.out));
  EXPECT_TRUE(same_bits(actual.final_state.conj().resolve_conj(), expected.final_state));
}

TEST_P(SelectiveScanDeviceTest, RefusesComplexStatesThatDoNotFit) {
  const Case c{.name = "errors", .length = 10, .complex = true};
  const ScanArguments good = moved(make_arguments(c), device());
  const auto expect = [&](const std::function<void(ScanArguments&)>& spoil,
                          const std::string& message) {
    ScanArguments a = good;
    spoil(a);
    expect_error([&] { run(a); }, message);
  };
  expect([](ScanArguments& a) { a.A = a.A.to(at::kComplexDouble); },
         "A must be ComplexFloat, got ComplexDouble");
  expect([](ScanArguments& a) { a.A = at::real(a.A); },
         "B must have shape [2, 10, 16], got [2, 10, 32]");
  expect([](ScanArguments& a) { a.C = a.C.slice(2, 0, 16); },
         "C must have shape [2, 10, 32], got [2, 10, 16]");
  expect([](ScanArguments& a) { a.B = as_complex(a.B); }, "B must be Float, got ComplexFloat");
  expect([](ScanArguments& a) { a.u = as_complex(a.u); },
         "u must be float32, bfloat16 or float16 (float64 on the CPU), got ComplexFloat");
  expect([](ScanArguments& a) { a.initial_state = at::real(a.initial_state); },
         "initial_state must be ComplexFloat, got Float");
  expect([](ScanArguments& a) { a.A = a.A.repeat({1, 17}); }, "d_state must be 1..256, got 272");
}

TEST(SelectiveScanCudaTest, RefusesFloat64) {
  STRANDWAVE_SKIP_WITHOUT_DEVICE(cuda_device());
  Case c{.name = "double", .length = 5};
  c.type = at::kDouble;
  expect_error([&] { run(moved(make_arguments(c), cuda_device())); },
               "u must be float32, bfloat16 or float16 (float64 on the CPU), got Double");
}

// --------------------------------------------------------------------------------- CPU properties

TEST(SelectiveScanCpuTest, ThreadsDoNotChangeBits) {
  const int threads = thread_count();
  std::vector<Case> all = division_cases();
  for (Case c : division_cases()) {
    c.complex = true;
    all.push_back(c);
  }
  for (const Case& c : all) {
    SCOPED_TRACE(c.name);
    const ScanArguments a = make_arguments(c);
    set_thread_count(1);
    const Results one = ours(c, a, cpu_device());
    set_thread_count(2);
    const Results two = ours(c, a, cpu_device());
    expect_same_bits(one, two, result_names(a));
  }
  set_thread_count(threads);
}

TEST(SelectiveScanCpuTest, GradientIsTheDirectionalDerivative) {
  for (const bool complex : {false, true}) {
    Case c{.name = "direction", .length = 20, .channels = 3, .d_state = 4};
    c.type = at::kDouble;
    c.complex = complex;
    ScanArguments a = as_leaves(make_arguments(c));
    const auto loss = [&](const std::vector<Tensor>& inputs) {
      ScanArguments point = a;
      const auto tensors = point.tensors();
      for (size_t i = 0; i < inputs.size(); ++i) *tensors[i] = inputs[i];
      const auto [out, final_state] = run(point);
      return out.square().sum() + real_sum(final_state.pow(3));
    };
    const std::vector<Tensor> inputs = defined_tensors(a);
    const std::vector<Tensor> gradients = torch::autograd::grad({loss(inputs)}, inputs);
    RandomTensors random(7);
    for (size_t i = 0; i < inputs.size(); ++i) {
      std::vector<Tensor> direction;
      for (const Tensor& input : inputs) direction.push_back(at::zeros_like(input).detach());
      direction[i] = normal_states(random, inputs[i].sizes(), inputs[i].scalar_type());
      const double expected = directional_derivative(loss, inputs, direction);
      const double actual = real_sum(gradients[i].conj() * direction[i]).item<double>();
      EXPECT_NEAR(actual, expected, 1e-7 * std::max(1.0, std::abs(expected))) << kNames[i];
    }
  }
}

class SelectiveScanSimdTest : public SimdTargetTest {};

STRANDWAVE_INSTANTIATE_ON_SIMD_TARGETS(SelectiveScanSimdTest);

TEST_P(SelectiveScanSimdTest, FollowsReference) {
  for (const Case& c : cases()) {
    const std::string name = c.name.substr(c.complex ? std::strlen("complex_") : 0);
    if (name.find("fp") != 0 && name.find("bf") != 0 && name.find("delta") != 0 &&
        name != "channels_37" && name != "d_state_5" && name != "A_very_negative" &&
        name != "packed_chunk_ends_reverse" && name != "length_2049" && name != "fast")
      continue;
    SCOPED_TRACE(c.name);
    expect_follows_reference(c, cpu_device());
  }
  ScanArguments a = make_arguments({.name = "nan", .length = 10});
  a.delta.select(1, 5).fill_(std::numeric_limits<double>::quiet_NaN());
  EXPECT_TRUE(run(a).out.select(1, 5).isnan().all().item<bool>());
}

// Every 16-bit value survives the way in and out: u -> D u with D = 1 and no state.
TEST_P(SelectiveScanSimdTest, SixteenBitTypesRoundToNearestEven) {
  for (const at::ScalarType type : {at::kHalf, at::kBFloat16}) {
    const Tensor bits = at::arange(-32768, 32768, at::kInt).to(at::kShort);
    const Tensor u = bits.view(type).view({1, 256, 256});
    const Tensor zeros = at::zeros({1, 256, 1}, type);
    for (const double factor : {1.0, 1.0 + 1.0 / 512, 0x1p-13}) {
      const Tensor D = at::full({256}, factor, at::kFloat);
      const Tensor finite = at::where(u.isfinite(), u, at::zeros_like(u));
      const Tensor out =
          selective_scan(finite, at::zeros_like(u), at::zeros({256, 1}), zeros, zeros, D).out;
      const Tensor expected = (finite.to(at::kFloat) * D).to(type);
      EXPECT_TRUE(at::equal(out, expected)) << type << " times " << factor;
    }
  }
}

}  // namespace
}  // namespace strandwave
