#include "genomics/splits.h"

#include <algorithm>
#include <tuple>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/random.h"

namespace strandwave {
namespace {

void append(Intervals& to, const Intervals& from) { to.insert(to.end(), from.begin(), from.end()); }

Intervals without_labels(Intervals intervals) {
  for (Interval& interval : intervals) interval.label.clear();
  return intervals;
}

struct Named {
  const Intervals& intervals;
  const char* name;
};

// Throws, or notes in splits.overlaps, that two of the splits share bases.
void check_overlap(const Genome& genome, Splits& splits, const Named& a, const Named& b,
                   bool allowed) {
  const Intervals shared = intersect_intervals(a.intervals, b.intervals);
  if (shared.empty()) return;
  const std::string fact = std::string("the splits ") + a.name + " and " + b.name + " overlap at " +
                           region_string(genome, shared.front()) + " (" +
                           std::to_string(total_length(shared)) +
                           " bases in all): a model would be judged on what it was trained on";
  if (!allowed)
    throw input_error(fact + "; separate them, or give --allow-overlap to go on all the same");
  splits.overlaps.push_back(fact);
}

struct Block {
  Interval interval;
  int64_t known = 0;  // bases that are not N
  uint64_t order = 0;
};

std::vector<Block> cut_into_blocks(const Genome& genome, const BlockOptions& options) {
  std::vector<Block> blocks;
  for (const Interval& contig : whole_genome(genome)) {
    for (int64_t start = 0; start < contig.end;) {
      int64_t end = std::min(start + options.size, contig.end);
      if (contig.end - end < options.size / 2) end = contig.end;
      const RandomStream random(options.seed, RandomPurpose::kShuffle,
                                static_cast<uint64_t>(contig.contig), static_cast<uint64_t>(start));
      blocks.push_back({{contig.contig, start, end, "", '.'},
                        end - start - genome.count_unknown(contig.contig, start, end),
                        random.bits(0)});
      start = end;
    }
  }
  return blocks;
}

// Moves whole blocks from the front of `left` to `split` until it holds `fraction` of `bases`.
void take_blocks(std::vector<Block>& left, double fraction, int64_t bases, Intervals& split) {
  const double wanted = fraction * static_cast<double>(bases);
  double taken = 0;
  auto next = left.begin();
  for (; next != left.end() && taken < wanted; ++next) {
    taken += static_cast<double>(next->known);
    split.push_back(next->interval);
  }
  left.erase(left.begin(), next);
}

void draw_blocks(const Genome& genome, const BlockOptions& options, Splits& splits) {
  if (options.validation < 0 || options.test < 0 || options.validation + options.test >= 1)
    throw usage_error("the fractions of blocks for validation and test must be at least 0 and " +
                      std::string("together less than 1"));
  std::vector<Block> blocks = cut_into_blocks(genome, options);
  int64_t bases = 0;
  for (const Block& block : blocks) bases += block.known;
  std::erase_if(blocks, [](const Block& b) { return 2 * b.known < b.interval.length(); });
  std::sort(blocks.begin(), blocks.end(), [](const Block& a, const Block& b) {
    return std::tie(a.order, a.interval.contig, a.interval.start) <
           std::tie(b.order, b.interval.contig, b.interval.start);
  });
  const size_t count = blocks.size();
  take_blocks(blocks, options.test, bases, splits.test);
  take_blocks(blocks, options.validation, bases, splits.validation);
  if (blocks.empty())
    throw input_error("the genome has only " + std::to_string(count) + " blocks of " +
                      std::to_string(options.size) +
                      " bases, and all would be held out: use smaller blocks");
}

Intervals parse_regions(const Genome& genome, const std::vector<std::string>& regions) {
  Intervals intervals;
  for (const std::string& region : regions) intervals.push_back(parse_region(region, genome));
  return intervals;
}

void add_labelled(const Genome& genome, const std::string& bed, Splits& splits) {
  for (const Interval& interval : read_bed(bed, genome)) {
    Intervals* split = interval.label == "train"        ? &splits.train
                       : interval.label == "validation" ? &splits.validation
                       : interval.label == "test"       ? &splits.test
                                                        : nullptr;
    if (split == nullptr)
      throw input_error(bed + ": the label '" + interval.label + "' of " +
                        region_string(genome, interval) +
                        " is unknown: column 4 must be train, validation or test");
    split->push_back(interval);
  }
}

}  // namespace

Splits make_splits(const Genome& genome, const SplitOptions& options) {
  Splits splits;
  splits.train = parse_regions(genome, options.train);
  splits.validation = parse_regions(genome, options.validation);
  splits.test = parse_regions(genome, options.test);
  if (!options.bed.empty()) add_labelled(genome, options.bed, splits);
  if (options.blocks.size > 0) {
    if (!splits.train.empty() || !splits.validation.empty() || !splits.test.empty())
      throw usage_error("blocks divide the whole genome: name no other intervals beside them");
    draw_blocks(genome, options.blocks, splits);
  }
  for (Intervals* split : {&splits.train, &splits.validation, &splits.test})
    *split = merge_intervals(without_labels(std::move(*split)));
  const Named train{splits.train, "train"}, validation{splits.validation, "validation"},
      test{splits.test, "test"};
  check_overlap(genome, splits, validation, test, options.allow_overlap);

  Intervals held_out = splits.validation;
  append(held_out, splits.test);
  if (splits.train.empty()) {
    splits.train = merge_intervals(whole_genome(genome));
    splits.train = subtract_intervals(
        splits.train, merge_intervals(grow_intervals(held_out, options.gap, genome)));
  } else {
    check_overlap(genome, splits, train, validation, options.allow_overlap);
    check_overlap(genome, splits, train, test, options.allow_overlap);
  }
  if (splits.train.empty() && options.need_training)
    throw input_error("nothing is left to train on: the held-out intervals with their gap of " +
                      std::to_string(options.gap) +
                      " bases cover the genome; hold out less, lower --gap, or, where only a "
                      "model is to be tested, leave the baselines out with --markov -1");
  return splits;
}

std::string hash_of_intervals(const Genome& genome, const Intervals& intervals) {
  std::string text;
  for (const Interval& interval : intervals)
    text += genome.contigs()[static_cast<size_t>(interval.contig)].name + '\t' +
            std::to_string(interval.start) + '\t' + std::to_string(interval.end) + '\n';
  return sha256_hex(text);
}

void write_splits(const std::string& path, const Genome& genome, const Splits& splits) {
  Intervals all;
  const auto add = [&](Intervals intervals, const char* label) {
    for (Interval& interval : intervals) interval.label = label;
    append(all, intervals);
  };
  add(splits.train, "train");
  add(splits.validation, "validation");
  add(splits.test, "test");
  write_bed(
      path, genome, sort_intervals(std::move(all)),
      {"contig, start (0-based), end, split; written by strandwave", "genome " + genome.hash()});
}

}  // namespace strandwave
