// main of gpu_test. Without a GPU every test would skip itself and the program would count as
// passed: it says so and ends with 77, which ctest shows as skipped.
#include <gtest/gtest.h>
#include <torch/cuda.h>

#include <cstdio>

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (!GTEST_FLAG_GET(list_tests) && !torch::cuda::is_available()) {
    std::puts("skipped: gpu_test needs a CUDA device, and none is visible");
    return 77;
  }
  return RUN_ALL_TESTS();
}
