// Long windows piece by piece: the recurrent state passes from one piece to the next.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/models/sequence_model.h"
#include "core/training/task.h"

namespace strandwave {

// What becomes of the gradients at the border of two pieces.
enum class ChunkGradients {
  kCut,   // the state passes, its gradient does not (truncated back-propagation): memory of a piece
  kKeep,  // exact: equal to those of the whole window within rounding. Memory of a piece and of one
          // state per piece; every piece but the last runs forward twice
};

struct ChunkedBatch {
  torch::Tensor ids;                          // (batch, length), inputs of the language model
  torch::Tensor targets;                      // (batch, length) int64, negative: ignored
  std::optional<torch::Tensor> token_weight;  // (batch, length) float32
  const ModelState* initial_state = nullptr;  // null: zero. No gradient flows into it
  int64_t chunk = 0;                          // positions of a piece; 0: all in one
  ChunkGradients gradients = ChunkGradients::kKeep;
  bool want_final_state = false;
};

struct ChunkedLoss {
  torch::Tensor loss;                     // scalar, the sum of weighted losses, without graph
  std::optional<ModelState> final_state;  // without graph, set when wanted
};

// Adds the gradients of language_model_loss(ids, targets, token_weight).loss.sum() to `gradients`.
// The model's layers must have a state (MixerTraits::has_state).
ChunkedLoss accumulate_in_chunks(SequenceModel& model, const ChunkedBatch& batch,
                                 GradientSum& gradients);

// The recurrent states with which the rows of each micro-batch of a step begin, when the rows are
// streams that go on from step to step.
class CarriedStates {
 public:
  explicit CarriedStates(int64_t micro_batches) : states_(static_cast<size_t>(micro_batches)) {}

  // The state that end() was given for this micro-batch, zero in the rows where `restart` (batch)
  // bool; nothing before the first end().
  std::optional<ModelState> begin(int64_t micro_batch, const torch::Tensor& restart) const;
  // What is not finite becomes 0: the next step after one that was left out begins anew.
  void end(int64_t micro_batch, ModelState state);

  // For Task::carried and restore_carried. Names: <micro-batch>.<layer>.<tensor>. Throws
  // Error(kInput) for other names.
  std::map<std::string, torch::Tensor> tensors() const;
  void restore(const std::map<std::string, torch::Tensor>& tensors, torch::Device device);

 private:
  std::vector<ModelState> states_;  // without layers before the first end()
};

}  // namespace strandwave
