#include "audio/metrics/kernel_distance.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/base/error.h"

namespace strandwave::audio {
namespace {

constexpr int kBlocks = 20;
constexpr int64_t kMostForMedian = 2000;

// Distances by differences: |x|^2 + |y|^2 - 2 xy loses digits where the mean is large.
torch::Tensor distances(const torch::Tensor& a, const torch::Tensor& b) {
  return torch::cdist(a, b, 2.0, /*compute_mode=*/2);
}

torch::Tensor kernel(const torch::Tensor& a, const torch::Tensor& b, double bandwidth) {
  return (distances(a, b).square() / (-2 * bandwidth * bandwidth)).exp();
}

// Sums of a kernel matrix over pairs of blocks, (blocks, blocks).
torch::Tensor block_sums(const torch::Tensor& matrix, const torch::Tensor& left,
                         const torch::Tensor& right) {
  return left.matmul(matrix).matmul(right.t());
}

// (blocks, n): 1 where row i belongs to the block; rows are dealt round.
torch::Tensor membership(int64_t n) {
  return torch::one_hot(torch::arange(n).remainder(kBlocks), kBlocks).t().to(torch::kFloat64);
}

// The estimate from sums over the blocks that `keep` (blocks) has, 1 or 0.
struct BlockSums {
  torch::Tensor xx, yy, xy;  // without the diagonals of the first two
  torch::Tensor n, m;        // rows of each block

  double estimate(const torch::Tensor& keep) const {
    const double rows = n.dot(keep).item<double>(), columns = m.dot(keep).item<double>();
    const auto sum = [&](const torch::Tensor& sums) {
      return keep.dot(sums.mv(keep)).item<double>();
    };
    return 100 * (sum(xx) / (rows * (rows - 1)) + sum(yy) / (columns * (columns - 1)) -
                  2 * sum(xy) / (rows * columns));
  }
};

}  // namespace

double median_distance(const torch::Tensor& features, uint64_t seed) {
  torch::Tensor rows = features.to(torch::kFloat64);
  if (rows.size(0) < 2) throw input_error("a median distance needs two clips at least");
  if (rows.size(0) > kMostForMedian)
    rows = rows.index_select(
        0, index_tensor(drawn_without_replacement(rows.size(0), kMostForMedian, seed, 0)));
  const double median = torch::pdist(rows).median().item<double>();
  if (!(median > 0))
    throw input_error(
        "the median distance of the reference's clips is 0: half of them or more are alike");
  return median;
}

KernelDistance kernel_distance(const torch::Tensor& candidate, const torch::Tensor& reference,
                               uint64_t seed, double bandwidth) {
  const torch::Tensor x = candidate.to(torch::kFloat64), y = reference.to(torch::kFloat64);
  if (std::min(x.size(0), y.size(0)) < 2 * kBlocks)
    throw input_error("KAD needs " + std::to_string(2 * kBlocks) +
                      " clips on both sides at least, there are " + std::to_string(x.size(0)) +
                      " and " + std::to_string(y.size(0)));
  KernelDistance result;
  result.bandwidth = bandwidth > 0 ? bandwidth : median_distance(y, seed);
  const torch::Tensor of_x = membership(x.size(0)), of_y = membership(y.size(0));
  const BlockSums sums{block_sums(kernel(x, x, result.bandwidth).fill_diagonal_(0), of_x, of_x),
                       block_sums(kernel(y, y, result.bandwidth).fill_diagonal_(0), of_y, of_y),
                       block_sums(kernel(x, y, result.bandwidth), of_x, of_y), of_x.sum(1),
                       of_y.sum(1)};
  const torch::Tensor all = torch::ones({kBlocks}, torch::kFloat64);
  result.interval.value = sums.estimate(all);
  std::vector<double> without;
  double mean = 0;
  for (int block = 0; block < kBlocks; ++block) {
    torch::Tensor keep = all.clone();
    keep[block] = 0;
    without.push_back(sums.estimate(keep));
    mean += without.back() / kBlocks;
  }
  double variance = 0;
  for (const double value : without)
    variance += (value - mean) * (value - mean) * (kBlocks - 1) / kBlocks;
  result.interval.low = result.interval.value - 1.96 * std::sqrt(variance);
  result.interval.high = result.interval.value + 1.96 * std::sqrt(variance);
  return result;
}

NearestClips nearest_clips(const torch::Tensor& rows, const torch::Tensor& training) {
  constexpr int64_t kAtOnce = 1024;  // rows, so that the matrix stays small
  const torch::Tensor all = training.to(torch::kFloat64);
  std::vector<torch::Tensor> distance, index;
  for (int64_t first = 0; first < rows.size(0); first += kAtOnce) {
    const torch::Tensor piece =
        rows.slice(0, first, std::min(first + kAtOnce, rows.size(0))).to(torch::kFloat64);
    const auto [least, where] = distances(piece, all).min(1);
    distance.push_back(least);
    index.push_back(where);
  }
  return {torch::cat(distance), torch::cat(index)};
}

}  // namespace strandwave::audio
