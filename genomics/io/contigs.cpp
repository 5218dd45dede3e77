#include "genomics/io/contigs.h"

#include <algorithm>
#include <optional>

#include "core/base/error.h"
#include "core/base/spelling.h"
#include "core/base/text_fields.h"

namespace strandwave {
namespace {

bool starts_with(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

// At the beginning of a sentence.
std::string capital(std::string owner) {
  if (starts_with(owner, "the ")) owner[0] = 'T';
  return owner;
}

std::string nearest_contig(const Contigs& contigs, std::string_view name) {
  // Contigs compared: enough for any chromosome, fast for draft assemblies.
  constexpr int64_t kCompared = 2000;
  constexpr size_t kShown = 100;
  size_t best = ~size_t{0};
  std::string nearest;
  for (int64_t i = 0; i < std::min(kCompared, contigs.count); ++i) {
    const std::string candidate = contigs.name(i);
    const size_t distance =
        edit_distance(name.substr(0, kShown), std::string_view(candidate).substr(0, kShown));
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

// A position of a region string; commas between digits are legal.
std::optional<int64_t> region_position(std::string_view text) {
  std::string digits;
  for (const char c : text) {
    if (c != ',') digits += c;
  }
  if (text.empty() || text.front() == ',' || text.back() == ',') return std::nullopt;
  return parse_number<int64_t>(digits);
}

int64_t bed_position(std::string_view field, const std::string& where, const char* column) {
  const auto value = parse_number<int64_t>(field);
  if (!value) {
    throw input_error(where + ": " + column + " \"" + std::string(field) +
                      "\" is not a whole number.");
  }
  return *value;
}

}  // namespace

int64_t require_contig(const Contigs& contigs, std::string_view name, const std::string& where) {
  const int64_t contig = contigs.find(name);
  if (contig >= 0) return contig;
  const std::string message =
      where + ": " + contigs.owner + " has no contig \"" + std::string(name) + "\". ";
  const std::string with = "chr" + std::string(name);
  const std::string without(starts_with(name, "chr") ? name.substr(3) : "");
  const std::string calls = capital(contigs.owner) + " calls it \"";
  if (contigs.find(with) >= 0)
    throw input_error(message + calls + with + "\": add the prefix chr.");
  if (contigs.find(without) >= 0)
    throw input_error(message + calls + without + "\": remove the prefix chr.");
  if (contigs.count == 0) throw input_error(message + "It has no contigs at all.");
  throw input_error(message + "The nearest of its " + std::to_string(contigs.count) +
                    " contigs is \"" + nearest_contig(contigs, name) + "\".");
}

ContigRange parse_region(const std::string& text, const Contigs& contigs) {
  const std::string where = "region \"" + text + "\"";
  if (const int64_t contig = contigs.find(text); contig >= 0)
    return {contig, 0, contigs.length(contig)};
  std::string name = text;
  std::string range;
  if (starts_with(text, "{") && text.find('}') != std::string::npos) {
    const size_t close = text.find('}');
    name = text.substr(1, close - 1);
    range = text.substr(close + 1);
    if (!range.empty() && range[0] != ':') throw usage_error(where + ": \":\" must follow \"}\".");
    if (!range.empty()) range.erase(0, 1);
  } else if (const size_t colon = text.rfind(':'); colon != std::string::npos) {
    name = text.substr(0, colon);
    range = text.substr(colon + 1);
  }
  const int64_t contig = require_contig(contigs, name, where);
  const int64_t length = contigs.length(contig);
  if (range.empty()) return {contig, 0, length};

  const size_t dash = range.find('-');
  const std::string first = range.substr(0, dash);
  const std::string last = dash == std::string::npos ? "" : range.substr(dash + 1);
  const auto start = first.empty() && dash != std::string::npos ? std::optional<int64_t>(1)
                                                                : region_position(first);
  const auto end = last.empty() ? std::optional<int64_t>(length) : region_position(last);
  if (!start || !end || range == "-") {
    throw usage_error(where + ": \"" + range +
                      "\" is no range; write contig:start-end, for instance " + name + ":1-1000.");
  }
  if (*start < 1) throw usage_error(where + ": positions count from 1.");
  if (*start > length) {
    throw usage_error(where + " starts past the end of contig " + name + ", whose length is " +
                      std::to_string(length) + ".");
  }
  if (*start > *end) throw usage_error(where + ": the start is greater than the end.");
  return {contig, *start - 1, std::min(*end, length)};
}

bool is_bed_comment(std::string_view line) {
  const auto word = [&](std::string_view name) {
    return starts_with(line, name) &&
           (line.size() == name.size() || line[name.size()] == ' ' || line[name.size()] == '\t');
  };
  return line.find_first_not_of(" \t") == std::string_view::npos || line[0] == '#' ||
         word("track") || word("browser");
}

std::vector<std::string_view> bed_fields(std::string_view line, const std::string& where) {
  // Tabs where there are any, so that a name may hold blanks.
  auto fields =
      line.find('\t') != std::string_view::npos ? split_fields(line, '\t') : split_words(line);
  if (fields.size() < 3 || fields.size() > 12) {
    throw input_error(
        where + ": " + std::to_string(fields.size()) +
        " columns; BED has 3 to 12 (contig, start, end, ...), separated by tabs or blanks.");
  }
  return fields;
}

ContigRange bed_range(const std::vector<std::string_view>& fields, const Contigs& contigs,
                      const std::string& where) {
  ContigRange range;
  range.contig = require_contig(contigs, fields[0], where);
  range.start = bed_position(fields[1], where, "start");
  range.end = bed_position(fields[2], where, "end");
  const int64_t length = contigs.length(range.contig);
  const std::string shown = std::to_string(range.start) + "-" + std::to_string(range.end);
  if (range.start < 0 || range.start >= range.end) {
    throw input_error(where + ": " + shown +
                      " is empty; BED needs 0 <= start < end (0-based, half-open).");
  }
  if (range.end > length) {
    throw input_error(where + ": " + shown + " ends past contig " + std::string(fields[0]) +
                      " of length " + std::to_string(length) + ". Is it another genome version?");
  }
  return range;
}

}  // namespace strandwave
