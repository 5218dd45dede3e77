#include <cstdint>

#include <hwy/highway.h>
#include <hwy/targets.h>

#include "kernels/common/simd_target.h"

namespace strandwave::kernels {
namespace {

int64_t targets_up_to(SimdTarget target) {
  const int64_t baseline = HWY_STATIC_TARGET;
  switch (target) {
    case SimdTarget::kBaseline:
      return baseline;
    case SimdTarget::kAvx2:
      return HWY_AVX2 | baseline;
    case SimdTarget::kAvx512:
      return HWY_AVX3 | HWY_AVX2 | baseline;
    case SimdTarget::kBest:
      break;
  }
  return 0;
}

int64_t required(SimdTarget target) {
  if (target == SimdTarget::kAvx2) return HWY_AVX2;
  if (target == SimdTarget::kAvx512) return HWY_AVX3;
  return 0;
}

}  // namespace

bool set_simd_target(SimdTarget target) {
  hwy::SetSupportedTargetsForTest(0);
  const int64_t offered = hwy::SupportedTargets();
  const bool possible = (offered & required(target)) == required(target);
  if (possible) hwy::SetSupportedTargetsForTest(targets_up_to(target));
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  return possible;
}

const char* simd_target_name() {
  const int64_t targets = hwy::SupportedTargets();
  return hwy::TargetName(targets & -targets);
}

}  // namespace strandwave::kernels
