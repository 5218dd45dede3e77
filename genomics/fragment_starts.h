// Where fragments of any length can begin inside intervals.
#pragma once

#include <cstdint>
#include <vector>

#include "genomics/io/intervals.h"

namespace strandwave {

// Numbers the starts of the fragments of each length: start(length, i) for i in [0, count(length))
// gives every fragment of that length that lies inside one interval, once. Longer intervals come
// first. O(log intervals).
class FragmentStarts {
 public:
  FragmentStarts() = default;
  explicit FragmentStarts(Intervals intervals);

  bool empty() const { return intervals_.empty(); }
  int64_t longest() const { return intervals_.empty() ? 0 : intervals_[0].length(); }
  // Number of fragments of `length` >= 1 bases.
  int64_t count(int64_t length) const;
  Window start(int64_t length, int64_t i) const;

 private:
  size_t long_enough(int64_t length) const;  // the first so many intervals are

  Intervals intervals_;          // longest first
  std::vector<int64_t> before_;  // bases of the intervals before each, and of all
};

}  // namespace strandwave
