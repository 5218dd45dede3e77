// A whole file of labelled data as a test set: nothing of it is trained on, divided or dropped.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "genomics/classifier_report.h"

namespace strandwave {

struct TestSetOptions {
  LabelKind kind = LabelKind::kClass;
  std::vector<std::string> labels;  // those of the model; any other in the data is an error
  std::string cache_dir;            // of packed genomes
  int64_t length = 0;               // what FixedOptions::length 0 means; 0: whole sequences
  int64_t per_class = 2000;         // fragments at most of each class, evenly spread
};

// `data` as in labelled_files(); splits that it gives do not matter. Genomes of a manifest are cut
// into windows of the length, of which at most half may be N; of a longer sequence of a table the
// middle is taken, a shorter one is taken whole. Throws Error: no length for genomes, and what the
// readers throw.
TestSet open_test_set(const std::string& data, const TestSetOptions& options);

}  // namespace strandwave
