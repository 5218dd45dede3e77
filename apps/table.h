// Aligned text tables for people to read.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace strandwave::apps {

// The first row is the header; the first column is flush left, the others flush right.
void print_table(std::ostream& out, const std::vector<std::vector<std::string>>& rows);

// printf-style formatting of one number.
std::string format_number(const char* format, double value);

}  // namespace strandwave::apps
