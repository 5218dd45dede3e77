#include "audio/metrics/class_scores.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/random.h"

namespace strandwave::audio {
namespace {

torch::Tensor doubles(const torch::Tensor& log_probabilities) {
  if (log_probabilities.size(0) == 0) throw input_error("a score of clips needs clips");
  return log_probabilities.to(torch::kFloat64);
}

// p ln p, 0 where p underflowed.
torch::Tensor times_log(const torch::Tensor& log_p) {
  return torch::where(torch::isinf(log_p), torch::zeros_like(log_p), log_p.exp() * log_p);
}

// ln of the mean of the rows' probabilities.
torch::Tensor log_mean(const torch::Tensor& log_p) {
  return torch::logsumexp(log_p, 0) - std::log(static_cast<double>(log_p.size(0)));
}

// numpy.random.RandomState(0)'s integers in [0, most]: the least mask that covers `most`, drawn
// until the value fits.
class NumpyIntegers {
 public:
  uint32_t up_to(uint32_t most) {
    if (most == 0) return 0;
    uint32_t mask = most;
    for (const int shift : {1, 2, 4, 8, 16}) mask |= mask >> shift;
    for (;;) {
      const auto value = static_cast<uint32_t>(generator_()) & mask;
      if (value <= most) return value;
    }
  }

 private:
  std::mt19937 generator_{0};
};

torch::Tensor squared_distances(const torch::Tensor& rows, const torch::Tensor& centres) {
  return torch::cdist(rows, centres, 2.0, /*compute_mode=*/2).square();
}

// A row drawn in proportion to `weights` (n).
int64_t drawn(const torch::Tensor& weights, double u) {
  const torch::Tensor sums = weights.cumsum(0);
  const double at = u * sums[-1].item<double>();
  return std::min<int64_t>((sums <= at).sum().item<int64_t>(), weights.size(0) - 1);
}

std::vector<double> proportions(const torch::Tensor& cells, int64_t bins) {
  const torch::Tensor counts =
      torch::bincount(cells, {}, bins).to(torch::kFloat64) / static_cast<double>(cells.size(0));
  return {counts.data_ptr<double>(), counts.data_ptr<double>() + bins};
}

bool differ(double p, double n, double q, double m) {
  constexpr double kTwoSided = 1.959963984540054;  // 5 %
  const double pooled = (p * n + q * m) / (n + m);
  const double error = std::sqrt(pooled * (1 - pooled) * (1 / n + 1 / m));
  return error > 0 && std::abs(p - q) > kTwoSided * error;
}

double share_that_differs(const std::vector<double>& p, double n, const std::vector<double>& q,
                          double m) {
  double count = 0;
  for (size_t i = 0; i < p.size(); ++i) count += differ(p[i], n, q[i], m) ? 1 : 0;
  return count / static_cast<double>(p.size());
}

// Proportions of `n` draws from the bins of `p`.
std::vector<double> simulated(const std::vector<double>& p, int64_t n, const RandomStream& stream) {
  std::vector<double> ends(p.size()), result(p.size());
  std::partial_sum(p.begin(), p.end(), ends.begin());
  for (int64_t i = 0; i < n; ++i) {
    const double u = stream.uniform(static_cast<uint64_t>(i)) * ends.back();
    const auto bin = std::min<size_t>(
        static_cast<size_t>(std::upper_bound(ends.begin(), ends.end(), u) - ends.begin()),
        p.size() - 1);
    result[bin] += 1.0 / static_cast<double>(n);
  }
  return result;
}

}  // namespace

double inception_score(const torch::Tensor& log_probabilities) {
  const torch::Tensor log_p = doubles(log_probabilities);
  const double own = times_log(log_p).sum(1).mean().item<double>();
  const double mixed = times_log(log_mean(log_p)).sum().item<double>();
  return std::exp(own - mixed);
}

double modified_inception_score(const torch::Tensor& log_probabilities) {
  const torch::Tensor log_p = doubles(log_probabilities);
  const double own = times_log(log_p).sum(1).mean().item<double>();
  return std::exp(own - (log_mean(log_p).exp() * log_p.mean(0)).sum().item<double>());
}

double am_score(const torch::Tensor& reference, const torch::Tensor& log_probabilities) {
  const torch::Tensor log_p = doubles(log_probabilities);
  const torch::Tensor of_reference = log_mean(doubles(reference));
  const torch::Tensor apart = of_reference.exp() * (of_reference - log_mean(log_p));
  return apart.sum().item<double>() - times_log(log_p).sum(1).mean().item<double>();
}

double sashimi_inception_score(const torch::Tensor& log_probabilities) {
  const torch::Tensor log_p = doubles(log_probabilities);
  const int64_t n = log_p.size(0);
  if (n < 2) throw input_error("this score halves the clips: give two at least");
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  NumpyIntegers draw;
  for (size_t i = order.size() - 1; i > 0; --i)
    std::swap(order[i], order[draw.up_to(static_cast<uint32_t>(i))]);
  order.resize(order.size() / 2);
  const torch::Tensor half = log_p.index_select(0, torch::tensor(order, torch::kInt64));
  const torch::Tensor log_q = half - torch::logsumexp(half, 0, true);
  const double uniform = -std::log(static_cast<double>(half.size(0)));
  return std::exp((times_log(log_q).sum(0) - uniform).mean().item<double>());
}

double sashimi_modified_inception_score(const torch::Tensor& log_probabilities) {
  constexpr int kPairs = 10000;
  const torch::Tensor log_p = doubles(log_probabilities);
  NumpyIntegers draw;
  const auto most = static_cast<uint32_t>(log_p.size(0) - 1);
  std::vector<int64_t> first, second;
  for (int i = 0; i < kPairs; ++i) {
    first.push_back(draw.up_to(most));
    second.push_back(draw.up_to(most));
  }
  const torch::Tensor p = log_p.index_select(0, torch::tensor(first, torch::kInt64));
  const torch::Tensor q = log_p.index_select(0, torch::tensor(second, torch::kInt64));
  return std::exp((times_log(p) - p.exp() * q).sum(1).mean().item<double>());
}

torch::Tensor k_means(const torch::Tensor& features, int64_t k, uint64_t seed) {
  constexpr int kMostIterations = 300;
  const torch::Tensor rows = features.to(torch::kFloat64);
  const RandomStream stream(seed, RandomPurpose::kBootstrap, 4);
  torch::Tensor nearest = torch::ones({rows.size(0)}, torch::kFloat64);
  std::vector<torch::Tensor> chosen;
  for (int64_t i = 0; i < k; ++i) {
    chosen.push_back(rows[drawn(nearest, stream.uniform(static_cast<uint64_t>(i)))]);
    const torch::Tensor to_new = squared_distances(rows, chosen.back().unsqueeze(0)).squeeze(1);
    nearest = i == 0 ? to_new : torch::minimum(nearest, to_new);
  }
  torch::Tensor centres = torch::stack(chosen), cells;
  for (int i = 0; i < kMostIterations; ++i) {
    const torch::Tensor now = squared_distances(rows, centres).argmin(1);
    if (cells.defined() && torch::equal(cells, now)) break;
    cells = now;
    const torch::Tensor counts = torch::bincount(cells, {}, k).to(torch::kFloat64).unsqueeze(1);
    const torch::Tensor sums = torch::one_hot(cells, k).to(torch::kFloat64).t().matmul(rows);
    centres = torch::where(counts > 0, sums / counts.clamp_min(1), centres);  // empty: stays
  }
  return centres;
}

NdbResult ndb(const torch::Tensor& reference, const torch::Tensor& candidate, uint64_t seed,
              int64_t bins) {
  constexpr int kDraws = 1000;
  const int64_t n = candidate.size(0), m = reference.size(0);
  if (std::min(n, m) < 40)
    throw input_error("NDB needs 40 clips on both sides at least, there are " + std::to_string(n) +
                      " and " + std::to_string(m));
  NdbResult result;
  result.bins = bins > 0 ? bins : std::clamp<int64_t>(std::min(n, m) / 20, 2, 50);
  const torch::Tensor centres = k_means(reference, result.bins, seed);
  const auto cells = [&](const torch::Tensor& rows) {
    return squared_distances(rows.to(torch::kFloat64), centres).argmin(1);
  };
  const std::vector<double> p = proportions(cells(reference), result.bins);
  const std::vector<double> q = proportions(cells(candidate), result.bins);
  result.share = share_that_differs(p, static_cast<double>(m), q, static_cast<double>(n));
  for (int i = 0; i < kDraws; ++i) {
    const auto draw = static_cast<uint64_t>(i);
    result.expected_share +=
        share_that_differs(simulated(p, m, {seed, RandomPurpose::kBootstrap, 5, 2 * draw}),
                           static_cast<double>(m),
                           simulated(p, n, {seed, RandomPurpose::kBootstrap, 5, 2 * draw + 1}),
                           static_cast<double>(n)) /
        kDraws;
  }
  return result;
}

}  // namespace strandwave::audio
