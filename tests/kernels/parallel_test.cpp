#include "kernels/common/parallel.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <mutex>
#include <set>
#include <string>
#include <thread>

namespace strandwave {
namespace {

TEST(ParallelFor, RunsEveryTaskOnceOnSeveralThreads) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "needs two cores";
  set_thread_count(2);
  std::vector<std::atomic<int>> runs(64);
  std::set<std::thread::id> threads;
  std::mutex mutex;
  std::atomic<int> arrived{0};
  parallel_for(64, [&](int64_t i) {
    ++runs[i];
    // The first two tasks wait for each other: only two threads can both arrive.
    if (++arrived <= 2)
      while (arrived < 2) std::this_thread::yield();
    const std::lock_guard lock(mutex);
    threads.insert(std::this_thread::get_id());
  });
  for (const auto& count : runs) EXPECT_EQ(count, 1);
  EXPECT_EQ(threads.size(), 2U);
}

TEST(ParallelFor, OneOpenMpRuntimeIsLoaded) {
  parallel_for(4, [](int64_t) {});
  at::parallel_for(0, 4, 1, [](int64_t, int64_t) {});
  std::ifstream maps("/proc/self/maps");
  std::set<std::string> runtimes;
  for (std::string line; std::getline(maps, line);)
    for (const char* name : {"libgomp", "libomp", "libiomp"})
      if (line.find(name) != std::string::npos) runtimes.insert(line.substr(line.find('/')));
  EXPECT_EQ(runtimes.size(), 1U);
}

TEST(ParallelFor, RethrowsAndRunsNestedCallsSerially) {
  EXPECT_THROW(parallel_for(8, [](int64_t i) {
    if (i == 5) throw std::runtime_error("five");
  }), std::runtime_error);
  std::atomic<int> total{0};
  parallel_for(4, [&](int64_t) { parallel_for(4, [&](int64_t) { ++total; }); });
  EXPECT_EQ(total, 16);
}

}  // namespace
}  // namespace strandwave
