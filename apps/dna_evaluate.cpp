#include <algorithm>
#include <iostream>
#include <memory>

#include "apps/commands.h"
#include "apps/dna_model.h"
#include "apps/evaluate_classifier.h"
#include "apps/genome_options.h"
#include "apps/language_model_options.h"
#include "apps/options.h"
#include "core/base/error.h"
#include "core/runtime/out_of_memory.h"

namespace strandwave::apps {
namespace {

struct Options {
  CommonOptions common;
  GenomeSource genome;
  EvaluationOptions evaluation;
  ClassifierEvaluation classifier;
  std::string model;
  std::string baseline;
  FiguresOutput output;
};

nlohmann::json evaluate(const Options& options, const c10::Device device) {
  const LoadedModel loaded = load_dna_model(options.model);
  const std::shared_ptr<SequenceModel>& model = loaded.model;
  model->to(device);
  if (model->config().head.kind != HeadConfig::Kind::kLanguageModel) {
    if (options.genome.paths.size() != 1)
      throw usage_error("a " + to_string(model->config().head.kind) +
                        " model is evaluated on one labelled file");
    ClassifierEvaluation evaluation = options.classifier;
    evaluation.baseline = options.baseline;
    return evaluate_classifier(loaded, options.model, options.genome.paths[0], evaluation,
                               options.evaluation.batch_tokens, options.genome.cache,
                               options.common.quiet, options.output.tables());
  }
  const Genome genome = open_genome(options.genome, options.common.quiet);
  EvaluationOptions evaluation = options.evaluation;
  if (!options.baseline.empty()) evaluation.baselines = parse_baselines(options.baseline);
  SplitOptions split = options.genome.split;
  // Only the baselines learn here.
  split.need_training = !evaluation.markov_orders().empty() || evaluation.wants("cnn");
  return evaluate_language_model(*model, options.model, genome, open_splits(genome, split),
                                 evaluation, {}, options.common.quiet, options.output.tables());
}

void run(const Options& options) {
  const c10::Device device = options.common.prepare();
  options.output.check();
  nlohmann::json result;
  explain_out_of_memory(device, "lower --batch-bases, or --test-window of a language model",
                        [&] { result = evaluate(options, device); });
  result["command"] = command_line();
  options.output.write(result);
}

}  // namespace

void add_dna_evaluate(CLI::App& dna) {
  CLI::App* command = dna.add_subcommand(
      "evaluate", "Bits per base of a language model, or a classifier's figures, beside baselines");
  auto options = std::make_shared<Options>();
  command->add_option("--model", options->model, "Run or model folder")->required();
  add_genome_options(*command, options->genome);
  command->get_option("GENOME")->description(
      "FASTA files of the genome; for a classifier one labelled CSV, FASTA or FASTQ (label=NAME in "
      "the header), or a manifest of genomes");
  add_evaluation_options(*command, options->evaluation);
  command->get_option("--test-window")
      ->description(
          "Bases per window of a language model's test; 0: the test intervals whole; default: "
          "8192");
  command
      ->add_option("--batch-bases", options->evaluation.batch_tokens,
                   "Bases run at once; a longer window or sequence is run in pieces, the state "
                   "carried over")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  command->add_option("--baseline", options->baseline,
                      "What a language model is compared with: markov, cnn or markov,cnn (default "
                      "markov). For a classifier: training data (manifest, CSV or FASTA) of the "
                      "baselines");
  add_classifier_evaluation_options(*command, options->classifier);
  add_figures_options(*command, options->output);
  add_common_options(*command, options->common);
  command->callback([options] { run(*options); });
}

}  // namespace strandwave::apps
