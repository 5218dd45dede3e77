#include "genomics/io/labelled.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <string_view>
#include <utility>

#include "core/base/error.h"
#include "core/base/text_fields.h"
#include "genomics/io/byte_reader.h"
#include "genomics/io/column_table.h"
#include "genomics/io/labelled_labels.h"
#include "genomics/io/sequence_reader.h"
#include "genomics/io/tokenizer.h"

namespace strandwave {
namespace {

namespace fs = std::filesystem;

std::string resolve(const std::string& path, const std::string& manifest) {
  const fs::path file(path);
  if (file.is_absolute()) return path;
  return (fs::path(manifest).parent_path() / file).lexically_normal().string();
}

void require_file(const std::string& path, const std::string& where) {
  std::error_code failure;
  if (fs::is_directory(path, failure))
    throw input_error(where + ": " + path + " is a folder, not a file: name a file in it.");
  if (::access(path.c_str(), R_OK) != 0) {
    throw input_error(where + ": cannot read " + path + ": " + std::strerror(errno) + ".");
  }
}

bool first_column_is_file(const ColumnTable& table, const std::string& manifest) {
  std::error_code failure;
  return table.header().size() >= 2 &&
         fs::is_regular_file(resolve(table.first_field(), manifest), failure);
}

void require_letters(const std::string& sequence, const std::string& where) {
  if (sequence.empty()) throw input_error(where + ": the sequence is empty.");
  const auto bad = std::find_if_not(sequence.begin(), sequence.end(), dna::is_iupac);
  if (bad == sequence.end()) return;
  throw input_error(where + ", position " + std::to_string(bad - sequence.begin() + 1) +
                    " of the sequence: " + describe_start({&*bad, 1}).substr(0, 3) +
                    " is no IUPAC nucleotide code; correct it, or write N.");
}

// "key=value" among the words of a comment.
std::optional<std::string> keyed(std::string_view comment, std::string_view key) {
  for (const std::string_view word : split_words(comment)) {
    if (word.size() > key.size() && word.substr(0, key.size()) == key && word[key.size()] == '=') {
      return std::string(word.substr(key.size() + 1));
    }
  }
  return std::nullopt;
}

// Ordinary headers have a second word too, and it is seldom a label.
void refuse_descriptions(const LabelledData& data, const std::string& name) {
  constexpr size_t kFewClasses = 20;
  const size_t classes = data.labels.size();
  if (classes <= kFewClasses || 2 * classes <= data.sequences.size()) return;
  throw input_error(name + ": the second words of the headers are " + std::to_string(classes) +
                    " different ones in " + std::to_string(data.sequences.size()) +
                    " records, which are no labels. Write label=NAME into the headers.");
}

// Numbers that hardly ever occur twice are no classes.
void refuse_measurements(const LabelledData& data, const std::string& name) {
  constexpr size_t kFewClasses = 20;
  const size_t classes = data.labels.size();
  if (classes <= kFewClasses || 2 * classes <= data.sequences.size() ||
      !std::all_of(data.labels.begin(), data.labels.end(), parse_number<double>))
    return;
  throw input_error(name + ": its labels are " + std::to_string(classes) +
                    " different numbers in " + std::to_string(data.sequences.size()) +
                    " sequences, hardly classes. To predict values give --kind regression.");
}

void refuse_standard_input(const std::string& path) {
  if (path == "-") throw usage_error("labelled data must be a file: it is read more than once.");
}

// The split that a file name or key stands for, or nothing.
std::optional<std::string> split_named(const std::string& name) {
  for (const char* known : {"train", "validation", "valid", "val", "dev", "test"})
    if (name == known) return normal_split(name, "");
  return std::nullopt;
}

std::vector<LabelledFile> in_order(const std::map<std::string, std::string>& path_of,
                                   const std::string& data) {
  if (!path_of.contains("train"))
    throw input_error(data + " names no training data: a folder needs the file train.csv (or " +
                      "train.tsv, train.fa; dev.csv and test.csv beside it), a list train=PATH.");
  std::vector<LabelledFile> files;
  for (const char* split : {"train", "validation", "test"}) {
    const auto found = path_of.find(split);
    if (found != path_of.end()) files.push_back({found->second, split});
  }
  return files;
}

std::vector<LabelledFile> files_of_folder(const std::string& folder) {
  std::map<std::string, std::string> path_of;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const auto split = split_named(name.substr(0, name.find('.')));
    if (!split || !entry.is_regular_file()) continue;
    const auto [known, is_new] = path_of.try_emplace(*split, entry.path().string());
    if (!is_new)
      throw input_error(folder + " has two files for the split \"" + *split +
                        "\": " + std::min(known->second, entry.path().string()) + " and " +
                        std::max(known->second, entry.path().string()) +
                        ". Name them as train=PATH,validation=PATH,test=PATH.");
  }
  return in_order(path_of, folder);
}

// "split=PATH" for each part between commas, or nothing when the first part is none.
std::optional<std::vector<LabelledFile>> files_of_list(const std::string& data) {
  std::map<std::string, std::string> path_of;
  for (const std::string_view part : split_fields(data, ',')) {
    const size_t equals = part.find('=');
    const auto split = split_named(std::string(part.substr(0, equals)));
    if (equals == std::string_view::npos || !split) {
      if (path_of.empty()) return std::nullopt;
      throw usage_error("\"" + std::string(part) + "\" in \"" + data +
                        "\" is none of train=PATH, validation=PATH and test=PATH.");
    }
    if (!path_of.try_emplace(*split, part.substr(equals + 1)).second)
      throw usage_error("\"" + data + "\" names the split \"" + *split + "\" twice.");
  }
  return in_order(path_of, data);
}

LabelledFormat format_of_file(const std::string& path) {
  const std::string start(ByteReader(path).peek(1));
  if (start == ">" || start == "@") return LabelledFormat::kFasta;
  const ColumnTable table(path);
  if (table.has("sequence") && table.has("label")) return LabelledFormat::kCsv;
  if (table.has("path") || first_column_is_file(table, path)) return LabelledFormat::kManifest;
  throw input_error(
      table.where() +
      ": neither a manifest (columns path, label), nor a table (columns sequence, label), " +
      "nor FASTA; columns found: " + table.list_of_columns() + ".");
}

// Reads one or more files of labelled sequences into one set.
class SequenceCollector {
 public:
  explicit SequenceCollector(const LabelledOptions& options)
      : labels_(options),
        new_classes_(options.kind == LabelKind::kClass && options.labels.empty()) {}

  void add_table(const LabelledFile& file) {
    ColumnTable table(file.path);
    table.require({"sequence", "label"});
    table.refuse_misspelt({"group", "split"});
    const size_t before = data_.sequences.size();
    while (table.next()) {
      LabelledSequence row;
      row.sequence = table.value("sequence");
      row.name = table.has("name") ? table.value("name")
                                   : (file.split.empty() ? "" : file.split + ":") + "row" +
                                         std::to_string(data_.sequences.size() - before + 1);
      row.group = table.value("group");
      row.text = table.value("label");
      require_letters(row.sequence, table.where());
      add(std::move(row), table.value("split"), file, table.where());
    }
    if (data_.sequences.size() == before)
      throw input_error(file.path + " has a header but no row.");
  }

  void add_fasta(const LabelledFile& file) {
    SequenceReader reader(file.path);
    SequenceRecord record;
    const size_t before = data_.sequences.size();
    bool any_keyed = false;
    while (reader.next(record)) {
      const std::string where = display_path(file.path) + ", record " +
                                std::to_string(record.number) + " \"" + record.name + "\"";
      std::optional<std::string> label = keyed(record.comment, "label");
      if (data_.sequences.size() == before) any_keyed = label.has_value();
      if (!any_keyed && !label) {
        const auto words = split_words(record.comment);
        if (!words.empty()) label = std::string(words[0]);
      } else if (any_keyed != label.has_value()) {
        throw input_error(where +
                          ": some records have label=NAME in their header and some have not.");
      }
      if (!label)
        throw input_error(
            where + ": no label; the header needs label=NAME or the label as its second word.");
      LabelledSequence row;
      row.name = record.name;
      row.sequence = record.sequence;
      row.group = keyed(record.comment, "group").value_or("");
      row.text = *label;
      add(std::move(row), keyed(record.comment, "split").value_or(""), file, where);
    }
    if (data_.sequences.size() == before)
      throw input_error(display_path(file.path) + " holds no sequence.");
    second_words_ |= !any_keyed;
  }

  LabelledData finish(const std::string& name) {
    data_.labels = labels_.assign(data_.sequences, name);
    if (second_words_) refuse_descriptions(data_, name);
    if (new_classes_) refuse_measurements(data_, name);
    return std::move(data_);
  }

 private:
  void add(LabelledSequence row, const std::string& split, const LabelledFile& file,
           const std::string& where) {
    row.split = normal_split(split, where);
    if (!file.split.empty()) {
      if (!row.split.empty() && row.split != file.split)
        throw input_error(where + ": the split \"" + row.split + "\" in a file that is given as " +
                          file.split + ".");
      row.split = file.split;
    }
    groups_.add(row, where);
    labels_.check(row.text, where);
    data_.sequences.push_back(std::move(row));
  }

  LabelReader labels_;
  GroupCheck groups_;
  LabelledData data_;
  const bool new_classes_;
  bool second_words_ = false;
};

int64_t parse_taxid(const std::string& text, const std::string& where) {
  if (text.empty()) return 0;
  const auto taxid = parse_number<int64_t>(text);
  if (!taxid || *taxid < 1)
    throw input_error(where + ": the taxid \"" + text + "\" is no number of NCBI's taxonomy.");
  return *taxid;
}

}  // namespace

std::vector<LabelledFile> labelled_files(const std::string& data) {
  refuse_standard_input(data);
  std::error_code failure;
  if (fs::is_directory(data, failure)) return files_of_folder(data);
  if (!fs::exists(data, failure)) {
    if (auto files = files_of_list(data)) return *files;
  }
  return {{data, ""}};
}

LabelledFormat labelled_format(const std::string& data) {
  return format_of_file(labelled_files(data)[0].path);
}

Manifest read_manifest(const std::string& path, const LabelledOptions& options) {
  refuse_standard_input(path);
  ColumnTable table(path);
  if (!table.has("path") && first_column_is_file(table, path))
    table.use_first_line_as_row({"path", "label", "group", "split", "taxid"});
  table.require({"path", "label"});
  table.refuse_misspelt({"group", "split", "taxid"});
  Manifest manifest;
  const LabelReader labels(options);
  GroupCheck groups;
  std::map<std::string, int64_t> lines;
  while (table.next()) {
    const std::string where = table.where();
    if (table.value("path").empty()) throw input_error(where + ": the path is empty.");
    ManifestRow row;
    row.path = resolve(table.value("path"), path);
    row.text = table.value("label");
    row.group = table.value("group");
    row.split = normal_split(table.value("split"), where);
    row.taxid = parse_taxid(table.value("taxid"), where);
    row.line = table.line_number();
    require_file(row.path, where);
    groups.add(row, where);
    const auto [known, is_new] = lines.emplace(row.path, row.line);
    if (!is_new)
      throw input_error(where + ": " + row.path + " stands in line " +
                        std::to_string(known->second) + " already.");
    labels.check(row.text, where);
    manifest.rows.push_back(std::move(row));
  }
  if (manifest.rows.empty()) throw input_error(path + " has a header but no row.");
  manifest.labels = labels.assign(manifest.rows, path);
  return manifest;
}

LabelledData read_labelled_csv(const std::string& path, const LabelledOptions& options) {
  SequenceCollector collector(options);
  collector.add_table({path, ""});
  return collector.finish(path);
}

LabelledData read_labelled_fasta(const std::string& path, const LabelledOptions& options) {
  SequenceCollector collector(options);
  collector.add_fasta({path, ""});
  return collector.finish(display_path(path));
}

LabelledData read_labelled(const std::string& data, const LabelledOptions& options) {
  SequenceCollector collector(options);
  for (const LabelledFile& file : labelled_files(data)) {
    switch (format_of_file(file.path)) {
      case LabelledFormat::kCsv:
        collector.add_table(file);
        break;
      case LabelledFormat::kFasta:
        collector.add_fasta(file);
        break;
      case LabelledFormat::kManifest:
        throw usage_error(file.path +
                          " is a manifest of files; a table with the columns sequence and label, "
                          "or FASTA, is needed here.");
    }
  }
  return collector.finish(data);
}

void require_every_class(const std::vector<std::string>& labels, const std::vector<int64_t>& counts,
                         const std::string& what) {
  for (size_t i = 0; i < labels.size(); ++i) {
    if (i >= counts.size() || counts[i] <= 0) {
      throw input_error("the class \"" + labels[i] + "\" has no sequences in " + what + ".");
    }
  }
}

}  // namespace strandwave
