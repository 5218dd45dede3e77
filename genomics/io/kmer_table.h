// A set of k-mers whose members are numbered. No LibTorch.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "genomics/io/kmers.h"

namespace strandwave {

// Open addressing with linear probing in one block: 16 to 32 bytes per k-mer expected. Slots are
// stable, so that callers keep what they know about a k-mer in arrays of slots() entries.
class KmerTable {
 public:
  static constexpr size_t kNone = ~size_t{0};

  // Never insert more than `most` different k-mers.
  explicit KmerTable(size_t most) : keys_(std::bit_ceil(2 * most + 2)), mask_(keys_.size() - 1) {}

  size_t slots() const { return keys_.size(); }

  // The slot of a canonical k-mer, which is added if it is new.
  size_t insert(uint64_t kmer) {
    const size_t slot = probe(kmer);
    keys_[slot] = kmer + 1;
    return slot;
  }
  // The slot, or kNone.
  size_t find(uint64_t kmer) const {
    const size_t slot = probe(kmer);
    return keys_[slot] == 0 ? kNone : slot;
  }

 private:
  size_t probe(uint64_t kmer) const {
    size_t slot = mix_kmer(kmer) & mask_;
    while (keys_[slot] != 0 && keys_[slot] != kmer + 1) slot = (slot + 1) & mask_;
    return slot;
  }

  std::vector<uint64_t> keys_;  // k-mer + 1; 0: free
  size_t mask_;
};

}  // namespace strandwave
