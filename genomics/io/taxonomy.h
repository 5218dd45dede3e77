// Which taxa the classes of a model are, and what these belong to.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace strandwave {

struct Taxon {
  int64_t parent = 0;  // 0: none (the root)
  std::string rank;    // "species", "genus", ...; "no rank"
  std::string name;
};

// Lines "label<TAB>taxid"; a header line and "#" comments are skipped. Throws Error (kInput) with
// line: not two columns, no number, a label twice.
std::map<std::string, int64_t> read_taxids(const std::string& path);

// The same table as a file beside a model: the taxids of its training data.
inline constexpr const char* kTaxidsFile = "taxids.tsv";
std::string taxids_text(const std::map<std::string, int64_t>& taxids);
// `where` for messages.
std::map<std::string, int64_t> parse_taxids(const std::string& text, const std::string& where);

// Taxids of labels without a taxonomy: those given, else labels that are numbers. Throws Error
// (kUsage) naming a label that has none.
std::vector<int64_t> taxids_of_labels(const std::vector<std::string>& labels,
                                      const std::map<std::string, int64_t>& taxids);

// The taxa of a model's labels and all that these belong to, up to the root (taxid 1).
class Taxonomy {
 public:
  // `path` is a folder with NCBI's nodes.dmp and names.dmp, or a TSV with the columns taxid,
  // parent, rank, name and, where the label is not among `taxids`, label. A label's taxid is the
  // one given in `taxids`, else that of its row, else the label itself where it is a number, else
  // that of the scientific name equal to it ("_" for blanks allowed). `stored` taxids, of the
  // training data, come after those of the rows. Throws Error (kInput): a missing file or column,
  // no number, a label without taxid, a taxid or parent that is not there, parents in a circle.
  static Taxonomy read(const std::string& path, const std::vector<std::string>& labels,
                       const std::map<std::string, int64_t>& taxids,
                       const std::map<std::string, int64_t>& stored = {});

  const std::vector<int64_t>& label_taxids() const { return label_taxids_; }
  const std::map<int64_t, Taxon>& taxa() const { return taxa_; }

 private:
  std::vector<int64_t> label_taxids_;
  std::map<int64_t, Taxon> taxa_;
};

}  // namespace strandwave
