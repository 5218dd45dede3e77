// k-mers of token ids. No LibTorch.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "core/base/random.h"
#include "genomics/io/tokenizer.h"

namespace strandwave {

// Longest k whose k-mers, two bits per base, fit into 64 bits with room to spare.
inline constexpr int kLongestKmer = 31;

// Calls visit(int64_t start, uint64_t kmer) for every window of k bases (1 <= k <= 31) that holds
// nothing but A, C, G, T, in order. `start` counts from the first id. `kmer` is the smaller one of
// the window read forward and as reverse complement, two bits per base (A 0, C 1, G 2, T 3), the
// first base in the highest place: a sequence and its reverse complement have the same k-mers.
template <class Visit>
void for_each_canonical_kmer(std::span<const uint8_t> ids, int k, Visit visit) {
  const uint64_t mask = (uint64_t{1} << (2 * k)) - 1;
  const int high = 2 * (k - 1);
  uint64_t forward = 0, reverse = 0;
  int known = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!dna::is_base(ids[i])) {
      known = 0;
      continue;
    }
    const auto code = static_cast<uint64_t>(dna::base_code(ids[i]));
    forward = ((forward << 2) | code) & mask;
    reverse = (reverse >> 2) | ((3 - code) << high);
    if (++known >= k) visit(static_cast<int64_t>(i) - k + 1, std::min(forward, reverse));
  }
}

// Makes neighbouring k-mers look independent.
constexpr uint64_t mix_kmer(uint64_t x) { return mix_bits(x); }

}  // namespace strandwave
