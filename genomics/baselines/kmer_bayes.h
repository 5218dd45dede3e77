// Baselines for classification of sequences: k-mer naive Bayes and the majority class.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "genomics/io/genome.h"
#include "genomics/io/intervals.h"

namespace strandwave {

// Multinomial naive Bayes over canonical k-mers (a k-mer and its reverse complement are one):
//
//   log P(class | x) = log prior(class) + sum over k-mers w of x of log theta(class, w) + constant,
//   theta(class, w) = (n(class, w) + 1) / (n(class) + number of canonical k-mers).
//
// K-mers that hold anything but A, C, G, T are left out. A sequence without any k-mer gets the
// prior.
class KmerBayes {
 public:
  enum class Prior {
    kUniform,    // every class alike: right when the training data are genomes and the test data
                 // reads
    kFrequency,  // (number of added sequences + 1) / (all + classes)
  };

  // 1 <= k <= 12. Memory: classes * 4^k * 4 bytes.
  explicit KmerBayes(int classes, int k = 6, Prior prior = Prior::kUniform);

  void add(int label, std::span<const uint8_t> ids);  // token ids
  void add(int label, std::string_view letters);
  void add(int label, const Genome& genome, const Interval& interval);

  // Natural logarithms, one per class; their exponentials sum to 1.
  std::vector<double> log_posterior(std::span<const uint8_t> ids) const;
  std::vector<double> log_posterior(std::string_view letters) const;
  // The class of the largest posterior, the first one on ties.
  int predict(std::span<const uint8_t> ids) const;
  int predict(std::string_view letters) const;

  int k() const { return k_; }
  int classes() const { return classes_; }

 private:
  void count(int label, std::span<const uint8_t> ids);

  int classes_;
  int k_;
  Prior prior_;
  int64_t canonical_kmers_;          // number of different canonical k-mers
  std::vector<uint32_t> canonical_;  // k-mer -> the smaller of it and its reverse complement
  std::vector<uint32_t> counts_;     // [class][canonical k-mer]
  std::vector<int64_t> totals_;      // k-mers per class
  std::vector<int64_t> sequences_;   // added sequences per class
};

// The class seen most often, the first one on ties: what a classifier that ignores its input
// reaches.
int majority_class(std::span<const int64_t> counts);

}  // namespace strandwave
