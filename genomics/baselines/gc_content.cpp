#include "genomics/baselines/gc_content.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/base/error.h"
#include "genomics/io/tokenizer.h"

namespace strandwave {

double gc_content(std::span<const uint8_t> ids) {
  int64_t gc = 0, bases = 0;
  for (const uint8_t id : ids) {
    bases += dna::is_base(id);
    gc += id == dna::kG || id == dna::kC;
  }
  return bases > 0 ? static_cast<double>(gc) / static_cast<double>(bases)
                   : std::numeric_limits<double>::quiet_NaN();
}

GcGaussian::GcGaussian(int classes) : classes_(static_cast<size_t>(std::max(classes, 0))) {
  if (classes < 2)
    throw usage_error("a GC classifier needs at least 2 classes, not " + std::to_string(classes));
}

void GcGaussian::add(int label, std::span<const uint8_t> ids) {
  const double gc = gc_content(ids);
  if (std::isnan(gc)) return;
  Sums& sums = classes_[static_cast<size_t>(label)];
  sums.n += 1;
  const double before = gc - sums.mean;
  sums.mean += before / sums.n;
  sums.squares += before * (gc - sums.mean);
}

double GcGaussian::mean(int label) const {
  const Sums& sums = classes_[static_cast<size_t>(label)];
  return sums.n > 0 ? sums.mean : std::numeric_limits<double>::quiet_NaN();
}

double GcGaussian::deviation(int label) const {
  const Sums& sums = classes_[static_cast<size_t>(label)];
  return std::max(kSmallestDeviation, std::sqrt(sums.squares / std::max(sums.n, 1.0)));
}

std::vector<double> GcGaussian::posterior(std::span<const uint8_t> ids) const {
  const double gc = gc_content(ids);
  std::vector<double> scores(classes_.size(), -std::numeric_limits<double>::infinity());
  for (size_t c = 0; c < classes_.size(); ++c) {
    if (classes_[c].n == 0) continue;
    if (std::isnan(gc)) {
      scores[c] = 0;
      continue;
    }
    const double deviation = this->deviation(static_cast<int>(c));
    const double z = (gc - classes_[c].mean) / deviation;
    scores[c] = -z * z / 2 - std::log(deviation);
  }
  const double best = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double& score : scores) {
    score = std::isinf(best) ? 1 : std::exp(score - best);
    sum += score;
  }
  for (double& score : scores) score /= sum;
  return scores;
}

void GcLine::add(std::span<const uint8_t> ids, double value) {
  const double gc = gc_content(ids);
  if (std::isnan(gc)) return;
  n_ += 1;
  const double gc_before = gc - mean_gc_, value_before = value - mean_value_;
  mean_gc_ += gc_before / n_;
  mean_value_ += value_before / n_;
  gc_gc_ += gc_before * (gc - mean_gc_);
  gc_value_ += gc_before * (value - mean_value_);
}

double GcLine::predict(std::span<const uint8_t> ids) const {
  const double gc = gc_content(ids);
  if (std::isnan(gc) || gc_gc_ <= 0) return mean_value_;
  return mean_value_ + gc_value_ / gc_gc_ * (gc - mean_gc_);
}

}  // namespace strandwave
