#include <filesystem>
#include <iostream>
#include <memory>

#include "apps/classifier_report.h"
#include "apps/commands.h"
#include "apps/genome_options.h"
#include "apps/options.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/checkpoint/checkpoint.h"

namespace strandwave::apps {
namespace {

struct Options {
  CommonOptions common;
  GenomeSource genome;
  EvaluationOptions evaluation;
  std::string model;
  std::string baseline;
  std::string output;
};

nlohmann::json evaluate(Options& options, const c10::Device device) {
  const std::shared_ptr<SequenceModel> model = load_model(options.model);
  model->to(device);
  if (model->config().head.kind == HeadConfig::Kind::kClassifier) {
    if (options.genome.paths.size() != 1)
      throw usage_error("a classifier is evaluated on one labelled file");
    return evaluate_on_labelled(model, options.genome.paths[0], options.baseline,
                                options.genome.cache, std::cout);
  }
  const Genome genome = open_genome(options.genome, options.common.quiet);
  if (options.evaluation.window == 0) options.evaluation.window = 8192;
  return evaluate_language_model(*model, genome, make_splits(genome, options.genome.split),
                                 options.evaluation, options.common.quiet, std::cout);
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
  add_evaluation_options(*command, options->evaluation);
  command->add_option("--baseline", options->baseline,
                      "Training data (manifest, CSV or FASTA) of the 6-mer naive Bayes that a "
                      "classifier is compared with");
  command->add_option("-o,--output", options->output, "Also write the figures to this JSON file");
  add_common_options(*command, options->common);
  command->callback([options] {
    nlohmann::json result = evaluate(*options, options->common.prepare());
    result["command"] = command_line();
    if (!options->output.empty()) write_file_atomically(options->output, result.dump(2) + "\n");
  });
}

}  // namespace strandwave::apps
