#include "genomics/sequence_fragments.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/base/hash.h"
#include "core/base/random.h"
#include "genomics/io/labelled.h"

namespace strandwave {
namespace {

void keep_piece(std::vector<uint8_t>& ids, int64_t length, uint64_t start) {
  const auto begin = ids.begin() + static_cast<ptrdiff_t>(start);
  ids = std::vector<uint8_t>(begin, begin + length);
}

}  // namespace

SequenceFragments::SequenceFragments(const std::string& path, const FragmentOptions& options)
    : LabelledFragments(options) {
  SequenceSplits splits =
      split_sequences(read_labelled(path, {options.kind, options.labels}), options, path);
  labels_ = splits.labels;
  facts_ = std::move(splits.facts);
  std::map<std::string, int32_t> number;
  Sha256 digest;
  const size_t pools = options.kind == LabelKind::kClass ? labels_.size() : 1;
  for (auto& split : members_) split.resize(pools);
  for (size_t i = 0; i < splits.rows.size(); ++i) {
    LabelledSequence& row = splits.rows[i];
    LabelledFragment fragment;
    fragment.ids = std::move(splits.ids[i]);
    fragment.label = row.label;
    fragment.targets = std::move(row.targets);
    fragment.name = std::move(row.name);
    fragment.overlaps_training = splits.overlap[i].overlaps();
    if (!row.group.empty()) {
      const auto [found, is_new] =
          number.try_emplace(row.group, static_cast<int32_t>(groups_.size()));
      if (is_new) groups_.push_back(row.group);
      fragment.group = found->second;
    }
    const auto split = static_cast<size_t>(splits.split[i]);
    members_[split][static_cast<size_t>(std::max(fragment.label, 0))].push_back(i);
    digest.update(std::as_bytes(std::span(fragment.ids)));
    const std::string end = '\t' + row.text + '\t' + std::to_string(split) + '\n';
    digest.update(std::as_bytes(std::span(end)));
    sequences_.push_back(std::move(fragment));
  }
  hash_ = digest.hex_digest();
}

LabelledFragment SequenceFragments::sample(uint64_t seed, uint64_t index) const {
  const RandomStream choice(seed, RandomPurpose::kShuffle, 1, index);
  const auto& pools = members_[static_cast<size_t>(Split::kTrain)];
  const std::vector<size_t>& members = pools[choice.below(0, pools.size())];
  LabelledFragment fragment = sequences_[members[choice.below(1, members.size())]];
  const auto size = static_cast<int64_t>(fragment.ids.size());
  const int64_t length = drawn_length(choice.uniform(3));
  if (length > 0 && size > length)
    keep_piece(fragment.ids, length, choice.below(2, static_cast<uint64_t>(size - length + 1)));
  augment(fragment, seed, index);
  return fragment;
}

std::vector<LabelledFragment> SequenceFragments::fixed(Split split, int64_t max_per_class,
                                                       const FixedOptions& how) const {
  std::vector<LabelledFragment> fragments;
  const auto& pools = members_[static_cast<size_t>(split)];
  const size_t times = options_.kind == LabelKind::kClass ? 1 : std::max<size_t>(2, labels_.size());
  for (const std::vector<size_t>& members : pools) {
    const size_t each = static_cast<size_t>(max_per_class);
    const size_t count = each > members.size() / times ? members.size() : each * times;
    for (size_t i = 0; i < count; ++i) {
      LabelledFragment& fragment =
          fragments.emplace_back(sequences_[members[i * members.size() / count]]);
      const uint64_t mixed = permute_index(i, count, 0, 0);
      const int64_t length =
          fixed_length(how, (static_cast<double>(mixed) + 0.5) / static_cast<double>(count));
      const auto size = static_cast<int64_t>(fragment.ids.size());
      if (length > 0 && size > length)
        keep_piece(fragment.ids, length, static_cast<uint64_t>(size - length) / 2);
      substitute_fixed(fragment, how.error_rate, fragments.size());
    }
  }
  return fragments;
}

std::vector<int64_t> SequenceFragments::class_counts(Split split) const {
  std::vector<int64_t> counts(labels_.size());
  for (const std::vector<size_t>& members : members_[static_cast<size_t>(split)])
    for (const size_t i : members) {
      const LabelledFragment& sequence = sequences_[i];
      for (size_t c = 0; c < counts.size(); ++c)
        counts[c] += options_.kind == LabelKind::kMultiLabel ? sequence.targets[c] > 0
                     : options_.kind == LabelKind::kClass
                         ? sequence.label == static_cast<int32_t>(c)
                         : true;
    }
  return counts;
}

void SequenceFragments::for_each_training_sequence(
    const std::function<void(int32_t, std::span<const uint8_t>)>& visit) const {
  for (const std::vector<size_t>& members : members_[static_cast<size_t>(Split::kTrain)])
    for (const size_t i : members) visit(sequences_[i].label, sequences_[i].ids);
}

int64_t SequenceFragments::longest_training_sequence() const {
  size_t longest = 0;
  for (const auto& members : members_[static_cast<size_t>(Split::kTrain)])
    for (const size_t i : members) longest = std::max(longest, sequences_[i].ids.size());
  return static_cast<int64_t>(longest);
}

std::string SequenceFragments::description_without(int32_t left_out) const {
  std::array<size_t, kSplits> counts{};
  size_t overlapping = 0;
  for (size_t split = 0; split < kSplits; ++split)
    for (size_t pool = 0; pool < members_[split].size(); ++pool) {
      if (static_cast<int64_t>(pool) == left_out) continue;
      const std::vector<size_t>& members = members_[split][pool];
      counts[split] += members.size();
      for (const size_t i : members) overlapping += sequences_[i].overlaps_training;
    }
  std::string text;
  const auto classes = static_cast<int64_t>(labels_.size()) - (left_out >= 0 ? 1 : 0);
  if (options_.kind != LabelKind::kRegression)
    text = std::to_string(classes) + (classes == 1 ? " class, " : " classes, ");
  text += std::to_string(counts[0]) + " training, " + std::to_string(counts[1]) +
          " validation and " + std::to_string(counts[2]) + " test sequences";
  const int64_t dropped = facts_.at("sequences").get<int64_t>() - facts_.at("kept").get<int64_t>();
  if (dropped > 0 && left_out < 0)
    text += ", " + std::to_string(dropped) + " copies and conflicting ones dropped";
  if (overlapping > 0)
    text += ", " + std::to_string(overlapping) +
            " held-out ones share at least half their 31-mers with training";
  return text;
}

}  // namespace strandwave
