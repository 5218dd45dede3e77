// Which bases train a model and which judge it.
#pragma once

#include <string>
#include <vector>

#include "genomics/io/genome.h"
#include "genomics/io/intervals.h"

namespace strandwave {

struct Splits {
  Intervals train, validation, test;       // each merged; coordinates 0-based half-open
  std::vector<std::string> overlaps = {};  // what --allow-overlap let pass, one sentence each
};

// Every contig cut into blocks of one size (a rest shorter than half of it stays with the block
// before); whole blocks, drawn by a seed, are held out. Blocks of which more than half is N are
// never held out.
struct BlockOptions {
  int64_t size = 0;          // bases; 0: no blocks
  double validation = 0.05;  // fraction of the bases (without N) held out, at least one block ...
  double test = 0.05;        // ... unless 0
  uint64_t seed = 0;
};

struct SplitOptions {
  std::string bed;  // intervals whose label is train, validation or test
  std::vector<std::string>
      validation;  // regions "20:40,000,001-44,000,000" (1-based inclusive) or contigs
  std::vector<std::string> test;
  std::vector<std::string> train;  // empty: all that is left
  int64_t gap = 131072;            // bases kept out of training on both sides of held-out intervals
  bool need_training = true;       // an empty training split is an error
  BlockOptions blocks = {};        // instead of bed, validation, test and train
  bool allow_overlap = false;      // splits that share bases: a warning instead of an error
};

// Held-out intervals come from the BED file and the regions, or from blocks. Training intervals are
// the named ones, or else the whole genome, less the held-out intervals grown by `gap`. Throws
// Error when splits overlap and may not (naming an interval that two of them share), when a label
// is none of the three, when blocks are too few, or when nothing is left to train.
Splits make_splits(const Genome& genome, const SplitOptions& options);

// SHA-256 of contigs, starts and ends, in order.
std::string hash_of_intervals(const Genome& genome, const Intervals& intervals);

// One BED with the labels train, validation and test; make_splits reads it back (gap 0).
void write_splits(const std::string& path, const Genome& genome, const Splits& splits);

}  // namespace strandwave
