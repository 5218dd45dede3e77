// Options of every command that trains.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>

#include "apps/options.h"
#include "core/models/sequence_model.h"
#include "core/training/trainer.h"

namespace strandwave::apps {

struct TrainingOptions {
  CommonOptions common;
  TrainerConfig trainer;
  std::string precision = "auto";  // bf16 on a GPU, fp32 on the CPU
  std::string output;
  bool force = false;
};
void add_training_options(CLI::App& command, TrainingOptions& options);

// The shape of a new model.
struct ModelOptions {
  int64_t d_model = 256;
  std::string layers = "M{8}";
  int64_t d_state = 16;
  std::string config;  // a config.json instead
};
void add_model_options(CLI::App& command, ModelOptions& options);
// A DNA language model of that shape, or what the given config.json says, whatever its tokens.
ModelConfig shaped_config(const ModelOptions& options);
// The same; throws Error(kUsage) when the given config.json is not for the tokens of DNA.
ModelConfig dna_model_config(const ModelOptions& options);

// Runs the task and returns the result; `device` comes from options.common.prepare(). `prepared` is
// called when the run's folder exists and belongs to this run, before the first step.
TrainingResult train(TrainableModel model, Task& task, TrainingOptions options, c10::Device device,
                     const std::function<void()>& prepared = {});
TrainingResult train(const std::shared_ptr<SequenceModel>& model, Task& task,
                     TrainingOptions options, c10::Device device,
                     const std::function<void()>& prepared = {});

}  // namespace strandwave::apps
