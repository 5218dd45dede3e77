// Tables of text whose columns are found by name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "genomics/io/byte_reader.h"

namespace strandwave {

// A table with a header line: tab-separated, or, if the header has no tab, separated by commas or
// blanks; quotes as in RFC 4180, within a line; plain or compressed. Blank lines and lines that
// begin with '#' are skipped. Column names are folded to lower case; "seq" is "sequence".
//
// Throws Error with file and line: no row at all, a row with another number of fields than the
// header, a quote that is not closed.
class ColumnTable {
 public:
  explicit ColumnTable(const std::string& path);

  const std::vector<std::string>& header() const { return header_; }
  // The first field of the first line as it stands in the file.
  const std::string& first_field() const { return first_field_; }
  bool has(const std::string& column) const { return index(column).has_value(); }
  // Throws Error that names the columns found.
  void require(const std::vector<std::string>& columns) const;
  // Throws Error when a column's name is a misspelling of one of these and the right one is absent.
  void refuse_misspelt(const std::vector<std::string>& columns) const;
  std::string list_of_columns() const;
  // The first line is a row already: the columns get these names.
  void use_first_line_as_row(std::vector<std::string> names);

  // The next row; false at the end.
  bool next();
  // The value of a column in this row; empty when there is no such column.
  const std::string& value(const std::string& column) const;
  // "strains.tsv, line 3".
  std::string where() const;
  int64_t line_number() const { return in_.line_number(); }

 private:
  std::optional<size_t> index(const std::string& column) const;

  ByteReader in_;
  std::string line_;
  char separator_ = ',';
  std::string first_field_;
  std::vector<std::string> header_;
  std::vector<std::string> fields_;
  bool first_is_row_ = false;
};

// A field as a ColumnTable reads it back from a tab-separated line: quoted where it must be. Line
// feeds become blanks.
std::string table_field(std::string_view text);

}  // namespace strandwave
