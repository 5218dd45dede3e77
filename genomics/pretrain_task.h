// Next-base prediction on a genome.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/models/sequence_model.h"
#include "core/training/task.h"
#include "genomics/splits.h"

namespace strandwave {

struct PretrainOptions {
  int64_t window = 1024;           // bases per training window
  int64_t batch = 8;               // windows per micro-batch
  int64_t accumulation = 1;        // micro-batches per step, as in TrainerConfig
  bool reverse_complement = true;  // read each window from either strand with probability 1/2
  uint64_t seed = 0;
  int64_t warmup_window = 0;           // > 0: windows grow from this length, doubling ...
  int64_t warmup_steps = 0;            // ... over so many steps; the tokens of a step stay the same
  int64_t evaluation_window = 0;       // 0: window
  int64_t evaluation_bases = 1 << 20;  // of the validation intervals, evenly spread; 0: all
  std::string start_model;             // hash of the model that training starts from; empty: none
};

// The loss of a window is that of all its bases given the start token and the bases before; N and
// ambiguous letters are read but never predicted. The metric is bits per base on the validation
// split.
class PretrainTask : public Task {
 public:
  PretrainTask(std::shared_ptr<SequenceModel> model, Genome genome, Splits splits,
               PretrainOptions options);

  Batch batch(int64_t step, int64_t micro_batch) const override;
  torch::Tensor loss(const Batch& batch) override;
  std::vector<Metric> evaluate() override;
  std::string description() const override;
  nlohmann::json config() const override;
  std::string token_name() const override { return "base"; }
  std::string memory_advice() const override {
    return "lower --batch or --window (raise --accumulation to keep the bases of a step), or give "
           "--recompute";
  }

 private:
  int64_t window_at(int64_t step) const;
  const WindowSampler& sampler(int64_t window) const;

  std::shared_ptr<SequenceModel> model_;
  Genome genome_;
  Splits splits_;
  PretrainOptions options_;
  std::vector<WindowSampler> samplers_;  // one per window length of the warm-up
  std::vector<Window> validation_;
};

}  // namespace strandwave
