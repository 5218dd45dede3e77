#include <filesystem>
#include <iostream>
#include <memory>

#include "apps/commands.h"
#include "apps/dna_model.h"
#include "apps/genome_options.h"
#include "apps/language_model_options.h"
#include "apps/training_options.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "core/runtime/out_of_memory.h"
#include "genomics/io/soft_mask.h"
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
  std::string soft_mask = "weight";
  std::string chunk_gradients = "keep";
  bool one_strand = false;
};

// Sets the hash of the model that it starts from, if any.
std::shared_ptr<SequenceModel> make_model(Options& options) {
  if (!options.start_from.empty()) {
    const LoadedModel loaded = load_dna_model(options.start_from);
    require_language_model(loaded.model->config(), options.start_from);
    options.task.start_model = loaded.hash;
    options.task.start_training = TrainingData::of_model(options.start_from);
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
  const Splits splits = open_splits(genome, options.genome.split);

  options.task.accumulation = options.training.trainer.accumulation;
  options.task.seed = options.training.trainer.seed;
  options.task.reverse_complement = !options.one_strand;
  options.task.masked_weight = soft_mask_weight(options.soft_mask);
  options.task.chunk_gradients =
      options.chunk_gradients == "cut" ? ChunkGradients::kCut : ChunkGradients::kKeep;
  const std::shared_ptr<SequenceModel> model = make_model(options);
  PretrainTask task(model, genome, splits, options.task);
  for (const std::string& warning : task.warnings()) warn(warning);
  const std::filesystem::path folder = options.training.output;
  const TrainingResult result = train(model, task, options.training, device,
                                      [&] { write_splits(folder / "split.bed", genome, splits); });
  std::cout << "run: " << folder.string() << ", step " << result.step << '\n';
  if (splits.test.empty()) return;
  if (!options.evaluation.window) options.evaluation.window = options.task.window;
  options.evaluation.batch_tokens = options.task.batch * options.task.window;
  nlohmann::json evaluation;
  explain_out_of_memory(device, "lower --batch or --test-window", [&] {
    const std::shared_ptr<SequenceModel> best = load_model(result.best_model);
    best->to(device);
    evaluation = evaluate_language_model(
        *best, folder, genome, splits, options.evaluation,
        [&](int64_t step) { return task.batch(step, 0).at("tokens"); }, quiet, std::cout);
  });
  evaluation["command"] = command_line();
  write_file_atomically(folder / "test.json", evaluation.dump(2) + "\n");
}

// How windows are drawn and run.
void add_window_options(CLI::App& command, Options& options) {
  PretrainOptions& task = options.task;
  command.add_option("--window", task.window, "Bases per training window")
      ->check(positive_number())
      ->capture_default_str();
  command.add_option("--batch", task.batch, "Windows per micro-batch")
      ->check(positive_number())
      ->capture_default_str();
  command
      .add_option("--warmup-window", task.warmup_window,
                  "Window at the start, in bases, doubling up to --window; 0: none")
      ->check(non_negative_number())
      ->capture_default_str();
  command.add_option("--warmup-window-steps", task.warmup_steps, "Steps until the full window")
      ->check(non_negative_number())
      ->capture_default_str();
  command.add_flag(
      "--stream", task.stream,
      "Rows of a batch walk chromosomes from end to end, the state goes on from window "
      "to window; default: windows drawn at random");
  CLI::Option* chunk =
      command
          .add_option("--chunk", task.chunk,
                      "Run a window in pieces of so many bases with the state carried over: memory "
                      "of one piece; 0: whole")
          ->check(non_negative_number())
          ->capture_default_str();
  command
      .add_option("--chunk-gradients", options.chunk_gradients,
                  "Through the state between pieces: keep (exact, one more forward pass) or cut")
      ->needs(chunk)
      ->check(CLI::IsMember({"keep", "cut"}))
      ->capture_default_str();
  command
      .add_option("--genome-weights", task.genome_weights,
                  "Sampling weights of the FASTA files, e.g. 1,2,1; default: by their training "
                  "bases")
      ->allow_extra_args(false)
      ->delimiter(',')
      ->check(non_negative_number());
  command
      .add_option("--soft-mask", options.soft_mask,
                  "What a lower-case base counts in the loss: upper (1), weight (0.1), weight=W or "
                  "ignore (0)")
      ->capture_default_str();
}

}  // namespace

void add_dna_pretrain(CLI::App& dna) {
  CLI::App* command = dna.add_subcommand("pretrain", "Learn to predict the next base of a genome");
  auto options = std::make_shared<Options>();
  add_genome_options(*command, options->genome);
  add_window_options(*command, *options);
  command->add_flag("--one-strand", options->one_strand,
                    "Do not read windows as reverse complement half of the time");
  command
      ->add_option("--eval-bases", options->task.evaluation_bases,
                   "Validation on at most so many bases, evenly spread; 0: all")
      ->check(non_negative_number())
      ->capture_default_str();
  command->add_option("--model", options->start_from,
                      "Start from this run or model instead of a new one");
  add_model_options(*command, options->model);
  add_evaluation_options(*command, options->evaluation);
  command
      ->add_option("--baseline", options->evaluation.baselines,
                   "What the test compares with: markov, cnn (a small causal convolutional network "
                   "trained on the same windows for the same time)")
      ->allow_extra_args(false)
      ->delimiter(',')
      ->check(CLI::IsMember({"markov", "cnn"}))
      ->capture_default_str();
  add_training_options(*command, options->training);
  command->callback([options] { run(*options); });
}

}  // namespace strandwave::apps
