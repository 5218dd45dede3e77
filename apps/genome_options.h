// Options of every command that reads a genome and holds parts of it out.
#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/models/sequence_model.h"
#include "genomics/bits_per_base.h"
#include "genomics/splits.h"

namespace strandwave::apps {

struct GenomeSource {
  std::vector<std::string> paths;
  std::string cache;  // folder of packed genomes
  SplitOptions split;
};
void add_genome_options(CLI::App& command, GenomeSource& source);
// Opens the genome, telling on stderr what it holds and what was noticed.
Genome open_genome(const GenomeSource& source, bool quiet);

struct EvaluationOptions {
  int64_t window = 0;  // bases per window; 0: a default of the command
  int64_t bases = 0;   // evaluated at most, evenly spread; 0: all
  int64_t batch_tokens = 1 << 16;
  std::vector<int> orders = {2, 5, 8, 11, 12};  // of the Markov models; empty: none
};
void add_evaluation_options(CLI::App& command, EvaluationOptions& options);

// Bits per base on the test intervals, by context, beside Markov models counted on both strands of
// the training intervals. Prints the tables to `out` and returns them as JSON.
nlohmann::json evaluate_language_model(SequenceModel& model, const Genome& genome,
                                       const Splits& splits, const EvaluationOptions& options,
                                       bool quiet, std::ostream& out);

}  // namespace strandwave::apps
