#include "kernels/common/benchmark.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace strandwave::benchmark {
namespace {

using std::chrono::milliseconds;

std::vector<Case> sleepers(c10::Device device) {
  if (!device.is_cpu()) return {};
  Case fast;
  fast.name = "fast";
  fast.shape = "n 1";
  fast.dtype = "fp32";
  fast.bytes = 4e6;
  fast.flops = 8e6;
  fast.reference_name = "slow one";
  fast.prepare = [] {
    return Work{[] { std::this_thread::sleep_for(milliseconds(2)); },
                [] { std::this_thread::sleep_for(milliseconds(6)); }};
  };
  Case alone = fast;
  alone.name = "alone";
  alone.reference_name.clear();
  alone.prepare = [] { return Work{[] { std::this_thread::sleep_for(milliseconds(1)); }, {}}; };
  return {fast, alone};
}

const StaticRegistration registration("benchmark_test", sleepers);

std::vector<Case> additions(c10::Device device) {
  if (!device.is_cuda()) return {};
  Case add;
  add.name = "add";
  add.shape = "n 67108864";
  add.dtype = "fp32";
  add.bytes = 2.0 * 4 * 67108864;
  add.prepare = [device] {
    const auto x = torch::ones({67108864}, device);
    return Work{[x] { torch::add(x, 1); }, {}};
  };
  return {add};
}

const StaticRegistration cuda_registration("benchmark_test_cuda", additions);

Options options(const std::string& filter) {
  Options result;
  result.filter = filter;
  result.seconds = 0.03;
  return result;
}

TEST(Benchmark, ListsWhatTheFilterSelects) {
  EXPECT_EQ(
      list(options("benchmark_test.")),
      (std::vector<std::string>{"benchmark_test.fast n 1 fp32", "benchmark_test.alone n 1 fp32"}));
  EXPECT_EQ(list(options("test.alone")).size(), 1U);
  EXPECT_TRUE(list(options("no such operator")).empty());
  EXPECT_TRUE(run(options("no such operator")).results.empty());
}

TEST(Benchmark, ReportsTimesRatesAndRatio) {
  std::vector<std::string> seen;
  const Report report =
      run(options("benchmark_test."), [&](const Result& r) { seen.push_back(r.name); });
  ASSERT_EQ(report.results.size(), 2U);
  EXPECT_EQ(seen, (std::vector<std::string>{"benchmark_test.fast", "benchmark_test.alone"}));
  EXPECT_GT(report.ceilings.bytes_per_second, 0);
  EXPECT_GT(report.ceilings.flops_per_second, 0);

  const Result& fast = report.results[0];
  EXPECT_EQ(fast.device, "cpu");
  EXPECT_GE(fast.time.repetitions, 5);
  EXPECT_GE(fast.time.median, 2e-3);
  EXPECT_LE(fast.time.p10, fast.time.median);
  EXPECT_LE(fast.time.median, fast.time.p90);
  EXPECT_DOUBLE_EQ(fast.bytes_per_second, 4e6 / fast.time.median);
  EXPECT_DOUBLE_EQ(fast.flops_share, 8e6 / fast.time.median / report.ceilings.flops_per_second);
  EXPECT_EQ(fast.reference_name, "slow one");
  EXPECT_DOUBLE_EQ(fast.ratio, fast.reference_time.median / fast.time.median);
  EXPECT_GT(fast.ratio, 1);

  EXPECT_EQ(report.results[1].reference_name, "");
  EXPECT_EQ(report.results[1].ratio, 0);
}

TEST(BenchmarkCuda, TimesWithEvents) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "needs a CUDA device";
  Options on_cuda = options("benchmark_test_cuda");
  on_cuda.device = torch::Device(torch::kCUDA, 0);
  const Report report = run(on_cuda);
  ASSERT_EQ(report.results.size(), 1U);
  EXPECT_EQ(report.results[0].device, "cuda:0");
  // An addition streams memory like the copy that it is compared with.
  EXPECT_GT(report.results[0].bandwidth_share, 0.6);
  EXPECT_LT(report.results[0].bandwidth_share, 1.3);
}

}  // namespace
}  // namespace strandwave::benchmark
