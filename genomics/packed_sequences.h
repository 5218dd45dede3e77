// Sequences of different lengths as one input of a model.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kernels/common/sequence_layout.h"

namespace strandwave {

// Sequences one behind the other as (1, total) ids on `device`, with their layout; or, when all
// have the same length, as (count, length) without a layout.
struct PackedSequences {
  torch::Tensor ids;
  std::optional<SequenceLayout> layout;
};
PackedSequences pack_sequences(const std::vector<std::span<const uint8_t>>& sequences,
                               torch::Device device);

// What a classifier's language-model head is trained and scored on: classifiers read a sequence as
// it is, without a begin token, so the hidden state at a position predicts the next base of the
// same sequence. int64, in the shape of packed.ids; -1 where there is no next base or it is N.
torch::Tensor next_base_targets(const PackedSequences& packed);

}  // namespace strandwave
