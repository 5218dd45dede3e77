// Labelled sequences of a table or a FASTA file.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "genomics/labelled_fragments.h"
#include "genomics/sequence_splits.h"

namespace strandwave {

class SequenceFragments : public LabelledFragments {
 public:
  SequenceFragments(const std::string& path, const FragmentOptions& options);

  LabelledFragment sample(uint64_t seed, uint64_t index) const override;
  std::vector<LabelledFragment> fixed(Split split, int64_t max_per_class,
                                      const FixedOptions& how = {}) const override;
  std::vector<int64_t> class_counts(Split split) const override;
  void for_each_training_sequence(
      const std::function<void(int32_t, std::span<const uint8_t>)>& visit) const override;
  int64_t longest_training_sequence() const override;
  std::string description_without(int32_t left_out) const override;
  std::string hash() const override { return hash_; }
  nlohmann::json leakage() const override { return facts_; }

 private:
  std::vector<LabelledFragment> sequences_;
  // [split][pool] -> sequences_; a pool is a class, or everything where there are no classes.
  std::array<std::vector<std::vector<size_t>>, kSplits> members_;
  std::string hash_;
  nlohmann::json facts_;
};

}  // namespace strandwave
