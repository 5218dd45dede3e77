#include "genomics/io/column_table.h"

#include <algorithm>
#include <utility>

#include "core/base/error.h"
#include "core/base/spelling.h"
#include "core/base/text_fields.h"

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

char separator_of(const std::string& line) {
  if (line.find('\t') != std::string::npos) return '\t';
  return line.find(',') != std::string::npos ? ',' : ' ';
}

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

// One letter wrong, missing or too many, or two exchanged.
bool is_misspelling(std::string name, std::string of) {
  const size_t distance = edit_distance(name, of);
  if (distance != 2) return distance == 1;
  std::sort(name.begin(), name.end());
  std::sort(of.begin(), of.end());
  return name == of;
}

}  // namespace

ColumnTable::ColumnTable(const std::string& path) : in_(path) {
  bool found = false;
  while (!found && in_.line(line_)) {
    if (in_.line_number() == 1 && line_.substr(0, 3) == "\xef\xbb\xbf") line_.erase(0, 3);
    found = !is_blank_or_comment(line_);
  }
  if (!found) throw input_error(in_.name() + " holds no row.");
  separator_ = separator_of(line_);
  header_ = split_row(line_, separator_, where());
  first_field_ = header_[0];
  for (std::string& name : header_) {
    name = lower_case(name);
    if (name == "seq") name = "sequence";
  }
}

void ColumnTable::require(const std::vector<std::string>& columns) const {
  for (const std::string& column : columns) {
    if (!has(column))
      throw input_error(where() + ": no column \"" + column + "\"; found: " + list_of_columns() +
                        ".");
  }
}

void ColumnTable::refuse_misspelt(const std::vector<std::string>& columns) const {
  for (const std::string& column : columns) {
    if (has(column)) continue;
    for (const std::string& name : header_)
      if (is_misspelling(name, column))
        throw input_error(where() + ": the column \"" + name + "\" is unknown: is it \"" + column +
                          "\"? Give it that name, or one that is not so near.");
  }
}

std::string ColumnTable::list_of_columns() const {
  std::string text;
  for (const std::string& name : header_)
    text += (text.empty() ? "" : ", ") + name.substr(0, 40) + (name.size() > 40 ? "..." : "");
  return text;
}

void ColumnTable::use_first_line_as_row(std::vector<std::string> names) {
  names.resize(std::min(names.size(), header_.size()));
  header_ = std::move(names);
  first_is_row_ = true;
}

bool ColumnTable::next() {
  if (!std::exchange(first_is_row_, false)) {
    do {
      if (!in_.line(line_)) return false;
    } while (is_blank_or_comment(line_));
  }
  fields_ = split_row(line_, separator_, where());
  if (fields_.size() != header_.size())
    throw input_error(where() + ": " + std::to_string(fields_.size()) +
                      " columns where the header has " + std::to_string(header_.size()) + ".");
  return true;
}

const std::string& ColumnTable::value(const std::string& column) const {
  static const std::string kNone;
  const auto at = index(column);
  return at ? fields_[*at] : kNone;
}

std::string ColumnTable::where() const {
  return in_.name() + ", line " + std::to_string(in_.line_number());
}

std::optional<size_t> ColumnTable::index(const std::string& column) const {
  const auto found = std::find(header_.begin(), header_.end(), column);
  if (found == header_.end()) return std::nullopt;
  return static_cast<size_t>(found - header_.begin());
}

std::string table_field(std::string_view text) {
  std::string field(text);
  std::replace(field.begin(), field.end(), '\n', ' ');
  std::replace(field.begin(), field.end(), '\r', ' ');
  if (field.find('\t') == std::string::npos &&
      (field.empty() || (field[0] != '"' && field[0] != '#')))
    return field;
  std::string quoted = "\"";
  for (const char c : field) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

}  // namespace strandwave
