// Baseline for classification of sequences: looking up their k-mers in the training data.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace strandwave {

// Holds the distinct canonical k-mers of each class's training data; one that occurs in several
// classes says nothing and counts for none. A sequence goes to the class most of its k-mers belong
// to; with no known k-mer, or with a tie, to none. This is what exact-match classifiers (Kraken,
// Wood and Salzberg 2014) do, without a taxonomy.
//
// Memory: 10 bytes per distinct k-mer, at most twice that while counting: 0.5 and 1 GB for 50
// million.
class KmerLookup {
 public:
  static constexpr int kUnclassified = -1;
  static constexpr int kMostClasses = 65534;

  // 1 <= k <= 31, 2 <= classes <= kMostClasses. Throws Error(kUsage).
  explicit KmerLookup(int classes, int k = 31);

  // Adds every k-mer of a training sequence (token ids).
  void add(int label, std::span<const uint8_t> ids);
  // Call once after the last add().
  void finish();

  // How many of the sequence's k-mers are known of each class.
  std::vector<int64_t> hits(std::span<const uint8_t> ids) const;
  // The class, or kUnclassified.
  int predict(std::span<const uint8_t> ids) const;
  static int decide(std::span<const int64_t> hits);

  int classes() const { return classes_; }
  int k() const { return k_; }
  int64_t distinct() const;   // k-mers seen
  int64_t ambiguous() const;  // of these, in several classes
  int64_t bytes() const;      // memory held

 private:
  static constexpr uint16_t kAmbiguous = 65535;
  // The k-mers are spread over shards by the upper bits of their mixed value, so that merging new
  // ones needs room for one shard only.
  static constexpr int kShardBits = 8;

  struct Entry {
    uint64_t key;
    uint16_t label;
  };
  struct Shard {
    std::vector<uint64_t> keys;    // ascending
    std::vector<uint16_t> labels;  // of each key, or kAmbiguous
    std::vector<Entry> pending;    // not merged yet
  };
  static void merge(Shard& shard);

  int classes_;
  int k_;
  std::array<Shard, size_t{1} << kShardBits> shards_;
};

}  // namespace strandwave
