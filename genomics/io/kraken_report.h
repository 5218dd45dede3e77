// Kraken's report: how many reads each taxon and what belongs to it got.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "genomics/io/taxonomy.h"

namespace strandwave {

// Six columns separated by tabs, as Kraken 2 writes them and Krona and Pavian read them: percent of
// all reads, reads of the clade, reads of the taxon itself, rank code, taxid, name indented by two
// blanks per level. The first line are the unclassified reads, then the taxa with reads from the
// root down, larger clades first. Rank codes: R, D, K, P, C, O, F, G, S; a rank between two of them
// has the code above it and the number of steps below it (S1: a subspecies).
// reads[i] belong to the taxon of label i.
std::string kraken_report(const Taxonomy& taxonomy, std::span<const int64_t> reads,
                          int64_t unclassified);

}  // namespace strandwave
