// Fragments cut from the genomes of a manifest.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "genomics/fragment_starts.h"
#include "genomics/genome_splits.h"
#include "genomics/labelled_fragments.h"

namespace strandwave {

class GenomeFragments : public LabelledFragments {
 public:
  GenomeFragments(const std::string& path, const FragmentOptions& options);

  LabelledFragment sample(uint64_t seed, uint64_t index) const override;
  std::vector<LabelledFragment> fixed(Split split, int64_t max_per_class,
                                      const FixedOptions& how = {}) const override;
  std::vector<int64_t> class_counts(Split split) const override;
  void for_each_training_sequence(
      const std::function<void(int32_t, std::span<const uint8_t>)>& visit) const override;
  int64_t longest_training_sequence() const override;
  std::string description_without(int32_t left_out) const override;
  std::string hash() const override;
  nlohmann::json leakage() const override { return genome_leakage(genome_, splits_); }

 private:
  // What is drawn from alike: a class, or everything where there are no classes.
  struct Pool {
    std::array<Intervals, kSplits> intervals;
    FragmentStarts training;
    std::array<std::vector<FragmentStarts>, kSplits> groups;  // training: empty
  };

  void find_intervals();
  void add(Split split, size_t row, const Interval& interval);
  void require_training() const;
  const ManifestRow& row_of(int64_t contig) const;
  size_t pool_of(const ManifestRow& row) const;
  bool mostly_unknown(const Window& window) const;
  LabelledFragment cut(const Window& window) const;

  std::string path_;
  GenomeSplits splits_;
  Genome genome_;
  std::vector<int32_t> group_of_row_;
  std::vector<Pool> pools_;
};

}  // namespace strandwave
