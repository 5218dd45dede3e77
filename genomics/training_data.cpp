#include "genomics/training_data.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <set>

#include "core/base/error.h"
#include "core/base/safetensors.h"
#include "core/checkpoint/checkpoint.h"
#include "genomics/io/contig_md5.h"
#include "genomics/io/tokenizer.h"

namespace strandwave {
namespace {

constexpr const char* kFormat = "strandwave-training-data";
constexpr const char* kVersion = "1";
constexpr size_t kMd5Bytes = 16;

int64_t known_bases(const Genome& genome, const Intervals& intervals) {
  int64_t bases = 0;
  for (const Interval& i : intervals)
    bases += i.length() - genome.count_unknown(i.contig, i.start, i.end);
  return bases;
}

// The same intervals on other contigs; those on contigs without an entry are left out.
Intervals renumbered(const Intervals& intervals, const std::map<int64_t, int64_t>& numbers) {
  Intervals result;
  for (const Interval& interval : intervals)
    if (const auto found = numbers.find(interval.contig); found != numbers.end())
      result.push_back({found->second, interval.start, interval.end, {}, '.'});
  return merge_intervals(result);
}

// `ours` on a genome's contigs: the other way round, where several contigs may be one of ours.
Intervals on_genome(const Intervals& ours, const std::map<int64_t, int64_t>& numbers) {
  Intervals result;
  for (const auto& [contig, number] : numbers)
    for (const Interval& interval : ours)
      if (interval.contig == number)
        result.push_back({contig, interval.start, interval.end, {}, '.'});
  return merge_intervals(result);
}

void append(Intervals& to, const Intervals& from) {
  to.insert(to.end(), from.begin(), from.end());
  to = merge_intervals(to);
}

// Writing: a tensor's numbers.
template <class T>
SafetensorsEntry entry_of(const char* dtype, std::vector<int64_t> shape,
                          const std::vector<T>& values) {
  return {dtype, std::move(shape), std::as_bytes(std::span(values))};
}

std::vector<int64_t> flat(const Intervals& intervals) {
  std::vector<int64_t> values;
  for (const Interval& i : intervals) values.insert(values.end(), {i.contig, i.start, i.end});
  return values;
}

// Reading: entries and metadata with checks of their form.
class Reader {
 public:
  Reader(const std::string& bytes, std::string where) : where_(std::move(where)) {
    parse_safetensors(std::as_bytes(std::span(bytes)), where_, &entries_, &metadata_);
    if (text("format") != kFormat || text("version") != kVersion)
      throw bad("it is no " + std::string(kFormat) + " file of version " + kVersion);
  }

  Error bad(const std::string& message) const {
    return input_error(where_ + " cannot be read: " + message);
  }

  std::string text(const std::string& key) const {
    const auto found = metadata_.find(key);
    if (found == metadata_.end()) throw bad("its metadata lacks \"" + key + "\"");
    return found->second;
  }

  uint64_t number(const std::string& key) const {
    const std::string digits = text(key);
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size())
      throw bad("\"" + key + "\" is no number: " + digits);
    return value;
  }

  // columns 0: one dimension.
  template <class T>
  std::vector<T> values(const std::string& name, const char* dtype, int64_t columns) const {
    const auto found = entries_.find(name);
    if (found == entries_.end()) throw bad("the tensor \"" + name + "\" is missing");
    const SafetensorsEntry& entry = found->second;
    const bool fits = columns == 0 ? entry.shape.size() == 1
                                   : entry.shape.size() == 2 && entry.shape[1] == columns;
    if (entry.dtype != dtype || !fits)
      throw bad("the tensor \"" + name + "\" has another type or shape");
    std::vector<T> values(entry.bytes.size() / sizeof(T));
    if (!values.empty()) std::memcpy(values.data(), entry.bytes.data(), entry.bytes.size());
    return values;
  }

  const std::string& where() const { return where_; }

 private:
  std::string where_;
  std::map<std::string, SafetensorsEntry> entries_;
  std::map<std::string, std::string> metadata_;
};

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    lines.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return lines;
}

std::string hex_of(const uint8_t* digest) {
  std::string hex;
  for (size_t i = 0; i < kMd5Bytes; ++i) {
    char text[3];
    std::snprintf(text, sizeof text, "%02x", digest[i]);
    hex += text;
  }
  return hex;
}

void append_digest(std::vector<uint8_t>& bytes, const std::string& hex) {
  for (size_t i = 0; i < kMd5Bytes; ++i)
    bytes.push_back(static_cast<uint8_t>(std::stoi(hex.substr(2 * i, 2), nullptr, 16)));
}

SeenFraction by_sketch(const KmerSketch& training, const KmerSketch& targets) {
  const KmerSketch::Containment found = training.containment_of(targets);
  SeenFraction seen{found.fraction, "sketch", found.compared};
  if (seen.too_few()) seen.fraction = 0;
  return seen;
}

}  // namespace

bool SeenFraction::notable() const {
  return too_few() || (by == "sketch" ? fraction >= 0.01 : fraction > 0);
}

std::string SeenFraction::sentence(const std::string& when) const {
  const std::string few = "too few sampled 21-mers to tell (" + std::to_string(compared) + ")";
  if (by == "sketch" && too_few())
    return "how much of the targets was seen in " + when + ": " + few;
  // What is not all or nothing must not look like it.
  const double percent = 100 * fraction;
  const char* format = percent > 0 && percent < 0.01     ? "< 0.01"
                       : percent > 99.9 && percent < 100 ? "> 99.9"
                                                         : nullptr;
  char number[32];
  std::snprintf(number, sizeof number, percent < 1 && percent > 0 ? "%.2f" : "%.1f", percent);
  const std::string seen_share = format ? format : number;
  if (too_few())
    return seen_share + " % of targets on known contigs were seen in " + when +
           " (exact, by intervals); of the others: " + few;
  const std::string how = by == "intervals" ? "exact, by intervals"
                          : by == "sketch"  ? "estimated from " + std::to_string(compared) +
                                                 " sampled 21-mers; copies of repeats count"
                                           : "by intervals, and on unknown contigs by " +
                                                 std::to_string(compared) +
                                                 " sampled 21-mers; copies of repeats count";
  return seen_share + " % of targets were seen in " + when + " (" + how + ")";
}

nlohmann::json SeenFraction::to_json() const {
  return {{"fraction", fraction}, {"by", by}, {"compared", compared}};
}

int64_t TrainingData::add_contig(TrainedContig contig) {
  const auto number = static_cast<int64_t>(contigs_.size());
  const auto [entry, fresh] = by_md5_.try_emplace(contig.md5, number);
  if (fresh) contigs_.push_back(std::move(contig));
  return entry->second;
}

void TrainingData::add(const Genome& genome, const Intervals& training) {
  std::map<int64_t, int64_t> numbers;
  for (size_t i = 0; i < genome.contigs().size(); ++i) {
    const Contig& contig = genome.contigs()[i];
    const auto index = static_cast<int64_t>(i);
    numbers[index] = add_contig({contig_md5(genome, index), contig.name, contig.length});
  }
  added_[genome.hash()] = numbers;
  const Intervals merged = merge_intervals(training);
  append(training_, renumbered(merged, numbers));
  sketch_.add(genome, merged);
  bases_ += known_bases(genome, merged);
}

void TrainingData::add(std::span<const uint8_t> ids) {
  sketch_.add(ids);
  bases_ += std::count_if(ids.begin(), ids.end(), dna::is_base);
}

void TrainingData::merge(const TrainingData& other) {
  std::map<int64_t, int64_t> numbers;
  for (size_t i = 0; i < other.contigs_.size(); ++i)
    numbers[static_cast<int64_t>(i)] = add_contig(other.contigs_[i]);
  append(training_, renumbered(other.training_, numbers));
  append(seen_, renumbered(other.seen_, numbers));
  sketch_.merge(other.sketch_);
  bases_ += other.bases_;
}

void TrainingData::add_seen(const Genome& genome, const Intervals& seen) {
  append(seen_, renumbered(seen, known_contigs(genome, &seen)));
}

std::map<int64_t, int64_t> TrainingData::known_contigs(const Genome& genome,
                                                       const Intervals* targets) const {
  if (const auto added = added_.find(genome.hash()); added != added_.end()) return added->second;
  std::set<int64_t> lengths, touched;
  for (const TrainedContig& contig : contigs_) lengths.insert(contig.length);
  if (targets)
    for (const Interval& target : *targets) touched.insert(target.contig);
  std::map<int64_t, int64_t> numbers;
  for (size_t i = 0; i < genome.contigs().size(); ++i) {
    const auto contig = static_cast<int64_t>(i);
    if (!lengths.contains(genome.contigs()[i].length) || (targets && !touched.contains(contig)))
      continue;
    const auto found = by_md5_.find(contig_md5(genome, contig));
    if (found != by_md5_.end()) numbers[contig] = found->second;
  }
  return numbers;
}

std::optional<SeenFraction> TrainingData::seen_fraction(const Genome& genome,
                                                        const Intervals& targets) const {
  const Intervals merged = merge_intervals(targets);
  const std::map<int64_t, int64_t> numbers = known_contigs(genome, &merged);
  Intervals known, unknown;
  for (const Interval& target : merged)
    (numbers.contains(target.contig) ? known : unknown).push_back(target);
  const auto exact_bases = static_cast<double>(known_bases(genome, known));
  const auto other_bases = static_cast<double>(known_bases(genome, unknown));
  std::optional<SeenFraction> sketched;
  if (other_bases > 0) {
    KmerSketch targets_sketch;
    targets_sketch.add(genome, unknown);
    sketched = by_sketch(sketch_, targets_sketch);
  }
  if (exact_bases == 0) return sketched;
  const auto seen = static_cast<double>(
      known_bases(genome, intersect_intervals(known, on_genome(training_, numbers))));
  if (!sketched) return SeenFraction{seen / exact_bases, "intervals", 0};
  if (sketched->too_few())
    return SeenFraction{seen / exact_bases, "intervals and sketch", sketched->compared};
  return SeenFraction{(seen + sketched->fraction * other_bases) / (exact_bases + other_bases),
                      "intervals and sketch", sketched->compared};
}

std::optional<SeenFraction> TrainingData::seen_fraction(
    std::span<const std::vector<uint8_t>> targets) const {
  KmerSketch targets_sketch;
  bool any = false;
  for (const std::vector<uint8_t>& ids : targets) {
    targets_sketch.add(ids);
    any |= std::any_of(ids.begin(), ids.end(), dna::is_base);
  }
  if (!any) return std::nullopt;
  return by_sketch(sketch_, targets_sketch);
}

std::optional<Intervals> TrainingData::seen_on(const Genome& genome) const {
  if (seen_.empty()) return std::nullopt;
  const std::map<int64_t, int64_t> numbers = known_contigs(genome, nullptr);
  std::set<int64_t> found;
  for (const auto& [contig, number] : numbers) found.insert(number);
  for (const Interval& interval : seen_)
    if (!found.contains(interval.contig)) return std::nullopt;
  return on_genome(seen_, numbers);
}

std::string TrainingData::to_bytes() const {
  std::vector<uint8_t> digests, names;
  std::vector<int64_t> lengths;
  for (const TrainedContig& contig : contigs_) {
    append_digest(digests, contig.md5);
    names.insert(names.end(), contig.name.begin(), contig.name.end());
    names.push_back('\n');
    lengths.push_back(contig.length);
  }
  const std::vector<int64_t> training = flat(training_), seen = flat(seen_);
  const std::vector<uint64_t> hashes = sketch_.hashes();
  const auto rows = [](const auto& values, size_t columns) {
    return static_cast<int64_t>(values.size() / columns);
  };
  return safetensors_bytes(
      {{"contig_md5", entry_of("U8", {rows(digests, kMd5Bytes), kMd5Bytes}, digests)},
       {"contig_length", entry_of("I64", {rows(lengths, 1)}, lengths)},
       {"contig_names", entry_of("U8", {rows(names, 1)}, names)},
       {"training", entry_of("I64", {rows(training, 3), 3}, training)},
       {"seen", entry_of("I64", {rows(seen, 3), 3}, seen)},
       {"kmer_hashes", entry_of("U64", {rows(hashes, 1)}, hashes)}},
      {{"format", kFormat},
       {"version", kVersion},
       {"k", std::to_string(KmerSketch::kLength)},
       {"scale", std::to_string(sketch_.scale())},
       {"bases", std::to_string(bases_)}});
}

TrainingData TrainingData::from_bytes(const std::string& bytes, const std::string& where) {
  const Reader reader(bytes, where);
  if (reader.number("k") != KmerSketch::kLength)
    throw reader.bad("its k-mers have " + reader.text("k") + " bases, not " +
                     std::to_string(KmerSketch::kLength));
  const auto digests = reader.values<uint8_t>("contig_md5", "U8", kMd5Bytes);
  const auto lengths = reader.values<int64_t>("contig_length", "I64", 0);
  const auto letters = reader.values<uint8_t>("contig_names", "U8", 0);
  const std::vector<std::string> names = split_lines({letters.begin(), letters.end()});
  if (lengths.size() * kMd5Bytes != digests.size() || lengths.size() != names.size())
    throw reader.bad("its lists of contigs are not equally long");
  TrainingData data;
  for (size_t i = 0; i < lengths.size(); ++i)
    if (data.add_contig({hex_of(&digests[kMd5Bytes * i]), names[i], lengths[i]}) !=
        static_cast<int64_t>(i))
      throw reader.bad("contig " + names[i] + " is there twice");
  const auto intervals = [&](const char* name) {
    const auto values = reader.values<int64_t>(name, "I64", 3);
    Intervals result;
    for (size_t i = 0; i < values.size(); i += 3) {
      const Interval interval{values[i], values[i + 1], values[i + 2], {}, '.'};
      if (interval.contig < 0 || interval.contig >= static_cast<int64_t>(lengths.size()) ||
          interval.start < 0 || interval.start >= interval.end ||
          interval.end > lengths[static_cast<size_t>(interval.contig)])
        throw reader.bad("interval " + std::to_string(i / 3) + " of \"" + name +
                         "\" lies outside its contig");
      result.push_back(interval);
    }
    return merge_intervals(result);
  };
  data.training_ = intervals("training");
  data.seen_ = intervals("seen");
  data.sketch_ = KmerSketch::restore(
      reader.number("scale"), reader.values<uint64_t>("kmer_hashes", "U64", 0), reader.where());
  data.bases_ = static_cast<int64_t>(reader.number("bases"));
  return data;
}

std::optional<TrainingData> TrainingData::of_model(const std::filesystem::path& run_or_model) {
  const std::optional<std::string> bytes = read_companion(run_or_model, kCompanion);
  if (!bytes) return std::nullopt;
  return from_bytes(*bytes, (run_or_model / kCompanion).string());
}

std::optional<SeenFraction> seen_in_training(const std::filesystem::path& run_or_model,
                                             const Genome& genome, const Intervals& targets) {
  const std::optional<TrainingData> data = TrainingData::of_model(run_or_model);
  return data ? data->seen_fraction(genome, targets) : std::nullopt;
}

std::optional<SeenFraction> seen_in_training(const std::filesystem::path& run_or_model,
                                             std::span<const std::vector<uint8_t>> targets) {
  const std::optional<TrainingData> data = TrainingData::of_model(run_or_model);
  return data ? data->seen_fraction(targets) : std::nullopt;
}

}  // namespace strandwave
