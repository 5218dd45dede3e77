// Baselines that see nothing of a sequence but its share of G and C.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace strandwave {

// (G + C) / (A + C + G + T); NaN when there is none of them.
double gc_content(std::span<const uint8_t> ids);

// One Gaussian of the GC content per class:
//   P(class | x) proportional to normal(gc(x); mean(class), deviation(class)).
// The deviation is at least kSmallestDeviation. Which sequences are added matters: the spread
// depends on their length.
class GcGaussian {
 public:
  static constexpr double kSmallestDeviation = 1e-3;

  explicit GcGaussian(int classes);  // at least 2: Error(kUsage)

  void add(int label, std::span<const uint8_t> ids);
  // Probabilities, sum 1; uniform over the classes seen for a sequence without bases.
  std::vector<double> posterior(std::span<const uint8_t> ids) const;

  double mean(int label) const;       // NaN for a class without sequences
  double deviation(int label) const;  // population standard deviation

 private:
  struct Sums {
    double n = 0, mean = 0, squares = 0;  // Welford
  };
  std::vector<Sums> classes_;
};

// Least squares: value = intercept + slope * gc(x); the mean where GC content does not vary.
class GcLine {
 public:
  void add(std::span<const uint8_t> ids, double value);
  double predict(std::span<const uint8_t> ids) const;

 private:
  double n_ = 0, mean_gc_ = 0, mean_value_ = 0, gc_gc_ = 0, gc_value_ = 0;
};

}  // namespace strandwave
