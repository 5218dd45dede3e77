#include "core/training/optimizer.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>

#include "core/training/schedule.h"

namespace strandwave {
namespace {

struct Two : torch::nn::Module {
  Two() {
    matrix = register_parameter("matrix", torch::linspace(-1, 1, 300).view({20, 15}));
    vector = register_parameter("vector", torch::linspace(0.5, 2, 17));
  }
  torch::Tensor matrix, vector;
};

// AdamW written out for one tensor in double precision.
struct ReferenceAdamW {
  explicit ReferenceAdamW(const torch::Tensor& start)
      : p(start.to(torch::kFloat64).cpu().clone()),
        m(torch::zeros_like(p)),
        v(torch::zeros_like(p)),
        ema(p.clone()) {}

  void step(const torch::Tensor& gradient, double lr, double decay, const AdamWConfig& config) {
    ++t;
    m = config.beta1 * m + (1 - config.beta1) * gradient;
    v = config.beta2 * v + (1 - config.beta2) * gradient * gradient;
    p = p - lr * decay * p;
    const torch::Tensor m_hat = m / (1 - std::pow(config.beta1, t));
    const torch::Tensor v_hat = v / (1 - std::pow(config.beta2, t));
    p = p - lr * m_hat / (v_hat.sqrt() + config.eps);
    ema = config.ema_decay * ema + (1 - config.ema_decay) * p;
  }

  torch::Tensor p, m, v, ema;
  int t = 0;
};

class OptimizerTest : public testing::TestWithParam<torch::DeviceType> {
 protected:
  void SetUp() override {
    if (GetParam() == torch::kCUDA && !torch::cuda::is_available()) {
      GTEST_SKIP() << "no GPU is visible";
    }
    module_ = std::make_shared<Two>();
    flat_ = std::make_unique<FlatParameters>(module_, nullptr, nullptr, false, device_);
  }

  // A gradient that depends on the step, with norm `norm`.
  torch::Tensor gradient(const torch::Tensor& like, int step) const {
    return torch::sin(torch::arange(like.numel(), torch::kFloat64) * (0.3 + step)).view_as(like);
  }
  void set_gradients(int step, double factor) {
    const torch::NoGradGuard no_grad;
    module_->matrix.mutable_grad().copy_(factor * gradient(module_->matrix, step));
    module_->vector.mutable_grad().copy_(factor * gradient(module_->vector, step));
  }
  torch::Tensor loss(double value = 1) const {
    return torch::full({}, value, torch::TensorOptions().dtype(torch::kFloat64).device(device_));
  }
  torch::Tensor part(const torch::Tensor& flat, const std::string& name) const {
    for (const auto& entry : flat_->entries())
      if (entry.name == name) return FlatParameters::view(flat, entry).cpu().to(torch::kFloat64);
    throw std::logic_error(name);
  }

  torch::Device device_ = GetParam();
  std::shared_ptr<Two> module_;
  std::unique_ptr<FlatParameters> flat_;
};

void expect_close(const torch::Tensor& actual, const torch::Tensor& expected, const char* what) {
  EXPECT_LT((actual - expected).abs().max().item<double>(), 2e-6) << what;
}

TEST_P(OptimizerTest, FollowsTheEquations) {
  const AdamWConfig config{.weight_decay = 0.3, .clip = 0.5, .ema_decay = 0.8};
  ReferenceAdamW matrix(module_->matrix.detach()), vector(module_->vector.detach());
  AdamW optimizer(*flat_, config);
  for (int step = 0; step < 5; ++step) {
    const double factor = step % 2 == 0 ? 3.0 : 1e-3;  // clipped and not
    const double lr = 0.01 * (step + 1);
    const torch::Tensor g = factor * gradient(matrix.p, step);
    const torch::Tensor h = factor * gradient(vector.p, step);
    const double norm = std::sqrt((g.square().sum() + h.square().sum()).item<double>());
    const double scale = std::max(1.0, norm / config.clip);
    matrix.step(g / scale, lr, config.weight_decay, config);
    vector.step(h / scale, lr, 0, config);
    set_gradients(step, factor);
    optimizer.step(lr, loss());
    EXPECT_NEAR(optimizer.gradient_norm().item<double>(), norm, 1e-6 * norm);
    EXPECT_EQ(optimizer.left_out().item<float>(), 0);
    EXPECT_EQ(flat_->gradients().abs().max().item<float>(), 0);
  }
  expect_close(part(flat_->masters(), "matrix"), matrix.p, "matrix");
  expect_close(part(flat_->masters(), "vector"), vector.p, "vector");
  expect_close(part(optimizer.exp_avg(), "matrix"), matrix.m, "exp_avg");
  expect_close(part(optimizer.exp_avg_sq(), "matrix"), matrix.v, "exp_avg_sq");
  expect_close(part(optimizer.ema(), "vector"), vector.ema, "ema");
  expect_close(part(flat_->masters(), "matrix"), module_->matrix.detach().cpu().to(torch::kFloat64),
               "the parameter is the master");
}

TEST_P(OptimizerTest, StepsThatAreNotFiniteChangeNothing) {
  const AdamWConfig config{.ema_decay = 0.9};
  const auto trained = [&](bool disturb) {
    module_ = std::make_shared<Two>();
    flat_ = std::make_unique<FlatParameters>(module_, nullptr, nullptr, false, device_);
    AdamW optimizer(*flat_, config);
    float left_out = 0;
    for (int step = 0; step < 4; ++step) {
      set_gradients(step, 1);
      optimizer.step(0.01, loss());
      if (!disturb) continue;
      set_gradients(step, 1);
      const torch::NoGradGuard no_grad;
      // In turn: a gradient of NaN, one of infinity, a loss of NaN.
      if (step == 0) module_->matrix.mutable_grad()[3][4] = std::nanf("");
      if (step == 1) module_->vector.mutable_grad()[0] = std::numeric_limits<float>::infinity();
      optimizer.step(0.01, loss(step >= 2 ? std::nan("") : 1));
      left_out += optimizer.left_out().item<float>();
    }
    EXPECT_EQ(left_out, disturb ? 4 : 0);
    return torch::cat(
        {flat_->masters(), optimizer.exp_avg(), optimizer.exp_avg_sq(), optimizer.ema()});
  };
  EXPECT_TRUE(torch::equal(trained(false), trained(true)));
}

TEST_P(OptimizerTest, LoweredCopiesAreRefreshed) {
  module_ = std::make_shared<Two>();
  const auto all = [](const std::string&, const torch::Tensor&) { return true; };
  flat_ = std::make_unique<FlatParameters>(module_, nullptr, all, true, device_);
  AdamW optimizer(*flat_, {});
  const torch::Tensor before = module_->matrix.detach().clone();
  (module_->matrix.to(torch::kFloat32).square().sum() + module_->vector.to(torch::kFloat32).sum())
      .backward();
  flat_->collect_gradients();
  optimizer.step(0.1, loss());
  EXPECT_FALSE(torch::equal(before, module_->matrix));
  EXPECT_TRUE(
      torch::equal(module_->matrix.cpu(), part(flat_->masters(), "matrix").to(torch::kBFloat16)));
}

TEST_P(OptimizerTest, NormIsExactInAnySize) {
  for (const int64_t size : {1, 31, 1023, 1024, 1025, 70000, 1050625}) {
    const torch::Tensor values =
        torch::cos(torch::arange(size, torch::kFloat64) * 0.7).to(torch::kFloat32);
    const double expected = values.to(torch::kFloat64).norm().item<double>();
    EXPECT_NEAR(flat_norm(values.to(device_)).item<double>(), expected, 1e-6 * expected) << size;
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, OptimizerTest, testing::Values(torch::kCPU));
INSTANTIATE_TEST_SUITE_P(Cuda, OptimizerTest, testing::Values(torch::kCUDA));

TEST(FlatNorm, DoesNotDependOnTheNumberOfThreads) {
  const torch::Tensor values = torch::cos(torch::arange(3000001, torch::kFloat32) * 0.7f);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const float one = flat_norm(values).item<float>();
  at::set_num_threads(2);
  const float two = flat_norm(values).item<float>();
  at::set_num_threads(threads);
  EXPECT_EQ(one, two);
}

TEST(Schedule, WarmsUpAndFollowsACosine) {
  const auto lr = [](int64_t step) { return learning_rate_at_step(step, 101, 10, 1.0, 0.1); };
  EXPECT_DOUBLE_EQ(lr(0), 0.1);
  EXPECT_DOUBLE_EQ(lr(4), 0.5);
  EXPECT_DOUBLE_EQ(lr(9), 1.0);
  EXPECT_DOUBLE_EQ(lr(10), 1.0);
  EXPECT_NEAR(lr(55), 0.55, 1e-12);
  EXPECT_NEAR(lr(40), 0.1 + 0.45 * (1 + 0.5), 1e-12);  // a third of the way: cos(60 degrees)
  EXPECT_DOUBLE_EQ(lr(100), 0.1);
}

TEST(Schedule, ShortRuns) {
  EXPECT_DOUBLE_EQ(learning_rate_at_step(0, 1, 0, 0.5, 0), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate_at_step(1, 2, 2, 0.5, 0), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate_at_step(1, 2, 0, 0.5, 0.25), 0.25);
}

TEST(Schedule, LengthDoubles) {
  std::vector<int64_t> lengths;
  for (int64_t step = 0; step < 8; ++step) lengths.push_back(length_at_step(step, 6, 1024, 8192));
  EXPECT_EQ(lengths, (std::vector<int64_t>{1024, 1024, 2048, 2048, 4096, 4096, 8192, 8192}));
  EXPECT_EQ(length_at_step(0, 0, 1024, 8192), 8192);
  EXPECT_EQ(length_at_step(0, 6, 8192, 8192), 8192);
  EXPECT_EQ(length_at_step(5, 6, 1000, 1500), 1000);
}

}  // namespace
}  // namespace strandwave
