// Deciding early: classes of reads while they are being sequenced (read-until).
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "genomics/sequence_classifier.h"

namespace strandwave {

struct LabelledFragment;

struct PrefixOptions {
  std::vector<int64_t> lengths;  // bases after which to ask; ascending, positive
  double min_prob = 0.99;        // of the most probable class, in (0, 1]
};

struct PrefixDecision {
  Prediction prediction;
  int64_t bases = 0;       // of the read's start that were looked at
  bool confident = false;  // false: the read ended (or its last prefix was read) before min_prob
};

// Carries the recurrent state, the pooled sum and the likelihood of every read from one prefix to
// the next, so that no base is computed twice; a read that is decided leaves the batch, its state
// too. An answer equals classifying the prefix as a sequence of its own with one strand (within
// 1e-5): the reverse strand of a read that is still growing is not known. The temperature is that
// of the prefix's length (Calibration::one_strand). Memory: batch_bases positions.
class PrefixClassifier {
 public:
  // Class heads only. Throws Error(kUsage) for another head, lengths that do not ascend, min_prob
  // out of range. `classifier` gives model, calibration and prior.
  PrefixClassifier(const SequenceClassifier& classifier, PrefixOptions options);

  const PrefixOptions& options() const { return options_; }
  const SequenceClassifier& classifier() const { return classifier_; }

  // One decision per read, in order: at the first prefix whose most probable class reaches
  // min_prob, else at the read's end.
  std::vector<PrefixDecision> decide(std::span<const std::vector<uint8_t>> reads) const;
  // Nothing decided early: the answers at every length that the read exceeds, then at its end.
  std::vector<std::vector<PrefixDecision>> all_prefixes(
      std::span<const std::vector<uint8_t>> reads) const;

 private:
  std::vector<std::vector<PrefixDecision>> run(std::span<const std::vector<uint8_t>> reads,
                                               bool stop_early) const;
  void run_group(std::span<const std::vector<uint8_t>> reads, bool stop_early,
                 std::span<std::vector<PrefixDecision>> answers) const;

  SequenceClassifier classifier_;  // one strand
  PrefixOptions options_;
};

// Accuracy against bases read, and what a decision costs. The JSON has these names; the step at the
// reads' ends has "bases": null, measures of no reads are null.
struct PrefixStep {
  int64_t bases = 0;           // 0: the reads' ends
  int64_t reads = 0;           // that reach it
  double accuracy = 0;         // of those, when all are answered here
  double log_loss = 0;         // nats, likewise
  double mean_confidence = 0;  // mean probability of the answer: equals accuracy when honest
  int64_t decided = 0;         // reads that min_prob decides here
  double decided_accuracy = 0;
};
struct PrefixEvaluation {
  double min_prob = 0;
  int64_t reads = 0;
  double accuracy = 0;               // of the decisions
  double confident = 0;              // share of the reads that reach min_prob
  double mean_bases = 0;             // read per decision
  double milliseconds_per_read = 0;  // deciding all reads in batches, per read
  double latency_milliseconds = 0;   // a read alone, from its first base to its decision: median
  std::vector<PrefixStep> steps;

  nlohmann::json to_json() const;
};
// Progress is called between batches and may throw. The times are wall times on the model's device,
// measured in a second pass that decides early.
PrefixEvaluation evaluate_prefixes(const PrefixClassifier& classifier,
                                   const std::vector<LabelledFragment>& fragments,
                                   const std::function<void()>& progress = {});

// For people: one row per step, the header first; and the rest in a sentence.
std::vector<std::vector<std::string>> decision_table(const PrefixEvaluation& evaluation);
std::string decision_sentence(const PrefixEvaluation& evaluation);

}  // namespace strandwave
