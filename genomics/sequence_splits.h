// The splits of labelled sequences, and what they share.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "genomics/io/labelled.h"
#include "genomics/io/sequence_clusters.h"
#include "core/base/split_assignment.h"
#include "genomics/labelled_fragments.h"

namespace strandwave {

struct SequenceSplits {
  std::vector<std::string> labels;
  std::vector<LabelledSequence> rows;  // in the order of the data
  TokenSequences ids;                  // of each row
  std::vector<Split> split;
  std::vector<int32_t> cluster;          // least row of its unit; empty where splits are given
  std::vector<TrainingOverlap> overlap;  // of held-out rows; of training rows nothing
  nlohmann::json facts;                  // for the report, see docs/formats.md
};

// Rows whose validation split is given keep what they have. Otherwise validation is taken out of
// the training rows, and test too where none is given: whole units, which are groups and, unless
// options.split is kRandom, clusters of similar sequences, joined where they overlap. A unit with
// a sequence that nevertheless shares half its 31-mers with training goes back there.
//
// Where nothing held out is given, copies (either strand) of a sequence are dropped, and all of
// them where their labels differ. `name` is for messages. Throws Error: a class without training
// sequences, folds of data that hold out rows already.
SequenceSplits split_sequences(LabelledData data, const FragmentOptions& options,
                               const std::string& name);

// The strata of rows: classes; multi-label the labels and "none"; regression fifths of the values.
// Each row's strata, and how many strata there are.
struct Strata {
  std::vector<std::vector<int32_t>> of_row;
  size_t count = 0;
};
Strata strata_of(const std::vector<const LabelledRow*>& rows, LabelKind kind, size_t labels);

SplitShares shares_of(const FragmentOptions& options);

}  // namespace strandwave
