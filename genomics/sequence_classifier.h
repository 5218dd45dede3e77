// Class probabilities of sequences from a fine-tuned model.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/models/sequence_model.h"
#include "genomics/calibration.h"
#include "genomics/packed_sequences.h"

namespace strandwave {

struct ClassifierOptions {
  bool both_strands = true;  // average the logits of a sequence and of its reverse complement
  // Positions run at once, both strands counted (on a CPU at most 2048 by each thread, which is
  // fastest there); a longer sequence goes through in pieces, the state carried along.
  int64_t batch_bases = 1 << 16;
  Calibration calibration;  // empty: temperature 1
  // Weights of the classes to expect, on any scale; empty: uniform, as in training. Class heads
  // only: p_c is proportional to softmax(logits / T)_c prior_c.
  std::vector<double> prior;
  bool want_out_of_distribution = false;
  // Bases of a long sequence that are held at once. Its reverse strand is run block by block, each
  // block from a zero state, so that memory is bounded although the strand's start comes last.
  int64_t block_bases = 1 << 24;
};

struct Prediction {
  // Class heads: probabilities, sum 1. Multi-label: one probability per label. Regression: values.
  std::vector<float> probabilities;
  // Bits per base of the sequence under the model's own language-model head (mean of the strands)
  // minus the entropy, in bits per base, of the sequence's base composition: below zero the model
  // knows more about it than its composition; larger = less like the training data. The first base
  // of a strand and N are not scored. NaN: not asked for, the model's head was not trained for
  // language, or nothing in the sequence can be scored.
  float out_of_distribution = std::numeric_limits<float>::quiet_NaN();
};

// What the model says before temperature and prior.
struct SequenceScores {
  std::vector<float> forward, reverse;  // logits of the strands; reverse empty with one strand
  double forward_bits = 0, reverse_bits = 0;       // sums over scored bases
  int64_t forward_scored = 0, reverse_scored = 0;  // numbers of scored bases; 0: not asked for
  int64_t bases[4] = {0, 0, 0, 0};                 // A, C, G, T
  int64_t length = 0;                              // all positions, N too

  double logit(size_t c) const;       // mean of the strands
  float out_of_distribution() const;  // as in Prediction
};

class SequenceClassifier {
 public:
  // Throws Error(kUsage): no class, multi-label or regression head; a prior of the wrong size, with
  // a negative weight or without a positive one, or for a head without classes; a calibration for
  // other labels.
  SequenceClassifier(std::shared_ptr<SequenceModel> model, ClassifierOptions options);

  const std::vector<std::string>& labels() const { return model_->config().head.classes; }
  HeadConfig::Kind kind() const { return model_->config().head.kind; }
  const Calibration& calibration() const { return options_.calibration; }
  const ClassifierOptions& options() const { return options_; }
  const std::shared_ptr<SequenceModel>& model() const { return model_; }
  // Whether the model can give an out-of-distribution score at all.
  bool scores_likelihood() const { return model_->config().predicts_tokens(); }
  int64_t strands() const { return options_.both_strands ? 2 : 1; }
  // Positions of one forward pass: batch_bases; on a CPU, where each thread runs its own, less.
  int64_t positions_at_once() const;

  // One prediction per sequence (token ids), in order. An empty sequence gets that of the head's
  // bias. Independent of batching within 1e-5. Memory: batch_bases and the longest sequence.
  std::vector<Prediction> predict(std::span<const std::vector<uint8_t>> sequences) const;
  // The same before temperature and prior.
  std::vector<SequenceScores> scores(std::span<const std::vector<uint8_t>> sequences) const;
  // Temperature (of the length) and prior, or sigmoid, or the values as they are.
  Prediction prediction(const SequenceScores& scores) const;

  // The prediction for two reads of one molecule: class heads multiply the evidence of the mates
  // and count the prior once, multi-label adds the log odds, regression takes the mean. The
  // out-of-distribution score is the mean of those that are numbers.
  Prediction pair(const Prediction& first, const Prediction& second) const;

 private:
  // Batches of sequences of about one length, from `order`, which is by falling length.
  std::vector<std::span<const size_t>> divide(
      std::span<const size_t> order, std::span<const std::vector<uint8_t>> sequences) const;

  std::shared_ptr<SequenceModel> model_;
  ClassifierOptions options_;
  std::vector<double> log_prior_;  // normalised; empty: uniform
};

}  // namespace strandwave
