#include "audio/metrics/feature_moments.h"

#include <algorithm>
#include <string>

#include "audio/metrics/resampling.h"
#include "core/base/error.h"

namespace strandwave::audio {
namespace {

// The square root of a symmetric positive semi-definite matrix.
torch::Tensor square_root(const torch::Tensor& matrix) {
  const auto [values, vectors] = torch::linalg_eigh(matrix);
  return vectors.mul(values.clamp_min(0).sqrt()).matmul(vectors.t());
}

struct Line {
  double slope = 0, intercept = 0, r2 = 0;
};
Line fitted(const std::vector<double>& x, const std::vector<double>& y) {
  const auto n = static_cast<double>(x.size());
  double mx = 0, my = 0, xx = 0, xy = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) mx += x[i] / n, my += y[i] / n;
  for (size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mx) * (x[i] - mx);
    xy += (x[i] - mx) * (y[i] - my);
    yy += (y[i] - my) * (y[i] - my);
  }
  Line line;
  line.slope = xy / xx;
  line.intercept = my - line.slope * mx;
  line.r2 = yy > 0 ? xy * xy / (xx * yy) : 1;
  return line;
}

}  // namespace

FeatureMoments::FeatureMoments(int64_t dimensions)
    : mean_(torch::zeros({dimensions}, torch::kFloat64)),
      scatter_(torch::zeros({dimensions, dimensions}, torch::kFloat64)) {}

FeatureMoments::FeatureMoments(const torch::Tensor& features) : FeatureMoments(features.size(1)) {
  add(features);
}

void FeatureMoments::add(const torch::Tensor& features) {
  if (features.size(0) == 0) return;
  const torch::Tensor rows = features.to(torch::kFloat64);
  if (!torch::isfinite(rows).all().item<bool>())
    throw input_error("a feature is not finite: look for damaged clips");
  FeatureMoments piece(features.size(1));
  piece.n_ = rows.size(0);
  piece.mean_ = rows.mean(0);
  const torch::Tensor deviations = rows - piece.mean_;
  piece.scatter_ = deviations.t().matmul(deviations);
  merge(piece);
}

void FeatureMoments::merge(const FeatureMoments& other) {
  if (other.n_ == 0) return;
  const auto a = static_cast<double>(n_), b = static_cast<double>(other.n_);
  const torch::Tensor apart = other.mean_ - mean_;
  scatter_ = scatter_ + other.scatter_ + torch::outer(apart, apart) * (a * b / (a + b));
  mean_ = mean_ + apart * (b / (a + b));
  n_ += other.n_;
}

torch::Tensor FeatureMoments::covariance() const {
  if (n_ < 2)
    throw input_error("a covariance needs two clips at least, there is " + std::to_string(n_) +
                      ": give more clips");
  return scatter_ / static_cast<double>(n_ - 1);
}

double frechet_distance(const FeatureMoments& a, const FeatureMoments& b) {
  if (a.dimensions() != b.dimensions())
    throw input_error("features of " + std::to_string(a.dimensions()) + " and of " +
                      std::to_string(b.dimensions()) +
                      " numbers cannot be compared: use one embedding for both");
  const torch::Tensor of_a = a.covariance(), of_b = b.covariance();
  const torch::Tensor root = square_root(of_a);
  const double shared = torch::linalg_eigvalsh(root.matmul(of_b).matmul(root))
                            .clamp_min(0)
                            .sqrt()
                            .sum()
                            .item<double>();
  const double distance = (a.mean() - b.mean()).square().sum().item<double>() +
                          of_a.trace().item<double>() + of_b.trace().item<double>() - 2 * shared;
  return std::max(distance, 0.0);  // below 0 by rounding only
}

double frechet_distance(const torch::Tensor& a, const torch::Tensor& b) {
  return frechet_distance(FeatureMoments(a), FeatureMoments(b));
}

FrechetExtrapolation frechet_infinity(const torch::Tensor& candidate,
                                      const FeatureMoments& reference, uint64_t seed,
                                      int64_t points) {
  const int64_t n = candidate.size(0);
  const int64_t least = std::max<int64_t>(n / 5, 2);
  if (n < 20)
    throw input_error("FAD-infinity needs 20 clips at least, there are " + std::to_string(n));
  FrechetExtrapolation result;
  std::vector<double> inverse;
  for (int64_t i = 0; i < points; ++i) {
    const int64_t size = least + (n - least) * i / (points - 1);
    const torch::Tensor rows =
        index_tensor(drawn_without_replacement(n, size, seed, static_cast<uint64_t>(i)));
    result.sizes.push_back(size);
    result.distances.push_back(
        frechet_distance(FeatureMoments(candidate.index_select(0, rows)), reference));
    inverse.push_back(1.0 / static_cast<double>(size));
  }
  const Line line = fitted(inverse, result.distances);
  result.value = line.intercept;
  result.r2 = line.r2;
  return result;
}

}  // namespace strandwave::audio
