#include "genomics/split_writer.h"

#include <algorithm>

#include "genomics/io/column_table.h"

namespace strandwave {
namespace {

namespace fs = std::filesystem;

std::string path_from(const fs::path& folder, const std::string& path) {
  if (folder.empty()) return fs::absolute(path).lexically_normal().string();
  if (fs::path(path).is_absolute()) return path;
  return fs::proximate(fs::absolute(path), fs::absolute(folder)).string();
}

}  // namespace

void write_split_table(const SequenceSplits& splits, const WriteText& write) {
  const bool groups = std::any_of(splits.rows.begin(), splits.rows.end(),
                                  [](const LabelledSequence& row) { return !row.group.empty(); });
  std::string text = "sequence\tlabel\tsplit\toverlaps_training\tname";
  if (groups) text += "\tgroup";
  if (!splits.cluster.empty()) text += "\tcluster";
  write(text + '\n');
  for (size_t i = 0; i < splits.rows.size(); ++i) {
    const LabelledSequence& row = splits.rows[i];
    text = row.sequence + '\t' + table_field(row.text) + '\t' + to_string(splits.split[i]) + '\t' +
           (splits.overlap[i].overlaps() ? '1' : '0') + '\t' + table_field(row.name);
    if (groups) text += '\t' + table_field(row.group);
    if (!splits.cluster.empty())
      text += '\t' + table_field(splits.rows[static_cast<size_t>(splits.cluster[i])].name);
    write(text + '\n');
  }
}

void write_split_manifest(const GenomeSplits& splits, const fs::path& folder,
                          const WriteText& write) {
  const std::vector<ManifestRow>& rows = splits.manifest.rows;
  const bool taxids =
      std::any_of(rows.begin(), rows.end(), [](const ManifestRow& row) { return row.taxid > 0; });
  write(taxids ? "path\tlabel\tgroup\tsplit\ttaxid\n" : "path\tlabel\tgroup\tsplit\n");
  for (size_t i = 0; i < rows.size(); ++i) {
    std::string text = table_field(path_from(folder, rows[i].path)) + '\t' +
                       table_field(rows[i].text) + '\t' + table_field(rows[i].group) + '\t' +
                       to_string(splits.split[i]);
    if (taxids) text += '\t' + (rows[i].taxid > 0 ? std::to_string(rows[i].taxid) : "");
    write(text + '\n');
  }
}

}  // namespace strandwave
