#include "core/training/flat_parameters.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace strandwave {
namespace {

struct Parts : torch::nn::Module {
  Parts() {
    bias = register_parameter("bias", torch::arange(3, torch::kFloat32));
    weight = register_parameter("weight", torch::arange(15, torch::kFloat32).view({5, 3}) / 7);
    scale = register_parameter("scale", torch::full({1}, 0.5f));
    A_log = register_parameter("A_log", torch::ones({2, 70}));
    table = register_parameter("table", torch::arange(130, torch::kFloat32).view({65, 2}) / 3);
  }
  torch::Tensor bias, weight, scale, A_log, table;
};

bool decays(const std::string& name, const torch::Tensor& tensor) {
  return tensor.dim() >= 2 && name != "A_log" && name != "table";
}
bool lowered(const std::string& name, const torch::Tensor&) {
  return name == "weight" || name == "table";
}

class FlatParametersTest : public testing::TestWithParam<torch::DeviceType> {
 protected:
  void SetUp() override {
    if (GetParam() == torch::kCUDA && !torch::cuda::is_available())
      GTEST_SKIP() << "no GPU is visible";
  }
  torch::Device device_ = GetParam();
};

std::vector<std::string> names(const FlatParameters& flat) {
  std::vector<std::string> result;
  for (const auto& entry : flat.entries()) result.push_back(entry.name);
  return result;
}

TEST_P(FlatParametersTest, OrderOffsetsAndRanges) {
  const FlatParameters flat(std::make_shared<Parts>(), decays, lowered, true, device_);
  EXPECT_EQ(names(flat), (std::vector<std::string>{"table", "weight", "bias", "scale", "A_log"}));
  std::vector<int64_t> offsets;
  for (const auto& entry : flat.entries()) offsets.push_back(entry.offset);
  EXPECT_EQ(offsets, (std::vector<int64_t>{0, 192, 256, 320, 384}));
  EXPECT_EQ(flat.size(), 1024);
  EXPECT_EQ(flat.parameter_count(), 3 + 15 + 1 + 140 + 130);
  ASSERT_EQ(flat.decaying().size(), 1u);
  EXPECT_EQ(flat.decaying()[0].begin, 192);
  EXPECT_EQ(flat.decaying()[0].end, 256);
  ASSERT_EQ(flat.not_decaying().size(), 2u);
  EXPECT_EQ(flat.not_decaying()[0].end, 192);
  EXPECT_EQ(flat.not_decaying()[1].begin, 256);
  EXPECT_EQ(flat.not_decaying()[1].end, 1024);
}

TEST_P(FlatParametersTest, ParametersAreViewsWithTheirValues) {
  const auto module = std::make_shared<Parts>();
  const Parts original;
  const FlatParameters flat(module, decays, lowered, false, device_);
  EXPECT_EQ(module->weight.device().type(), GetParam());
  const auto expected = original.named_parameters();
  for (const auto& entry : flat.entries()) {
    torch::Tensor parameter = module->named_parameters()[entry.name];
    EXPECT_TRUE(torch::equal(parameter.cpu(), expected[entry.name])) << entry.name;
    EXPECT_EQ(parameter.data_ptr<float>(), flat.masters().data_ptr<float>() + entry.offset);
    EXPECT_EQ(parameter.grad().data_ptr<float>(),
              flat.gradients().data_ptr<float>() + entry.offset);
    EXPECT_TRUE(parameter.requires_grad());
  }
  const double sum = flat.masters().abs().sum().item<double>();
  double parts = 0;
  for (const auto& item : expected) parts += item.value().abs().sum().item<double>();
  EXPECT_NEAR(sum, parts, 1e-3);  // the gaps are zero
}

TEST_P(FlatParametersTest, BackwardFillsTheFlatGradient) {
  const auto module = std::make_shared<Parts>();
  FlatParameters flat(module, decays, lowered, false, device_);
  for (int i = 0; i < 2; ++i) {  // a second backward adds
    (module->weight.sum() * 2 + module->bias.square().sum()).backward();
    flat.collect_gradients();
  }
  for (const auto& entry : flat.entries()) {
    const torch::Tensor gradient = FlatParameters::view(flat.gradients(), entry).cpu();
    torch::Tensor expected = torch::zeros(entry.shape);
    if (entry.name == "weight") expected.fill_(4);
    if (entry.name == "bias") expected = 4 * torch::arange(3, torch::kFloat32);
    EXPECT_TRUE(torch::equal(gradient, expected)) << entry.name;
  }
  flat.zero_gradients();
  EXPECT_EQ(flat.gradients().abs().sum().item<float>(), 0);
  EXPECT_EQ(module->weight.grad().abs().sum().item<float>(), 0);
}

TEST_P(FlatParametersTest, LoweredParametersFollowTheMasters) {
  const auto module = std::make_shared<Parts>();
  FlatParameters flat(module, decays, lowered, true, device_);
  EXPECT_EQ(module->weight.scalar_type(), torch::kBFloat16);
  EXPECT_EQ(module->table.scalar_type(), torch::kBFloat16);
  EXPECT_EQ(module->bias.scalar_type(), torch::kFloat32);
  const auto& entry = flat.entries()[1];
  ASSERT_EQ(entry.name, "weight");
  const torch::Tensor master = FlatParameters::view(flat.masters(), entry);
  EXPECT_TRUE(torch::equal(module->weight, master.to(torch::kBFloat16)));
  EXPECT_FALSE(torch::equal(module->weight.to(torch::kFloat32), master));  // masters keep all bits
  {
    const torch::NoGradGuard no_grad;
    flat.masters().mul_(1.25);
  }
  flat.refresh();
  EXPECT_TRUE(torch::equal(module->weight, master.to(torch::kBFloat16)));
}

// 256 + 1 is not a bf16 number: the sum over micro-batches must be one of float32.
TEST_P(FlatParametersTest, LoweredGradientsAddUpInFloat32) {
  const auto module = std::make_shared<Parts>();
  FlatParameters flat(module, decays, lowered, true, device_);
  for (const double factor : {256.0, 1.0}) {
    (module->weight.to(torch::kFloat32).sum() * factor + module->bias.sum()).backward();
    flat.collect_gradients();
  }
  const torch::Tensor weight = FlatParameters::view(flat.gradients(), flat.entries()[1]);
  EXPECT_TRUE(torch::equal(weight.cpu(), torch::full({5, 3}, 257.0f)));
  EXPECT_TRUE(torch::equal(module->bias.grad().cpu(), torch::full({3}, 2.0f)));
}

TEST_P(FlatParametersTest, FrozenParametersStayApart) {
  const auto module = std::make_shared<Parts>();
  module->table.set_requires_grad(false);
  module->scale.set_requires_grad(false);
  const torch::Tensor table = module->table.detach().clone();
  const FlatParameters flat(module, decays, lowered, true, device_);
  EXPECT_EQ(names(flat), (std::vector<std::string>{"weight", "bias", "A_log"}));
  EXPECT_EQ(flat.parameter_count(), 15 + 3 + 140);
  ASSERT_EQ(flat.frozen().size(), 2u);
  EXPECT_EQ(flat.frozen()[1].first, "table");
  // Computes in bf16, is saved as it was.
  EXPECT_EQ(module->table.scalar_type(), torch::kBFloat16);
  EXPECT_TRUE(torch::equal(flat.frozen()[1].second.cpu(), table));
  EXPECT_FALSE(module->table.grad().defined());
}

INSTANTIATE_TEST_SUITE_P(Cpu, FlatParametersTest, testing::Values(torch::kCPU));
INSTANTIATE_TEST_SUITE_P(Cuda, FlatParametersTest, testing::Values(torch::kCUDA));

TEST(FlatParameters, WithoutPredicatesMatricesDecay) {
  const FlatParameters flat(std::make_shared<Parts>(), nullptr, nullptr, true, torch::kCPU);
  for (const auto& entry : flat.entries()) {
    EXPECT_EQ(entry.decays, entry.shape.size() >= 2) << entry.name;
    EXPECT_FALSE(entry.lowered);
  }
}

TEST(FlatParameters, RefusesWhatCheckpointsWouldLose) {
  const auto make = [](std::shared_ptr<torch::nn::Module> module) {
    FlatParameters flat(std::move(module), nullptr, nullptr, false, torch::kCPU);
  };
  const auto buffered = std::make_shared<Parts>();
  buffered->register_buffer("mean", torch::zeros(2));
  EXPECT_THROW(make(buffered), c10::Error);
  const auto frozen = std::make_shared<Parts>();
  for (torch::Tensor& parameter : frozen->parameters()) parameter.set_requires_grad(false);
  EXPECT_THROW(make(frozen), c10::Error);
  const auto twice = std::make_shared<Parts>();
  twice->register_parameter("again", twice->weight);
  EXPECT_THROW(make(twice), c10::Error);
}

}  // namespace
}  // namespace strandwave
