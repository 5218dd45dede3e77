// What lower case in a FASTA file means for training and measuring.
#pragma once

#include <cstdint>
#include <string>

#include "genomics/io/genome.h"
#include "genomics/io/intervals.h"

namespace strandwave {

// Whether lower case marks the repeats of this contig (soft masking). With less than 1 % or more
// than 90 % lower-case letters it says nothing: no repeat finder ran, or the whole file is written
// that way.
bool carries_soft_mask(const Contig& contig);

// Of the contigs that the intervals lie on.
struct SoftMaskCounts {
  int64_t contigs = 0;
  int64_t masked = 0;  // carry a soft mask
};
SoftMaskCounts count_soft_masks(const Genome& genome, const Intervals& intervals);

// How much a masked base counts in a loss, from "upper" (1), "weight" (0.1), "weight=W" (W, 0 to 1)
// or "ignore" (0). Throws Error(kUsage) for anything else.
double soft_mask_weight(const std::string& policy);

}  // namespace strandwave
