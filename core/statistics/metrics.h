// Measures of classifiers and of paired comparisons.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace strandwave {

// counts[truth][prediction]; unclassified[truth] are those that got no class at all, which is wrong
// for every class.
struct ConfusionMatrix {
  explicit ConfusionMatrix(int classes);
  // prediction -1: unclassified.
  void add(int truth, int prediction, int64_t count = 1);

  int64_t total() const;
  double accuracy() const;
  double balanced_accuracy() const;        // mean recall over the classes that occur
  double macro_f1() const;                 // over the classes that occur as truth or prediction
  double matthews() const;                 // multi-class MCC (Gorodkin 2004); 0 when undefined
  double recall(int truth) const;          // NaN when the class does not occur
  double precision(int prediction) const;  // NaN when the class is never predicted
  double f1(int label) const;              // NaN when it occurs neither as truth nor as prediction
  int64_t truths(int truth) const;
  int64_t predictions(int prediction) const;

  std::vector<std::vector<int64_t>> counts;
  std::vector<int64_t> unclassified;

 private:
  double mean_of_numbers(const std::function<double(int)>& measure) const;
};

struct BootstrapInterval {
  double value = 0;  // the statistic on all data
  double low = 0;    // 2.5 % and 97.5 % quantiles over resamples
  double high = 0;
  int64_t blocks = 0;  // below about ten the interval says little
};

// Paired block bootstrap of sum(numerator) / sum(denominator): whole blocks (for instance 100 kb of
// a genome) are drawn with replacement, because neighbouring positions are not independent.
BootstrapInterval block_bootstrap(std::span<const double> numerator,
                                  std::span<const double> denominator, int resamples,
                                  uint64_t seed);

}  // namespace strandwave
