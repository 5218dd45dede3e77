// Splits as files that the readers of labelled data take.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "genomics/genome_splits.h"
#include "genomics/sequence_splits.h"

namespace strandwave {

using WriteText = std::function<void(std::string_view)>;

// A table with the columns sequence, label, split, overlaps_training (1 for held-out sequences that
// share at least half their 31-mers with training), name and, where there are any, group and
// cluster (the name of the first sequence of the unit).
void write_split_table(const SequenceSplits& splits, const WriteText& write);

// The manifest with its splits. Paths that are not absolute are made relative to `folder`, where
// the manifest will lie; with an empty `folder` all are made absolute.
void write_split_manifest(const GenomeSplits& splits, const std::filesystem::path& folder,
                          const WriteText& write);

}  // namespace strandwave
