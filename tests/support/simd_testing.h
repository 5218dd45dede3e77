// Tests that run once on each instruction set of the SIMD kernels.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "kernels/common/simd_target.h"

namespace strandwave::testing {

// The base of a suite; what the processor lacks is skipped.
class SimdTargetTest : public ::testing::TestWithParam<kernels::SimdTarget> {
 protected:
  void SetUp() override {
    if (!kernels::set_simd_target(GetParam())) GTEST_SKIP() << "this processor lacks the target";
  }
  void TearDown() override { kernels::set_simd_target(kernels::SimdTarget::kBest); }
};

inline std::string simd_target_name(const ::testing::TestParamInfo<kernels::SimdTarget>& info) {
  const std::string names[] = {"best", "baseline", "avx2", "avx512"};
  return names[static_cast<int>(info.param)];
}

#define STRANDWAVE_INSTANTIATE_ON_SIMD_TARGETS(suite)                                      \
  INSTANTIATE_TEST_SUITE_P(Cpu, suite,                                                     \
                           ::testing::Values(::strandwave::kernels::SimdTarget::kBaseline, \
                                             ::strandwave::kernels::SimdTarget::kAvx2,     \
                                             ::strandwave::kernels::SimdTarget::kAvx512),  \
                           ::strandwave::testing::simd_target_name)

}  // namespace strandwave::testing
