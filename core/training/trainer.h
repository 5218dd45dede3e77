// The training loop: runs a Task on a model, with checkpoints, logs and exact resumption.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/training/task.h"

namespace strandwave {

class SequenceModel;

// Everything that decides the result of a run beyond model and task. config.json of a run holds it
// under "trainer"; the names are those of the command line, with underscores.
struct TrainerConfig {
  int64_t steps = 1000;            // optimizer steps
  int64_t accumulation = 1;        // micro-batches per step
  std::string precision = "fp32";  // fp32 | bf16 (CUDA only: lowered parameters compute in bf16)
  bool recompute = false;          // recompute activations in backward: less memory, more time
  uint64_t seed = 0;

  double lr = 1e-3;          // peak learning rate
  double min_lr = 0;         // at the last step
  int64_t warmup_steps = 0;  // linear from lr / warmup_steps to lr, then cosine to min_lr
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;  // decoupled; only where TrainableModel::decays says so
  double clip = 1.0;          // upper bound of the gradient's 2-norm; 0: none
  double ema_decay = 0;       // exponential moving average of the parameters; 0: none

  int64_t log_every = 10;  // steps between log records
  int64_t eval_every = 0;  // steps between evaluations; 0: only after the last step
  int64_t save_every = 0;  // steps between checkpoints; 0: only after the last step
  int64_t keep = 2;        // newest checkpoints kept; the best one is kept beside them

  nlohmann::json to_json() const;
  // Keys left out keep their defaults; throws Error(kUsage) for an unknown key (naming the nearest
  // known one), a wrong type or an impossible value.
  static TrainerConfig from_json(const nlohmann::json& config);
  // Throws Error(kUsage) naming the setting, its value and what it must be.
  void validate() const;
};

// What the Trainer needs to know of a model; SequenceModel and any torch module fit.
struct TrainableModel {
  std::shared_ptr<torch::nn::Module> module;  // on the host or the device; the Trainer moves it
  // Which parameters weight decay applies to. Null: those with two or more dimensions.
  std::function<bool(const std::string& name, const torch::Tensor& parameter)> decays;
  // Which parameters compute in bf16 when precision is bf16. Null: none.
  std::function<bool(const std::string& name, const torch::Tensor& parameter)> lowered;
  // Turns recomputation on; null: the model cannot.
  std::function<void(bool)> set_recompute;
  nlohmann::json config;  // config.json of its checkpoints (core/checkpoint)
};

TrainableModel trainable(std::shared_ptr<SequenceModel> model);

// Where and how a run shows itself. None of it changes the result.
struct RunOptions {
  std::filesystem::path directory;  // created; an existing run in it is continued
  torch::Device device = torch::kCPU;
  bool force = false;  // start anew: removes the run that lies in `directory`
  bool quiet = false;  // no progress
  std::FILE* progress = stderr;
  int64_t prefetch = 2;  // steps whose batches are prepared ahead
  std::string command;   // the command line, for the log's header
  std::string version;   // of the program, for the log's header and state.json
};

struct TrainingResult {
  int64_t step = 0;                  // steps done, of config.steps
  int64_t skipped = 0;               // of these, steps without a finite gradient
  double loss = 0;                   // of the last log interval, nats per unit of weight
  std::vector<Metric> evaluation;    // the last one
  std::optional<double> best;        // best value of its first metric ...
  int64_t best_step = 0;             // ... and the step where it was measured
  std::filesystem::path checkpoint;  // the newest checkpoint
  std::filesystem::path best_model;  // RUN/best, or `checkpoint` when nothing was measured
};

// A run directory:
//   config.json                       {"model", "trainer", "task"}: the resolved settings
//   log.jsonl                         one object per line, see below
//   events.out.tfevents.strandwave    the same numbers for TensorBoard
//   checkpoints/step-000001200/       core/checkpoint/checkpoint.h; training.safetensors holds
//                                     <name>.exp_avg, <name>.exp_avg_sq, with an EMA <name>.ema,
//                                     and task.<name> for what the task carries over
//   best/                             a model directory: the parameters with the best evaluation
//
// With an EMA the averaged parameters are what evaluations measure and what best/ holds; the
// checkpoints' model.safetensors always holds the parameters that training goes on with.
//
// log.jsonl: {"type": "run", ...} at each start; {"type": "train", "step", "loss" (nats), "bits",
// "lr", "grad_norm" (before clipping, last step), "tokens" (so far), "tokens_per_second", "skipped"
// (so far), "memory_bytes"} per interval, the loss being the mean over the interval's weights;
// {"type": "eval", "step", "metrics": {name: value}, "best": bool}. "step" counts finished steps.
//
// run() continues an existing run in the directory: the settings must agree (Error(kUsage) names
// the first key that differs, with both values), the newest valid checkpoint is loaded, the logs
// are cut back to it. Step, loss, gradient norm and learning rate then equal those of an unbroken
// run bit for bit on the same build, device and number of threads. A directory with other content
// is refused, and so is one in which another process trains.
//
// SIGINT, SIGTERM, SIGUSR1: the step in progress is finished, a checkpoint saved,
// Error(kInterrupted) thrown; a second signal ends the process at once. A step whose gradient or
// loss is not finite changes nothing but the count of skipped steps; 100 in a row end the run.
// Throws Error(kRuntime) when memory runs out (naming what to lower) or the disk is full (the
// previous checkpoint stays valid).
class Trainer {
 public:
  Trainer(TrainableModel model, Task& task, TrainerConfig config, RunOptions options);
  ~Trainer();
  TrainingResult run();

 private:
  class Loop;
  Task& task_;
  torch::Device device_;
  std::unique_ptr<Loop> loop_;
};

}  // namespace strandwave
