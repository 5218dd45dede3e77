#include "core/layers/state_space.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/layers/hippo.h"
#include "core/layers/parameters.h"
#include "core/layers/s4.h"
#include "core/layers/s4d.h"
#include "tests/reference/state_space_reference.h"

namespace strandwave {
namespace {

using torch::Tensor;

constexpr int64_t kChannels = 6;

Tensor values(at::IntArrayRef shape, uint64_t seed) {
  return normal_tensor(shape, 1.0, RandomStream(seed, RandomPurpose::kSynthetic));
}

double relative_error(const Tensor& a, const Tensor& b) {
  const Tensor x = a.detach().cpu().to(b.is_complex() ? torch::kComplexDouble : torch::kDouble);
  const Tensor y = b.detach().cpu().to(x.scalar_type());
  if (x.numel() == 0) return 0;
  return ((x - y).abs().max() / (y.abs().max() + 1e-30)).item<double>();
}

// A layer, the type of its parameters and inputs, and the largest relative error of outputs;
// gradients may have ten times as much.
struct Setting {
  torch::DeviceType device;
  torch::ScalarType type;
  double tolerance;
  const char* kind;
  const char* options;

  friend void PrintTo(const Setting& s, std::ostream* out) { *out << s.kind << " " << s.options; }
};

class StateSpaceTest : public testing::TestWithParam<Setting> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA && !torch::cuda::is_available())
      GTEST_SKIP() << "no CUDA device";
    const nlohmann::json options = nlohmann::json::parse(GetParam().options);
    JsonObject object(options, "test");
    config_ = StateSpaceConfig::read(object, diagonal());
    if (diagonal())
      layer_ = std::make_shared<S4D>(config_, kChannels, 0, 7, 0);
    else
      layer_ = std::make_shared<S4>(config_, kChannels, 0, 7, 0);
    layer_->to(GetParam().device);
    layer_->to(GetParam().type);
    D_ = input({kChannels}, 50);
  }

  bool diagonal() const { return std::string(GetParam().kind) == "s4d"; }
  double tolerance() const { return GetParam().tolerance; }

  Tensor input(at::IntArrayRef shape, uint64_t seed) const {
    return values(shape, seed).to(GetParam().device).to(GetParam().type);
  }
  Tensor state(int64_t batch, uint64_t seed) const {
    return torch::view_as_complex(input({batch, kChannels, config_.d_state / 2, 2}, seed));
  }

  // Parameters first, so that gradients can be compared by name.
  std::pair<Tensor, Tensor> expected(const Tensor& u, const Tensor& initial) const {
    const auto p = layer_->named_parameters();
    const auto get = [&](const char* name) { return p.contains(name) ? p[name].cpu() : Tensor(); };
    const auto matrices = reference::state_space_matrices(
        {get("inv_dt"), get("A_real"), get("A_imag"), get("B"), get("C"), get("P")},
        {config_.dt_transform == "softplus", config_.discretization == "zoh", config_.l_kernel});
    return reference::state_space(matrices, u.cpu(), D_.cpu(), initial.cpu());
  }

  StateSpaceConfig config_;
  std::shared_ptr<StateSpace> layer_;
  Tensor D_;
};

TEST_P(StateSpaceTest, OutputsStatesAndGradientsEqualTheRecurrence) {
  for (const int64_t length : {1, 2, 37, 100}) {
    Tensor u = input({2, length, kChannels}, 1).requires_grad_();
    Tensor initial = state(2, 2).requires_grad_();
    D_.requires_grad_();
    const StateSpaceOutput out = layer_->forward(u, D_, initial, true);
    const auto [y, final_state] = expected(u, initial);
    EXPECT_EQ(out.y.scalar_type(), u.scalar_type());
    EXPECT_LT(relative_error(out.y, y), tolerance()) << length;
    EXPECT_LT(relative_error(out.final_state, final_state), tolerance()) << length;

    std::vector<Tensor> leaves = layer_->parameters();
    std::vector<std::string> names;
    for (const auto& item : layer_->named_parameters()) names.push_back(item.key());
    for (const auto& [name, leaf] :
         {std::pair{"u", u}, std::pair{"initial", initial}, std::pair{"D", D_}}) {
      names.emplace_back(name);
      leaves.push_back(leaf);
    }
    const Tensor dy = input(y.sizes(), 3), dh = state(2, 4);
    const auto ours = torch::autograd::grad({out.y, out.final_state}, leaves, {dy, dh});
    const auto theirs =
        torch::autograd::grad({y, final_state}, leaves,
                              {dy.cpu().to(torch::kDouble), dh.cpu().to(torch::kComplexDouble)});
    for (size_t i = 0; i < leaves.size(); ++i)
      EXPECT_LT(relative_error(ours[i], theirs[i]), 10 * tolerance())
          << names[i] << " at length " << length;
  }
}

TEST_P(StateSpaceTest, WithoutAStateIsWithAZeroOne) {
  const torch::NoGradGuard no_grad;
  const Tensor u = input({2, 70, kChannels}, 1);
  const StateSpaceOutput without = layer_->forward(u, D_, {}, true);
  const StateSpaceOutput with = layer_->forward(u, D_, torch::zeros_like(state(2, 1)), true);
  EXPECT_LT(relative_error(without.y, with.y), tolerance());
  EXPECT_LT(relative_error(without.final_state, with.final_state), tolerance());
  EXPECT_FALSE(layer_->forward(u, D_, {}, false).final_state.defined());
}

TEST_P(StateSpaceTest, SplitsEqualOneShotGradientsIncluded) {
  constexpr int64_t kLength = 200;
  Tensor u = input({2, kLength, kChannels}, 1).requires_grad_();
  std::vector<Tensor> leaves = layer_->parameters();
  leaves.push_back(u);
  const Tensor dy = input({2, kLength, kChannels}, 3), dh = state(2, 4);
  const StateSpaceOutput whole = layer_->forward(u, D_, {}, true);
  const auto gradients = torch::autograd::grad({whole.y, whole.final_state}, leaves, {dy, dh});
  for (const int64_t cut : {int64_t{0}, int64_t{1}, int64_t{63}, int64_t{64}, kLength - 1}) {
    const StateSpaceOutput head = layer_->forward(u.narrow(1, 0, cut), D_, {}, true);
    const StateSpaceOutput tail =
        layer_->forward(u.narrow(1, cut, kLength - cut), D_, head.final_state, true);
    const Tensor y = torch::cat({head.y, tail.y}, 1);
    EXPECT_LT(relative_error(y, whole.y), tolerance()) << cut;
    EXPECT_LT(relative_error(tail.final_state, whole.final_state), tolerance()) << cut;
    const auto split = torch::autograd::grad({y, tail.final_state}, leaves, {dy, dh});
    for (size_t i = 0; i < leaves.size(); ++i)
      EXPECT_LT(relative_error(split[i], gradients[i]), 10 * tolerance()) << i << " cut " << cut;
  }
}

TEST_P(StateSpaceTest, StepsEqualForward) {
  const torch::NoGradGuard no_grad;
  const Tensor u = input({3, 90, kChannels}, 1);
  const StateSpaceOutput whole = layer_->forward(u, D_, {}, true);
  Tensor state = layer_->allocate_state(3, u.options());
  const void* address = state.data_ptr();
  std::vector<Tensor> y;
  for (int64_t t = 0; t < 90; ++t) y.push_back(layer_->step(u.select(1, t), D_, state));
  EXPECT_LT(relative_error(torch::stack(y, 1), whole.y), tolerance());
  EXPECT_LT(relative_error(state, whole.final_state), tolerance());
  EXPECT_EQ(state.data_ptr(), address);
}

TEST_P(StateSpaceTest, AStepSeesChangedParameters) {
  const torch::NoGradGuard no_grad;
  const Tensor u = input({1, 1, kChannels}, 1);
  Tensor state = layer_->allocate_state(1, u.options());
  layer_->step(u.select(1, 0), D_, state);
  for (Tensor& parameter : layer_->parameters()) parameter.mul_(1.25);  // counts a version
  EXPECT_LT(relative_error(layer_->step(u.select(1, 0), D_, state.zero_()),
                           layer_->forward(u, D_, {}, false).y.select(1, 0)),
            tolerance());
  for (Tensor& parameter : layer_->parameters()) parameter.data().mul_(0.8);  // leaves no trace
  state = layer_->allocate_state(1, u.options());
  EXPECT_LT(relative_error(layer_->step(u.select(1, 0), D_, state),
                           layer_->forward(u, D_, {}, false).y.select(1, 0)),
            tolerance());
}

TEST_P(StateSpaceTest, LengthZeroPassesTheState) {
  const torch::NoGradGuard no_grad;
  const Tensor u = input({2, 0, kChannels}, 1), initial = state(2, 2);
  const StateSpaceOutput out = layer_->forward(u, D_, initial, true);
  EXPECT_EQ(out.y.size(1), 0);
  EXPECT_TRUE(torch::equal(out.final_state, initial));
}

constexpr auto kCpu = torch::kCPU;
INSTANTIATE_TEST_SUITE_P(
    Cpu, StateSpaceTest,
    testing::Values(
        Setting{kCpu, torch::kDouble, 1e-9, "s4d", R"({"d_state": 8, "init": "lin"})"},
        Setting{kCpu, torch::kDouble, 1e-9, "s4d",
                R"({"d_state": 8, "init": "legs", "discretization": "bilinear"})"},
        Setting{kCpu, torch::kDouble, 1e-9, "s4d",
                R"({"d_state": 6, "init": "inv", "dt_transform": "softplus", "n_ssm": 2})"},
        Setting{kCpu, torch::kDouble, 1e-9, "s4d", R"({"d_state": 2, "init": "real"})"},
        Setting{kCpu, torch::kFloat, 2e-5, "s4d", R"({"d_state": 16, "init": "legs"})"},
        Setting{kCpu, torch::kDouble, 1e-9, "s4", R"({"d_state": 8})"},
        Setting{kCpu, torch::kDouble, 1e-9, "s4", R"({"d_state": 8, "l_kernel": 100})"},
        Setting{kCpu, torch::kDouble, 1e-9, "s4", R"({"d_state": 8, "l_kernel": 37, "n_ssm": 1})"},
        Setting{kCpu, torch::kDouble, 1e-9, "s4",
                R"({"d_state": 8, "l_kernel": 23, "dt_transform": "softplus", "n_ssm": 3})"},
        Setting{kCpu, torch::kDouble, 1e-9, "s4", R"({"d_state": 8, "l_kernel": 2000})"},
        Setting{kCpu, torch::kDouble, 1e-8, "s4", R"({"d_state": 4, "l_kernel": 1})"},
        Setting{kCpu, torch::kDouble, 1e-9, "s4",
                R"({"d_state": 4, "l_kernel": 60, "init": "lin"})"},
        Setting{kCpu, torch::kFloat, 1e-4, "s4", R"({"d_state": 16, "l_kernel": 250})"},
        Setting{kCpu, torch::kFloat, 1e-4, "s4", R"({"d_state": 16})"}));
INSTANTIATE_TEST_SUITE_P(
    Cuda, StateSpaceTest,
    testing::Values(
        Setting{torch::kCUDA, torch::kFloat, 1e-4, "s4d", R"({"d_state": 16, "init": "legs"})"},
        Setting{torch::kCUDA, torch::kFloat, 1e-4, "s4d",
                R"({"d_state": 16, "init": "lin", "discretization": "bilinear"})"},
        Setting{torch::kCUDA, torch::kFloat, 2e-4, "s4", R"({"d_state": 16, "l_kernel": 250})"},
        Setting{torch::kCUDA, torch::kFloat, 2e-4, "s4", R"({"d_state": 16, "l_kernel": 64})"}));

TEST(Hippo, LegSIsDiagonalPlusRankOne) {
  // For real s outside the spectrum, p^T (s - (A + p p^T))^-1 p does not depend on the basis.
  constexpr int64_t kN = 64;
  const Tensor k = torch::arange(kN, torch::kDouble), root = (2 * k + 1).sqrt();
  const Tensor A = -torch::outer(root, root).tril(-1) - torch::diag(k + 1);
  const Tensor p = (k + 0.5).sqrt();
  const InitialStateMatrix legs = initial_state_matrix("legs", kN);
  ASSERT_EQ(legs.A.numel(), kN / 2);
  for (const double s : {0.1, 1.0, 30.0}) {
    const Tensor dense = torch::dot(
        p, torch::linalg_solve(s * torch::eye(kN, k.options()) - A - torch::outer(p, p), p));
    const double ours = pair_sum(legs.P * legs.P.conj(), 1 / (s - legs.A)).item<double>();
    EXPECT_NEAR(ours, dense.item<double>(), 1e-9 * std::abs(ours)) << s;
  }
  EXPECT_TRUE((torch::real(legs.A) == -0.5).all().item<bool>());
  EXPECT_TRUE((torch::imag(legs.A) < 0).all().item<bool>());
  EXPECT_LT(relative_error(torch::real(legs.B), torch::real(legs.P) * std::sqrt(2.0)), 1e-12);
  EXPECT_LE(torch::imag(legs.B).abs().max().item<double>(), 2.0);
}

TEST(Hippo, DiagonalInitialisations) {
  const auto equal = [](const Tensor& a, const std::vector<c10::complex<double>>& expected) {
    EXPECT_LT(relative_error(a, torch::tensor(expected)), 1e-12);
  };
  constexpr double kPi = 3.14159265358979323846;
  equal(initial_state_matrix("lin", 6).A, {{-0.5, 0}, {-0.5, -kPi}, {-0.5, -2 * kPi}});
  equal(initial_state_matrix("inv", 4).A, {{-0.5, -12 / kPi}, {-0.5, -4 / kPi * (4 / 3.0 - 1)}});
  equal(initial_state_matrix("real", 6).A, {{-1, 0}, {-2, 0}, {-3, 0}});
  equal(initial_state_matrix("inv", 4).B, {{1, 0}, {1, 0}});
  EXPECT_FALSE(initial_state_matrix("lin", 6).P.defined());
  EXPECT_THROW(initial_state_matrix("quad", 6), Error);
}

}  // namespace
}  // namespace strandwave
