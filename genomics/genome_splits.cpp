#include "genomics/genome_splits.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "core/base/error.h"
#include "genomics/io/content_hash.h"
#include "genomics/io/kmer_table.h"
#include "genomics/io/sequence_clusters.h"
#include "genomics/sequence_splits.h"

namespace strandwave {
namespace {

// Classes are what must be in every split; of numbers there is one.
Strata genome_strata(const Manifest& manifest, LabelKind kind) {
  if (kind == LabelKind::kRegression)
    return {std::vector<std::vector<int32_t>>(manifest.rows.size(), {0}), 1};
  std::vector<const LabelledRow*> rows;
  for (const ManifestRow& row : manifest.rows) rows.push_back(&row);
  return strata_of(rows, kind, manifest.labels.size());
}

void assign_groups(GenomeSplits& splits, const Strata& strata, const SplitShares& shares) {
  const std::vector<ManifestRow>& rows = splits.manifest.rows;
  std::map<std::string, std::set<int32_t>> classes_of;
  for (size_t i = 0; i < rows.size(); ++i)
    if (splits.split[i] == Split::kTrain && !rows[i].group.empty())
      classes_of[rows[i].group].insert(strata.of_row[i].begin(), strata.of_row[i].end());
  std::vector<SplitUnit> units;
  std::map<std::string, size_t> unit_of;
  for (const auto& [group, classes] : classes_of) {
    unit_of[group] = units.size();
    SplitUnit& unit = units.emplace_back();
    unit.key = content_hash(group)[0];
    for (const int32_t c : classes) unit.strata.emplace_back(c, 1);
  }
  const std::vector<Split> assigned = assign_splits(units, strata.count, shares);
  for (size_t i = 0; i < rows.size(); ++i)
    if (splits.split[i] == Split::kTrain && !rows[i].group.empty())
      splits.split[i] = assigned[unit_of.at(rows[i].group)];
}

// A group of one class, or a file without group: what the report has a row for.
struct HeldOut {
  Split split;
  std::string name;
  int32_t label;  // -1: no classes
  std::vector<int32_t> files;
};

std::vector<HeldOut> held_out_groups(const GenomeSplits& splits) {
  std::map<std::pair<std::string, int32_t>, HeldOut> groups;
  for (size_t i = 0; i < splits.split.size(); ++i) {
    if (splits.split[i] == Split::kTrain) continue;
    const ManifestRow& row = splits.manifest.rows[i];
    const std::string name =
        row.group.empty() ? std::filesystem::path(row.path).filename().string() : row.group;
    HeldOut& group =
        groups.try_emplace({name, row.label}, HeldOut{splits.split[i], name, row.label, {}})
            .first->second;
    group.files.push_back(static_cast<int32_t>(i));
  }
  std::vector<HeldOut> result;
  for (auto& [key, group] : groups) result.push_back(std::move(group));
  return result;
}

// visit(kmer) for the canonical 31-mers of a file.
template <typename Visit>
void for_each_kmer_of_file(const Genome& genome, int32_t file, Visit visit) {
  constexpr int64_t kPiece = int64_t{1} << 22;
  std::vector<uint8_t> ids;
  for (size_t c = 0; c < genome.contigs().size(); ++c) {
    const Contig& contig = genome.contigs()[c];
    if (contig.file != file) continue;
    for (int64_t start = 0; start < contig.length; start += kPiece) {
      const int64_t end = std::min(contig.length, start + kPiece + kLeakageKmer - 1);
      ids.resize(static_cast<size_t>(end - start));
      genome.fetch(static_cast<int64_t>(c), start, end, ids.data());
      for_each_canonical_kmer(ids, kLeakageKmer, [&](int64_t, uint64_t kmer) { visit(kmer); });
    }
  }
}

// Which classes of the training genomes have each 31-mer of the held-out ones.
class ClassesOfKmers {
 public:
  ClassesOfKmers(const Genome& genome, const GenomeSplits& splits,
                 const std::vector<HeldOut>& groups)
      : genome_(genome),
        words_((std::max<size_t>(splits.manifest.labels.size(), 1) + 63) / 64),
        sample_(one_in(genome, groups)),
        table_(most_kmers(genome, groups) / static_cast<size_t>(sample_) * 5 / 4 + 1024),
        classes_(table_.slots() * words_) {
    for (const HeldOut& group : groups)
      for (const int32_t file : group.files)
        visit(file, [&](uint64_t kmer) { table_.insert(kmer); });
    for (size_t i = 0; i < splits.split.size(); ++i) {
      if (splits.split[i] != Split::kTrain) continue;
      const auto label = static_cast<size_t>(std::max(splits.manifest.rows[i].label, 0));
      visit(static_cast<int32_t>(i), [&](uint64_t kmer) {
        const size_t slot = table_.find(kmer);
        if (slot == KmerTable::kNone) return;
        classes_[slot * words_ + label / 64] |= uint64_t{1} << (label % 64);
      });
    }
  }

  int64_t sample() const { return sample_; }

  struct Shares {
    int64_t kmers = 0, own = 0, others = 0;
  };
  Shares shares(const HeldOut& group) const {
    const auto label = static_cast<size_t>(std::max(group.label, 0));
    Shares shares;
    for (const int32_t file : group.files)
      visit(file, [&](uint64_t kmer) {
        const size_t slot = table_.find(kmer);
        bool own = false, others = false;
        for (size_t w = 0; w < words_; ++w) {
          uint64_t word = classes_[slot * words_ + w];
          if (w == label / 64) {
            own = (word >> (label % 64) & 1) != 0;
            word &= ~(uint64_t{1} << (label % 64));
          }
          others |= word != 0;
        }
        ++shares.kmers;
        shares.own += own;
        shares.others += others;
      });
    return shares;
  }

 private:
  static constexpr size_t kMostKmers = size_t{1} << 23;

  static size_t most_kmers(const Genome& genome, const std::vector<HeldOut>& groups) {
    std::set<int32_t> files;
    for (const HeldOut& group : groups) files.insert(group.files.begin(), group.files.end());
    size_t bases = 0;
    for (const Contig& contig : genome.contigs())
      if (files.contains(contig.file)) bases += static_cast<size_t>(contig.length);
    return bases;
  }
  int64_t one_in(const Genome& genome, const std::vector<HeldOut>& groups) const {
    return static_cast<int64_t>(1 + most_kmers(genome, groups) * words_ / kMostKmers);
  }
  template <typename Visit>
  void visit(int32_t file, Visit visit) const {
    const uint64_t limit = ~uint64_t{0} / static_cast<uint64_t>(sample_);
    for_each_kmer_of_file(genome_, file, [&](uint64_t kmer) {
      if (mix_kmer(kmer) <= limit) visit(kmer);
    });
  }

  const Genome& genome_;
  size_t words_;    // of 64 classes each
  int64_t sample_;  // one of so many 31-mers
  KmerTable table_;
  std::vector<uint64_t> classes_;  // [slot][word]
};

nlohmann::json counts_of_splits(const Genome& genome, const GenomeSplits& splits) {
  std::vector<int64_t> bases(splits.split.size());
  for (const Contig& contig : genome.contigs())
    bases[static_cast<size_t>(contig.file)] += contig.length;
  nlohmann::json counts = nlohmann::json::array();
  for (const Split split : {Split::kTrain, Split::kValidation, Split::kTest}) {
    int64_t genomes = 0, sum = 0;
    std::set<std::string> groups;
    nlohmann::json per_class = nlohmann::json::object();
    for (const std::string& label : splits.manifest.labels) per_class[label] = 0;
    for (size_t i = 0; i < splits.split.size(); ++i) {
      if (splits.split[i] != split) continue;
      const ManifestRow& row = splits.manifest.rows[i];
      ++genomes;
      sum += bases[i];
      if (!row.group.empty()) groups.insert(row.group);
      if (row.label < 0) continue;
      nlohmann::json& count = per_class[splits.manifest.labels[static_cast<size_t>(row.label)]];
      count = count.get<int64_t>() + 1;
    }
    counts.push_back({{"split", to_string(split)},
                      {"genomes", genomes},
                      {"groups", groups.size()},
                      {"bases", sum},
                      {"per_class", std::move(per_class)}});
  }
  return counts;
}

}  // namespace

GenomeSplits split_genomes(Manifest manifest, const FragmentOptions& options,
                           const std::string& name) {
  GenomeSplits splits;
  splits.manifest = std::move(manifest);
  bool validation_given = false, test_given = false, groups = false;
  for (const ManifestRow& row : splits.manifest.rows) {
    splits.split.push_back(split_of(row.split));
    validation_given |= splits.split.back() == Split::kValidation;
    test_given |= splits.split.back() == Split::kTest;
    groups |= !row.group.empty();
  }
  if (options.folds > 0 && (validation_given || test_given))
    throw usage_error(name + " holds out genomes already (validation or test): folds make splits " +
                      "of their own. Leave the column split empty.");
  if (options.folds > 0 && !groups)
    throw usage_error(name +
                      " has no groups: folds of genomes are made of whole groups (strains, "
                      "patients), named in the column group.");
  const Strata strata = genome_strata(splits.manifest, options.kind);
  SplitShares shares = shares_of(options);
  if (test_given) shares.test = 0;
  if (!validation_given && groups) assign_groups(splits, strata, shares);
  splits.policy = validation_given ? "given" : "groups";

  std::set<int32_t> validated;
  for (size_t i = 0; i < splits.split.size(); ++i)
    if (splits.split[i] == Split::kValidation)
      validated.insert(strata.of_row[i].begin(), strata.of_row[i].end());
  for (size_t i = 0; i < splits.split.size(); ++i)
    splits.ends.push_back(splits.split[i] == Split::kTrain &&
                          std::any_of(strata.of_row[i].begin(), strata.of_row[i].end(),
                                      [&](int32_t s) { return !validated.contains(s); }));
  return splits;
}

Genome open_genomes(const Manifest& manifest, const std::string& cache_dir) {
  std::vector<std::string> paths;
  for (const ManifestRow& row : manifest.rows) paths.push_back(row.path);
  GenomeOptions options;
  options.allow_duplicate_names = true;  // strains of a species share names
  return Genome::open(paths, cache_dir, options);
}

nlohmann::json genome_leakage(const Genome& genome, const GenomeSplits& splits) {
  const std::vector<HeldOut> groups = held_out_groups(splits);
  nlohmann::json facts = {
      {"kind", "genomes"},
      {"policy", splits.policy},
      {"kmer", kLeakageKmer},
      {"genomes_with_validation_ends", std::count(splits.ends.begin(), splits.ends.end(), true)},
      {"splits", counts_of_splits(genome, splits)},
      {"held_out", nlohmann::json::array()}};
  if (groups.empty()) return facts;
  const ClassesOfKmers classes(genome, splits, groups);
  facts["sampled_one_in"] = classes.sample();
  for (const HeldOut& group : groups) {
    const ClassesOfKmers::Shares shares = classes.shares(group);
    const auto share = [&](int64_t part) {
      return shares.kmers == 0 ? 0.0
                               : static_cast<double>(part) / static_cast<double>(shares.kmers);
    };
    nlohmann::json row = {
        {"split", to_string(group.split)},   {"group", group.name},
        {"genomes", group.files.size()},     {"kmers", shares.kmers * classes.sample()},
        {"in_own_class", share(shares.own)}, {"in_other_classes", share(shares.others)}};
    if (group.label >= 0) row["label"] = splits.manifest.labels[static_cast<size_t>(group.label)];
    facts["held_out"].push_back(std::move(row));
  }
  return facts;
}

}  // namespace strandwave
