// Which bases train a model and which judge it.
#pragma once

#include <string>
#include <vector>

#include "genomics/io/genome.h"
#include "genomics/io/intervals.h"

namespace strandwave {

struct Splits {
  Intervals train, validation, test;  // merged, disjoint; coordinates 0-based half-open
};

struct SplitOptions {
  std::string bed;  // intervals whose label is train, validation or test
  std::vector<std::string>
      validation;  // regions "20:40,000,001-44,000,000" (1-based inclusive) or contigs
  std::vector<std::string> test;
  std::vector<std::string> train;  // empty: all that is left
  int64_t gap = 131072;            // bases kept out of training on both sides of held-out intervals
  bool need_training = true;       // an empty training split is an error
};

// Held-out intervals come from the BED file and the regions. Training intervals are the named ones,
// or else the whole genome, less the held-out intervals grown by `gap`. Throws Error when splits
// overlap (naming two intervals that do), when a label is none of the three, or when nothing is
// left to train.
Splits make_splits(const Genome& genome, const SplitOptions& options);

// SHA-256 of contigs, starts and ends, in order.
std::string hash_of_intervals(const Genome& genome, const Intervals& intervals);

// One BED with the labels train, validation and test; make_splits reads it back (gap 0).
void write_splits(const std::string& path, const Genome& genome, const Splits& splits);

}  // namespace strandwave
