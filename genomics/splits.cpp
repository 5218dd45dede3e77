#include "genomics/splits.h"

#include "core/base/error.h"
#include "core/base/hash.h"

namespace strandwave {
namespace {

void append(Intervals& to, const Intervals& from) { to.insert(to.end(), from.begin(), from.end()); }

Intervals without_labels(Intervals intervals) {
  for (Interval& interval : intervals) interval.label.clear();
  return intervals;
}

void refuse_overlap(const Genome& genome, const Intervals& a, const std::string& a_name,
                    const Intervals& b, const std::string& b_name) {
  const Intervals shared = intersect_intervals(a, b);
  if (shared.empty()) return;
  throw input_error(
      "the splits " + a_name + " and " + b_name + " overlap at " +
      region_string(genome, shared.front()) + " (" + std::to_string(total_length(shared)) +
      " bases in all): a model would be judged on what it was trained on; separate them");
}

Intervals parse_regions(const Genome& genome, const std::vector<std::string>& regions) {
  Intervals intervals;
  for (const std::string& region : regions) intervals.push_back(parse_region(region, genome));
  return intervals;
}

}  // namespace

Splits make_splits(const Genome& genome, const SplitOptions& options) {
  Splits splits;
  splits.train = parse_regions(genome, options.train);
  splits.validation = parse_regions(genome, options.validation);
  splits.test = parse_regions(genome, options.test);
  if (!options.bed.empty()) {
    for (const Interval& interval : read_bed(options.bed, genome)) {
      Intervals* split = interval.label == "train"        ? &splits.train
                         : interval.label == "validation" ? &splits.validation
                         : interval.label == "test"       ? &splits.test
                                                          : nullptr;
      if (split == nullptr)
        throw input_error(options.bed + ": the label '" + interval.label + "' of " +
                          region_string(genome, interval) +
                          " is unknown: column 4 must be train, validation or test");
      split->push_back(interval);
    }
  }
  for (Intervals* split : {&splits.train, &splits.validation, &splits.test})
    *split = merge_intervals(without_labels(std::move(*split)));
  refuse_overlap(genome, splits.validation, "validation", splits.test, "test");

  Intervals held_out = splits.validation;
  append(held_out, splits.test);
  if (splits.train.empty()) {
    splits.train = merge_intervals(whole_genome(genome));
    splits.train = subtract_intervals(
        splits.train, merge_intervals(grow_intervals(held_out, options.gap, genome)));
  } else {
    refuse_overlap(genome, splits.train, "train", splits.validation, "validation");
    refuse_overlap(genome, splits.train, "train", splits.test, "test");
  }
  if (splits.train.empty() && options.need_training)
    throw input_error("nothing is left to train on: the held-out intervals with their gap of " +
                      std::to_string(options.gap) +
                      " bases cover the genome; hold out less or lower --gap");
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
