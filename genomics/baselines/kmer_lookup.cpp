#include "genomics/baselines/kmer_lookup.h"

#include <algorithm>
#include <string>

#include "core/base/error.h"
#include "genomics/io/kmers.h"

namespace strandwave {

KmerLookup::KmerLookup(int classes, int k) : classes_(classes), k_(k) {
  if (classes < 2 || classes > kMostClasses)
    throw usage_error("a k-mer lookup takes 2 to " + std::to_string(kMostClasses) +
                      " classes, not " + std::to_string(classes));
  if (k < 1 || k > kLongestKmer)
    throw usage_error("a k-mer lookup takes a k of 1 to " + std::to_string(kLongestKmer) +
                      ", not " + std::to_string(k));
}

void KmerLookup::add(int label, std::span<const uint8_t> ids) {
  // A shard is merged when what waits is a quarter of what it holds: the work stays linear in the
  // number of k-mers, times a logarithm.
  constexpr size_t kFewest = size_t{1} << 12;
  for_each_canonical_kmer(ids, k_, [&](int64_t, uint64_t kmer) {
    const uint64_t key = mix_kmer(kmer);
    Shard& shard = shards_[key >> (64 - kShardBits)];
    shard.pending.push_back({key, static_cast<uint16_t>(label)});
    if (shard.pending.size() >= std::max(kFewest, shard.keys.size() / 4)) merge(shard);
  });
}

void KmerLookup::finish() {
  for (Shard& shard : shards_) {
    merge(shard);
    shard.pending = std::vector<Entry>();
    shard.keys.shrink_to_fit();
    shard.labels.shrink_to_fit();
  }
}

void KmerLookup::merge(Shard& shard) {
  std::vector<Entry>& fresh = shard.pending;
  if (fresh.empty()) return;
  std::sort(fresh.begin(), fresh.end(),
            [](const Entry& a, const Entry& b) { return a.key < b.key; });
  // In place: equal keys become one.
  size_t distinct = 0;
  for (const Entry& entry : fresh) {
    if (distinct > 0 && fresh[distinct - 1].key == entry.key) {
      if (fresh[distinct - 1].label != entry.label) fresh[distinct - 1].label = kAmbiguous;
    } else {
      fresh[distinct++] = entry;
    }
  }
  fresh.resize(distinct);
  std::vector<uint64_t> keys;
  std::vector<uint16_t> labels;
  keys.reserve(shard.keys.size() + fresh.size());
  labels.reserve(shard.keys.size() + fresh.size());
  size_t old = 0;
  const auto take_old = [&] {
    keys.push_back(shard.keys[old]);
    labels.push_back(shard.labels[old++]);
  };
  for (const Entry& entry : fresh) {
    while (old < shard.keys.size() && shard.keys[old] < entry.key) take_old();
    if (old < shard.keys.size() && shard.keys[old] == entry.key) {
      take_old();
      if (labels.back() != entry.label) labels.back() = kAmbiguous;
    } else {
      keys.push_back(entry.key);
      labels.push_back(entry.label);
    }
  }
  while (old < shard.keys.size()) take_old();
  shard.keys = std::move(keys);
  shard.labels = std::move(labels);
  fresh.clear();
}

std::vector<int64_t> KmerLookup::hits(std::span<const uint8_t> ids) const {
  std::vector<int64_t> counts(static_cast<size_t>(classes_));
  for_each_canonical_kmer(ids, k_, [&](int64_t, uint64_t kmer) {
    const uint64_t key = mix_kmer(kmer);
    const Shard& shard = shards_[key >> (64 - kShardBits)];
    const auto found = std::lower_bound(shard.keys.begin(), shard.keys.end(), key);
    if (found == shard.keys.end() || *found != key) return;
    const uint16_t label = shard.labels[static_cast<size_t>(found - shard.keys.begin())];
    if (label != kAmbiguous) ++counts[label];
  });
  return counts;
}

int KmerLookup::decide(std::span<const int64_t> hits) {
  const auto best = std::max_element(hits.begin(), hits.end());
  if (best == hits.end() || *best == 0 || std::count(hits.begin(), hits.end(), *best) > 1)
    return kUnclassified;
  return static_cast<int>(best - hits.begin());
}

int KmerLookup::predict(std::span<const uint8_t> ids) const { return decide(hits(ids)); }

int64_t KmerLookup::distinct() const {
  size_t sum = 0;
  for (const Shard& shard : shards_) sum += shard.keys.size();
  return static_cast<int64_t>(sum);
}

int64_t KmerLookup::ambiguous() const {
  int64_t sum = 0;
  for (const Shard& shard : shards_)
    sum += std::count(shard.labels.begin(), shard.labels.end(), kAmbiguous);
  return sum;
}

int64_t KmerLookup::bytes() const {
  size_t sum = 0;
  for (const Shard& shard : shards_)
    sum += shard.keys.capacity() * sizeof(uint64_t) + shard.labels.capacity() * sizeof(uint16_t) +
           shard.pending.capacity() * sizeof(Entry);
  return static_cast<int64_t>(sum);
}

}  // namespace strandwave
