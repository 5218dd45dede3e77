// Where a classifier's training and held-out fragments come from.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "genomics/io/genome.h"
#include "genomics/io/labelled.h"

namespace strandwave {

struct LabelledFragment {
  std::vector<uint8_t> ids;  // tokens, see genomics/io/tokenizer.h
  int32_t label = 0;
};

enum class Split { kTrain, kValidation, kTest };

struct FragmentOptions {
  int64_t length = 0;     // bases cut from a genome or a longer sequence; 0: whole sequences
  double error_rate = 0;  // substitutions per base in training fragments
  bool reverse_complement = true;   // training fragments from either strand
  std::string cache_dir;            // of packed genomes
  std::vector<std::string> labels;  // when not empty: the classes, in this order
};

// Data given either as a manifest of genomes, from which fragments are cut, or as a table or FASTA
// of labelled sequences (genomics/io/labelled.h). Splits are those given. Where none is given for
// validation, genomes give the last tenth of each training contig (a fragment's length apart) and
// sequences are assigned by a hash: of their group where one is given, so that no group is divided,
// else of their bases, equal for a sequence and its reverse complement, so that copies never lie on
// both sides: 80 % train, 10 % validation, 10 % test (only validation is cut off when a test split
// is given). Throws Error: one class only, a class without training
// sequences, genomes without --length.
class LabelledFragments {
 public:
  virtual ~LabelledFragments() = default;
  static std::unique_ptr<LabelledFragments> open(const std::string& path,
                                                 const FragmentOptions& options);

  const std::vector<std::string>& labels() const { return labels_; }
  const FragmentOptions& options() const { return options_; }

  // Training fragment number `index`: a pure function of (seed, index). Every class is equally
  // likely.
  virtual LabelledFragment sample(uint64_t seed, uint64_t index) const = 0;
  // At most max_per_class fragments of each class, the same at every call; without errors, forward.
  virtual std::vector<LabelledFragment> fixed(Split split, int64_t max_per_class) const = 0;
  // Everything of the training split once, as whole sequences, for baselines.
  virtual void for_each_training_sequence(
      const std::function<void(int32_t label, std::span<const uint8_t> ids)>& visit) const = 0;

  // One line: "16 genomes, 4 classes, 51.3 Mbp in training".
  virtual std::string description() const = 0;
  // SHA-256 of what the files hold, their labels and splits, in order; paths do not count.
  virtual std::string hash() const = 0;

 protected:
  explicit LabelledFragments(FragmentOptions options) : options_(std::move(options)) {}
  // Strand and substitutions of a training fragment.
  void augment(LabelledFragment& fragment, uint64_t seed, uint64_t index) const;

  FragmentOptions options_;
  std::vector<std::string> labels_;
};

// Everything in the file that is not for validation or test (of a manifest, its genomes), each
// sequence whole, however short: what a baseline is trained on. Of `options` only labels and
// cache_dir count.
void for_each_labelled_sequence(
    const std::string& path, const FragmentOptions& options,
    const std::function<void(int32_t label, std::span<const uint8_t> ids)>& visit);

}  // namespace strandwave
