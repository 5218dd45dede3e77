// Class probabilities of sequences from a fine-tuned model.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/models/sequence_model.h"

namespace strandwave {

struct ClassifierOptions {
  bool both_strands = true;  // average the logits of a sequence and of its reverse complement
  int64_t batch_bases =
      1 << 16;  // bases run at once; a longer sequence goes through in pieces of this length,
                // the state carried along, so memory does not grow with length
};

class SequenceClassifier {
 public:
  // Throws Error(kUsage) when the model has no classifier head.
  SequenceClassifier(std::shared_ptr<SequenceModel> model, ClassifierOptions options);

  const std::vector<std::string>& labels() const { return model_->config().head.classes; }

  // One row of probabilities per sequence (token ids), in order; rows sum to 1. An empty sequence
  // gets the probabilities of the head's bias. Independent of batching within float32 rounding.
  std::vector<std::vector<float>> probabilities(
      const std::vector<std::vector<uint8_t>>& sequences) const;

 private:
  torch::Tensor logits(const std::vector<std::span<const uint8_t>>& sequences) const;
  torch::Tensor long_logits(std::span<const uint8_t> sequence) const;

  std::shared_ptr<SequenceModel> model_;
  ClassifierOptions options_;
};

// Sequences one behind the other as (1, total) ids on `device`, with their layout; or, when all
// have the same length, as (count, length) without a layout.
struct PackedSequences {
  torch::Tensor ids;
  std::optional<SequenceLayout> layout;
};
PackedSequences pack_sequences(const std::vector<std::span<const uint8_t>>& sequences,
                               torch::Device device);

}  // namespace strandwave
