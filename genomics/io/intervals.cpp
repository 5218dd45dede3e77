#include "genomics/io/intervals.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string_view>
#include <tuple>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/random.h"
#include "genomics/io/byte_reader.h"
#include "genomics/io/contigs.h"

namespace strandwave {
namespace {

const Contig& contig_of(const Genome& genome, int64_t contig) {
  return genome.contigs()[static_cast<size_t>(contig)];
}

Interval parse_bed_line(const std::string& line, const Genome& genome, const std::string& where) {
  const std::vector<std::string_view> fields = bed_fields(line, where);
  const ContigRange range = bed_range(fields, genome.names(), where);
  Interval interval{range.contig, range.start, range.end, "", '.'};
  if (fields.size() > 3 && fields[3] != ".") interval.label = fields[3];
  if (fields.size() > 5) {
    if (fields[5] != "+" && fields[5] != "-" && fields[5] != ".") {
      throw input_error(where + ": strand \"" + std::string(fields[5]) +
                        "\" is none of +, - and \".\".");
    }
    interval.strand = fields[5][0];
  }
  return interval;
}

bool before(const Interval& a, const Interval& b) {
  return std::tie(a.contig, a.start, a.end, a.label, a.strand) <
         std::tie(b.contig, b.start, b.end, b.label, b.strand);
}

// Calls visit(a, start, end) for every part of `a` (in order) that the merged, sorted `b` covers.
template <typename Visit>
void for_each_overlap(const Intervals& a, const Intervals& merged, Visit visit) {
  for (const Interval& interval : a) {
    auto other = std::partition_point(merged.begin(), merged.end(), [&](const Interval& m) {
      return m.contig < interval.contig || (m.contig == interval.contig && m.end <= interval.start);
    });
    for (; other != merged.end() && other->contig == interval.contig && other->start < interval.end;
         ++other) {
      visit(interval, std::max(interval.start, other->start), std::min(interval.end, other->end));
    }
  }
}

bool mostly_unknown(const Genome& genome, int64_t contig, int64_t start, int64_t end,
                    double max_unknown) {
  return static_cast<double>(genome.count_unknown(contig, start, end)) >
         max_unknown * static_cast<double>(end - start);
}

void require_window_length(int64_t length) {
  if (length < 1)
    throw usage_error("a window needs a length of at least 1, not " + std::to_string(length) + ".");
}

}  // namespace

Intervals read_bed(const std::string& path, const Genome& genome) {
  ByteReader in(path);
  Intervals intervals;
  std::string line;
  while (in.line(line)) {
    if (is_bed_comment(line)) continue;
    const std::string where = in.name() + ", line " + std::to_string(in.line_number());
    intervals.push_back(parse_bed_line(line, genome, where));
  }
  if (intervals.empty()) throw input_error(in.name() + " holds no interval.");
  return intervals;
}

void write_bed(const std::string& path, const Genome& genome, const Intervals& intervals,
               const std::vector<std::string>& comments) {
  const bool labels = std::any_of(intervals.begin(), intervals.end(),
                                  [](const Interval& i) { return !i.label.empty(); });
  const bool strands = std::any_of(intervals.begin(), intervals.end(),
                                   [](const Interval& i) { return i.strand != '.'; });
  std::string text;
  for (const std::string& comment : comments) text += "# " + comment + "\n";
  for (const Interval& interval : intervals) {
    std::string line = contig_of(genome, interval.contig).name + "\t" +
                       std::to_string(interval.start) + "\t" + std::to_string(interval.end);
    if (labels || strands) line += "\t" + (interval.label.empty() ? "." : interval.label);
    if (strands) line += std::string("\t0\t") + interval.strand;
    text += line + "\n";
  }
  write_file_atomically(path, text);
}

Interval parse_region(const std::string& text, const Genome& genome) {
  const ContigRange range = parse_region(text, genome.names());
  return {range.contig, range.start, range.end, "", '.'};
}

std::string region_string(const Genome& genome, const Interval& interval) {
  return contig_of(genome, interval.contig).name + ":" + std::to_string(interval.start + 1) + "-" +
         std::to_string(interval.end);
}

Intervals whole_genome(const Genome& genome) {
  Intervals intervals;
  for (size_t i = 0; i < genome.contigs().size(); ++i) {
    const int64_t length = genome.contigs()[i].length;
    if (length > 0) intervals.push_back({static_cast<int64_t>(i), 0, length, "", '.'});
  }
  return intervals;
}

int64_t total_length(const Intervals& intervals) {
  int64_t sum = 0;
  for (const Interval& interval : intervals) sum += interval.length();
  return sum;
}

Intervals sort_intervals(Intervals intervals) {
  std::sort(intervals.begin(), intervals.end(), before);
  return intervals;
}

Intervals merge_intervals(const Intervals& intervals) {
  Intervals merged;
  for (const Interval& interval : sort_intervals(intervals)) {
    if (merged.empty() || merged.back().contig != interval.contig ||
        merged.back().end < interval.start) {
      merged.push_back(interval);
      continue;
    }
    Interval& last = merged.back();
    last.end = std::max(last.end, interval.end);
    if (last.label != interval.label) last.label.clear();
    if (last.strand != interval.strand) last.strand = '.';
  }
  return merged;
}

Intervals subtract_intervals(const Intervals& from, const Intervals& remove) {
  const Intervals merged = merge_intervals(remove);
  Intervals rest;
  for (const Interval& interval : from) {
    Interval part = interval;
    for_each_overlap({interval}, merged, [&](const Interval&, int64_t start, int64_t end) {
      part.end = start;
      if (part.length() > 0) rest.push_back(part);
      part.start = end;
    });
    part.end = interval.end;
    if (part.length() > 0) rest.push_back(part);
  }
  return rest;
}

Intervals intersect_intervals(const Intervals& a, const Intervals& b) {
  Intervals common;
  for_each_overlap(
      a, merge_intervals(b), [&](const Interval& interval, int64_t start, int64_t end) {
        common.push_back({interval.contig, start, end, interval.label, interval.strand});
      });
  return common;
}

bool overlaps(const Intervals& a, const Intervals& b) { return !intersect_intervals(a, b).empty(); }

Intervals grow_intervals(const Intervals& intervals, int64_t gap, const Genome& genome) {
  Intervals grown = intervals;
  for (Interval& interval : grown) {
    interval.start = std::max<int64_t>(interval.start - gap, 0);
    interval.end = std::min(interval.end + gap, contig_of(genome, interval.contig).length);
  }
  return grown;
}

Intervals shrink_intervals(const Intervals& intervals, int64_t gap) {
  Intervals shrunk;
  for (Interval interval : intervals) {
    interval.start += gap;
    interval.end -= gap;
    if (interval.length() > 0) shrunk.push_back(std::move(interval));
  }
  return shrunk;
}

Intervals with_label(const Intervals& intervals, const std::string& label) {
  Intervals chosen;
  std::copy_if(intervals.begin(), intervals.end(), std::back_inserter(chosen),
               [&](const Interval& interval) { return interval.label == label; });
  return chosen;
}

void require_file_weights(const Genome& genome, const std::vector<double>& weights) {
  if (weights.empty()) return;
  const size_t files = genome.files().size();
  if (weights.size() != files)
    throw usage_error(std::to_string(weights.size()) + " genome weights for " +
                      std::to_string(files) + " FASTA files: give one for each, in their order.");
  double sum = 0;
  for (const double weight : weights) {
    if (!std::isfinite(weight) || weight < 0)
      throw usage_error("a genome weight must be a number of at least 0, not " +
                        std::to_string(weight) + ".");
    sum += weight;
  }
  if (sum <= 0) throw usage_error("all genome weights are 0: nothing would be drawn.");
}

WindowSampler::WindowSampler(const Genome& genome, const Intervals& intervals, int64_t length)
    : WindowSampler(genome, intervals, length, Options{}) {}

WindowSampler::WindowSampler(const Genome& genome, const Intervals& intervals, int64_t length,
                             Options options)
    : genome_(genome), length_(length), options_(std::move(options)) {
  require_window_length(length);
  require_file_weights(genome, options_.file_weights);
  for (const Interval& interval : sort_intervals(intervals)) {
    if (interval.length() < length) {
      unusable_ += interval.length();
      continue;
    }
    intervals_.push_back(interval);
    first_.push_back(starts_);
    starts_ += interval.length() - length + 1;
  }
  if (intervals_.empty()) {
    int64_t longest = 0;
    for (const Interval& interval : intervals) longest = std::max(longest, interval.length());
    throw input_error("no interval is as long as a window of " + std::to_string(length) +
                      " bases; the longest of " + std::to_string(intervals.size()) + " has " +
                      std::to_string(longest) + ". Use shorter windows.");
  }
  shares_ = options_.file_weights.empty() ? std::vector<Share>{{0, starts_, 1}} : shares_by_file();
  window(0, 0);  // reports intervals of N now rather than in the middle of a run
}

std::vector<WindowSampler::Share> WindowSampler::shares_by_file() const {
  const std::vector<double>& weights = options_.file_weights;
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<Share> shares;
  size_t next = 0;  // intervals lie in the order of the files
  double up_to = 0;
  for (size_t file = 0; file < weights.size(); ++file) {
    const int64_t first = next < first_.size() ? first_[next] : starts_;
    while (next < intervals_.size() &&
           contig_of(genome_, intervals_[next].contig).file == static_cast<int32_t>(file))
      ++next;
    const int64_t starts = (next < first_.size() ? first_[next] : starts_) - first;
    if (weights[file] <= 0) continue;
    if (starts == 0)
      throw input_error(display_path(genome_.files()[file].path) +
                        ": no interval of this genome is as long as a window of " +
                        std::to_string(length_) +
                        " bases. Use shorter windows or give it the weight 0.");
    up_to += weights[file] / sum;
    shares.push_back({first, starts, up_to});
  }
  shares.back().up_to = 1;
  return shares;
}

const WindowSampler::Share& WindowSampler::draw_share(double uniform) const {
  return *std::find_if(shares_.begin(), shares_.end(),
                       [uniform](const Share& share) { return uniform < share.up_to; });
}

Window WindowSampler::window(uint64_t seed, uint64_t index) const {
  const RandomStream draws(seed, RandomPurpose::kWindow, index);
  constexpr uint64_t kTries = 1000;
  const Share& share = draw_share(draws.uniform(kTries));
  for (uint64_t attempt = 0; attempt < kTries; ++attempt) {
    const int64_t start = share.first + static_cast<int64_t>(draws.below(
                                            attempt, static_cast<uint64_t>(share.starts)));
    const auto found = static_cast<size_t>(std::upper_bound(first_.begin(), first_.end(), start) -
                                           first_.begin()) -
                       1;
    const Interval& interval = intervals_[found];
    const int64_t begin = interval.start + start - first_[found];
    if (mostly_unknown(genome_, interval.contig, begin, begin + length_, options_.max_unknown))
      continue;
    const bool reverse = options_.reverse_complement &&
                         (RandomStream(seed, RandomPurpose::kStrand, index).bits(0) & 1) != 0;
    return {interval.contig, begin, begin + length_, reverse};
  }
  throw input_error("1000 windows of " + std::to_string(length_) +
                    " bases drawn in a row are mostly N. Choose intervals that hold sequence.");
}

std::vector<Window> tile_windows(const Genome& genome, const Intervals& intervals, int64_t length,
                                 int64_t step, bool keep_rest, double max_unknown) {
  require_window_length(length);
  if (step < 1)
    throw usage_error("the step between windows must be at least 1, not " + std::to_string(step) +
                      ".");
  std::vector<Window> windows;
  for (const Interval& interval : intervals) {
    for (int64_t start = interval.start; start < interval.end; start += step) {
      const int64_t end = std::min(start + length, interval.end);
      if (end - start < length && !keep_rest) break;
      if (!mostly_unknown(genome, interval.contig, start, end, max_unknown)) {
        windows.push_back({interval.contig, start, end, false});
      }
      if (end == interval.end) break;  // with overlapping windows the rest has been covered
    }
  }
  return windows;
}

}  // namespace strandwave
