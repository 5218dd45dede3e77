#include "genomics/io/labelled.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "core/base/error.h"
#include "genomics/io/byte_reader.h"
#include "genomics/io/sequence_reader.h"
#include "genomics/io/text_fields.h"
#include "genomics/io/tokenizer.h"

namespace strandwave {
namespace {

std::string lower_case(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

bool is_blank_or_comment(const std::string& line) {
  return line.find_first_not_of(" \t") == std::string::npos || line[0] == '#';
}

// Fields of one line; in CSV a field may stand in quotes, in which "" is a quote.
std::vector<std::string> split_row(const std::string& line, char separator,
                                   const std::string& where) {
  if (separator == ' ') {
    const auto words = split_words(line);
    return {words.begin(), words.end()};
  }
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quoted && c == '"' && i + 1 < line.size() && line[i + 1] == '"') {
      fields.back() += '"';
      ++i;
    } else if (c == '"' && (quoted || fields.back().empty())) {
      quoted = !quoted;
    } else if (c == separator && !quoted) {
      fields.emplace_back();
    } else {
      fields.back() += c;
    }
  }
  if (quoted) throw input_error(where + ": a quote is not closed.");
  return fields;
}

char separator_of(const std::string& line) {
  if (line.find('\t') != std::string::npos) return '\t';
  return line.find(',') != std::string::npos ? ',' : ' ';
}

// A table whose columns are found by name.
class Table {
 public:
  explicit Table(const std::string& path) : in_(path) {
    while (in_.line(line_)) {
      if (!is_blank_or_comment(line_)) break;
    }
    if (in_.line_number() == 0 || is_blank_or_comment(line_))
      throw input_error(in_.name() + " holds no row.");
    strip_byte_order_mark();
    separator_ = separator_of(line_);
    header_ = split_row(line_, separator_, where());
    for (std::string& name : header_) {
      name = lower_case(name);
      if (name == "seq") name = "sequence";
    }
  }

  const std::vector<std::string>& header() const { return header_; }
  bool has(const std::string& column) const { return index(column).has_value(); }
  // The first line is a row already: the columns get these names.
  void use_first_line_as_row(std::vector<std::string> names) {
    names.resize(std::min(names.size(), header_.size()));
    header_ = std::move(names);
    first_is_row_ = true;
  }
  void require(const std::vector<std::string>& columns) const {
    for (const std::string& column : columns) {
      if (!has(column))
        throw input_error(where() + ": no column \"" + column + "\"; found: " + list_of_columns() +
                          ".");
    }
  }
  std::string list_of_columns() const {
    std::string text;
    for (const std::string& name : header_) {
      text += (text.empty() ? "" : ", ") + name.substr(0, 40) + (name.size() > 40 ? "..." : "");
    }
    return text;
  }

  bool next() {
    if (!std::exchange(first_is_row_, false)) {
      do {
        if (!in_.line(line_)) return false;
      } while (is_blank_or_comment(line_));
    }
    fields_ = split_row(line_, separator_, where());
    if (fields_.size() != header_.size()) {
      throw input_error(where() + ": " + std::to_string(fields_.size()) +
                        " columns where the header has " + std::to_string(header_.size()) + ".");
    }
    return true;
  }
  // The value of a column in this row; empty when there is no such column.
  std::string value(const std::string& column) const {
    const auto at = index(column);
    return at ? fields_[*at] : "";
  }
  std::string where() const { return in_.name() + ", line " + std::to_string(in_.line_number()); }
  int64_t line_number() const { return in_.line_number(); }

 private:
  std::optional<size_t> index(const std::string& column) const {
    const auto found = std::find(header_.begin(), header_.end(), column);
    if (found == header_.end()) return std::nullopt;
    return static_cast<size_t>(found - header_.begin());
  }
  void strip_byte_order_mark() {
    if (line_.substr(0, 3) == "\xef\xbb\xbf") line_.erase(0, 3);
  }

  ByteReader in_;
  std::string line_;
  char separator_ = ',';
  std::vector<std::string> header_;
  std::vector<std::string> fields_;
  bool first_is_row_ = false;
};

// Turns label texts into class indices or values.
class Labels {
 public:
  explicit Labels(const LabelledOptions& options) : options_(options) {}

  void add(const std::string& text, const std::string& where) {
    if (text.empty()) throw input_error(where + ": the label is empty.");
    if (options_.regression) {
      const auto value = parse_number<double>(text);
      if (!value || !std::isfinite(*value)) {
        throw input_error(where + ": the label \"" + text +
                          "\" is not a number; regression needs numbers.");
      }
    } else if (!options_.labels.empty() && std::find(options_.labels.begin(), options_.labels.end(),
                                                     text) == options_.labels.end()) {
      throw input_error(where + ": the label \"" + text + "\" is none of the " +
                        std::to_string(options_.labels.size()) + " known classes (" +
                        options_.labels.front() + " ... " + options_.labels.back() + ").");
    }
    texts_.push_back(text);
  }

  // The classes in order. `name` is the file, for the error when there is only one.
  std::vector<std::string> classes(const std::string& name) const {
    if (options_.regression) return {};
    if (!options_.labels.empty()) return options_.labels;
    const std::set<std::string> distinct(texts_.begin(), texts_.end());
    std::vector<std::string> sorted(distinct.begin(), distinct.end());
    if (sorted.size() == 1) {
      throw input_error(name + " has one class only, \"" + sorted.front() +
                        "\": a classifier needs at least two.");
    }
    const bool numbers = std::all_of(sorted.begin(), sorted.end(), parse_number<double>);
    if (numbers) {
      std::sort(sorted.begin(), sorted.end(), [](const std::string& a, const std::string& b) {
        return *parse_number<double>(a) < *parse_number<double>(b);
      });
    }
    return sorted;
  }

  template <typename Row>
  void assign(const std::vector<std::string>& classes, std::vector<Row>& rows) const {
    std::map<std::string, int32_t> index;
    for (size_t i = 0; i < classes.size(); ++i) index[classes[i]] = static_cast<int32_t>(i);
    for (size_t i = 0; i < rows.size(); ++i) {
      rows[i].label = options_.regression ? -1 : index.at(texts_[i]);
      rows[i].value = options_.regression ? *parse_number<double>(texts_[i]) : 0;
    }
  }

 private:
  const LabelledOptions& options_;
  std::vector<std::string> texts_;
};

std::string normal_split(const std::string& text, const std::string& where) {
  const std::string split = lower_case(text);
  if (split == "valid" || split == "val" || split == "dev") return "validation";
  if (split.empty() || split == "train" || split == "validation" || split == "test") return split;
  throw input_error(where + ": the split \"" + text + "\" is none of train, validation and test.");
}

// A group must lie in one split.
class Groups {
 public:
  void check(const std::string& group, const std::string& split, const std::string& where) {
    if (group.empty()) return;
    const auto [known, is_new] = split_of_.emplace(group, split);
    if (!is_new && known->second != split) {
      throw input_error(where + ": the group \"" + group + "\" is in the splits \"" +
                        known->second + "\" and \"" + split + "\"; a group must not be divided.");
    }
  }

 private:
  std::map<std::string, std::string> split_of_;
};

std::string resolve(const std::string& path, const std::string& manifest) {
  const std::filesystem::path file(path);
  if (file.is_absolute()) return path;
  return (std::filesystem::path(manifest).parent_path() / file).lexically_normal().string();
}

void require_file(const std::string& path, const std::string& where) {
  std::error_code failure;
  if (std::filesystem::is_directory(path, failure))
    throw input_error(where + ": " + path + " is a folder, not a file.");
  if (::access(path.c_str(), R_OK) != 0) {
    throw input_error(where + ": cannot read " + path + ": " + std::strerror(errno) + ".");
  }
}

bool first_column_is_file(const Table& table, const std::string& manifest,
                          const std::string& first) {
  std::error_code failure;
  return table.header().size() >= 2 &&
         std::filesystem::is_regular_file(resolve(first, manifest), failure);
}

// The first field as it stands in the file (column names are folded to lower case).
std::string first_field(const std::string& path) {
  ByteReader in(path);
  std::string line;
  while (in.line(line) && is_blank_or_comment(line)) {
  }
  const auto fields = split_row(line, separator_of(line), path);
  return fields.empty() ? "" : fields[0];
}

void require_letters(const std::string& sequence, const std::string& where) {
  if (sequence.empty()) throw input_error(where + ": the sequence is empty.");
  const auto bad = std::find_if_not(sequence.begin(), sequence.end(), dna::is_iupac);
  if (bad == sequence.end()) return;
  throw input_error(where + ", position " + std::to_string(bad - sequence.begin() + 1) +
                    " of the sequence: " + describe_start({&*bad, 1}).substr(0, 3) +
                    " is no IUPAC nucleotide code.");
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
void refuse_descriptions(bool keyed_labels, const LabelledData& data, const std::string& name) {
  constexpr size_t kFewClasses = 20;
  const size_t classes = data.labels.size();
  if (keyed_labels || classes <= kFewClasses || 2 * classes <= data.sequences.size()) return;
  throw input_error(name + ": the second words of the headers are " + std::to_string(classes) +
                    " different ones in " + std::to_string(data.sequences.size()) +
                    " records, which are no labels. Write label=NAME into the headers.");
}

void refuse_standard_input(const std::string& path) {
  if (path == "-") throw usage_error("labelled data must be a file: it is read more than once.");
}

}  // namespace

LabelledFormat labelled_format(const std::string& path) {
  refuse_standard_input(path);
  const std::string start(ByteReader(path).peek(1));
  if (start == ">" || start == "@") return LabelledFormat::kFasta;
  const Table table(path);
  if (table.has("sequence") && table.has("label")) return LabelledFormat::kCsv;
  if (table.has("path") || first_column_is_file(table, path, first_field(path)))
    return LabelledFormat::kManifest;
  throw input_error(
      table.where() +
      ": neither a manifest (columns path, label), nor a table (columns sequence, label), " +
      "nor FASTA; columns found: " + table.list_of_columns() + ".");
}

Manifest read_manifest(const std::string& path, const LabelledOptions& options) {
  refuse_standard_input(path);
  Table table(path);
  if (!table.has("path") && first_column_is_file(table, path, first_field(path))) {
    table.use_first_line_as_row({"path", "label", "group", "split"});
  }
  table.require({"path", "label"});
  Manifest manifest;
  Labels labels(options);
  Groups groups;
  std::map<std::string, int64_t> lines;
  while (table.next()) {
    const std::string where = table.where();
    if (table.value("path").empty()) throw input_error(where + ": the path is empty.");
    ManifestRow row;
    row.path = resolve(table.value("path"), path);
    row.group = table.value("group");
    row.split = normal_split(table.value("split"), where);
    row.line = table.line_number();
    require_file(row.path, where);
    groups.check(row.group, row.split, where);
    const auto [known, is_new] = lines.emplace(row.path, row.line);
    if (!is_new)
      throw input_error(where + ": " + row.path + " stands in line " +
                        std::to_string(known->second) + " already.");
    labels.add(table.value("label"), where);
    manifest.rows.push_back(std::move(row));
  }
  if (manifest.rows.empty()) throw input_error(path + " has a header but no row.");
  manifest.labels = labels.classes(path);
  labels.assign(manifest.labels, manifest.rows);
  return manifest;
}

LabelledData read_labelled_csv(const std::string& path, const LabelledOptions& options) {
  Table table(path);
  table.require({"sequence", "label"});
  LabelledData data;
  Labels labels(options);
  Groups groups;
  while (table.next()) {
    const std::string where = table.where();
    LabelledSequence row;
    row.sequence = table.value("sequence");
    row.name =
        table.has("name") ? table.value("name") : "row" + std::to_string(data.sequences.size() + 1);
    row.group = table.value("group");
    row.split = normal_split(table.value("split"), where);
    require_letters(row.sequence, where);
    groups.check(row.group, row.split, where);
    labels.add(table.value("label"), where);
    data.sequences.push_back(std::move(row));
  }
  if (data.sequences.empty()) throw input_error(path + " has a header but no row.");
  data.labels = labels.classes(path);
  labels.assign(data.labels, data.sequences);
  return data;
}

LabelledData read_labelled_fasta(const std::string& path, const LabelledOptions& options) {
  LabelledData data;
  Labels labels(options);
  Groups groups;
  SequenceReader reader(path);
  SequenceRecord record;
  bool any_keyed = false;
  while (reader.next(record)) {
    const std::string where = display_path(path) + ", record " + std::to_string(record.number) +
                              " \"" + record.name + "\"";
    std::optional<std::string> label = keyed(record.comment, "label");
    if (data.sequences.empty()) any_keyed = label.has_value();
    if (!any_keyed && !label) {
      const auto words = split_words(record.comment);
      if (!words.empty()) label = std::string(words[0]);
    } else if (any_keyed != label.has_value()) {
      throw input_error(where +
                        ": some records have label=NAME in their header and some have not.");
    }
    if (!label)
      throw input_error(where +
                        ": no label; the header needs label=NAME or the label as its second word.");
    LabelledSequence row;
    row.name = record.name;
    row.sequence = record.sequence;
    row.group = keyed(record.comment, "group").value_or("");
    row.split = normal_split(keyed(record.comment, "split").value_or(""), where);
    groups.check(row.group, row.split, where);
    labels.add(*label, where);
    data.sequences.push_back(std::move(row));
  }
  if (data.sequences.empty()) throw input_error(display_path(path) + " holds no sequence.");
  data.labels = labels.classes(display_path(path));
  refuse_descriptions(any_keyed, data, display_path(path));
  labels.assign(data.labels, data.sequences);
  return data;
}

LabelledData read_labelled(const std::string& path, const LabelledOptions& options) {
  switch (labelled_format(path)) {
    case LabelledFormat::kCsv:
      return read_labelled_csv(path, options);
    case LabelledFormat::kFasta:
      return read_labelled_fasta(path, options);
    case LabelledFormat::kManifest:
      break;
  }
  throw usage_error(path +
                    " is a manifest of files; a table with the columns sequence and label, or "
                    "FASTA, is needed here.");
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
