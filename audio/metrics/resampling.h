// Drawing clips again: intervals and tests for statistics of sets of clips.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace strandwave::audio {

torch::Tensor index_tensor(const std::vector<int64_t>& rows);  // int64

// Draw number `draw` of `seed`: n rows of n with replacement; `size` of n rows without, in order.
std::vector<int64_t> drawn_with_replacement(int64_t n, uint64_t seed, uint64_t draw);
std::vector<int64_t> drawn_without_replacement(int64_t n, int64_t size, uint64_t seed,
                                               uint64_t draw);

struct Interval95 {
  double value = 0;  // the statistic of the sets as they are
  double low = 0, high = 0;
};

// A statistic of rows of one or two sets; the rows of the other stay as they are where it is empty.
using SetStatistic =
    std::function<double(const torch::Tensor& rows_a, const torch::Tensor& rows_b)>;

// The basic bootstrap, [2 t - q_97.5, 2 t - q_2.5] over `resamples` draws of both sets. Drawing
// repeats clips, which raises a distance that is biased by the number of clips (Frechet) once more:
// the percentile interval [q_2.5, q_97.5] would lie above its own point estimate. Throws what
// progress(resamples done) throws.
Interval95 basic_bootstrap(int64_t n, int64_t m, int resamples, uint64_t seed,
                           const SetStatistic& statistic,
                           const std::function<void(int)>& progress = {});

// p of |statistic(A) - statistic(B)| when A and B are exchangeable clip by clip: in each of
// `permutations` draws every pair changes sides with probability one half. a, b: equally many rows.
// (1 + draws at least as far apart) / (1 + permutations), two-sided.
double paired_permutation(const torch::Tensor& a, const torch::Tensor& b, int permutations,
                          uint64_t seed,
                          const std::function<double(const torch::Tensor&)>& statistic,
                          const std::function<void(int)>& progress = {});

}  // namespace strandwave::audio
