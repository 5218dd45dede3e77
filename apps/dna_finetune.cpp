#include <filesystem>
#include <iostream>
#include <memory>

#include "apps/classifier_report.h"
#include "apps/commands.h"
#include "apps/dna_model.h"
#include "apps/training_options.h"
#include "core/base/files.h"
#include "core/runtime/out_of_memory.h"
#include "genomics/finetune_task.h"

namespace strandwave::apps {
namespace {

struct Options {
  TrainingOptions training;
  ModelOptions model;
  FragmentOptions fragments;
  FinetuneOptions task;
  std::string data;
  std::string start_from;
  int64_t test_per_class = 2000;
};

// Sets the hash of the model that it starts from, if any.
std::shared_ptr<SequenceModel> make_model(Options& options,
                                          const std::vector<std::string>& labels) {
  HeadConfig head;
  head.kind = HeadConfig::Kind::kClassifier;
  head.classes = labels;
  if (!options.start_from.empty()) {
    const LoadedModel loaded = load_dna_model(options.start_from);
    options.task.start_model = loaded.hash;
    return with_new_head(*loaded.model, head, options.training.trainer.seed);
  }
  ModelConfig config = dna_model_config(options.model);
  config.head = head;
  config.tie_embeddings = true;
  return std::make_shared<SequenceModel>(config, options.training.trainer.seed);
}

void run(Options options) {
  const c10::Device device = options.training.common.prepare();
  const std::shared_ptr<const LabelledFragments> data =
      LabelledFragments::open(options.data, options.fragments);
  if (!options.training.common.quiet) std::cerr << "data: " << data->description() << '\n';

  const std::vector<LabelledFragment> test = data->fixed(Split::kTest, options.test_per_class);
  if (test.empty())
    warn(options.data +
         " has no test split: the classifier is not tested (write test into the column split)");
  options.task.accumulation = options.training.trainer.accumulation;
  options.task.seed = options.training.trainer.seed;
  const std::shared_ptr<SequenceModel> model = make_model(options, data->labels());
  FinetuneTask task(model, data, options.task);
  const TrainingResult result = train(model, task, options.training, device);

  const std::filesystem::path folder = options.training.output;
  std::cout << "run: " << folder.string() << ", step " << result.step << '\n';
  if (test.empty()) return;
  nlohmann::json evaluation;
  explain_out_of_memory(device, task.memory_advice(), [&] {
    const std::shared_ptr<SequenceModel> best = load_model(result.best_model);
    best->to(device);
    const KmerBayes bayes = train_naive_bayes(*data);
    evaluation =
        report_classifier(SequenceClassifier(best, {}), test, &bayes, "test split", std::cout);
  });
  evaluation["command"] = command_line();
  write_file_atomically(folder / "test.json", evaluation.dump(2) + "\n");
}

}  // namespace

void add_dna_finetune(CLI::App& dna) {
  CLI::App* command = dna.add_subcommand("finetune", "Fit a classifier of DNA sequences");
  auto options = std::make_shared<Options>();
  options->training.trainer.lr = 2e-3;
  command
      ->add_option("DATA", options->data,
                   "Manifest TSV of genomes (path label [group] [split]), or labelled CSV "
                   "(sequence,label) or FASTA")
      ->required();
  command->add_option("--model", options->start_from,
                      "Pretrained run or model; without it a new model is trained from scratch");
  command
      ->add_option("--length", options->fragments.length,
                   "Bases per training fragment; needed for genomes; 0: whole sequences")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--error-rate", options->fragments.error_rate,
                   "Substitutions per base in training fragments, 0 to 1")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--batch", options->task.batch, "Fragments per micro-batch")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--eval-per-class", options->task.evaluation_per_class,
                   "Validation fragments per class")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--test-per-class", options->test_per_class, "Test fragments per class")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--cache", options->fragments.cache_dir,
                      "Folder of packed genomes; default $STRANDWAVE_CACHE, "
                      "$XDG_CACHE_HOME/strandwave or ~/.cache/strandwave");
  add_model_options(*command, options->model);
  add_training_options(*command, options->training);
  command->callback([options] { run(*options); });
}

}  // namespace strandwave::apps
