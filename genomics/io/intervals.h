// Intervals of a genome: BED files, region strings, set operations, windows to train and test on.
//
// Coordinates are 0-based half-open everywhere but in region strings, which count from 1 and
// include their end, as in samtools.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "genomics/io/genome.h"

namespace strandwave {

struct Interval {
  int64_t contig = 0;  // index into Genome::contigs()
  int64_t start = 0;
  int64_t end = 0;
  std::string label;  // column 4 of BED: name, label or split; may be empty
  char strand = '.';  // column 6 of BED: '+', '-' or '.'

  int64_t length() const { return end - start; }
  friend bool operator==(const Interval&, const Interval&) = default;
};
using Intervals = std::vector<Interval>;

// Reads BED with 3 to 12 columns separated by tabs or blanks, plain, gzip or bgzip; "-" is the
// standard input. Lines that are empty or begin with track, browser or # are skipped. The order is
// kept. Throws Error with path and line: unknown contig, start >= end, past the end of the contig,
// not a number, fewer than 3 columns, no interval at all.
Intervals read_bed(const std::string& path, const Genome& genome);

// Writes contig, start, end and, where any interval has one, label (and strand), tab separated.
// Each comment becomes a line "# comment" at the top. The file appears under its name only when
// complete.
void write_bed(const std::string& path, const Genome& genome, const Intervals& intervals,
               const std::vector<std::string>& comments = {});

// "chr1", "chr1:1,000-2,000", "chr1:1000" (to the end of the contig), "chr1:-500", "chr1:500-".
// Contigs whose name holds a colon are tried whole first; "{name}:1-2" is understood too. Throws
// Error: unknown contig, start > end, position 0, start past the end. An end past the contig's is
// cut to it.
Interval parse_region(const std::string& text, const Genome& genome);

// "chr1:1001-2000" (1-based inclusive) for messages.
std::string region_string(const Genome& genome, const Interval& interval);

// Every contig that has a base, whole.
Intervals whole_genome(const Genome& genome);

int64_t total_length(const Intervals& intervals);

// By contig, start, end, label, strand.
Intervals sort_intervals(Intervals intervals);
// Union: sorted and disjoint; touching intervals are joined. Labels are kept where all joined
// intervals agree, else empty.
Intervals merge_intervals(const Intervals& intervals);
// The parts of `from` that no interval of `remove` covers. Labels and strands of `from` stay.
Intervals subtract_intervals(const Intervals& from, const Intervals& remove);
// The parts of `a` that `b` covers; labels of `a`.
Intervals intersect_intervals(const Intervals& a, const Intervals& b);
// True when any interval of `a` shares a base with one of `b`.
bool overlaps(const Intervals& a, const Intervals& b);
// Each interval grown by `gap` bases on both sides, cut to its contig: subtract this from the
// training intervals to keep a gap around a test block.
Intervals grow_intervals(const Intervals& intervals, int64_t gap, const Genome& genome);
// Each interval reduced by `gap` bases on both sides; what has no base left is dropped.
Intervals shrink_intervals(const Intervals& intervals, int64_t gap);
// The intervals whose label is `label`.
Intervals with_label(const Intervals& intervals, const std::string& label);

// A stretch to feed to a model, for Genome::fetch.
struct Window {
  int64_t contig = 0;
  int64_t start = 0;
  int64_t end = 0;
  bool reverse = false;  // read as reverse complement

  int64_t length() const { return end - start; }
  friend bool operator==(const Window&, const Window&) = default;
};

// Sampling weights of the files of a genome: one per file, finite, not negative, not all zero; or
// none at all. Throws Error(kUsage) otherwise.
void require_file_weights(const Genome& genome, const std::vector<double>& weights);

// Uniform random windows of one length inside intervals.
//
// window(seed, index) is a pure function: equal on every machine, rank and thread, so training
// resumes and is divided without a list. Every start inside every interval is equally likely, or,
// with weights, every start of one file after the file was drawn by its weight; windows in which N
// makes up more than max_unknown are drawn again, from the same stream and file.
class WindowSampler {
 public:
  struct Options {
    double max_unknown = 0.5;               // largest fraction of N
    bool reverse_complement = true;         // each window from either strand with probability 1/2
    std::vector<double> file_weights = {};  // one per Genome::files(); empty: by number of starts
  };

  // Throws Error when no interval is as long as a window (with weights: none of a file that is to
  // be drawn), or when 1000 draws in a row find only N.
  WindowSampler(const Genome& genome, const Intervals& intervals, int64_t length);
  WindowSampler(const Genome& genome, const Intervals& intervals, int64_t length, Options options);

  Window window(uint64_t seed, uint64_t index) const;

  // Number of different starts.
  int64_t starts() const { return starts_; }
  // Bases of intervals too short for a window: never seen.
  int64_t unusable_bases() const { return unusable_; }
  int64_t length() const { return length_; }

 private:
  // Starts that are drawn from alike: all, or those of one file.
  struct Share {
    int64_t first = 0;
    int64_t starts = 0;
    double up_to = 1;  // sum of the probabilities so far
  };
  std::vector<Share> shares_by_file() const;
  const Share& draw_share(double uniform) const;

  Genome genome_;
  Intervals intervals_;         // long enough ones only
  std::vector<int64_t> first_;  // first start number of each interval
  int64_t length_;
  int64_t starts_ = 0;
  int64_t unusable_ = 0;
  Options options_;
  std::vector<Share> shares_;
};

// Consecutive windows over each interval, `step` apart (step = length: they tile it). The last
// window of an interval is the rest, shorter than `length`, when keep_rest, else it is left out.
// Windows in which N makes up more than max_unknown are left out.
std::vector<Window> tile_windows(const Genome& genome, const Intervals& intervals, int64_t length,
                                 int64_t step, bool keep_rest = true, double max_unknown = 1.0);

}  // namespace strandwave
