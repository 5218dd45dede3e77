// Next-base prediction on one or more genomes.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/models/sequence_model.h"
#include "core/training/chunked_gradients.h"
#include "core/training/task.h"
#include "genomics/io/window_streams.h"
#include "genomics/splits.h"
#include "genomics/training_data.h"

namespace strandwave {

struct PretrainOptions {
  int64_t window = 1024;           // bases per training window
  int64_t batch = 8;               // windows per micro-batch
  int64_t accumulation = 1;        // micro-batches per step, as in TrainerConfig
  bool reverse_complement = true;  // read each window from either strand with probability 1/2
  uint64_t seed = 0;
  int64_t warmup_window = 0;  // > 0: windows grow from this length, doubling ...
  int64_t warmup_steps = 0;   // ... over so many steps; the tokens of a step stay the same
  bool stream = false;        // rows walk chromosomes from end to end, the state goes on
  int64_t chunk = 0;          // > 0: a window is run in pieces of so many bases
  ChunkGradients chunk_gradients = ChunkGradients::kKeep;
  double masked_weight = 0.1;          // what a soft-masked base counts in the loss
  std::vector<double> genome_weights;  // one per FASTA file; empty: by their bases
  int64_t evaluation_window = 0;       // 0: window
  int64_t evaluation_bases = 1 << 20;  // of the validation intervals, evenly spread; 0: all
  std::string start_model;             // hash of the model that training starts from; empty: none
  std::optional<TrainingData> start_training;  // what that model was trained on
};

// The loss of a window is that of all its bases given what came before: the start token, or, in a
// stream, the base and the state with which the window before ended. N and ambiguous letters are
// read but never predicted. A base that is lower case in a contig that carries a soft mask
// (genomics/io/soft_mask.h) counts masked_weight, all others 1; the loss is divided by the summed
// weight. The metric is bits per base on the validation split, where every base counts 1.
//
// batch():  "tokens" (rows, window + 1) uint8: the token before the window, then its bases, then
//           padding where a walk ends; "weights" (rows, window) float32 where bases count
//           differently; with `stream` "restart" (rows) bool.
class PretrainTask : public Task {
 public:
  // Throws Error(kUsage) for options that do not go together, Error(kInput) when the intervals hold
  // too little for the windows.
  PretrainTask(std::shared_ptr<SequenceModel> model, Genome genome, Splits splits,
               PretrainOptions options);

  Batch batch(int64_t step, int64_t micro_batch) const override;
  torch::Tensor loss(const Batch& batch) override;
  torch::Tensor accumulate(const Batch& batch, GradientSum& gradients) override;
  std::vector<Metric> evaluate() override;
  std::string description() const override;
  nlohmann::json config() const override;
  std::map<std::string, torch::Tensor> carried() const override { return states_.tensors(); }
  void restore_carried(const std::map<std::string, torch::Tensor>& tensors) override {
    states_.restore(tensors, model_->device());
  }
  // training_data.safetensors (genomics/training_data.h).
  std::map<std::string, std::string> companions(int64_t step) const override;
  std::string token_name() const override { return "base"; }
  std::string memory_advice() const override {
    return "lower --batch or --window (raise --accumulation to keep the bases of a step), or give "
           "--chunk or --recompute";
  }

  // What a user should know before training, one sentence each.
  std::vector<std::string> warnings() const;

  // All bases of the windows of the first `steps` steps, merged. Goes on from the last answer: not
  // from two threads at once.
  Intervals seen(int64_t steps) const;

 private:
  void check_options() const;
  int64_t window_at(int64_t step) const;
  std::vector<StreamWindow> windows(int64_t step, int64_t micro_batch) const;
  double fill_weights(const Window& window, const uint8_t* bases, float* weights) const;
  std::string mask_description() const;
  std::string genomes_description() const;

  std::shared_ptr<SequenceModel> model_;
  Genome genome_;
  Splits splits_;
  PretrainOptions options_;
  bool weighted_ = false;                 // bases count differently
  std::vector<WindowSampler> samplers_;   // one per window length of the warm-up; without streams
  std::optional<WindowStreams> streams_;  // instead of samplers
  CarriedStates states_;                  // of the streams
  std::vector<Window> validation_;
  struct Seen {
    int64_t steps = 0;
    Intervals intervals;
  };
  mutable Seen seen_;
  mutable std::optional<TrainingData> training_data_;  // without what was seen; made when asked for
};

}  // namespace strandwave
