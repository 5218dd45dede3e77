#include "genomics/io/kraken_report.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <vector>

#include "genomics/io/read_writer.h"

namespace strandwave {
namespace {

char rank_code(int64_t taxid, const std::string& rank) {
  static const std::map<std::string, char> codes = {
      {"superkingdom", 'D'}, {"domain", 'D'}, {"kingdom", 'K'}, {"phylum", 'P'}, {"class", 'C'},
      {"order", 'O'},        {"family", 'F'}, {"genus", 'G'},   {"species", 'S'}};
  if (taxid == 1) return 'R';
  const auto code = codes.find(rank);
  return code == codes.end() ? '\0' : code->second;
}

struct Counts {
  int64_t clade = 0;
  int64_t own = 0;
  std::vector<int64_t> children;
};

class Report {
 public:
  Report(const Taxonomy& taxonomy, std::span<const int64_t> reads, int64_t unclassified)
      : taxonomy_(taxonomy), total_(unclassified) {
    for (size_t i = 0; i < reads.size(); ++i) {
      if (reads[i] == 0) continue;
      total_ += reads[i];
      int64_t taxid = taxonomy.label_taxids()[i];
      counts_[taxid].own += reads[i];
      for (; taxid != 0; taxid = taxonomy.taxa().at(taxid).parent) counts_[taxid].clade += reads[i];
    }
    for (const auto& [taxid, counts] : counts_) {
      const int64_t parent = taxonomy.taxa().at(taxid).parent;
      if (parent != 0) counts_.at(parent).children.push_back(taxid);
    }
    add_line(unclassified, unclassified, "U", 0, kUnclassified);
    if (counts_.count(1) != 0) add(1, 0, 'R', 0);
  }

  std::string text() && { return std::move(text_); }

 private:
  void add_line(int64_t clade, int64_t own, const std::string& rank, int64_t taxid,
                const std::string& name) {
    char numbers[128];
    const double percent =
        total_ == 0 ? 0 : 100 * static_cast<double>(clade) / static_cast<double>(total_);
    std::snprintf(numbers, sizeof numbers, "%6.2f\t%lld\t%lld\t", percent,
                  static_cast<long long>(clade), static_cast<long long>(own));
    text_ += numbers + rank + '\t' + std::to_string(taxid) + '\t' + name + '\n';
  }

  // `code` and `steps`: of the taxon above.
  void add(int64_t taxid, int depth, char code, int steps) {
    const Taxon& taxon = taxonomy_.taxa().at(taxid);
    Counts& counts = counts_.at(taxid);
    if (const char own = rank_code(taxid, taxon.rank); own != '\0') {
      code = own;
      steps = 0;
    } else {
      ++steps;
    }
    const std::string rank = code + (steps == 0 ? std::string() : std::to_string(steps));
    add_line(counts.clade, counts.own, rank, taxid,
             std::string(static_cast<size_t>(2 * depth), ' ') + taxon.name);
    std::sort(counts.children.begin(), counts.children.end(), [&](int64_t a, int64_t b) {
      const int64_t x = counts_.at(a).clade, y = counts_.at(b).clade;
      return x != y ? x > y : a < b;
    });
    for (const int64_t child : counts.children) add(child, depth + 1, code, steps);
  }

  const Taxonomy& taxonomy_;
  int64_t total_;
  std::map<int64_t, Counts> counts_;
  std::string text_;
};

}  // namespace

std::string kraken_report(const Taxonomy& taxonomy, std::span<const int64_t> reads,
                          int64_t unclassified) {
  return Report(taxonomy, reads, unclassified).text();
}

}  // namespace strandwave
