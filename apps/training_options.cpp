#include "apps/training_options.h"

#include <algorithm>
#include <utility>

#include "apps/dna_model.h"
#include "apps/version.h"
#include "core/base/error.h"
#include "core/base/json_config.h"
#include "genomics/io/tokenizer.h"

namespace strandwave::apps {

void add_training_options(CLI::App& command, TrainingOptions& options) {
  TrainerConfig& t = options.trainer;
  add_output_folder_options(command, options.output, options.force);
  add_seed_option(command, t.seed);
  command.add_option("--steps", t.steps, "Optimizer steps")
      ->check(positive_number())
      ->capture_default_str();
  command.add_option("--accumulation", t.accumulation, "Micro-batches per step")
      ->check(positive_number())
      ->capture_default_str();
  command.add_option("--lr", t.lr, "Peak learning rate")
      ->check(positive_number())
      ->capture_default_str();
  command.add_option("--min-lr", t.min_lr, "Learning rate of the last step")
      ->check(non_negative_number())
      ->capture_default_str();
  command.add_option("--warmup", t.warmup_steps, "Steps of linear warm-up; cosine decay follows")
      ->check(non_negative_number())
      ->capture_default_str();
  command.add_option("--weight-decay", t.weight_decay, "Decoupled weight decay of matrices")
      ->check(non_negative_number())
      ->capture_default_str();
  command.add_option("--beta2", t.beta2, "AdamW's second-moment decay")
      ->check(number_between(0, 1))
      ->capture_default_str();
  command.add_option("--clip", t.clip, "Bound of the gradient's norm; 0: none")
      ->check(non_negative_number())
      ->capture_default_str();
  command.add_option("--ema", t.ema_decay, "Decay of a moving average of the parameters; 0: none")
      ->check(number_between(0, 1))
      ->capture_default_str();
  command
      .add_option("--precision", options.precision,
                  "auto (bf16 on a GPU, fp32 on the CPU), fp32 or bf16")
      ->check(CLI::IsMember({"auto", "fp32", "bf16"}))
      ->capture_default_str();
  command.add_flag("--recompute", t.recompute,
                   "Recompute activations in the backward pass: less memory, more time");
  command.add_option("--log-every", t.log_every, "Steps between log records")
      ->check(positive_number())
      ->capture_default_str();
  command.add_option("--eval-every", t.eval_every, "Steps between evaluations; 0: only at the end")
      ->check(non_negative_number())
      ->capture_default_str();
  command
      .add_option(
          "--save-every", t.save_every,
          "Steps between checkpoints; 0: a tenth of the run. Also at the end and on a signal")
      ->check(non_negative_number())
      ->capture_default_str();
  command.add_option("--keep", t.keep, "Newest checkpoints kept, beside the best")
      ->check(positive_number())
      ->capture_default_str();
  add_common_options(command, options.common);
}

void add_model_options(CLI::App& command, ModelOptions& options) {
  command.add_option("--d-model", options.d_model, "Width of the model")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command
      .add_option("--layers", options.layers,
                  "Layer string: M is a Mamba layer, M{8} eight of them")
      ->capture_default_str();
  command.add_option("--d-state", options.d_state, "States per channel of a Mamba layer")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  command.add_option("--model-config", options.config,
                     "A config.json that describes the model instead (docs/formats.md)");
  CLI::Option* config = command.get_option("--model-config");
  for (const char* name : {"--d-model", "--layers", "--d-state"})
    config->excludes(command.get_option(name));
  CLI::Option* start = command.get_option_no_throw("--model");
  if (start == nullptr) return;
  for (const char* name : {"--d-model", "--layers", "--d-state", "--model-config"})
    start->excludes(command.get_option(name));
}

ModelConfig shaped_config(const ModelOptions& options) {
  if (!options.config.empty())
    return ModelConfig::from_json(read_json_file(options.config), options.config);
  ModelConfig config;
  config.d_model = options.d_model;
  config.stack = options.layers;
  config.layers = {{'M', LayerConfig{"mamba", {{"d_state", options.d_state}}}}};
  config.vocab_size = dna::kPaddedVocabulary;
  config.valid_vocab_size = dna::kVocabulary;
  config.tokenizer = dna::kTokenizerName;
  config.validate("the model options");
  return config;
}

ModelConfig dna_model_config(const ModelOptions& options) {
  ModelConfig config = shaped_config(options);
  if (config.tokenizer.empty()) config.tokenizer = dna::kTokenizerName;
  require_dna_tokens(config, options.config);
  return config;
}

TrainingResult train(const std::shared_ptr<SequenceModel>& model, Task& task,
                     TrainingOptions options, c10::Device device,
                     const std::function<void()>& prepared) {
  return train(trainable(model), task, std::move(options), device, prepared);
}

TrainingResult train(TrainableModel model, Task& task, TrainingOptions options, c10::Device device,
                     const std::function<void()>& prepared) {
  if (options.precision == "auto") options.precision = device.is_cuda() ? "bf16" : "fp32";
  options.trainer.precision = options.precision;
  // A run that is killed without warning loses at most a tenth of its work.
  if (options.trainer.save_every == 0)
    options.trainer.save_every = std::max<int64_t>(1, options.trainer.steps / 10);
  const TrainerConfig& t = options.trainer;
  if (t.warmup_steps > t.steps)
    throw usage_error("--warmup " + std::to_string(t.warmup_steps) + " is more than --steps " +
                      std::to_string(t.steps));
  options.trainer.validate();
  RunOptions run;
  run.directory = options.output;
  run.device = device;
  run.force = options.force;
  run.quiet = options.common.quiet;
  run.command = command_line();
  run.version = STRANDWAVE_VERSION;
  Trainer trainer(std::move(model), task, options.trainer, std::move(run));
  if (prepared) prepared();
  return trainer.run();
}

}  // namespace strandwave::apps
