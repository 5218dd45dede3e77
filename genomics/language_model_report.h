// The test of a language model: its bits per base beside those of simple predictors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/models/sequence_model.h"
#include "genomics/causal_cnn.h"
#include "genomics/io/genome.h"
#include "genomics/splits.h"
#include "genomics/training_data.h"

namespace strandwave {

struct LanguageModelTest {
  int64_t window = 8192;  // bases; 0: the test intervals whole
  int64_t max_bases = 0;  // tested at most (evaluation_windows); 0: all
  int64_t batch_tokens = 1 << 16;
  std::vector<int> orders;               // of the Markov models; empty: none
  std::optional<CausalCnnTraining> cnn;  // nothing: none
  std::optional<TrainingData> training;  // what the model was trained on, where that is known
  // One line on what is going on; may throw to stop.
  std::function<void(const std::string&)> progress;
};

// Scores the model on splits.test and the others on exactly the same positions, A, C, G and T once
// each. Markov models (genomics/baselines/markov.h) count both strands of splits.train; where
// `training` tells what the model has read so far, and that is less, also of only those bases.
//
// {"kind": "language_model", "window", "positions", "bits_per_base",
//  "regions": [{"name": "repeats" | "non-repeats", "positions", "bits_per_base"}],
//  "baselines": [{"name", "training": "all" | "seen", "bits_per_base", "regions",
//                 "difference": [model minus baseline, 2.5 %, 97.5 %], "blocks",
//                 of the CNN "seconds", "steps", "parameters"}],
//  "context": [{"first", "last", "positions", "bits_per_base"}],
//  "seen_in_training": {"fraction", "by", "compared"},    only where it is known
//  "block_sums": {"size", "positions": [...], "bits": [...]}}  of this model, to pair two runs
//
// Throws Error(kUsage) when there is nothing to test on.
nlohmann::json test_language_model(SequenceModel& model, const Genome& genome, const Splits& splits,
                                   const LanguageModelTest& test);

// Seconds of training that led to a run, a checkpoint or a best/ folder in a run, without
// evaluations and saves; nothing when there is no log.jsonl.
std::optional<double> training_seconds(const std::filesystem::path& run_or_model);

// Windows for a CausalCnn where there is no training task to take them from: `window` bases or, if
// less, the longest interval, drawn as PretrainTask draws them, about `tokens` bases per step.
std::function<torch::Tensor(int64_t step)> random_training_windows(const Genome& genome,
                                                                   const Intervals& training,
                                                                   int64_t window, int64_t tokens,
                                                                   uint64_t seed);

}  // namespace strandwave
