// Plain parameters of the raw selective-scan kernels, the same on CPU and CUDA. No LibTorch.
#pragma once

#include <cstdint>

#include "kernels/common/dtype.h"

namespace strandwave::kernels {

// A (batch, length, n) tensor whose last dimension is contiguous; strides in elements.
struct Rows {
  const void* data = nullptr;
  int64_t batch_stride = 0;
  int64_t row_stride = 0;
};
struct MutableRows {
  void* data = nullptr;
  int64_t batch_stride = 0;
  int64_t row_stride = 0;
};

struct SelectiveScanParams {
  Dtype dtype = Dtype::kFloat32;  // of u, delta, B, C, z, out; everything else is float
                                  // (double when dtype is kFloat64)
  int64_t batch = 0;
  int64_t length = 0;
  int64_t channels = 0;
  int64_t d_state = 0;    // real numbers of a channel's state
  int64_t sequences = 0;  // batch, or the packed sequences
  const int64_t* cu_seqlens =
      nullptr;  // (sequences + 1), or null: each batch entry is one sequence
  // A, B, C, states and their gradients are complex: d_state / 2 pairs of real and imaginary part,
  // and y = 2 Re(C . h) + D u. Gradients are those by real part plus i times those by imaginary
  // part.
  bool complex = false;
  bool delta_softplus = true;
  bool reverse = false;

  Rows u, delta, B, C, z;               // z.data may be null
  const void* A = nullptr;              // (channels, d_state), contiguous
  const void* D = nullptr;              // (channels) or null
  const void* delta_bias = nullptr;     // (channels) or null
  const void* initial_state = nullptr;  // (sequences, channels, d_state), contiguous, or null
};

struct SelectiveScanForwardParams : SelectiveScanParams {
  MutableRows out;
  void* final_state = nullptr;  // (sequences, channels, d_state)
  void* checkpoints = nullptr;  // null: not saved
};

struct SelectiveScanBackwardParams : SelectiveScanParams {
  Rows dout;
  const void* dfinal_state = nullptr;  // or null
  const void* checkpoints = nullptr;
  MutableRows du, ddelta, dz;  // of the I/O type
  MutableRows dB, dC;
  void* dA = nullptr;
  void* dD = nullptr;
  void* ddelta_bias = nullptr;
  void* dinitial_state = nullptr;
};

}  // namespace strandwave::kernels
