// What is trained: where batches come from, what their loss is, how progress is judged.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "kernels/common/sequence_layout.h"

namespace strandwave {

// The data of one micro-batch. Task::batch makes it in host memory; the Trainer pins and moves it.
struct Batch {
  std::map<std::string, torch::Tensor> tensors;  // for instance "tokens" (batch, length), "weights"
  std::optional<SequenceLayout> layout;          // packed sequences
  // Sum of the weights of the loss terms: 1 per predicted position unless positions are weighted.
  // The gradient of a step is that of (sum of losses) / (sum of weights over its micro-batches), so
  // that accumulation never changes what a position counts. Not negative; 0 adds nothing.
  double weight = 0;
  int64_t tokens = 0;       // positions read, for the rate that the log reports
  int64_t micro_batch = 0;  // its number in the step; set by the Trainer

  const torch::Tensor& at(const std::string& name) const { return tensors.at(name); }
  // The same batch on `device`. From pinned memory the copies do not block the host.
  Batch to(torch::Device device) const;
  // The same batch in page-locked memory.
  Batch pinned() const;
};

// One result of an evaluation.
struct Metric {
  std::string name;  // for instance "bits_per_base"; log and TensorBoard show it as given
  double value = 0;
  bool higher_is_better = false;  // counts for the first metric of an evaluation only
};

// Where a task adds to the gradients of a step, in one or several backward passes.
class GradientSum {
 public:
  virtual ~GradientSum() = default;
  // One backward pass: adds the gradient of
  //   loss / (weight of the step) + sum_i <outputs_i, output_gradients_i>
  // to every leaf in the graph. loss: a scalar, the sum of weighted losses. An undefined gradient
  // stands for zero. What a leaf that is no parameter receives is already divided by the weight of
  // the step.
  virtual void add(const torch::Tensor& loss, const std::vector<torch::Tensor>& outputs = {},
                   const std::vector<torch::Tensor>& output_gradients = {}) = 0;
};

// Implementations hold the model they train. The Trainer calls batch() on one background thread and
// everything else on the thread of Trainer::run(); batch() must not touch what the others change.
class Task {
 public:
  virtual ~Task() = default;

  // Host part of micro-batch `micro_batch` of optimizer step `step` (both from 0): a pure function
  // of the two, of the seed and of the data, so that a resumed run sees exactly what an unbroken
  // one sees. A warm-up of the sequence length is a function of `step` as well (length_at_step,
  // core/training/schedule.h). What it throws ends the run.
  virtual Batch batch(int64_t step, int64_t micro_batch) const = 0;

  // sum_i weight_i * loss_i in nats over the batch, on the batch's device: a scalar (fp32) with its
  // graph. The Trainer divides by the weights of the whole step and runs backward. Must not
  // synchronise with the device.
  virtual torch::Tensor loss(const Batch& batch) = 0;

  // What the Trainer calls: adds the gradients of the batch's loss and returns loss(batch) without
  // its graph. Override it to go through the batch piece by piece (chunked_gradients.h) or to carry
  // tensors from step to step. Must not synchronise with the device.
  virtual torch::Tensor accumulate(const Batch& batch, GradientSum& gradients);

  // Measures the model as it is now (gradients are off). The first metric decides which checkpoint
  // is the best one; none at all means that this task has nothing to measure. A long evaluation
  // calls throw_if_interrupted() (core/base/signals.h) between its batches.
  virtual std::vector<Metric> evaluate() = 0;

  // Called after each evaluation of the model after `step` steps, while its parameters are those that
  // were measured: a place to write down what the model makes (gradients are off).
  virtual void show(int64_t /*step*/) {}

  // Whether the run ends now although steps are left: asked after each evaluation and at the start,
  // after restore(). A run that stopped so counts as complete: the same command does not go on.
  virtual bool should_stop() const { return false; }

  // One line for the log's header: "next base, 3 contigs, 63 Mb, windows of 8192".
  virtual std::string description() const = 0;

  // The settings that a resumed run must agree with (data with sizes or hashes, objective, batch
  // size): saved as "task" in the run's config.json and compared key by key.
  virtual nlohmann::json config() const = 0;

  // What else must survive a stop, beyond the step; saved in every checkpoint's state.json.
  virtual nlohmann::json state() const { return nlohmann::json::object(); }
  virtual void restore(const nlohmann::json& /*state*/) {}

  // Tensors that pass from step to step (the recurrent states of streams): saved in every
  // checkpoint's training.safetensors as "task.<name>" and given back, on the host, after restore()
  // and before the first step. None may be given back only at step 0.
  virtual std::map<std::string, torch::Tensor> carried() const { return {}; }
  virtual void restore_carried(const std::map<std::string, torch::Tensor>& /*tensors*/) {}

  // Small files written beside the model of step `step` (steps finished) in every checkpoint and in
  // best/ (core/checkpoint): name -> bytes. Called at every save: compute once what does not
  // change.
  virtual std::map<std::string, std::string> companions(int64_t /*step*/) const { return {}; }

  // The noun of the progress line: "1.3 M bases/s", "1.87 bits/base".
  virtual std::string token_name() const { return "token"; }
  // The loss in the progress line; by default in bits per token.
  virtual std::string loss_text(double nats) const;

  // Ends the message of an out-of-memory error: which settings to lower.
  virtual std::string memory_advice() const {
    return "lower the batch size or the sequence length (raise accumulation to keep the tokens of "
           "a "
           "step), or turn recomputation on";
  }
};

}  // namespace strandwave
