// Where a classifier's training and held-out fragments come from.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/base/split_assignment.h"
#include "genomics/io/genome.h"
#include "genomics/io/labelled.h"
#include "genomics/io/length_distribution.h"

namespace strandwave {

struct LabelledFragment {
  std::vector<uint8_t> ids;  // tokens, see genomics/io/tokenizer.h
  int32_t label = 0;         // class; -1 for multi-label data and regression
  std::string name;          // of the sequence; for a piece of a genome "contig:start-end"
  int32_t group = -1;        // index into LabelledFragments::groups(); -1: none given
  // Multi-label: 0 or 1 for each class; regression: the values; empty for classes.
  std::vector<float> targets;
  // Held-out sequences only: at least half of its canonical 31-mers (of one shorter than 31 bases:
  // the whole sequence or its reverse complement) are in the training split.
  bool overlaps_training = false;
};

// How sequences without a given split are divided: whole clusters of similar ones, or row by row.
enum class SplitPolicy { kClusters, kRandom };

// Substitutions per base: every fragment has a rate of its own, uniform in [low, high].
struct ErrorRate {
  double low = 0;
  double high = 0;

  ErrorRate() = default;
  ErrorRate(double rate) : low(rate), high(rate) {}
  ErrorRate(double from, double to) : low(from), high(to) {}
  // "0.05" or "0-0.2". Throws Error(kUsage) for another text or a rate outside [0, 1].
  static ErrorRate parse(const std::string& text);
};

// Replaces bases of held-out fragment `number`, always the same ones.
void substitute_fixed(LabelledFragment& fragment, const ErrorRate& rate, uint64_t number);

struct FragmentOptions {
  int64_t length = 0;          // bases cut from a genome or a longer sequence; 0: whole sequences
  LengthDistribution lengths;  // when not empty: used in place of `length`
  ErrorRate error_rate;        // of training fragments
  bool reverse_complement = true;   // training fragments from either strand
  std::string cache_dir;            // of packed genomes
  std::vector<std::string> labels;  // when not empty: the classes, in this order
  LabelKind kind = LabelKind::kClass;
  // Where no validation split is given: who goes where, and how much of each class.
  SplitPolicy split = SplitPolicy::kClusters;
  double validation_share = 0.1;
  double test_share = 0.1;
  // k-fold cross-validation by whole groups or clusters: with folds > 0 fold number `fold` is the
  // test split, the next one validation, and the data must not give splits of its own.
  int folds = 0;
  int fold = 0;
  uint64_t split_seed = 0;
};

struct FixedOptions {
  int64_t length = 0;    // 0: as trained
  ErrorRate error_rate;  // substitutions per base
};

// Data given either as a manifest of genomes, from which fragments are cut, or as labelled
// sequences in one or several tables or FASTA files (labelled_files in genomics/io/labelled.h).
// Splits are those given. Where none is given for validation:
//   genomes    whole groups are held out (genome_splits.h); classes without enough groups give the
//              last tenth of each training contig, a fragment's length apart;
//   sequences  whole groups and clusters of similar sequences are held out, copies and sequences
//              with conflicting labels are dropped (sequence_splits.h).
// Throws Error: one class only, a class without training sequences, genomes without a length.
class LabelledFragments {
 public:
  virtual ~LabelledFragments() = default;
  static std::unique_ptr<LabelledFragments> open(const std::string& data,
                                                 const FragmentOptions& options);

  const std::vector<std::string>& labels() const { return labels_; }
  // Names of the groups given in the data; LabelledFragment::group counts into them.
  const std::vector<std::string>& groups() const { return groups_; }
  // Taxids that a manifest gives to the genomes of each class; none where it gives none.
  const std::map<std::string, std::set<int64_t>>& taxids() const { return taxids_; }
  LabelKind task() const { return options_.kind; }
  const FragmentOptions& options() const { return options_; }

  // Training fragment number `index`: a pure function of (seed, index). Every class is equally
  // likely; without classes every sequence, or every base of genomes.
  virtual LabelledFragment sample(uint64_t seed, uint64_t index) const = 0;
  // At most max_per_class fragments of each class (without classes: so many for each label, at
  // least twice so many), the same at every call, forward. Genomes: spread evenly over groups, and
  // evenly inside each; more than fit beside each other overlap, by three quarters at most.
  // Sequences: spread evenly over them, the middle of each that is too long.
  virtual std::vector<LabelledFragment> fixed(Split split, int64_t max_per_class,
                                              const FixedOptions& how = {}) const = 0;
  // How much there is of each class: sequences of a table, bases of genomes. Regression: in all.
  virtual std::vector<int64_t> class_counts(Split split) const = 0;
  // Facts about the splits and what they share, for the report (docs/formats.md). Genomes are read
  // for it, at about 100 Mbp/s.
  virtual nlohmann::json leakage() const = 0;
  // Everything of the training split once, as whole sequences, for baselines.
  virtual void for_each_training_sequence(
      const std::function<void(int32_t label, std::span<const uint8_t> ids)>& visit) const = 0;

  // Bases of the longest sequence of the training split; no training fragment is longer.
  virtual int64_t longest_training_sequence() const = 0;
  // One line: "16 genomes, 4 classes, 51.3 Mbp in training"; without the class `left_out` where
  // that is one.
  virtual std::string description_without(int32_t left_out) const = 0;
  std::string description() const { return description_without(-1); }
  // SHA-256 of what the files hold, their labels and splits, in order; paths do not count.
  virtual std::string hash() const = 0;

 protected:
  explicit LabelledFragments(FragmentOptions options) : options_(std::move(options)) {}
  // Strand and substitutions of a training fragment.
  void augment(LabelledFragment& fragment, uint64_t seed, uint64_t index) const;
  // The length of a training fragment for u uniform in [0, 1); 0: whole sequences.
  int64_t drawn_length(double u) const;
  int64_t fixed_length(const FixedOptions& how, double u) const;
  int64_t shortest_fragment() const;
  int64_t longest_fragment() const;
  std::string lengths_text() const;

  FragmentOptions options_;
  std::vector<std::string> labels_;
  std::vector<std::string> groups_;
  std::map<std::string, std::set<int64_t>> taxids_;
};

// Everything in the file that is not for validation or test (of a manifest, its genomes), each
// sequence whole, however short: what a baseline is trained on. Of `options` only labels and
// cache_dir count.
void for_each_labelled_sequence(
    const std::string& path, const FragmentOptions& options,
    const std::function<void(int32_t label, std::span<const uint8_t> ids)>& visit);

}  // namespace strandwave
