#include "genomics/io/taxonomy.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <optional>
#include <sstream>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "core/base/error.h"
#include "core/base/text_fields.h"
#include "genomics/io/byte_reader.h"

namespace strandwave {
namespace {

constexpr int64_t kRoot = 1;

int64_t taxid_field(std::string_view text, const std::string& where) {
  const auto value = parse_number<int64_t>(text);
  if (!value || *value < 0)
    throw input_error(where + ": \"" + std::string(text) + "\" is no taxid (a whole number).");
  return *value;
}

// The labels' taxids as far as they are known; -1 otherwise.
std::vector<int64_t> known_taxids(const std::vector<std::string>& labels,
                                  const std::map<std::string, int64_t>& taxids) {
  std::vector<int64_t> known;
  for (const std::string& label : labels) {
    const auto given = taxids.find(label);
    const int64_t number = parse_number<int64_t>(label).value_or(-1);
    known.push_back(given != taxids.end() ? given->second : number > 0 ? number : -1);
  }
  return known;
}

struct Node {
  int64_t parent = 0;
  std::string rank;
};

// Calls visit(fields) for the rows of one of NCBI's files: "a\t|\tb\t|\tc\t|".
void for_each_dump_row(
    const std::string& path, size_t least,
    const std::function<void(const std::vector<std::string_view>&, const std::string&)>& visit) {
  ByteReader in(path);
  std::string line;
  while (in.line(line)) {
    if (line.empty()) continue;
    std::vector<std::string_view> fields = split_fields(line, '|');
    for (std::string_view& field : fields) {
      const size_t first = field.find_first_not_of("\t ");
      const size_t last = field.find_last_not_of("\t ");
      field = first == std::string_view::npos ? "" : field.substr(first, last - first + 1);
    }
    const std::string where = in.name() + ", line " + std::to_string(in.line_number());
    if (fields.size() < least)
      throw input_error(where + ": " + std::to_string(fields.size()) +
                        " columns separated by |, not at least " + std::to_string(least) + ".");
    visit(fields, where);
  }
}

bool same_name(std::string_view label, std::string_view name) {
  return label.size() == name.size() &&
         std::equal(label.begin(), label.end(), name.begin(),
                    [](char a, char b) { return a == b || (a == '_' && b == ' '); });
}

// Scientific names in names.dmp.
void for_each_name(const std::string& folder,
                   const std::function<void(int64_t, std::string_view)>& visit) {
  for_each_dump_row(folder + "/names.dmp", 4, [&](const auto& fields, const std::string& where) {
    if (fields[3] == "scientific name") visit(taxid_field(fields[0], where), fields[1]);
  });
}

void find_by_name(const std::string& folder, const std::vector<std::string>& labels,
                  std::vector<int64_t>& taxids) {
  if (std::find(taxids.begin(), taxids.end(), -1) == taxids.end()) return;
  std::vector<int64_t> named(labels.size(), -1);
  for_each_name(folder, [&](int64_t taxid, std::string_view name) {
    for (size_t i = 0; i < labels.size(); ++i) {
      if (taxids[i] >= 0 || !same_name(labels[i], name)) continue;
      if (named[i] >= 0)
        throw input_error("label \"" + labels[i] + "\" is the name of the taxa " +
                          std::to_string(named[i]) + " and " + std::to_string(taxid) + " in " +
                          folder + "/names.dmp: say which with --taxids.");
      named[i] = taxid;
    }
  });
  for (size_t i = 0; i < labels.size(); ++i) taxids[i] = std::max(taxids[i], named[i]);
}

// The taxa above `taxids`, these included, without names.
std::map<int64_t, Taxon> lineages(const std::vector<int64_t>& taxids,
                                  const std::vector<std::string>& labels,
                                  const std::unordered_map<int64_t, Node>& nodes,
                                  const std::string& where) {
  std::map<int64_t, Taxon> taxa;
  for (size_t i = 0; i < taxids.size(); ++i) {
    std::unordered_set<int64_t> seen;
    for (int64_t taxid = taxids[i];
         taxid != 0 && (taxa.count(taxid) == 0 || seen.count(taxid) != 0);) {
      const auto node = nodes.find(taxid);
      if (node == nodes.end() && taxid == kRoot) {
        taxa[kRoot] = {0, "no rank", "root"};
        break;
      }
      if (node == nodes.end())
        throw input_error(where + " has no taxid " + std::to_string(taxid) + ", which label \"" +
                          labels[i] + "\" " + (taxid == taxids[i] ? "is." : "belongs to."));
      if (!seen.insert(taxid).second)
        throw input_error(where + ": the parents of taxid " + std::to_string(taxids[i]) +
                          " go round in a circle.");
      const bool top = node->second.parent == 0 || node->second.parent == taxid;
      const int64_t parent = taxid == kRoot ? 0 : top ? kRoot : node->second.parent;
      taxa[taxid] = {parent, node->second.rank, ""};
      taxid = parent;
    }
  }
  return taxa;
}

void require_all(const std::vector<int64_t>& taxids, const std::vector<std::string>& labels,
                 const std::string& where) {
  for (size_t i = 0; i < labels.size(); ++i) {
    if (taxids[i] < 0)
      throw input_error("label \"" + labels[i] + "\" has no taxid in " + where +
                        ": give a table label<TAB>taxid with --taxids.");
  }
}

// The columns of the taxonomy TSV by name.
struct TableColumns {
  size_t taxid = 0, parent = 0, rank = 0, name = 0;
  std::optional<size_t> label;
};

TableColumns table_columns(std::string_view header, const std::string& where) {
  std::vector<std::string_view> fields = split_fields(header, '\t');
  if (!fields.empty() && fields[0].substr(0, 1) == "#") fields[0].remove_prefix(1);
  const auto find = [&](std::string_view name) -> std::optional<size_t> {
    const auto found = std::find(fields.begin(), fields.end(), name);
    if (found == fields.end()) return std::nullopt;
    return static_cast<size_t>(found - fields.begin());
  };
  const auto require = [&](std::string_view name) {
    const auto column = find(name);
    if (!column)
      throw input_error(where + ": the taxonomy has no column \"" + std::string(name) +
                        "\"; it needs taxid, parent, rank and name, and label if no --taxids.");
    return *column;
  };
  return {require("taxid"), require("parent"), require("rank"), require("name"), find("label")};
}

}  // namespace

namespace {

class TaxidTable {
 public:
  void add(const std::string& line, const std::string& where) {
    if (line.empty() || line[0] == '#') return;
    const auto fields = split_fields(line, '\t');
    if (fields.size() != 2)
      throw input_error(where + ": " + std::to_string(fields.size()) +
                        " columns; two are needed, label<TAB>taxid.");
    const bool header = std::exchange(first_, false) && fields[1] == "taxid";
    if (header) return;
    if (!taxids_.emplace(fields[0], taxid_field(fields[1], where)).second)
      throw input_error(where + ": the label \"" + std::string(fields[0]) + "\" occurs twice.");
  }
  std::map<std::string, int64_t> finish() { return std::move(taxids_); }

 private:
  std::map<std::string, int64_t> taxids_;
  bool first_ = true;
};

}  // namespace

std::map<std::string, int64_t> read_taxids(const std::string& path) {
  ByteReader in(path);
  TaxidTable table;
  std::string line;
  while (in.line(line)) table.add(line, in.name() + ", line " + std::to_string(in.line_number()));
  return table.finish();
}

std::map<std::string, int64_t> parse_taxids(const std::string& text, const std::string& where) {
  std::istringstream in(text);
  TaxidTable table;
  std::string line;
  for (int64_t number = 1; std::getline(in, line); ++number)
    table.add(line, where + ", line " + std::to_string(number));
  return table.finish();
}

std::string taxids_text(const std::map<std::string, int64_t>& taxids) {
  std::string text = "label\ttaxid\n";
  for (const auto& [label, taxid] : taxids) text += label + '\t' + std::to_string(taxid) + '\n';
  return text;
}

std::vector<int64_t> taxids_of_labels(const std::vector<std::string>& labels,
                                      const std::map<std::string, int64_t>& taxids) {
  std::vector<int64_t> known = known_taxids(labels, taxids);
  for (size_t i = 0; i < labels.size(); ++i) {
    if (known[i] < 0)
      throw usage_error("label \"" + labels[i] +
                        "\" has no taxid: give a table label<TAB>taxid with --taxids, or a "
                        "taxonomy with --taxonomy");
  }
  return known;
}

namespace {

// A folder with nodes.dmp and names.dmp.
std::map<int64_t, Taxon> read_dump(const std::string& folder,
                                   const std::vector<std::string>& labels,
                                   std::vector<int64_t>& taxids) {
  find_by_name(folder, labels, taxids);
  require_all(taxids, labels, folder);
  std::unordered_map<int64_t, Node> nodes;
  for_each_dump_row(folder + "/nodes.dmp", 3, [&](const auto& fields, const std::string& where) {
    nodes[taxid_field(fields[0], where)] = {taxid_field(fields[1], where), std::string(fields[2])};
  });
  std::map<int64_t, Taxon> taxa = lineages(taxids, labels, nodes, folder + "/nodes.dmp");
  for_each_name(folder, [&](int64_t taxid, std::string_view name) {
    if (const auto found = taxa.find(taxid); found != taxa.end()) found->second.name = name;
  });
  return taxa;
}

std::map<int64_t, Taxon> read_table(const std::string& path, const std::vector<std::string>& labels,
                                    const std::map<std::string, int64_t>& given,
                                    std::vector<int64_t>& taxids) {
  ByteReader in(path);
  std::string line;
  std::optional<TableColumns> columns;
  std::unordered_map<int64_t, Node> nodes;
  std::unordered_map<int64_t, std::string> names;
  while (in.line(line)) {
    if (line.empty()) continue;
    const std::string where = in.name() + ", line " + std::to_string(in.line_number());
    if (!columns) {
      columns = table_columns(line, where);
      continue;
    }
    if (line[0] == '#') continue;
    const auto fields = split_fields(line, '\t');
    const size_t needed =
        1 + std::max({columns->taxid, columns->parent, columns->rank, columns->name});
    if (fields.size() < needed)
      throw input_error(where + ": " + std::to_string(fields.size()) + " columns, not " +
                        std::to_string(needed) + ".");
    const int64_t taxid = taxid_field(fields[columns->taxid], where);
    const std::string_view parent = fields[columns->parent];
    const bool top = parent.empty() || parent == ".";
    const Node node = {top ? 0 : taxid_field(parent, where), std::string(fields[columns->rank])};
    const auto [known, is_new] = nodes.emplace(taxid, node);
    if (!is_new && (known->second.parent != node.parent || known->second.rank != node.rank))
      throw input_error(where + ": taxid " + std::to_string(taxid) +
                        " occurs twice with another parent or rank.");
    names[taxid] = fields[columns->name];
    if (!columns->label || *columns->label >= fields.size()) continue;
    for (size_t i = 0; i < labels.size(); ++i) {
      if (labels[i] == fields[*columns->label] && given.count(labels[i]) == 0) taxids[i] = taxid;
    }
  }
  if (!columns) throw input_error(in.name() + " holds no taxonomy.");
  for (size_t i = 0; i < labels.size(); ++i) {
    if (taxids[i] >= 0) continue;
    for (const auto& [taxid, name] : names)
      if (same_name(labels[i], name)) taxids[i] = taxid;
  }
  require_all(taxids, labels, in.name());
  std::map<int64_t, Taxon> taxa = lineages(taxids, labels, nodes, in.name());
  for (auto& [taxid, taxon] : taxa)
    if (const auto name = names.find(taxid); name != names.end()) taxon.name = name->second;
  return taxa;
}

}  // namespace

Taxonomy Taxonomy::read(const std::string& path, const std::vector<std::string>& labels,
                        const std::map<std::string, int64_t>& taxids,
                        const std::map<std::string, int64_t>& stored) {
  Taxonomy taxonomy;
  std::map<std::string, int64_t> known = taxids;
  known.insert(stored.begin(), stored.end());
  taxonomy.label_taxids_ = known_taxids(labels, known);
  taxonomy.taxa_ = std::filesystem::is_directory(path)
                       ? read_dump(path, labels, taxonomy.label_taxids_)
                       : read_table(path, labels, taxids, taxonomy.label_taxids_);
  return taxonomy;
}

}  // namespace strandwave
