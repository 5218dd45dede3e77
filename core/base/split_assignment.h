// Which parts of labelled data train a model and which judge it. No LibTorch.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace strandwave {

enum class Split { kTrain, kValidation, kTest };
inline constexpr int kSplits = 3;
const char* to_string(Split split);  // "train", "validation", "test"
// Of "train", "validation" and "test".
Split split_of(const std::string& name);

// What must not be divided: a group, a cluster of similar sequences.
struct SplitUnit {
  // Decides the order, so that it does not depend on that of the rows: a hash of the content.
  uint64_t key = 0;
  // (stratum, weight): how much of each class it holds, each stratum once.
  std::vector<std::pair<int32_t, int64_t>> strata;
};

struct SplitShares {
  double validation = 0.1;
  double test = 0.1;
  // With folds > 0 the units are dealt to so many parts of about the same size; part `fold` is the
  // test split, the next one validation. At least three.
  int folds = 0;
  int fold = 0;
  uint64_t seed = 0;
};

// The split of each unit, such that every stratum has about its share in each split. In a random
// order units go to test, then to validation, as long as they fit there, else to training. A
// stratum of few units keeps one in training, then gives one to validation, then one to test.
// Throws Error(kUsage) when the shares or folds make no sense.
std::vector<Split> assign_splits(const std::vector<SplitUnit>& units, size_t strata,
                                 const SplitShares& shares);

}  // namespace strandwave
