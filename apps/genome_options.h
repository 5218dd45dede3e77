// Options of every command that reads a genome and holds parts of it out.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

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
// make_splits; overlaps that are allowed are warned of.
Splits open_splits(const Genome& genome, const SplitOptions& options);

}  // namespace strandwave::apps
