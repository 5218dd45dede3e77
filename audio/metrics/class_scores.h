// Scores of generated clips from a classifier's probabilities alone.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace strandwave::audio {

// Log probabilities are (n, classes), natural logarithm: from probabilities that underflow to 0 the
// divergences would be infinite. p_i is row i, p the mean of the rows.

// exp(mean_i KL(p_i || p)) (Salimans et al. 2016), over all rows. At most the number of classes.
double inception_score(const torch::Tensor& log_probabilities);

// exp(mean_ij KL(p_i || p_j)) (Gurumurthy et al. 2017), over all n^2 pairs, in closed form:
// mean_i sum_c p_ic ln p_ic - sum_c p_c mean_j ln p_jc. Has no bound.
double modified_inception_score(const torch::Tensor& log_probabilities);

// KL(p_reference || p) + mean_i H(p_i) (Zhou et al. 2018): small for clips that are each of one
// class and together like the reference's mixture.
double am_score(const torch::Tensor& reference, const torch::Tensor& log_probabilities);

// The same as the public SaShiMi code computes them. Its inception score permutes the clips by
// numpy's generator of seed 0, compares the first half with the mean of the second, and takes
// scipy's entropy along the clips instead of along the classes: exp(mean_c KL(q_c || uniform)), q_c
// being column c of the first half scaled to sum 1. Its modified score is the mean over 10,000
// pairs, drawn with replacement by the same generator.
double sashimi_inception_score(const torch::Tensor& log_probabilities);
double sashimi_modified_inception_score(const torch::Tensor& log_probabilities);

// NDB (Richardson and Weiss 2018): bins are the cells of `bins` centres of the reference's
// features, found by k-means; the share of bins whose proportion of clips differs at the 5 % level
// of a two-proportion z test.
struct NdbResult {
  int64_t bins = 0;
  double share = 0;
  double expected_share =
      0;  // mean over 1,000 draws of as many clips from the reference's own bins
};
// min(50, n / 20) bins, n being the smaller set; at least 2. Throws Error(kInput) below 40 clips.
NdbResult ndb(const torch::Tensor& reference, const torch::Tensor& candidate, uint64_t seed,
              int64_t bins = 0);

// (k, d) centres: k-means++ by `seed`, then Lloyd's iteration until no row changes its cell, at
// most 300 times.
torch::Tensor k_means(const torch::Tensor& features, int64_t k, uint64_t seed);

}  // namespace strandwave::audio
