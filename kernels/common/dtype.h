// The element types of raw kernels; no LibTorch.
#pragma once

namespace strandwave::kernels {

enum class Dtype { kFloat32, kBFloat16, kFloat16, kFloat64 };

}  // namespace strandwave::kernels
