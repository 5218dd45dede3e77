// Mean and covariance of sets of feature vectors, and the Frechet distance between two of them.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace strandwave::audio {

// Of rows that come in pieces, in double (Chan, Golub, LeVeque 1983): pieces in any division give
// the same moments up to rounding.
class FeatureMoments {
 public:
  explicit FeatureMoments(int64_t dimensions);
  explicit FeatureMoments(const torch::Tensor& features);  // (n, d)

  void add(const torch::Tensor& features);  // (n, d); throws Error(kInput) where not finite
  void merge(const FeatureMoments& other);

  int64_t n() const { return n_; }
  int64_t dimensions() const { return mean_.size(0); }
  const torch::Tensor& mean() const { return mean_; }  // (d) float64
  // (d, d) float64, divisor n - 1. Throws Error(kInput) for fewer than two rows.
  torch::Tensor covariance() const;

 private:
  int64_t n_ = 0;
  torch::Tensor mean_;     // (d)
  torch::Tensor scatter_;  // (d, d), sum of products of deviations
};

// |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) (Heusel et al. 2017; Frechet audio distance:
// Kilgour et al. 2019). The last trace is the sum of the square roots of the eigenvalues of
// S_a^(1/2) S_b S_a^(1/2), which is symmetric: real, and negative by rounding only (set to 0).
// Biased upwards by about (d^2 / 4 + d) (1 / n + 1 / m) for features of unit variance.
double frechet_distance(const FeatureMoments& a, const FeatureMoments& b);
double frechet_distance(const torch::Tensor& a, const torch::Tensor& b);  // (n, d), (m, d)

// FAD-infinity (Chong and Forsyth 2020; Gui et al. 2023): the distance from subsets of `candidate`
// of different sizes, drawn without replacement by `seed`, as a straight line in 1 / size, read at
// 0.
struct FrechetExtrapolation {
  double value = 0;
  double r2 = 0;  // of the fit
  std::vector<int64_t> sizes;
  std::vector<double> distances;
};
FrechetExtrapolation frechet_infinity(const torch::Tensor& candidate,
                                      const FeatureMoments& reference, uint64_t seed,
                                      int64_t points = 15);

}  // namespace strandwave::audio
