#include "genomics/io/window_streams.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "core/base/error.h"
#include "core/base/random.h"
#include "genomics/io/byte_reader.h"

namespace strandwave {

WindowStreams::WindowStreams(const Genome& genome, const Intervals& intervals, int64_t length,
                             int64_t streams, Options options)
    : length_(length), streams_(streams), options_(std::move(options)) {
  require_file_weights(genome, options_.file_weights);
  if (length < 1 || streams < 1)
    throw usage_error("streams need windows of at least one base and at least one stream.");
  std::vector<Walk> walks;
  for (const Interval& interval : intervals) add_walks(genome, interval, walks);

  std::vector<Walk> repeated;
  const std::vector<int64_t> times = repeats(genome, walks);
  for (const Walk& walk : walks) {
    const auto file = static_cast<size_t>(genome.contigs()[static_cast<size_t>(walk.contig)].file);
    repeated.insert(repeated.end(), static_cast<size_t>(times[file]), walk);
  }
  for (uint64_t i = 0; i < repeated.size(); ++i) {
    pass_.push_back(repeated[permute_index(i, repeated.size(), options_.seed, 0)]);
    first_.push_back(windows_);
    windows_ += windows_of(pass_.back());
  }
  if (windows_ < streams_)
    throw input_error(std::to_string(streams_) + " streams for only " + std::to_string(windows_) +
                      " windows of " + std::to_string(length_) +
                      " bases that hold sequence: use fewer streams or shorter windows.");
}

void WindowStreams::add_walks(const Genome& genome, const Interval& interval,
                              std::vector<Walk>& walks) const {
  bool walking = false;
  for (int64_t start = interval.start; start < interval.end; start += length_) {
    const int64_t end = std::min(start + length_, interval.end);
    if (genome.count_unknown(interval.contig, start, end) == end - start) {
      walking = false;
      continue;
    }
    if (!walking) walks.push_back({interval.contig, start, end});
    walks.back().end = end;
    walking = true;
  }
}

// How often each file's walks are in a pass.
std::vector<int64_t> WindowStreams::repeats(const Genome& genome,
                                            const std::vector<Walk>& walks) const {
  const size_t files = genome.files().size();
  const std::vector<double>& weights = options_.file_weights;
  if (weights.empty()) return std::vector<int64_t>(files, 1);
  std::vector<double> density(files);
  for (const Walk& walk : walks)
    density[static_cast<size_t>(genome.contigs()[static_cast<size_t>(walk.contig)].file)] +=
        static_cast<double>(windows_of(walk));
  double smallest = std::numeric_limits<double>::infinity();
  for (size_t file = 0; file < files; ++file) {
    if (weights[file] > 0 && density[file] == 0)
      throw input_error(
          display_path(genome.files()[file].path) +
          ": this genome has a weight but nothing to train on. Give it the weight 0.");
    density[file] = weights[file] > 0 ? weights[file] / density[file] : 0;
    if (density[file] > 0) smallest = std::min(smallest, density[file]);
  }

  constexpr int64_t kMostTimes = 64;
  std::vector<int64_t> best(files);
  double best_error = std::numeric_limits<double>::infinity();
  for (int64_t times = 1; times <= kMostTimes && best_error > 0.01; ++times) {
    std::vector<int64_t> rounded(files);
    double error = 0;
    for (size_t file = 0; file < files; ++file) {
      const double exact = static_cast<double>(times) * density[file] / smallest;
      rounded[file] = std::llround(exact);
      if (exact > 0)
        error = std::max(error, std::abs(static_cast<double>(rounded[file]) / exact - 1));
    }
    if (error >= best_error) continue;
    best_error = error;
    best = rounded;
  }
  return best;
}

double WindowStreams::padding() const {
  int64_t bases = 0;
  for (const Walk& walk : pass_) bases += walk.end - walk.start;
  return 1 - static_cast<double>(bases) / static_cast<double>(windows_ * length_);
}

StreamWindow WindowStreams::window(int64_t stream, int64_t step) const {
  // stream * windows_ / streams_ without overflow.
  const int64_t origin = windows_ / streams_ * stream + windows_ % streams_ * stream / streams_;
  const int64_t position = origin + step;
  const int64_t pass = position / windows_;
  const int64_t at = position % windows_;
  const auto entry =
      static_cast<size_t>(std::upper_bound(first_.begin(), first_.end(), at) - first_.begin()) - 1;
  const Walk& walk = pass_[entry];
  const int64_t done = (at - first_[entry]) * length_;  // bases of the walk before this window
  const bool reverse =
      options_.reverse_complement &&
      (RandomStream(options_.seed, RandomPurpose::kStrand, entry, static_cast<uint64_t>(pass))
           .bits(0) &
       1) != 0;
  StreamWindow result;
  result.restart = done == 0 || step == 0;
  result.window = reverse ? Window{walk.contig, std::max(walk.start, walk.end - done - length_),
                                   walk.end - done, true}
                          : Window{walk.contig, walk.start + done,
                                   std::min(walk.start + done + length_, walk.end), false};
  return result;
}

}  // namespace strandwave
