// A small sample of the k-mers of a sequence, to find out how much of it lies in another.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "genomics/io/genome.h"
#include "genomics/io/intervals.h"

namespace strandwave {

// FracMinHash (Irber et al., "Lightweight compositional analysis of metagenomes with FracMinHash
// and minimum metagenome covers", 2022): of all canonical 21-mers those are kept whose hash is
// below 2^64 / scale. The same k-mers are kept of every sequence, so sketches can be compared. The
// scale is a power of two and doubles until at most kMostHashes are left; it depends on what was
// added, not on the order.
//
// A sequence and its reverse complement have the same sketch. A window with N holds no k-mer.
class KmerSketch {
 public:
  static constexpr int kLength =
      21;  // two unrelated genomes of 3 Gb share about 1 in 1,000 by chance
  static constexpr size_t kMostHashes = size_t{1} << 17;

  void add(std::span<const uint8_t> ids);  // token ids
  void add(const Genome& genome, const Intervals& intervals);
  void merge(const KmerSketch& other);

  // The form in files. Throws Error(kInput) beginning with `where`: a scale that is no power of
  // two, hashes too large for it, not ascending, or too many.
  static KmerSketch restore(uint64_t scale, std::span<const uint64_t> hashes,
                            const std::string& where);
  uint64_t scale() const { return uint64_t{1} << shift_; }
  std::vector<uint64_t> hashes() const { return {hashes_.begin(), hashes_.end()}; }  // ascending

  // How many of the different k-mers of `targets` occur here, estimated from those that both scales
  // keep: `compared` of them. Its relative error is about 1 / sqrt(compared).
  struct Containment {
    int64_t compared = 0;
    double fraction = 0;  // 0 when nothing could be compared
  };
  Containment containment_of(const KmerSketch& targets) const;

 private:
  uint64_t largest() const { return ~uint64_t{0} >> shift_; }
  void insert(uint64_t hash);

  int shift_ = 0;  // scale = 2^shift
  std::set<uint64_t> hashes_;
};

}  // namespace strandwave
