// Which sequences are copies of each other, and which resemble each other. No LibTorch.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace strandwave {

// Similar sequences share canonical k-mers of this length, as long as fits into 64 bits: two
// unrelated stretches of a genome do not share any by chance.
inline constexpr int kLeakageKmer = 31;
// Sequences that share so much of the k-mers of the one with fewer of them belong together.
inline constexpr double kLeakageShare = 0.5;

using TokenSequences = std::vector<std::vector<uint8_t>>;  // ids, tokenizer.h

// Equal for a sequence and its reverse complement, different (but for chance, 2^-128) otherwise.
std::array<uint64_t, 2> strandless_hash(std::span<const uint8_t> ids);

// result[i] is the first sequence that equals sequence i or its reverse complement: i itself if
// there is none before.
std::vector<int32_t> first_copies(const TokenSequences& sequences);

// Sets of indices that are joined step by step.
class DisjointSets {
 public:
  explicit DisjointSets(size_t size);
  // The least member of the set that holds i.
  int32_t find(int32_t i);
  // True if they were apart.
  bool join(int32_t a, int32_t b);

 private:
  std::vector<int32_t> parent_;
};

// result[i] is the least index of the cluster of sequence i, from single linkage: two sequences are
// linked when they share kLeakageShare of the k-mers of the one with fewer of them, or are copies.
//
// Candidates share a minimizer (the 21-mer with the least hash of 11 in a row, so that every shared
// 31-mer gives one); of a minimizer that is very common each sequence is compared with the 64
// before it only. Sequences shorter than 31 bases are linked to copies only. O(n log n) for usual
// data: a million sequences of 150 bases, of which half resemble another one, take two minutes of
// one core and 1.6 GB together with training_overlaps.
std::vector<int32_t> cluster_sequences(const TokenSequences& sequences);

// What sequences share with a training set, either strand.
struct TrainingOverlap {
  double share = 0;    // of its 31-mers; 0 if it has none
  bool exact = false;  // a copy is in training
  // Enough to count as seen in training.
  bool overlaps() const { return exact || share >= kLeakageShare; }
};

// For each index in `held_out` what the sequence shares with those in `training`, taken together.
// Memory: about 32 bytes per 31-mer of the held-out sequences.
std::vector<TrainingOverlap> training_overlaps(const TokenSequences& sequences,
                                               std::span<const int32_t> training,
                                               std::span<const int32_t> held_out);

}  // namespace strandwave
