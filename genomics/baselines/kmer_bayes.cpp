#include "genomics/baselines/kmer_bayes.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "core/base/error.h"
#include "genomics/io/tokenizer.h"

namespace strandwave {
namespace {

uint32_t reverse_complement_kmer(uint32_t kmer, int k) {
  uint32_t reversed = 0;
  for (int i = 0; i < k; ++i, kmer >>= 2) reversed = (reversed << 2) | (3 - (kmer & 3));
  return reversed;
}

// Calls visit(kmer) for every window of k bases without N.
template <typename Visit>
void for_each_kmer(std::span<const uint8_t> ids, int k, Visit visit) {
  const uint32_t mask = (uint32_t{1} << (2 * k)) - 1;
  uint32_t kmer = 0;
  int known = 0;
  for (const uint8_t id : ids) {
    if (!dna::is_base(id)) {
      known = 0;
      continue;
    }
    kmer = ((kmer << 2) | static_cast<uint32_t>(dna::base_code(id))) & mask;
    if (++known >= k) visit(kmer);
  }
}

std::vector<uint8_t> ids_of(std::string_view letters) {
  std::vector<uint8_t> ids(letters.size());
  dna::encode(letters, ids.data());
  return ids;
}

}  // namespace

KmerBayes::KmerBayes(int classes, int k, Prior prior)
    : classes_(classes), k_(k), prior_(prior), canonical_kmers_(0) {
  if (classes < 2)
    throw usage_error("naive Bayes needs at least 2 classes, not " + std::to_string(classes) + ".");
  if (k < 1 || k > 12)
    throw usage_error("naive Bayes takes a k of 1 to 12, not " + std::to_string(k) + ".");
  const uint32_t kmers = uint32_t{1} << (2 * k);
  canonical_.resize(kmers);
  for (uint32_t kmer = 0; kmer < kmers; ++kmer) {
    canonical_[kmer] = std::min(kmer, reverse_complement_kmer(kmer, k));
    if (canonical_[kmer] == kmer) ++canonical_kmers_;
  }
  counts_.resize(static_cast<size_t>(classes) * kmers);
  totals_.resize(static_cast<size_t>(classes));
  sequences_.resize(static_cast<size_t>(classes));
}

void KmerBayes::count(int label, std::span<const uint8_t> ids) {
  uint32_t* counts = &counts_[static_cast<size_t>(label) * canonical_.size()];
  int64_t total = 0;
  for_each_kmer(ids, k_, [&](uint32_t kmer) {
    ++counts[canonical_[kmer]];
    ++total;
  });
  totals_[static_cast<size_t>(label)] += total;
}

void KmerBayes::add(int label, std::span<const uint8_t> ids) {
  count(label, ids);
  ++sequences_[static_cast<size_t>(label)];
}

void KmerBayes::add(int label, std::string_view letters) { add(label, ids_of(letters)); }

void KmerBayes::add(int label, const Genome& genome, const Interval& interval) {
  constexpr int64_t kPiece = int64_t{1} << 20;
  std::vector<uint8_t> ids;
  // Pieces overlap by k - 1 bases, so that each k-mer lies in exactly one.
  for (int64_t start = interval.start; start < interval.end; start += kPiece) {
    const int64_t end = std::min(start + kPiece + k_ - 1, interval.end);
    ids.resize(static_cast<size_t>(end - start));
    genome.fetch(interval.contig, start, end, ids.data());
    count(label, ids);
  }
  ++sequences_[static_cast<size_t>(label)];
}

std::vector<double> KmerBayes::log_posterior(std::span<const uint8_t> ids) const {
  const int64_t all = std::accumulate(sequences_.begin(), sequences_.end(), int64_t{0});
  std::vector<double> scores(static_cast<size_t>(classes_));
  for (size_t label = 0; label < scores.size(); ++label) {
    const uint32_t* counts = &counts_[label * canonical_.size()];
    double sum = 0;
    int64_t kmers = 0;
    for_each_kmer(ids, k_, [&](uint32_t kmer) {
      sum += std::log(counts[canonical_[kmer]] + 1.0);
      ++kmers;
    });
    sum -= static_cast<double>(kmers) *
           std::log(static_cast<double>(totals_[label] + canonical_kmers_));
    if (prior_ == Prior::kFrequency) {
      sum += std::log(static_cast<double>(sequences_[label] + 1) /
                      static_cast<double>(all + classes_));
    }
    scores[label] = sum;
  }
  const double best = *std::max_element(scores.begin(), scores.end());
  double total = 0;
  for (const double score : scores) total += std::exp(score - best);
  for (double& score : scores) score -= best + std::log(total);
  return scores;
}

std::vector<double> KmerBayes::log_posterior(std::string_view letters) const {
  return log_posterior(ids_of(letters));
}

int KmerBayes::predict(std::span<const uint8_t> ids) const {
  const std::vector<double> scores = log_posterior(ids);
  return static_cast<int>(std::max_element(scores.begin(), scores.end()) - scores.begin());
}

int KmerBayes::predict(std::string_view letters) const { return predict(ids_of(letters)); }

int majority_class(std::span<const int64_t> counts) {
  return static_cast<int>(std::max_element(counts.begin(), counts.end()) - counts.begin());
}

}  // namespace strandwave
