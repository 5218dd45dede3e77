// Which instruction set the SIMD kernels run on. No LibTorch.
#pragma once

namespace strandwave::kernels {

enum class SimdTarget { kBest, kBaseline, kAvx2, kAvx512 };

// Makes every SIMD kernel of this process use `target` from its next call on; kBest (the default)
// is what the processor offers. Returns false, and changes nothing, where the processor lacks it.
// For tests, and for comparing instruction sets: not while kernels run.
bool set_simd_target(SimdTarget target);

// "AVX3", "AVX2", ...: what kernels run on now.
const char* simd_target_name();

}  // namespace strandwave::kernels
