#include "genomics/base_predictor.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <utility>

#include "genomics/io/soft_mask.h"

namespace strandwave {
namespace {

constexpr int64_t kPiece = int64_t{1} << 20;  // bases at a time

// Consecutive scored positions of one window, on one contig.
struct Piece {
  int64_t contig = 0;
  int64_t start = 0;
  int64_t end = 0;
  const float* bits = nullptr;  // of the model
};

// Calls visit(piece) for all windows, cut where pieces or blocks of the genome end.
template <class Visit>
void for_each_piece(const ScoredWindows& scored, int64_t size, Visit visit) {
  const float* bits = scored.bits.data();
  for (const Window& window : scored.windows) {
    for (int64_t start = window.start; start < window.end;) {
      const int64_t end = std::min((start / size + 1) * size, window.end);
      visit(Piece{window.contig, start, end, bits});
      bits += end - start;
      start = end;
    }
  }
}

// Which region each position of a piece lies in: 0 non-repeats, 1 repeats; empty: no mask.
std::vector<uint8_t> regions_of(const Genome& genome, const Piece& piece) {
  if (!carries_soft_mask(genome.contigs()[static_cast<size_t>(piece.contig)])) return {};
  std::vector<uint8_t> mask(static_cast<size_t>(piece.end - piece.start));
  genome.fetch_lower_case(piece.contig, piece.start, piece.end, mask.data());
  return mask;
}

class RegionSums {
 public:
  void add(uint8_t region, double bits) {
    ++positions_[region];
    bits_[region] += bits;
  }
  std::vector<RegionBits> result() const {
    std::vector<RegionBits> regions;
    for (const size_t region : {1U, 0U})
      if (positions_[region] > 0)
        regions.push_back({region == 1 ? "repeats" : "non-repeats", positions_[region],
                           bits_[region] / static_cast<double>(positions_[region])});
    return regions;
  }

 private:
  std::array<int64_t, 2> positions_ = {};
  std::array<double, 2> bits_ = {};
};

// Number of a block of the genome, in the order of first use.
class BlockNumbers {
 public:
  size_t of(int64_t contig, int64_t position) {
    return numbers_.try_emplace({contig, position / BlockBits::kSize}, numbers_.size())
        .first->second;
  }

 private:
  std::map<std::pair<int64_t, int64_t>, size_t> numbers_;
};

void add_at(std::vector<double>& sums, size_t index, double value) {
  if (sums.size() <= index) sums.resize(index + 1);
  sums[index] += value;
}

// The start of the interval that holds a position, at most `context` bases before it.
int64_t reach_back(const Intervals& intervals, int64_t contig, int64_t position, int64_t context) {
  for (const Interval& interval : intervals)
    if (interval.contig == contig && interval.start <= position && position < interval.end)
      return std::max(interval.start, position - context);
  return position;
}

}  // namespace

std::vector<std::string> MarkovPredictor::names() const {
  std::vector<std::string> names;
  for (const int order : orders_) names.push_back("Markov order " + std::to_string(order));
  return names;
}

ModelBits summarise(const ScoredWindows& scored, const Genome& genome) {
  ModelBits result;
  RegionSums regions;
  BlockNumbers numbers;
  for_each_piece(scored, BlockBits::kSize, [&](const Piece& piece) {
    const std::vector<uint8_t> region = regions_of(genome, piece);
    double bits = 0, positions = 0;
    for (int64_t i = 0; i < piece.end - piece.start; ++i) {
      if (std::isnan(piece.bits[i])) continue;
      bits += piece.bits[i];
      positions += 1;
      if (!region.empty()) regions.add(region[static_cast<size_t>(i)], piece.bits[i]);
    }
    if (positions == 0) return;
    const size_t block = numbers.of(piece.contig, piece.start);
    add_at(result.blocks.positions, block, positions);
    add_at(result.blocks.bits, block, bits);
  });
  result.regions = regions.result();
  return result;
}

std::vector<PredictorComparison> compare_with(const BasePredictor& predictor,
                                              const ScoredWindows& scored, const Genome& genome,
                                              const Intervals& intervals,
                                              const std::function<void(int64_t)>& progress) {
  const std::vector<std::string> names = predictor.names();
  const size_t columns = names.size();
  std::vector<double> positions, totals(columns);
  std::vector<std::vector<double>> differences(columns);
  std::vector<RegionSums> regions(columns);
  BlockNumbers numbers;
  int64_t done = 0;
  for_each_piece(scored, kPiece, [&](const Piece& piece) {
    const int64_t reach = reach_back(intervals, piece.contig, piece.start, predictor.context());
    const std::vector<float> others =
        predictor.bits(genome, {piece.contig, reach, piece.end, {}, '.'});
    const float* row = others.data() + static_cast<size_t>(piece.start - reach) * columns;
    const std::vector<uint8_t> region = regions_of(genome, piece);
    size_t block = 0;
    int64_t block_end = 0;
    for (int64_t i = 0; i < piece.end - piece.start; ++i, row += columns) {
      if (std::isnan(piece.bits[i]) || std::isnan(row[0])) continue;
      const int64_t position = piece.start + i;
      if (position >= block_end) {
        block = numbers.of(piece.contig, position);
        block_end = (position / BlockBits::kSize + 1) * BlockBits::kSize;
      }
      add_at(positions, block, 1);
      for (size_t j = 0; j < columns; ++j) {
        add_at(differences[j], block, static_cast<double>(piece.bits[i]) - row[j]);
        totals[j] += row[j];
        if (!region.empty()) regions[j].add(region[static_cast<size_t>(i)], row[j]);
      }
    }
    done += piece.end - piece.start;
    if (progress) progress(done);
  });
  double all = 0;
  for (const double n : positions) all += n;
  std::vector<PredictorComparison> comparisons;
  for (size_t j = 0; j < columns; ++j)
    comparisons.push_back({names[j], all > 0 ? totals[j] / all : 0,
                           block_bootstrap(differences[j], positions, 1000, 0),
                           regions[j].result()});
  return comparisons;
}

}  // namespace strandwave
