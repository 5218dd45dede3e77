#include "genomics/io/sequence_clusters.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "genomics/io/content_hash.h"
#include "genomics/io/kmer_table.h"
#include "genomics/io/kmers.h"
#include "genomics/io/tokenizer.h"

namespace strandwave {
namespace {

constexpr int kMinimizer = 21;
constexpr int kWindow = kLeakageKmer - kMinimizer + 1;  // 21-mers in a 31-mer
// Of a minimizer that is in more sequences, each is compared with so many before it.
constexpr size_t kNeighbours = 64;
// Minimizers held at once while those that are shared are looked for.
constexpr int64_t kMostEntries = int64_t{1} << 25;

struct Occurrence {
  uint64_t hash;
  int32_t sequence;
  friend auto operator<=>(const Occurrence&, const Occurrence&) = default;
};

// visit(hash) for the minimizer of every window; one that stays is given once.
template <typename Visit>
void for_each_minimizer(std::span<const uint8_t> ids, Visit visit) {
  std::array<uint64_t, kWindow> recent{};
  int64_t previous = -2;
  int run = 0;  // 21-mers in a row
  uint64_t last = 0;
  bool any = false;
  for_each_canonical_kmer(ids, kMinimizer, [&](int64_t start, uint64_t kmer) {
    run = start == previous + 1 ? run + 1 : 1;
    previous = start;
    recent[static_cast<size_t>(start) % kWindow] = mix_kmer(kmer);
    if (run < kWindow) return;
    const uint64_t least = *std::min_element(recent.begin(), recent.end());
    if (any && least == last) return;
    last = least;
    any = true;
    visit(least);
  });
}

// Minimizers that more than one sequence has, sorted. Goes through the hashes part by part, so that
// memory is bounded by what is shared.
std::vector<Occurrence> shared_minimizers(const TokenSequences& sequences) {
  int64_t bases = 0;
  for (const auto& ids : sequences) bases += static_cast<int64_t>(ids.size());
  const auto parts = static_cast<uint64_t>(1 + bases * 2 / (kWindow + 1) / kMostEntries);
  std::vector<Occurrence> shared, entries;
  for (uint64_t part = 0; part < parts; ++part) {
    entries.clear();
    for (size_t i = 0; i < sequences.size(); ++i)
      for_each_minimizer(sequences[i], [&](uint64_t hash) {
        if (hash % parts == part) entries.push_back({hash, static_cast<int32_t>(i)});
      });
    std::sort(entries.begin(), entries.end());
    entries.erase(std::unique(entries.begin(), entries.end()), entries.end());
    for (size_t begin = 0, end = 0; begin < entries.size(); begin = end) {
      while (end < entries.size() && entries[end].hash == entries[begin].hash) ++end;
      if (end - begin > 1)
        shared.insert(shared.end(), entries.begin() + static_cast<ptrdiff_t>(begin),
                      entries.begin() + static_cast<ptrdiff_t>(end));
    }
  }
  std::sort(shared.begin(), shared.end());
  return shared;
}

std::vector<uint64_t> kmer_set(std::span<const uint8_t> ids) {
  std::vector<uint64_t> kmers;
  for_each_canonical_kmer(ids, kLeakageKmer,
                          [&](int64_t, uint64_t kmer) { kmers.push_back(kmer); });
  std::sort(kmers.begin(), kmers.end());
  kmers.erase(std::unique(kmers.begin(), kmers.end()), kmers.end());
  return kmers;
}

bool resemble(const std::vector<uint64_t>& a, const std::vector<uint64_t>& b) {
  size_t shared = 0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    shared += a[i] == b[j];
    const bool forward_a = a[i] <= b[j], forward_b = b[j] <= a[i];
    i += forward_a;
    j += forward_b;
  }
  const size_t fewer = std::min(a.size(), b.size());
  return fewer > 0 && static_cast<double>(shared) >= kLeakageShare * static_cast<double>(fewer);
}

// Joins each sequence with those before it that share a minimizer and resemble it.
class Linker {
 public:
  Linker(const TokenSequences& sequences, DisjointSets& sets)
      : sequences_(sequences), sets_(sets), shared_(shared_minimizers(sequences)) {
    by_sequence_.resize(shared_.size());
    std::iota(by_sequence_.begin(), by_sequence_.end(), size_t{0});
    std::sort(by_sequence_.begin(), by_sequence_.end(), [&](size_t a, size_t b) {
      return std::pair(shared_[a].sequence, a) < std::pair(shared_[b].sequence, b);
    });
  }

  void link_all() {
    for (size_t begin = 0, end = 0; begin < by_sequence_.size(); begin = end) {
      const int32_t sequence = shared_[by_sequence_[begin]].sequence;
      while (end < by_sequence_.size() && shared_[by_sequence_[end]].sequence == sequence) ++end;
      link(sequence, {by_sequence_.data() + begin, end - begin});
    }
  }

 private:
  void link(int32_t sequence, std::span<const size_t> occurrences) {
    candidates_.clear();
    for (const size_t at : occurrences) {
      for (size_t step = 1; step <= kNeighbours && step <= at; ++step) {
        const Occurrence& before = shared_[at - step];
        if (before.hash != shared_[at].hash) break;
        candidates_.push_back(before.sequence);
      }
    }
    std::sort(candidates_.begin(), candidates_.end());
    candidates_.erase(std::unique(candidates_.begin(), candidates_.end()), candidates_.end());
    std::vector<uint64_t> own;
    for (const int32_t other : candidates_) {
      if (sets_.find(sequence) == sets_.find(other)) continue;
      if (own.empty()) own = kmer_set(sequences_[static_cast<size_t>(sequence)]);
      if (resemble(own, kmer_set(sequences_[static_cast<size_t>(other)])))
        sets_.join(sequence, other);
    }
  }

  const TokenSequences& sequences_;
  DisjointSets& sets_;
  std::vector<Occurrence> shared_;
  std::vector<size_t> by_sequence_;  // indices into shared_, by sequence
  std::vector<int32_t> candidates_;
};

}  // namespace

std::array<uint64_t, 2> strandless_hash(std::span<const uint8_t> ids) {
  std::vector<uint8_t> turned(ids.begin(), ids.end());
  dna::reverse_complement(turned);
  const bool forward =
      std::lexicographical_compare(ids.begin(), ids.end(), turned.begin(), turned.end());
  ContentHash hash;
  hash.add(forward ? ids.data() : turned.data(), ids.size());
  return hash.value();
}

std::vector<int32_t> first_copies(const TokenSequences& sequences) {
  struct Entry {
    std::array<uint64_t, 2> hash;
    int32_t index;
    auto operator<=>(const Entry&) const = default;
  };
  std::vector<Entry> entries;
  entries.reserve(sequences.size());
  for (size_t i = 0; i < sequences.size(); ++i)
    entries.push_back({strandless_hash(sequences[i]), static_cast<int32_t>(i)});
  std::sort(entries.begin(), entries.end());
  std::vector<int32_t> first(sequences.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    const bool copy = i > 0 && entries[i - 1].hash == entries[i].hash;
    first[static_cast<size_t>(entries[i].index)] =
        copy ? first[static_cast<size_t>(entries[i - 1].index)] : entries[i].index;
  }
  return first;
}

DisjointSets::DisjointSets(size_t size) : parent_(size) {
  std::iota(parent_.begin(), parent_.end(), 0);
}

int32_t DisjointSets::find(int32_t i) {
  while (parent_[static_cast<size_t>(i)] != i) {
    int32_t& parent = parent_[static_cast<size_t>(i)];
    parent = parent_[static_cast<size_t>(parent)];
    i = parent;
  }
  return i;
}

bool DisjointSets::join(int32_t a, int32_t b) {
  a = find(a);
  b = find(b);
  parent_[static_cast<size_t>(std::max(a, b))] = std::min(a, b);
  return a != b;
}

std::vector<int32_t> cluster_sequences(const TokenSequences& sequences) {
  DisjointSets sets(sequences.size());
  const std::vector<int32_t> first = first_copies(sequences);
  for (size_t i = 0; i < first.size(); ++i) sets.join(static_cast<int32_t>(i), first[i]);
  Linker(sequences, sets).link_all();
  std::vector<int32_t> cluster(sequences.size());
  for (size_t i = 0; i < cluster.size(); ++i) cluster[i] = sets.find(static_cast<int32_t>(i));
  return cluster;
}

std::vector<TrainingOverlap> training_overlaps(const TokenSequences& sequences,
                                               std::span<const int32_t> training,
                                               std::span<const int32_t> held_out) {
  const auto ids_of = [&](int32_t i) -> const std::vector<uint8_t>& {
    return sequences[static_cast<size_t>(i)];
  };
  size_t most = 0;
  for (const int32_t i : held_out) most += ids_of(i).size();
  KmerTable table(most);
  for (const int32_t i : held_out)
    for_each_canonical_kmer(ids_of(i), kLeakageKmer,
                            [&](int64_t, uint64_t kmer) { table.insert(kmer); });
  std::vector<bool> seen(table.slots());
  std::vector<std::array<uint64_t, 2>> copies;
  for (const int32_t i : training) {
    copies.push_back(strandless_hash(ids_of(i)));
    for_each_canonical_kmer(ids_of(i), kLeakageKmer, [&](int64_t, uint64_t kmer) {
      const size_t slot = table.find(kmer);
      if (slot != KmerTable::kNone) seen[slot] = true;
    });
  }
  std::sort(copies.begin(), copies.end());
  std::vector<TrainingOverlap> overlaps;
  for (const int32_t i : held_out) {
    const std::vector<uint64_t> kmers = kmer_set(ids_of(i));
    const auto shared = std::count_if(kmers.begin(), kmers.end(),
                                      [&](uint64_t kmer) { return seen[table.find(kmer)]; });
    TrainingOverlap overlap;
    if (!kmers.empty())
      overlap.share = static_cast<double>(shared) / static_cast<double>(kmers.size());
    overlap.exact = std::binary_search(copies.begin(), copies.end(), strandless_hash(ids_of(i)));
    overlaps.push_back(overlap);
  }
  return overlaps;
}

}  // namespace strandwave
