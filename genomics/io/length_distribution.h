// Lengths of reads, to draw training fragments as long as the reads that are to come.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace strandwave {

// A discrete distribution of lengths in bases, each from 1 to kLongest.
//
// length_at(u) is its quantile function: with u uniform in [0, 1) the result has this distribution.
// No state, so the caller's counter-based random numbers decide.
class LengthDistribution {
 public:
  static constexpr int64_t kLongest = int64_t{1} << 30;

  LengthDistribution() = default;  // empty: no length

  // "150", "100-300" or "uniform:100,300" (the ends included), "normal:MEAN,DEVIATION" (cut off
  // beyond four deviations and below 1), or a file: FASTA, FASTQ, SAM, BAM or CRAM, whose lengths
  // are counted, or a table of two columns, length and count. Throws Error: kUsage for a bad text,
  // kInput with path and line for a bad file.
  static LengthDistribution parse(const std::string& text);

  bool empty() const { return lengths_.empty(); }
  int64_t shortest() const { return lengths_.front(); }
  int64_t longest() const { return lengths_.back(); }
  int64_t length_at(double u) const;
  double mean() const;
  std::string description() const;  // "100 to 300 bases, mean 200.0"
  // The same and what tells two distributions apart, whatever their paths: "... (0f3a1b2c)".
  std::string identity() const;

 private:
  // Weights of lengths, ascending; at least one is positive.
  LengthDistribution(const std::vector<int64_t>& lengths, const std::vector<double>& weights);

  std::vector<int64_t> lengths_;
  std::vector<double> up_to_;  // cumulative share; the last is 1
};

}  // namespace strandwave
