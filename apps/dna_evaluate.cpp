#include <algorithm>
#include <iostream>
#include <memory>

#include "apps/classifier_report.h"
#include "apps/commands.h"
#include "apps/dna_model.h"
#include "apps/genome_options.h"
#include "apps/options.h"
#include "core/base/error.h"
#include "core/runtime/out_of_memory.h"

namespace strandwave::apps {
namespace {

struct Options {
  CommonOptions common;
  GenomeSource genome;
  EvaluationOptions evaluation;
  std::string model;
  std::string baseline;
  FiguresOutput output;
};

nlohmann::json evaluate(const Options& options, const c10::Device device) {
  const std::shared_ptr<SequenceModel> model = load_dna_model(options.model).model;
  model->to(device);
  if (model->config().head.kind == HeadConfig::Kind::kClassifier) {
    if (options.genome.paths.size() != 1)
      throw usage_error("a classifier is evaluated on one labelled file");
    return evaluate_on_labelled(SequenceClassifier(model, {true, options.evaluation.batch_tokens}),
                                options.genome.paths[0], options.baseline, options.genome.cache,
                                options.output.tables());
  }
  require_language_model(model->config(), options.model);
  const Genome genome = open_genome(options.genome, options.common.quiet);
  SplitOptions split = options.genome.split;
  // Only the Markov models learn here.
  split.need_training = std::any_of(options.evaluation.orders.begin(),
                                    options.evaluation.orders.end(), [](int o) { return o >= 0; });
  return evaluate_language_model(*model, genome, make_splits(genome, split), options.evaluation,
                                 options.common.quiet, options.output.tables());
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
      "evaluate",
      "Bits per base of a language model beside Markov models, or accuracy of a classifier");
  auto options = std::make_shared<Options>();
  command->add_option("--model", options->model, "Run or model folder")->required();
  add_genome_options(*command, options->genome);
  command->get_option("GENOME")->description(
      "FASTA files of the genome; for a classifier one labelled CSV, FASTA or FASTQ (label=NAME in "
      "the header)");
  options->evaluation.window = 8192;
  add_evaluation_options(*command, options->evaluation);
  command->get_option("--test-window")
      ->description("Bases per window of a language model's test")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--batch-bases", options->evaluation.batch_tokens,
                   "Bases run at once; a longer window goes alone, a longer sequence in pieces")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  command->add_option("--baseline", options->baseline,
                      "Training data (manifest, CSV or FASTA) of the 6-mer naive Bayes that a "
                      "classifier is compared with");
  add_figures_options(*command, options->output);
  add_common_options(*command, options->common);
  command->callback([options] { run(*options); });
}

}  // namespace strandwave::apps
