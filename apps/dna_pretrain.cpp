#include <filesystem>
#include <iostream>
#include <memory>

#include "apps/commands.h"
#include "apps/dna_model.h"
#include "apps/genome_options.h"
#include "apps/training_options.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "core/runtime/out_of_memory.h"
#include "genomics/pretrain_task.h"

namespace strandwave::apps {
namespace {

struct Options {
  TrainingOptions training;
  ModelOptions model;
  GenomeSource genome;
  PretrainOptions task;
  EvaluationOptions evaluation;
  std::string start_from;
  bool one_strand = false;
};

// Sets the hash of the model that it starts from, if any.
std::shared_ptr<SequenceModel> make_model(Options& options) {
  if (!options.start_from.empty()) {
    const LoadedModel loaded = load_dna_model(options.start_from);
    require_language_model(loaded.model->config(), options.start_from);
    options.task.start_model = loaded.hash;
    return loaded.model;
  }
  const ModelConfig config = dna_model_config(options.model);
  require_language_model(config, options.model.config);
  return std::make_shared<SequenceModel>(config, options.training.trainer.seed);
}

void run(Options options) {
  const c10::Device device = options.training.common.prepare();
  const bool quiet = options.training.common.quiet;
  const Genome genome = open_genome(options.genome, quiet);
  const Splits splits = make_splits(genome, options.genome.split);

  options.task.accumulation = options.training.trainer.accumulation;
  options.task.seed = options.training.trainer.seed;
  options.task.reverse_complement = !options.one_strand;
  const std::shared_ptr<SequenceModel> model = make_model(options);
  PretrainTask task(model, genome, splits, options.task);
  const std::filesystem::path folder = options.training.output;
  const TrainingResult result = train(model, task, options.training, device,
                                      [&] { write_splits(folder / "split.bed", genome, splits); });
  std::cout << "run: " << folder.string() << ", step " << result.step << '\n';
  if (splits.test.empty()) return;
  if (options.evaluation.window == 0) options.evaluation.window = options.task.window;
  options.evaluation.batch_tokens = options.task.batch * options.task.window;
  nlohmann::json evaluation;
  explain_out_of_memory(device, "lower --batch or --test-window", [&] {
    const std::shared_ptr<SequenceModel> best = load_model(result.best_model);
    best->to(device);
    evaluation =
        evaluate_language_model(*best, genome, splits, options.evaluation, quiet, std::cout);
  });
  evaluation["command"] = command_line();
  write_file_atomically(folder / "test.json", evaluation.dump(2) + "\n");
}

}  // namespace

void add_dna_pretrain(CLI::App& dna) {
  CLI::App* command = dna.add_subcommand("pretrain", "Learn to predict the next base of a genome");
  auto options = std::make_shared<Options>();
  add_genome_options(*command, options->genome);
  command->add_option("--window", options->task.window, "Bases per training window")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--batch", options->task.batch, "Windows per micro-batch")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--warmup-window", options->task.warmup_window,
                   "Window at the start, in bases, doubling up to --window; 0: none")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--warmup-window-steps", options->task.warmup_steps,
                   "Steps until the full window")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_flag("--one-strand", options->one_strand,
                    "Do not read windows as reverse complement half of the time");
  command
      ->add_option("--eval-bases", options->task.evaluation_bases,
                   "Validation on at most so many bases, evenly spread; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--model", options->start_from,
                      "Start from this run or model instead of a new one");
  add_model_options(*command, options->model);
  add_evaluation_options(*command, options->evaluation);
  add_training_options(*command, options->training);
  command->callback([options] { run(*options); });
}

}  // namespace strandwave::apps
