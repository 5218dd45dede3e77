#include "genomics/io/length_distribution.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "core/base/error.h"
#include "core/base/text_fields.h"
#include "genomics/io/byte_reader.h"
#include "genomics/io/content_hash.h"
#include "genomics/io/sequence_reader.h"

namespace strandwave {
namespace {

using Weights = std::map<int64_t, double>;

// More than so many different lengths are thinned out evenly.
constexpr int64_t kMostLengths = 1 << 16;

template <typename Weight>
Weights tabulate(int64_t shortest, int64_t longest, Weight weight) {
  Weights weights;
  const int64_t step = 1 + (longest - shortest) / kMostLengths;
  for (int64_t length = shortest; length <= longest; length += step)
    weights[length] = weight(static_cast<double>(length));
  return weights;
}

// Two numbers around one separator.
std::optional<std::pair<double, double>> two_numbers(std::string_view text, char separator) {
  const auto fields = split_fields(text, separator);
  if (fields.size() != 2) return std::nullopt;
  const auto first = parse_number<double>(fields[0]), second = parse_number<double>(fields[1]);
  if (!first || !second) return std::nullopt;
  return std::pair(*first, *second);
}

Weights uniform(const std::string& text, std::pair<double, double> ends) {
  const auto [first, last] = ends;
  if (!(first >= 1 && first <= last && last <= LengthDistribution::kLongest))
    throw usage_error("the lengths \"" + text +
                      "\": give a range of bases such as 100-300, from 1 to 2^30.");
  return tabulate(std::llround(first), std::llround(last), [](double) { return 1.0; });
}

Weights normal(const std::string& text, std::pair<double, double> parameters) {
  const auto [mean, deviation] = parameters;
  if (!(mean >= 1 && deviation > 0 && mean + 4 * deviation <= LengthDistribution::kLongest))
    throw usage_error("the lengths \"" + text +
                      "\": give normal:MEAN,DEVIATION, a mean of at least 1 and a deviation above "
                      "0, in bases.");
  return tabulate(std::max<int64_t>(1, std::llround(mean - 4 * deviation)),
                  std::llround(mean + 4 * deviation), [&](double length) {
                    const double z = (length - mean) / deviation;
                    return std::exp(-0.5 * z * z);
                  });
}

bool next_row(ByteReader& in, std::string& line) {
  while (in.line(line))
    if (!split_words(line).empty() && line[0] != '#') return true;
  return false;
}

// A table of lengths and counts begins with two numbers, or with the column names.
bool is_table(const std::string& path) {
  const std::string start(ByteReader(path).peek(1));
  if (start.empty() || start.find_first_of("#0123456789l \t") == std::string::npos) return false;
  ByteReader in(path);
  std::string line;
  if (!next_row(in, line)) return true;
  const auto words = split_words(line);
  return words.size() == 2 && (words[0] == "length" ||
                               (parse_number<int64_t>(words[0]) && parse_number<double>(words[1])));
}

Weights from_table(const std::string& path) {
  ByteReader in(path);
  std::string line;
  Weights weights;
  double sum = 0;
  while (next_row(in, line)) {
    const std::string where = in.name() + ", line " + std::to_string(in.line_number());
    const auto words = split_words(line);
    if (words.size() != 2)
      throw input_error(where + ": " + std::to_string(words.size()) +
                        " columns; a table of lengths has two, length and count.");
    if (words[0] == "length" && weights.empty()) continue;
    const auto length = parse_number<int64_t>(words[0]);
    const auto count = parse_number<double>(words[1]);
    if (!length || *length < 1 || *length > LengthDistribution::kLongest)
      throw input_error(where + ": the length \"" + std::string(words[0]) +
                        "\" is no whole number from 1 to 2^30.");
    if (!count || !(*count >= 0) || !std::isfinite(*count))
      throw input_error(where + ": the count \"" + std::string(words[1]) +
                        "\" is no number of at least 0.");
    weights[*length] += *count;
    sum += *count;
  }
  if (!(sum > 0)) throw input_error(in.name() + " counts no length.");
  return weights;
}

Weights from_sequences(const std::string& path) {
  SequenceReader reader(path);
  SequenceRecord record;
  Weights weights;
  while (reader.next(record)) {
    const auto length = static_cast<int64_t>(record.sequence.size());
    if (length <= LengthDistribution::kLongest) ++weights[length];
  }
  if (weights.empty())
    throw input_error(display_path(path) + " holds no sequence from which to take lengths.");
  return weights;
}

Weights parse_weights(const std::string& text) {
  constexpr std::string_view kUniform = "uniform:", kNormal = "normal:";
  const std::string_view view = text;
  if (const auto length = parse_number<double>(view)) return uniform(text, {*length, *length});
  if (const auto ends = two_numbers(view, '-')) return uniform(text, *ends);
  for (const std::string_view kind : {kUniform, kNormal}) {
    if (view.substr(0, kind.size()) != kind) continue;
    const auto numbers = two_numbers(view.substr(kind.size()), ',');
    if (!numbers)
      throw usage_error("the lengths \"" + text + "\": give two numbers, " + std::string(kind) +
                        (kind == kUniform ? "100,300." : "150,20."));
    return kind == kUniform ? uniform(text, *numbers) : normal(text, *numbers);
  }
  if (text.empty() || text == "-")
    throw usage_error("no lengths: give a range such as 100-300, normal:150,20, or a file.");
  return is_table(text) ? from_table(text) : from_sequences(text);
}

}  // namespace

LengthDistribution LengthDistribution::parse(const std::string& text) {
  std::vector<int64_t> lengths;
  std::vector<double> weights;
  for (const auto& [length, weight] : parse_weights(text)) {
    if (weight <= 0) continue;
    lengths.push_back(length);
    weights.push_back(weight);
  }
  return {lengths, weights};
}

LengthDistribution::LengthDistribution(const std::vector<int64_t>& lengths,
                                       const std::vector<double>& weights)
    : lengths_(lengths) {
  double sum = 0;
  for (const double weight : weights) up_to_.push_back(sum += weight);
  for (double& share : up_to_) share /= sum;
  up_to_.back() = 1;
}

int64_t LengthDistribution::length_at(double u) const {
  const auto found = std::upper_bound(up_to_.begin(), up_to_.end() - 1, u);
  return lengths_[static_cast<size_t>(found - up_to_.begin())];
}

double LengthDistribution::mean() const {
  double mean = 0, before = 0;
  for (size_t i = 0; i < lengths_.size(); ++i) {
    mean += static_cast<double>(lengths_[i]) * (up_to_[i] - before);
    before = up_to_[i];
  }
  return mean;
}

std::string LengthDistribution::description() const {
  if (empty()) return "";
  char text[96];
  std::snprintf(text, sizeof text, "%lld to %lld bases, mean %.1f",
                static_cast<long long>(shortest()), static_cast<long long>(longest()), mean());
  return text;
}

std::string LengthDistribution::identity() const {
  if (empty()) return "";
  ContentHash hash;
  hash.add(lengths_.data(), lengths_.size() * sizeof(lengths_[0]));
  hash.add(up_to_.data(), up_to_.size() * sizeof(up_to_[0]));
  return description() + " (" + to_hex(hash.value()).substr(0, 8) + ")";
}

}  // namespace strandwave
