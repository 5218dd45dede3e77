// Classifying a sequence of any length in bounded memory.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "genomics/sequence_classifier.h"

namespace strandwave {

// One sequence, given in pieces: a contig of a FASTA file that is read as a stream. Holds one block
// of bases (ClassifierOptions::block_bases) and the activations of batch_bases, whatever the
// length. The forward strand is exact: state, pooled sum and likelihood are carried along. The
// reverse strand would begin with the last piece, which is not there yet; it is run block by block,
// each from its own end with a zero state. For a sequence of at most block_bases that is exact too;
// in a longer one the positions near a block's end miss what lies behind it. With pooling "last"
// the reverse strand's result is that of the first block, where the strand ends.
// SequenceClassifier::predict() does the same for a sequence longer than batch_bases.
class LongSequence {
 public:
  explicit LongSequence(const SequenceClassifier& classifier);

  void add(std::span<const uint8_t> ids);
  int64_t length() const { return scores_.length; }
  // Of all that was added; then the object is ready for the next sequence.
  SequenceScores finish_scores();
  Prediction finish() { return classifier_.prediction(finish_scores()); }

 private:
  void run_block(size_t size);
  torch::Tensor run_piece(std::span<const uint8_t> forward, std::span<const uint8_t> reverse,
                          const torch::Tensor& targets);

  const SequenceClassifier& classifier_;
  SequenceModel& model_;
  const int64_t strands_;
  std::vector<uint8_t> held_;        // not yet run
  std::optional<ModelState> state_;  // of both strands, after what was run
  torch::Tensor
      sum_;  // (strands, d_model) double: of hidden states; or the last ones, if pooled so
  bool first_block_ = true;
  SequenceScores scores_;
};

}  // namespace strandwave
