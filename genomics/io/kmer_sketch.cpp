#include "genomics/io/kmer_sketch.h"

#include <algorithm>
#include <bit>
#include <string>

#include "core/base/error.h"
#include "genomics/io/kmers.h"

namespace strandwave {
namespace {

// Without it the k-mer of A only, whose code is 0, would have the hash 0 and be in every sketch.
// Stored in files through the hashes: never change it.
constexpr uint64_t kOffset = 0x9e3779b97f4a7c15U;

constexpr int64_t kPiece = int64_t{1} << 20;  // bases read at a time

}  // namespace

void KmerSketch::insert(uint64_t hash) {
  if (hash > largest()) return;
  hashes_.insert(hash);
  while (hashes_.size() > kMostHashes) {
    ++shift_;
    hashes_.erase(hashes_.upper_bound(largest()), hashes_.end());
  }
}

void KmerSketch::add(std::span<const uint8_t> ids) {
  for_each_canonical_kmer(ids, kLength,
                          [&](int64_t, uint64_t kmer) { insert(mix_kmer(kmer + kOffset)); });
}

void KmerSketch::add(const Genome& genome, const Intervals& intervals) {
  std::vector<uint8_t> ids;
  for (const Interval& interval : intervals) {
    // Pieces overlap by k - 1 bases, so that each k-mer lies in one.
    for (int64_t start = interval.start; start < interval.end; start += kPiece) {
      const int64_t end = std::min(start + kPiece + kLength - 1, interval.end);
      ids.resize(static_cast<size_t>(end - start));
      genome.fetch(interval.contig, start, end, ids.data());
      add(ids);
    }
  }
}

void KmerSketch::merge(const KmerSketch& other) {
  shift_ = std::max(shift_, other.shift_);
  hashes_.erase(hashes_.upper_bound(largest()), hashes_.end());
  for (const uint64_t hash : other.hashes_) insert(hash);
}

KmerSketch KmerSketch::restore(uint64_t scale, std::span<const uint64_t> hashes,
                               const std::string& where) {
  KmerSketch sketch;
  if (!std::has_single_bit(scale))
    throw input_error(where + ": the scale of a k-mer sketch must be a power of two, not " +
                      std::to_string(scale));
  sketch.shift_ = std::countr_zero(scale);
  if (hashes.size() > kMostHashes)
    throw input_error(where + ": a k-mer sketch holds at most " + std::to_string(kMostHashes) +
                      " hashes, not " + std::to_string(hashes.size()));
  for (size_t i = 0; i < hashes.size(); ++i)
    if (hashes[i] > sketch.largest() || (i > 0 && hashes[i] <= hashes[i - 1]))
      throw input_error(where + ": hash " + std::to_string(i) + " of the k-mer sketch, " +
                        std::to_string(hashes[i]) +
                        ", is not ascending or too large for the scale " + std::to_string(scale));
  sketch.hashes_ = {hashes.begin(), hashes.end()};
  return sketch;
}

KmerSketch::Containment KmerSketch::containment_of(const KmerSketch& targets) const {
  const uint64_t limit = std::min(largest(), targets.largest());
  Containment result;
  int64_t shared = 0;
  for (const uint64_t hash : targets.hashes_) {
    if (hash > limit) break;
    ++result.compared;
    shared += hashes_.contains(hash) ? 1 : 0;
  }
  if (result.compared > 0)
    result.fraction = static_cast<double>(shared) / static_cast<double>(result.compared);
  return result;
}

}  // namespace strandwave
