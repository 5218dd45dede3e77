// A mixer mixes along the sequence: the interface that every kind of layer has.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "kernels/common/sequence_layout.h"

namespace strandwave {

// What a kind of mixer can do; asking for more is an error that names the mixer.
struct MixerTraits {
  bool has_state = false;         // forward takes an initial and returns a final state
  bool has_step = false;          // step() exists
  bool packed = false;            // accepts a SequenceLayout
  bool context_parallel = false;  // accepts a sequence group
};

// The state of S sequences after some positions: named tensors whose first dimension is S, at fixed
// addresses (CUDA graphs), and the number of positions each sequence has seen.
struct MixerState {
  std::map<std::string, torch::Tensor> tensors;
  torch::Tensor positions;  // (S), int64, on the device
};

struct MixerInput {
  const SequenceLayout* layout = nullptr;     // packed sequences; null: each batch entry is one
  const MixerState* initial_state = nullptr;  // null: zero
  bool want_final_state = false;
  bool recompute_projections = false;  // keep less for the backward pass, at one GEMM more
};

struct MixerOutput {
  torch::Tensor y;                        // (batch, length, d_model)
  std::optional<MixerState> final_state;  // set when wanted
};

class Mixer : public torch::nn::Module {
 public:
  virtual MixerTraits traits() const = 0;

  // x: (batch, length, d_model), of the compute type.
  virtual MixerOutput forward(const torch::Tensor& x, const MixerInput& input) = 0;

  // A zero state; options give device and compute type, max_length bounds caches that grow.
  virtual MixerState allocate_state(int64_t sequences, int64_t max_length,
                                    torch::TensorOptions options) const = 0;

  // One position without gradients: x (S, d_model) -> (S, d_model); updates `state` in place.
  virtual torch::Tensor step(const torch::Tensor& x, MixerState& state) = 0;
};

}  // namespace strandwave
