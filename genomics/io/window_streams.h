// Chromosomes walked from end to end by parallel streams.
#pragma once

#include <cstdint>
#include <vector>

#include "genomics/io/intervals.h"

namespace strandwave {

struct StreamWindow {
  Window window;
  bool restart = true;  // false: the stream's window before ends where this one begins
};

// Every interval is a walk of consecutive windows, from its start on the one strand or from its end
// on the other; the last window of a walk is the rest, shorter than the others. Windows that hold
// nothing but N are left out and end a walk. One pass is all walks once, in an order shuffled by
// the seed, and begins anew when it ends, with new strands. S streams begin evenly spread over the
// pass and move on by one window per step: in the first (windows of a pass) / S steps each base is
// visited once.
//
// With file weights a pass holds the walks of a file as often as it takes for the share of its
// windows to be weight / (sum of weights), within 1 % where a pass of at most 64 times the smallest
// number allows it.
//
// window(stream, step) is a pure function.
class WindowStreams {
 public:
  struct Options {
    bool reverse_complement = true;    // each walk from either strand with probability 1/2
    std::vector<double> file_weights;  // one per Genome::files(); empty: each walk once
    uint64_t seed = 0;
  };

  // Throws Error: less windows than streams, a file with a weight and without windows.
  WindowStreams(const Genome& genome, const Intervals& intervals, int64_t length, int64_t streams,
                Options options);

  StreamWindow window(int64_t stream, int64_t step) const;

  int64_t windows() const { return windows_; }  // of one pass
  // Fraction of the positions of a pass behind the ends of walks.
  double padding() const;
  int64_t streams() const { return streams_; }

 private:
  struct Walk {
    int64_t contig, start, end;
  };
  void add_walks(const Genome& genome, const Interval& interval, std::vector<Walk>& walks) const;
  std::vector<int64_t> repeats(const Genome& genome, const std::vector<Walk>& walks) const;
  int64_t windows_of(const Walk& walk) const {
    return (walk.end - walk.start + length_ - 1) / length_;
  }

  int64_t length_;
  int64_t streams_;
  Options options_;
  std::vector<Walk> pass_;
  std::vector<int64_t> first_;  // number of the first window of each walk of the pass
  int64_t windows_ = 0;
};

}  // namespace strandwave
