#include "genomics/fragment_starts.h"

#include <algorithm>
#include <utility>

namespace strandwave {

FragmentStarts::FragmentStarts(Intervals intervals) : intervals_(std::move(intervals)) {
  std::stable_sort(intervals_.begin(), intervals_.end(),
                   [](const Interval& a, const Interval& b) { return a.length() > b.length(); });
  before_.push_back(0);
  for (const Interval& interval : intervals_) before_.push_back(before_.back() + interval.length());
}

size_t FragmentStarts::long_enough(int64_t length) const {
  return static_cast<size_t>(
      std::partition_point(intervals_.begin(), intervals_.end(),
                           [&](const Interval& i) { return i.length() >= length; }) -
      intervals_.begin());
}

int64_t FragmentStarts::count(int64_t length) const {
  const size_t intervals = long_enough(length);
  return before_.empty() ? 0 : before_[intervals] - static_cast<int64_t>(intervals) * (length - 1);
}

Window FragmentStarts::start(int64_t length, int64_t i) const {
  // Interval j begins with start number before_[j] - j (length - 1), which grows with j.
  size_t low = 0, high = long_enough(length);
  while (high - low > 1) {
    const size_t middle = (low + high) / 2;
    const int64_t first = before_[middle] - static_cast<int64_t>(middle) * (length - 1);
    (first <= i ? low : high) = middle;
  }
  const Interval& interval = intervals_[low];
  const int64_t begin =
      interval.start + i - (before_[low] - static_cast<int64_t>(low) * (length - 1));
  return {interval.contig, begin, begin + length, false};
}

}  // namespace strandwave
