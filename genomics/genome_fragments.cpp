#include "genomics/genome_fragments.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/progress.h"
#include "core/base/random.h"
#include "genomics/io/intervals.h"

namespace strandwave {
namespace {

GenomeSplits read_splits(const std::string& path, const FragmentOptions& options) {
  return split_genomes(read_manifest(path, {options.kind, options.labels}), options, path);
}

// n things to parts of limited size, as evenly as possible.
std::vector<int64_t> share_out(int64_t n, const std::vector<int64_t>& limits) {
  std::vector<int64_t> shares(limits.size());
  std::vector<size_t> order(limits.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return std::pair(limits[a], a) < std::pair(limits[b], b); });
  for (size_t i = 0; i < order.size(); ++i) {
    shares[order[i]] = std::min(limits[order[i]], n / static_cast<int64_t>(order.size() - i));
    n -= shares[order[i]];
  }
  return shares;
}

// Neighbouring fragments share three quarters of their bases at most.
int64_t most_fragments(const FragmentStarts& starts, int64_t length) {
  constexpr int64_t kTimes = 4;
  const int64_t count = starts.count(length);
  return std::min(count, 1 + count / length * kTimes);
}

}  // namespace

GenomeFragments::GenomeFragments(const std::string& path, const FragmentOptions& options)
    : LabelledFragments(options),
      path_(path),
      splits_(read_splits(path, options)),
      genome_(open_genomes(splits_.manifest, options.cache_dir)) {
  if (longest_fragment() <= 0)
    throw usage_error(path + " lists genomes: give --length, the bases of a fragment");
  labels_ = splits_.manifest.labels;
  std::map<std::string, int32_t> number;
  for (const ManifestRow& row : splits_.manifest.rows) {
    if (options.kind == LabelKind::kClass && row.taxid > 0) taxids_[row.text].insert(row.taxid);
    group_of_row_.push_back(-1);
    if (row.group.empty()) continue;
    const auto [found, is_new] =
        number.try_emplace(row.group, static_cast<int32_t>(groups_.size()));
    if (is_new) groups_.push_back(row.group);
    group_of_row_.back() = found->second;
  }
  find_intervals();
  require_training();
}

const ManifestRow& GenomeFragments::row_of(int64_t contig) const {
  const Contig& c = genome_.contigs()[static_cast<size_t>(contig)];
  return splits_.manifest.rows[static_cast<size_t>(c.file)];
}

size_t GenomeFragments::pool_of(const ManifestRow& row) const {
  return options_.kind == LabelKind::kClass ? static_cast<size_t>(row.label) : 0;
}

void GenomeFragments::find_intervals() {
  pools_.resize(options_.kind == LabelKind::kClass ? labels_.size() : 1);
  const int64_t gap = longest_fragment();
  for (size_t c = 0; c < genome_.contigs().size(); ++c) {
    const Contig& contig = genome_.contigs()[c];
    const auto row = static_cast<size_t>(contig.file);
    const Interval whole{static_cast<int64_t>(c), 0, contig.length, {}, '.'};
    if (!splits_.ends[row]) {
      add(splits_.split[row], row, whole);
      continue;
    }
    const int64_t border = contig.length - contig.length / 10;
    add(Split::kTrain, row, {whole.contig, 0, border - gap, {}, '.'});
    add(Split::kValidation, row, {whole.contig, border, contig.length, {}, '.'});
  }
  for (Pool& pool : pools_) {
    pool.training = FragmentStarts(pool.intervals[0]);
    for (const Split split : {Split::kValidation, Split::kTest}) {
      // A group, or a file that is in none.
      std::map<std::pair<int32_t, int32_t>, Intervals> by_group;
      for (const Interval& interval : pool.intervals[static_cast<size_t>(split)]) {
        const int32_t file = genome_.contigs()[static_cast<size_t>(interval.contig)].file;
        const int32_t group = group_of_row_[static_cast<size_t>(file)];
        by_group[{group, group < 0 ? file : 0}].push_back(interval);
      }
      for (auto& [key, intervals] : by_group)
        pool.groups[static_cast<size_t>(split)].emplace_back(std::move(intervals));
    }
  }
}

void GenomeFragments::add(Split split, size_t row, const Interval& interval) {
  if (interval.length() < shortest_fragment()) return;
  const size_t pool = pool_of(splits_.manifest.rows[row]);
  pools_[pool].intervals[static_cast<size_t>(split)].push_back(interval);
}

void GenomeFragments::require_training() const {
  require_every_class(labels_, class_counts(Split::kTrain),
                      "the training split of " + path_ + " (contigs of at least " +
                          std::to_string(shortest_fragment()) + " bases)");
}

std::vector<int64_t> GenomeFragments::class_counts(Split split) const {
  std::vector<int64_t> counts(labels_.size());
  for (const Pool& pool : pools_) {
    for (const Interval& interval : pool.intervals[static_cast<size_t>(split)]) {
      const ManifestRow& row = row_of(interval.contig);
      for (size_t c = 0; c < counts.size(); ++c) {
        const bool member = options_.kind == LabelKind::kMultiLabel ? row.targets[c] > 0
                            : options_.kind == LabelKind::kClass
                                ? row.label == static_cast<int32_t>(c)
                                : true;
        if (member) counts[c] += interval.length();
      }
    }
  }
  return counts;
}

bool GenomeFragments::mostly_unknown(const Window& window) const {
  return 2 * genome_.count_unknown(window.contig, window.start, window.end) > window.length();
}

LabelledFragment GenomeFragments::cut(const Window& window) const {
  LabelledFragment fragment;
  fragment.ids.resize(static_cast<size_t>(window.length()));
  genome_.fetch(window.contig, window.start, window.end, fragment.ids.data(), window.reverse);
  const Contig& contig = genome_.contigs()[static_cast<size_t>(window.contig)];
  const ManifestRow& row = row_of(window.contig);
  fragment.label = row.label;
  fragment.targets = row.targets;
  fragment.group = group_of_row_[static_cast<size_t>(contig.file)];
  fragment.name =
      contig.name + ":" + std::to_string(window.start + 1) + "-" + std::to_string(window.end);
  return fragment;
}

LabelledFragment GenomeFragments::sample(uint64_t seed, uint64_t index) const {
  constexpr uint64_t kTries = 1000;
  const RandomStream choice(seed, RandomPurpose::kShuffle, 1, index);
  const RandomStream draws(seed, RandomPurpose::kWindow, index);
  const FragmentStarts& starts = pools_[choice.below(0, pools_.size())].training;
  const int64_t length = std::min(drawn_length(choice.uniform(1)), starts.longest());
  const auto count = static_cast<uint64_t>(starts.count(length));
  for (uint64_t attempt = 0; attempt < kTries; ++attempt) {
    const Window window = starts.start(length, static_cast<int64_t>(draws.below(attempt, count)));
    if (mostly_unknown(window)) continue;
    LabelledFragment fragment = cut(window);
    augment(fragment, seed, index);
    return fragment;
  }
  throw input_error("1000 fragments of " + std::to_string(length) +
                    " bases drawn in a row from the training split of " + path_ + " are mostly N.");
}

std::vector<LabelledFragment> GenomeFragments::fixed(Split split, int64_t max_per_class,
                                                     const FixedOptions& how) const {
  std::vector<LabelledFragment> fragments;
  for (const Pool& pool : pools_) {
    std::vector<FragmentStarts> training;
    if (split == Split::kTrain) training.push_back(pool.training);
    const std::vector<FragmentStarts>& groups =
        split == Split::kTrain ? training : pool.groups[static_cast<size_t>(split)];
    std::vector<int64_t> limits;
    limits.reserve(groups.size());
    for (const FragmentStarts& starts : groups)
      limits.push_back(most_fragments(starts, std::min(fixed_length(how, 0.5), starts.longest())));
    const std::vector<int64_t> wanted = share_out(max_per_class, limits);
    for (size_t g = 0; g < groups.size(); ++g)
      for (int64_t i = 0; i < wanted[g]; ++i) {
        // Lengths at evenly spaced quantiles, in an order that has nothing to do with the place.
        const uint64_t mixed =
            permute_index(static_cast<uint64_t>(i), static_cast<uint64_t>(wanted[g]), 0, 0);
        const double quantile = (static_cast<double>(mixed) + 0.5) / static_cast<double>(wanted[g]);
        const int64_t length = std::min(fixed_length(how, quantile), groups[g].longest());
        const auto count = static_cast<__int128>(groups[g].count(length));
        const Window window = groups[g].start(
            length, static_cast<int64_t>((2 * static_cast<__int128>(i) + 1) * count /
                                         (2 * static_cast<__int128>(wanted[g]))));
        if (mostly_unknown(window)) continue;
        fragments.push_back(cut(window));
        substitute_fixed(fragments.back(), how.error_rate, fragments.size());
      }
  }
  return fragments;
}

void GenomeFragments::for_each_training_sequence(
    const std::function<void(int32_t, std::span<const uint8_t>)>& visit) const {
  std::vector<uint8_t> ids;
  for (const Pool& pool : pools_)
    for (const Interval& interval : pool.intervals[static_cast<size_t>(Split::kTrain)]) {
      ids.resize(static_cast<size_t>(interval.length()));
      genome_.fetch(interval.contig, interval.start, interval.end, ids.data());
      visit(row_of(interval.contig).label, ids);
    }
}

int64_t GenomeFragments::longest_training_sequence() const {
  int64_t longest = 0;
  for (const Pool& pool : pools_) longest = std::max(longest, pool.training.longest());
  return longest;
}

std::string GenomeFragments::description_without(int32_t left_out) const {
  int64_t bases = 0, genomes = 0, validation = 0, test = 0, ends = 0;
  for (size_t p = 0; p < pools_.size(); ++p)
    if (static_cast<int64_t>(p) != left_out)
      bases += total_length(pools_[p].intervals[static_cast<size_t>(Split::kTrain)]);
  for (size_t row = 0; row < splits_.manifest.rows.size(); ++row) {
    if (left_out >= 0 && splits_.manifest.rows[row].label == left_out) continue;
    ++genomes;
    validation += splits_.split[row] == Split::kValidation;
    test += splits_.split[row] == Split::kTest;
    ends += splits_.ends[row];
  }
  std::string text = counted(genomes, "genome") + ", ";
  const auto classes = static_cast<int64_t>(labels_.size()) - (left_out >= 0 ? 1 : 0);
  if (options_.kind != LabelKind::kRegression)
    text += std::to_string(classes) + (classes == 1 ? " class, " : " classes, ");
  text += format_count(static_cast<double>(bases)) + " bases in training, " +
          std::to_string(validation) + " for validation";
  if (ends > 0) text += " and the ends of the contigs of " + std::to_string(ends);
  return text + ", " + std::to_string(test) + " for the test; fragments of " + lengths_text();
}

std::string GenomeFragments::hash() const {
  std::string text;
  for (size_t i = 0; i < splits_.manifest.rows.size(); ++i)
    text += genome_.files()[i].hash + '\t' + splits_.manifest.rows[i].text + '\t' +
            to_string(splits_.split[i]) + (splits_.ends[i] ? "+ends" : "") + '\n';
  return sha256_hex(text);
}

}  // namespace strandwave
