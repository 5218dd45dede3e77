// Other predictors of the next base, compared with a language model on the same positions.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "genomics/baselines/markov.h"
#include "genomics/bits_per_base.h"
#include "core/statistics/metrics.h"

namespace strandwave {

// Gives -log2 p of every base of an interval, for one or more predictors at once.
class BasePredictor {
 public:
  virtual ~BasePredictor() = default;
  virtual std::vector<std::string> names() const = 0;
  // So many bases before a position decide its probability at most.
  virtual int64_t context() const = 0;
  // (interval.length(), names().size()) row-major; NaN where the base is N, for all alike. Knows
  // nothing of what lies before the interval.
  virtual std::vector<float> bits(const Genome& genome, const Interval& interval) const = 0;
};

// The Markov models of some orders. `model` must outlive it.
class MarkovPredictor : public BasePredictor {
 public:
  MarkovPredictor(const MarkovModel& model, std::vector<int> orders)
      : model_(model), orders_(std::move(orders)) {}
  std::vector<std::string> names() const override;
  int64_t context() const override { return model_.max_order(); }
  std::vector<float> bits(const Genome& genome, const Interval& interval) const override {
    return model_.bits(genome, interval, orders_);
  }

 private:
  const MarkovModel& model_;
  std::vector<int> orders_;
};

// Bases that the soft mask calls repeats, and those that it does not; only of contigs that carry a
// mask (genomics/io/soft_mask.h).
struct RegionBits {
  std::string name;  // "repeats" or "non-repeats"
  int64_t positions = 0;
  double bits_per_base = 0;
};

// Sums over blocks of 100 kb of the genome: neighbouring positions are not independent.
struct BlockBits {
  static constexpr int64_t kSize = 100000;
  std::vector<double> positions;
  std::vector<double> bits;
};

struct ModelBits {
  std::vector<RegionBits> regions;  // those with a position
  BlockBits blocks;                 // in the order of the windows
};
ModelBits summarise(const ScoredWindows& scored, const Genome& genome);

// A predictor on exactly the positions that the model was scored on. Its context reaches back over
// a window's start, inside `intervals`: an advantage that it keeps.
struct PredictorComparison {
  std::string name;
  double bits_per_base = 0;
  BootstrapInterval difference;  // model minus predictor, bits per base; 1,000 resamples of blocks
  std::vector<RegionBits> regions;
};
// `progress` gets the positions done and may throw to stop.
std::vector<PredictorComparison> compare_with(const BasePredictor& predictor,
                                              const ScoredWindows& scored, const Genome& genome,
                                              const Intervals& intervals,
                                              const std::function<void(int64_t)>& progress = {});

}  // namespace strandwave
