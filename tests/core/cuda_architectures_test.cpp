#include "core/runtime/cuda_architectures.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/runtime/accelerator.h"

namespace strandwave {
namespace {

TEST(CudaArchitectures, MachineCodeRunsWithinItsMajorNumber) {
  EXPECT_TRUE(runs_on_capability("86-real", 8, 6));
  EXPECT_TRUE(runs_on_capability("86-real", 8, 9));
  EXPECT_FALSE(runs_on_capability("86-real", 8, 0));
  EXPECT_FALSE(runs_on_capability("86-real", 9, 0));
  EXPECT_FALSE(runs_on_capability("120-real", 10, 0));
  EXPECT_TRUE(runs_on_capability("75-real,120-real", 12, 1));
}

TEST(CudaArchitectures, PtxRunsOnEveryLaterGpu) {
  for (const char* name : {"80", "80-virtual"}) {
    EXPECT_TRUE(runs_on_capability(name, 8, 0)) << name;
    EXPECT_TRUE(runs_on_capability(name, 12, 0)) << name;
    EXPECT_FALSE(runs_on_capability(name, 7, 5)) << name;
  }
}

TEST(CudaArchitectures, ALetterBindsToOneCapability) {
  for (const char* name : {"90a", "90a-real", "90a-virtual"}) {
    EXPECT_TRUE(runs_on_capability(name, 9, 0)) << name;
    EXPECT_FALSE(runs_on_capability(name, 10, 0)) << name;
    EXPECT_FALSE(runs_on_capability(name, 8, 9)) << name;
  }
  EXPECT_TRUE(runs_on_capability("all", 9, 0));
  EXPECT_FALSE(runs_on_capability("", 9, 0));
}

TEST(CudaArchitectures, TheProblemNamesBothSidesAndTheWayOut) {
  EXPECT_EQ(kernel_problem("75-real,86-real", 1, "A", 8, 9), "");
  EXPECT_EQ(kernel_problem("90a-real", 1, "NVIDIA A100", 8, 0),
            "cuda:1 (NVIDIA A100, compute capability 8.0) cannot run this program's kernels, which "
            "were built for 90a-real: build the preset `cuda` with -DCMAKE_CUDA_ARCHITECTURES=80, "
            "or use --device cpu");
}

TEST(CudaArchitectures, CudaGpusOfThisMachineRunTheKernels) {
  if (!built_with_cuda()) GTEST_SKIP() << "built without CUDA";
  // What CMake was told; "native" must have been replaced by numbers.
  EXPECT_NE(cuda_architectures().find_first_of("0123456789"), std::string::npos)
      << cuda_architectures();
  if (gpu_count() == 0) GTEST_SKIP() << "no CUDA device";
  EXPECT_EQ(kernel_problem(0), "");
  EXPECT_TRUE(parse_device("cuda").is_cuda());
}

}  // namespace
}  // namespace strandwave
