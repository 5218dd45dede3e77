#include "audio/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "core/base/error.h"
#include "core/runtime/accelerator.h"

namespace strandwave::audio {
namespace {

torch::Tensor random_logits(int64_t rows, int64_t classes, int64_t seed) {
  torch::manual_seed(static_cast<uint64_t>(seed));
  return 3 * torch::randn({rows, classes});
}

// The definition, step by step.
std::vector<double> slow_distribution(const torch::Tensor& row, const SamplingOptions& options) {
  const auto logits = row.to(torch::kFloat64);
  const auto count = static_cast<size_t>(logits.size(0));
  std::vector<double> p(count);
  const double most = logits.max().item<double>();
  double sum = 0;
  for (size_t k = 0; k < count; ++k) {
    p[k] = std::exp((logits[static_cast<int64_t>(k)].item<double>() - most) / options.temperature);
    sum += p[k];
  }
  for (double& value : p) value /= sum;
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] > p[b]; });
  double reached = 0;
  for (const size_t k : order) {
    if (reached >= options.top_p) p[k] = 0;
    reached += p[k];
  }
  for (double& value : p) value /= reached;
  return p;
}

TEST(Sampler, DistributionFollowsTheStatedOrder) {
  const torch::Tensor logits = random_logits(4, 50, 1);
  for (const SamplingOptions options :
       {SamplingOptions{1, 1}, SamplingOptions{0.5, 1}, SamplingOptions{1, 0.6},
        SamplingOptions{1.7, 0.9}, SamplingOptions{0.8, 0.05}}) {
    const torch::Tensor p = drawn_distribution(logits, options);
    for (int64_t row = 0; row < 4; ++row) {
      const std::vector<double> expected = slow_distribution(logits[row], options);
      for (int64_t k = 0; k < 50; ++k)
        EXPECT_NEAR(expected[static_cast<size_t>(k)], p[row][k].item<double>(), 1e-10)
            << "temperature " << options.temperature << ", top-p " << options.top_p << ", class "
            << k;
    }
  }
}

TEST(Sampler, TopPTakesTheSmallestSetThatReachesIt) {
  const torch::Tensor logits = torch::tensor({{0.1, 0.4, 0.3, 0.2}}).log();
  const auto kept = [&](double top_p) {
    return (drawn_distribution(logits, {1, top_p}) > 0).sum().item<int64_t>();
  };
  EXPECT_EQ(1, kept(0.39));
  EXPECT_EQ(2, kept(0.41));
  EXPECT_EQ(2, kept(0.69));
  EXPECT_EQ(3, kept(0.71));
  EXPECT_EQ(4, kept(0.91));
  // Equals: the lower number first.
  const torch::Tensor equal = drawn_distribution(torch::zeros({1, 4}), {1, 0.5});
  EXPECT_TRUE(torch::equal(equal, torch::tensor({{0.5, 0.5, 0.0, 0.0}}, torch::kFloat64)));
}

TEST(Sampler, TemperatureComesBeforeTopP) {
  // At temperature 1 the first class alone reaches 0.6; at 4 it does not.
  const torch::Tensor logits = torch::tensor({{0.7, 0.2, 0.1}}).log();
  EXPECT_EQ(1, (drawn_distribution(logits, {1, 0.6}) > 0).sum().item<int64_t>());
  EXPECT_EQ(2, (drawn_distribution(logits, {4, 0.6}) > 0).sum().item<int64_t>());
}

TEST(Sampler, InverseCdfGivesEachClassItsShare) {
  constexpr int64_t kDraws = 20000;
  const torch::Tensor row = random_logits(1, 12, 2);
  const SamplingOptions options{0.9, 0.95};
  const torch::Tensor uniforms =
      (torch::arange(kDraws, torch::kFloat64) + 0.5) / static_cast<double>(kDraws);
  const Draw drawn = draw(row.expand({kDraws, -1}), options, uniforms);
  // The classes come in their order as u grows.
  EXPECT_TRUE((drawn.ids.slice(0, 1) >= drawn.ids.slice(0, 0, kDraws - 1)).all().item<bool>());
  const torch::Tensor share =
      torch::bincount(drawn.ids, {}, 12).to(torch::kFloat64) / static_cast<double>(kDraws);
  const torch::Tensor p = drawn_distribution(row, options)[0];
  EXPECT_LT((share - p).abs().max().item<double>(), 1.5 / static_cast<double>(kDraws));
  EXPECT_TRUE(torch::allclose(drawn.log_probability, p.index_select(0, drawn.ids).log(), 1e-9));
}

TEST(Sampler, ImpossibleClassesAreNeverDrawn) {
  torch::Tensor logits = torch::zeros({2, 4});
  logits.slice(1, 0, 1).fill_(-1000);
  logits.slice(1, 3, 4).fill_(-1000);
  const torch::Tensor ends = torch::tensor({0.0, 1 - 0x1p-53}, torch::kFloat64);
  const Draw drawn = draw(logits, {}, ends);
  EXPECT_EQ(1, drawn.ids[0].item<int64_t>());
  EXPECT_EQ(2, drawn.ids[1].item<int64_t>());
  EXPECT_NEAR(std::log(0.5), drawn.log_probability[0].item<double>(), 1e-9);
}

TEST(Sampler, TemperatureZeroIsArgmax) {
  const torch::Tensor logits = torch::tensor({{1.0, 3.0, 3.0, 2.0}, {5.0, 0.0, 0.0, 0.0}});
  const Draw drawn = draw(logits, {0, 0.3}, torch::full({2}, 0.999, torch::kFloat64));
  EXPECT_EQ(1, drawn.ids[0].item<int64_t>());
  EXPECT_EQ(0, drawn.ids[1].item<int64_t>());
  EXPECT_EQ(0, drawn.log_probability.abs().sum().item<double>());
  EXPECT_EQ(1, drawn_distribution(logits, {0, 1})[0][1].item<double>());
}

TEST(Sampler, RandomNumbersBelongToClipAndSample) {
  const torch::Tensor all = sampling_uniforms(7, 0, 5, 0, 40);
  EXPECT_TRUE(
      torch::equal(all.narrow(1, 3, 2).narrow(0, 11, 9), sampling_uniforms(7, 3, 2, 11, 9)));
  EXPECT_FALSE(torch::equal(all, sampling_uniforms(8, 0, 5, 0, 40)));
  EXPECT_GE(all.min().item<double>(), 0);
  EXPECT_LT(all.max().item<double>(), 1);
  EXPECT_NEAR(0.5, all.mean().item<double>(), 0.07);
}

TEST(Sampler, ImpossibleOptionsAreRefused) {
  for (const SamplingOptions options : {SamplingOptions{-1, 1}, SamplingOptions{NAN, 1},
                                        SamplingOptions{1, 0}, SamplingOptions{1, 1.5}})
    EXPECT_THROW(options.validate(), Error);
  EXPECT_NO_THROW((SamplingOptions{0, 1}).validate());
}

TEST(SamplerCuda, DrawsTheSameAsTheHost) {
  if (!cuda_available()) GTEST_SKIP() << "needs a GPU";
  const torch::Tensor logits = random_logits(512, 256, 3);
  const torch::Tensor uniforms = sampling_uniforms(1, 0, 512, 0, 1)[0];
  for (const SamplingOptions options : {SamplingOptions{1, 1}, SamplingOptions{0.8, 0.9}}) {
    const Draw host = draw(logits, options, uniforms);
    const Draw device = draw(logits.cuda(), options, uniforms.cuda());
    EXPECT_TRUE(torch::equal(host.ids, device.ids.cpu()));
    EXPECT_TRUE(torch::allclose(host.log_probability, device.log_probability.cpu(), 1e-6, 1e-8));
  }
}

}  // namespace
}  // namespace strandwave::audio
