// The splits of labelled genomes, and what they share.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "genomics/io/genome.h"
#include "genomics/io/labelled.h"
#include "core/base/split_assignment.h"
#include "genomics/labelled_fragments.h"

namespace strandwave {

struct GenomeSplits {
  Manifest manifest;
  std::vector<Split> split;  // of each row
  // Training rows whose classes have no validation genomes: the last tenth of each of their contigs
  // is for validation.
  std::vector<bool> ends;
  std::string policy;  // "given", or "groups" where this function has chosen
};

// Rows whose validation split is given keep what they have. Otherwise, where groups are given,
// whole ones are taken out of training, for validation and, where no test split is given, for the
// test (assign_splits with a weight of 1 per group and class). Throws Error: folds without groups
// or of data that hold out genomes already.
GenomeSplits split_genomes(Manifest manifest, const FragmentOptions& options,
                           const std::string& name);

// All files of the manifest as one genome, file i being row i.
Genome open_genomes(const Manifest& manifest, const std::string& cache_dir);

// Facts for the report, see docs/formats.md: how much there is in each split, and for every
// held-out group the shares of its 31-mers (either strand; those with N left out) that occur in the
// training genomes of its own class and of the other classes. Multi-label data and numbers have
// one class here. Reads every genome twice; memory stays below 512 MiB, for which long genomes are
// represented by a part of their 31-mers, the same ones everywhere ("sampled_one_in").
nlohmann::json genome_leakage(const Genome& genome, const GenomeSplits& splits);

}  // namespace strandwave
