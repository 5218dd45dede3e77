#include "core/base/split_assignment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "core/base/error.h"
#include "core/base/random.h"

namespace strandwave {
namespace {

void check(const SplitShares& shares) {
  if (!(shares.validation >= 0 && shares.test >= 0 && shares.validation + shares.test < 1))
    throw usage_error("the shares of validation (" + std::to_string(shares.validation) +
                      ") and test (" + std::to_string(shares.test) +
                      ") must not be negative and leave something for training.");
  if (shares.folds == 0) return;
  if (shares.folds < 3)
    throw usage_error(std::to_string(shares.folds) +
                      " folds: one is for the test and one for validation, so at least 3 are "
                      "needed.");
  if (shares.fold < 0 || shares.fold >= shares.folds)
    throw usage_error("there is no fold " + std::to_string(shares.fold) + ": the " +
                      std::to_string(shares.folds) + " folds count from 0.");
}

class Assignment {
 public:
  Assignment(const std::vector<SplitUnit>& units, size_t strata, const SplitShares& shares)
      : units_(units),
        shares_(shares),
        splits_(units.size(), Split::kTrain),
        order_(units.size()),
        units_left_(strata),
        total_(strata) {
    for (auto& weights : held_) weights.resize(strata);
    for (const SplitUnit& unit : units)
      for (const auto& [stratum, weight] : unit.strata) {
        ++units_left_[static_cast<size_t>(stratum)];
        total_[static_cast<size_t>(stratum)] += weight;
      }
    std::iota(order_.begin(), order_.end(), size_t{0});
    const auto key = [&](size_t i) { return mix_bits(units[i].key + mix_bits(shares.seed + 1)); };
    std::sort(order_.begin(), order_.end(),
              [&](size_t a, size_t b) { return std::pair(key(a), a) < std::pair(key(b), b); });
  }

  std::vector<Split> by_shares() {
    const std::vector<int64_t> units = units_left_;
    std::array<std::vector<int64_t>, kSplits> need;
    for (const Split split : {Split::kValidation, Split::kTest}) {
      const double share = split == Split::kTest ? shares_.test : shares_.validation;
      const int64_t least_units = split == Split::kTest && shares_.validation > 0 ? 3 : 2;
      for (size_t s = 0; s < total_.size(); ++s) {
        const auto part =
            static_cast<int64_t>(std::llround(share * static_cast<double>(total_[s])));
        need[index(split)].push_back(
            share > 0 && units[s] >= least_units ? std::max<int64_t>(part, 1) : 0);
      }
    }
    for (const size_t i : order_) {
      for (const Split split : {Split::kTest, Split::kValidation}) {
        if (!leaves_training(units_[i]) || !fits(units_[i], split, need[index(split)])) continue;
        move(i, split);
        break;
      }
    }
    for (const Split split : {Split::kValidation, Split::kTest})
      for (size_t s = 0; s < total_.size(); ++s)
        if (need[index(split)][s] > 0 && held_[index(split)][s] == 0) give_smallest(s, split);
    return splits_;
  }

  std::vector<Split> by_folds() {
    const std::vector<int> fold_of = deal();
    const int validation = (shares_.fold + 1) % shares_.folds;
    // Test first: a unit that cannot be spared stays in training.
    for (const auto& [fold, split] :
         {std::pair(shares_.fold, Split::kTest), std::pair(validation, Split::kValidation)})
      for (const size_t i : order_)
        if (fold_of[i] == fold && leaves_training(units_[i])) move(i, split);
    return splits_;
  }

 private:
  static size_t index(Split split) { return static_cast<size_t>(split); }

  bool leaves_training(const SplitUnit& unit) const {
    return std::all_of(unit.strata.begin(), unit.strata.end(), [&](const auto& part) {
      return units_left_[static_cast<size_t>(part.first)] > 1;
    });
  }
  bool fits(const SplitUnit& unit, Split split, const std::vector<int64_t>& need) const {
    return std::all_of(unit.strata.begin(), unit.strata.end(), [&](const auto& part) {
      const auto s = static_cast<size_t>(part.first);
      return held_[index(split)][s] + part.second <= need[s];
    });
  }
  void move(size_t i, Split split) {
    splits_[i] = split;
    for (const auto& [stratum, weight] : units_[i].strata) {
      --units_left_[static_cast<size_t>(stratum)];
      held_[index(split)][static_cast<size_t>(stratum)] += weight;
    }
  }

  // To a stratum all of whose units are larger than its share.
  void give_smallest(size_t stratum, Split split) {
    size_t best = units_.size();
    int64_t least = 0;
    for (const size_t i : order_) {
      if (splits_[i] != Split::kTrain || !leaves_training(units_[i])) continue;
      int64_t own = 0, all = 0;
      for (const auto& [s, weight] : units_[i].strata) {
        all += weight;
        if (static_cast<size_t>(s) == stratum) own = weight;
      }
      if (own == 0 || (best < units_.size() && all >= least)) continue;
      best = i;
      least = all;
    }
    if (best < units_.size()) move(best, split);
  }

  // Large units first, each to the fold that has least of its strata so far.
  std::vector<int> deal() const {
    const auto size = [&](size_t i) {
      int64_t sum = 0;
      for (const auto& part : units_[i].strata) sum += part.second;
      return sum;
    };
    std::vector<size_t> by_size = order_;
    std::vector<size_t> rank(order_.size());
    for (size_t r = 0; r < order_.size(); ++r) rank[order_[r]] = r;
    std::sort(by_size.begin(), by_size.end(), [&](size_t a, size_t b) {
      return std::pair(-size(a), rank[a]) < std::pair(-size(b), rank[b]);
    });
    const auto folds = static_cast<size_t>(shares_.folds);
    std::vector<std::vector<int64_t>> weight(folds, std::vector<int64_t>(total_.size()));
    std::vector<int64_t> all(folds);
    std::vector<int> fold_of(units_.size());
    for (const size_t i : by_size) {
      size_t best = 0;
      std::pair<double, int64_t> least;
      for (size_t f = 0; f < folds; ++f) {
        double load = 0;
        for (const auto& [s, w] : units_[i].strata)
          load += static_cast<double>(weight[f][static_cast<size_t>(s)]) /
                  static_cast<double>(total_[static_cast<size_t>(s)]);
        if (f == 0 || std::pair(load, all[f]) < least) {
          best = f;
          least = {load, all[f]};
        }
      }
      for (const auto& [s, w] : units_[i].strata) weight[best][static_cast<size_t>(s)] += w;
      all[best] += size(i);
      fold_of[i] = static_cast<int>(best);
    }
    return fold_of;
  }

  const std::vector<SplitUnit>& units_;
  const SplitShares& shares_;
  std::vector<Split> splits_;
  std::vector<size_t> order_;
  std::vector<int64_t> units_left_;                   // in training, of each stratum
  std::vector<int64_t> total_;                        // weight of each stratum
  std::array<std::vector<int64_t>, kSplits> held_{};  // [split][stratum]
};

}  // namespace

const char* to_string(Split split) {
  constexpr std::array<const char*, kSplits> kNames = {"train", "validation", "test"};
  return kNames[static_cast<size_t>(split)];
}

Split split_of(const std::string& name) {
  if (name == "test") return Split::kTest;
  return name == "validation" ? Split::kValidation : Split::kTrain;
}

std::vector<Split> assign_splits(const std::vector<SplitUnit>& units, size_t strata,
                                 const SplitShares& shares) {
  check(shares);
  Assignment assignment(units, strata, shares);
  return shares.folds > 0 ? assignment.by_folds() : assignment.by_shares();
}

}  // namespace strandwave
