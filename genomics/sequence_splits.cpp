#include "genomics/sequence_splits.h"

#include <algorithm>
#include <array>
#include <map>
#include <unordered_map>

#include "core/base/error.h"
#include "genomics/io/tokenizer.h"

namespace strandwave {
namespace {

// Rounds of moving units back to training; what is left then is reported as overlapping.
constexpr int kMostRounds = 10;

bool same_label(const LabelledRow& a, const LabelledRow& b) {
  return a.label == b.label && a.targets == b.targets;
}

class Splitter {
 public:
  Splitter(LabelledData data, const FragmentOptions& options, const std::string& name)
      : options_(options), name_(name) {
    result_.labels = std::move(data.labels);
    result_.rows = std::move(data.sequences);
    for (const LabelledSequence& row : result_.rows) {
      result_.ids.emplace_back(row.sequence.size());
      dna::encode(row.sequence, result_.ids.back().data());
      validation_given_ |= row.split == "validation";
      test_given_ |= row.split == "test";
    }
  }

  SequenceSplits run() {
    read_ = result_.rows.size();
    if (options_.folds > 0 && held_out_given())
      throw usage_error(name_ +
                        " holds out sequences already (validation or test): folds make splits of "
                        "their own. Give the training data alone.");
    find_copies();
    for (const LabelledSequence& row : result_.rows) result_.split.push_back(split_of(row.split));
    if (!validation_given_) assign();
    measure();
    require_training();
    result_.facts = facts();
    return std::move(result_);
  }

 private:
  bool held_out_given() const { return validation_given_ || test_given_; }

  void find_copies() {
    const std::vector<int32_t> first = first_copies(result_.ids);
    std::vector<bool> conflict(first.size());
    std::vector<std::string> groups(first.size());
    for (size_t i = 0; i < first.size(); ++i) {
      const auto f = static_cast<size_t>(first[i]);
      copies_ += f != i;
      if (!same_label(result_.rows[i], result_.rows[f])) conflict[f] = true;
    }
    std::vector<bool> keep(first.size(), true);
    for (size_t i = 0; i < first.size(); ++i) {
      const bool conflicting = conflict[static_cast<size_t>(first[i])];
      conflicting_ += conflicting;
      if (!held_out_given()) keep[i] = !conflicting && static_cast<size_t>(first[i]) == i;
    }
    size_t kept = 0;
    for (size_t i = 0; i < keep.size(); ++i) {
      if (!keep[i]) continue;
      if (kept != i) {
        result_.rows[kept] = std::move(result_.rows[i]);
        result_.ids[kept] = std::move(result_.ids[i]);
      }
      ++kept;
    }
    result_.rows.resize(kept);
    result_.ids.resize(kept);
  }

  // Rows that may be held out, the units they fall into, and where those go.
  void assign() {
    std::vector<int32_t> pool;
    for (size_t i = 0; i < result_.rows.size(); ++i)
      if (result_.split[i] == Split::kTrain) pool.push_back(static_cast<int32_t>(i));
    if (pool.empty()) return;
    find_units(pool);

    std::vector<const LabelledRow*> rows;
    for (const int32_t i : pool) rows.push_back(&result_.rows[static_cast<size_t>(i)]);
    const Strata strata = strata_of(rows, options_.kind, result_.labels.size());
    std::unordered_map<int32_t, size_t> unit_of;  // least row -> number
    std::vector<std::map<int32_t, int64_t>> weights;
    std::vector<SplitUnit> units;
    for (size_t p = 0; p < pool.size(); ++p) {
      const auto row = static_cast<size_t>(pool[p]);
      const auto [found, is_new] = unit_of.try_emplace(result_.cluster[row], units.size());
      if (is_new) {
        units.emplace_back().key = ~uint64_t{0};
        weights.emplace_back();
      }
      SplitUnit& unit = units[found->second];
      unit.key = std::min(unit.key, strandless_hash(result_.ids[row])[0]);
      for (const int32_t stratum : strata.of_row[p]) ++weights[found->second][stratum];
    }
    for (size_t u = 0; u < units.size(); ++u)
      units[u].strata.assign(weights[u].begin(), weights[u].end());
    units_ = units.size();
    SplitShares shares = shares_of(options_);
    if (test_given_) shares.test = 0;
    const std::vector<Split> splits = assign_splits(units, strata.count, shares);
    for (const int32_t i : pool)
      result_.split[static_cast<size_t>(i)] =
          splits[unit_of.at(result_.cluster[static_cast<size_t>(i)])];
    if (options_.split == SplitPolicy::kClusters && options_.folds == 0) move_back(pool);
  }

  void find_units(const std::vector<int32_t>& pool) {
    const size_t count = result_.rows.size();
    DisjointSets sets(count);
    if (options_.split == SplitPolicy::kClusters) {
      const std::vector<int32_t> cluster = cluster_sequences(result_.ids);
      for (const int32_t i : pool) {
        // By way of rows that are held out too: what resembles one such row stays together.
        sets.join(i, cluster[static_cast<size_t>(i)]);
      }
    }
    std::unordered_map<std::string, int32_t> first_of_group;
    for (const int32_t i : pool) {
      const std::string& group = result_.rows[static_cast<size_t>(i)].group;
      if (group.empty()) continue;
      sets.join(i, first_of_group.try_emplace(group, i).first->second);
    }
    result_.cluster.resize(count);
    std::unordered_map<int32_t, int64_t> sizes;
    for (size_t i = 0; i < count; ++i) result_.cluster[i] = sets.find(static_cast<int32_t>(i));
    for (const int32_t i : pool)
      largest_ = std::max(largest_, ++sizes[result_.cluster[static_cast<size_t>(i)]]);
  }

  // Units that share too much with training, taken together, are training data.
  void move_back(const std::vector<int32_t>& pool) {
    for (int round = 0; round < kMostRounds; ++round) {
      measure();
      std::vector<bool> back(result_.rows.size());
      bool any = false;
      for (const int32_t i : pool) {
        const auto row = static_cast<size_t>(i);
        if (result_.split[row] == Split::kTrain || !result_.overlap[row].overlaps()) continue;
        back[static_cast<size_t>(result_.cluster[row])] = any = true;
      }
      if (!any) return;
      for (const int32_t i : pool) {
        const auto row = static_cast<size_t>(i);
        if (!back[static_cast<size_t>(result_.cluster[row])]) continue;
        moved_back_ += result_.split[row] != Split::kTrain;
        result_.split[row] = Split::kTrain;
      }
    }
  }

  void measure() {
    std::vector<int32_t> training, held_out;
    for (size_t i = 0; i < result_.rows.size(); ++i)
      (result_.split[i] == Split::kTrain ? training : held_out).push_back(static_cast<int32_t>(i));
    const auto overlaps = training_overlaps(result_.ids, training, held_out);
    result_.overlap.assign(result_.rows.size(), {});
    for (size_t h = 0; h < held_out.size(); ++h)
      result_.overlap[static_cast<size_t>(held_out[h])] = overlaps[h];
  }

  std::vector<int64_t> class_counts(Split split) const {
    std::vector<int64_t> counts(result_.labels.size());
    for (size_t i = 0; i < result_.rows.size(); ++i) {
      if (result_.split[i] != split) continue;
      const LabelledRow& row = result_.rows[i];
      if (row.label >= 0) ++counts[static_cast<size_t>(row.label)];
      if (options_.kind == LabelKind::kRegression) ++counts[0];
      if (options_.kind != LabelKind::kMultiLabel) continue;
      for (size_t c = 0; c < counts.size(); ++c) counts[c] += row.targets[c] > 0;
    }
    return counts;
  }

  void require_training() const {
    std::string what = "the training split of " + name_;
    if (!held_out_given() && read_ > result_.rows.size())
      what += ", after " + std::to_string(read_ - result_.rows.size()) +
              " copies and sequences with conflicting labels were dropped";
    require_every_class(result_.labels, class_counts(Split::kTrain), what);
  }

  std::string policy() const {
    if (validation_given_) return "given";
    return options_.split == SplitPolicy::kRandom ? "random" : "clusters";
  }

  nlohmann::json facts() const {
    nlohmann::json facts = {{"kind", "sequences"},  {"policy", policy()},
                            {"sequences", read_},   {"kept", result_.rows.size()},
                            {"copies", copies_},    {"conflicting", conflicting_},
                            {"kmer", kLeakageKmer}, {"share", kLeakageShare}};
    if (!validation_given_) {
      facts["seed"] = options_.split_seed;
      facts["units"] = units_;
      facts["largest_unit"] = largest_;
      facts["moved_back"] = moved_back_;
    }
    if (options_.folds > 0) {
      facts["folds"] = options_.folds;
      facts["fold"] = options_.fold;
    }
    facts["splits"] = nlohmann::json::array();
    facts["held_out"] = nlohmann::json::array();
    for (const Split split : {Split::kTrain, Split::kValidation, Split::kTest}) add(split, facts);
    return facts;
  }

  void add(Split split, nlohmann::json& facts) const {
    int64_t all = 0, exact = 0, overlapping = 0;
    for (size_t i = 0; i < result_.rows.size(); ++i) {
      if (result_.split[i] != split) continue;
      ++all;
      exact += result_.overlap[i].exact;
      overlapping += result_.overlap[i].overlaps();
    }
    nlohmann::json per_class = nlohmann::json::object();
    const std::vector<int64_t> counts = class_counts(split);
    for (size_t c = 0; c < counts.size(); ++c) per_class[result_.labels[c]] = counts[c];
    facts["splits"].push_back(
        {{"split", to_string(split)}, {"sequences", all}, {"per_class", std::move(per_class)}});
    if (split != Split::kTrain)
      facts["held_out"].push_back({{"split", to_string(split)},
                                   {"sequences", all},
                                   {"exact", exact},
                                   {"overlapping", overlapping},
                                   {"without_overlap", all - overlapping}});
  }

  const FragmentOptions& options_;
  const std::string& name_;
  SequenceSplits result_;
  bool validation_given_ = false, test_given_ = false;
  size_t read_ = 0, units_ = 0;
  int64_t copies_ = 0, conflicting_ = 0, largest_ = 0, moved_back_ = 0;
};

}  // namespace

SequenceSplits split_sequences(LabelledData data, const FragmentOptions& options,
                               const std::string& name) {
  return Splitter(std::move(data), options, name).run();
}

Strata strata_of(const std::vector<const LabelledRow*>& rows, LabelKind kind, size_t labels) {
  Strata strata;
  strata.of_row.resize(rows.size());
  if (kind == LabelKind::kClass) {
    strata.count = labels;
    for (size_t i = 0; i < rows.size(); ++i) strata.of_row[i] = {rows[i]->label};
  } else if (kind == LabelKind::kMultiLabel) {
    strata.count = labels + 1;
    for (size_t i = 0; i < rows.size(); ++i) {
      for (size_t c = 0; c < labels; ++c)
        if (rows[i]->targets[c] > 0) strata.of_row[i].push_back(static_cast<int32_t>(c));
      if (strata.of_row[i].empty()) strata.of_row[i] = {static_cast<int32_t>(labels)};
    }
  } else {
    constexpr size_t kFifths = 5;
    std::vector<float> sorted;
    for (const LabelledRow* row : rows) sorted.push_back(row->targets[0]);
    std::sort(sorted.begin(), sorted.end());
    strata.count = kFifths;
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto below = static_cast<size_t>(
          std::lower_bound(sorted.begin(), sorted.end(), rows[i]->targets[0]) - sorted.begin());
      strata.of_row[i] = {static_cast<int32_t>(below * kFifths / sorted.size())};
    }
  }
  return strata;
}

SplitShares shares_of(const FragmentOptions& options) {
  return {options.validation_share, options.test_share, options.folds, options.fold,
          options.split_seed};
}

}  // namespace strandwave
