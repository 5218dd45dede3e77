#include "audio/metrics/resampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/base/error.h"
#include "core/base/random.h"

namespace strandwave::audio {
torch::Tensor index_tensor(const std::vector<int64_t>& rows) {
  return torch::tensor(rows, torch::kInt64);
}

std::vector<int64_t> drawn_with_replacement(int64_t n, uint64_t seed, uint64_t draw) {
  const RandomStream stream(seed, RandomPurpose::kBootstrap, 1, draw);
  std::vector<int64_t> rows(static_cast<size_t>(n));
  for (size_t i = 0; i < rows.size(); ++i)
    rows[i] = static_cast<int64_t>(stream.below(i, static_cast<uint64_t>(n)));
  return rows;
}

std::vector<int64_t> drawn_without_replacement(int64_t n, int64_t size, uint64_t seed,
                                               uint64_t draw) {
  const RandomStream stream(seed, RandomPurpose::kBootstrap, 2, draw);
  std::vector<int64_t> rows(static_cast<size_t>(n));
  std::iota(rows.begin(), rows.end(), 0);
  for (size_t i = 0; i < static_cast<size_t>(size); ++i)
    std::swap(rows[i], rows[i + stream.below(i, static_cast<uint64_t>(n) - i)]);
  rows.resize(static_cast<size_t>(size));
  std::sort(rows.begin(), rows.end());
  return rows;
}

Interval95 basic_bootstrap(int64_t n, int64_t m, int resamples, uint64_t seed,
                           const SetStatistic& statistic,
                           const std::function<void(int)>& progress) {
  const auto all = [](int64_t rows) { return torch::arange(rows, torch::kInt64); };
  Interval95 result;
  result.value = statistic(all(n), all(m));
  std::vector<double> drawn;
  for (int i = 0; i < resamples; ++i) {
    const auto draw = static_cast<uint64_t>(i);
    drawn.push_back(statistic(index_tensor(drawn_with_replacement(n, seed, 2 * draw)),
                              index_tensor(drawn_with_replacement(m, seed, 2 * draw + 1))));
    if (progress) progress(i + 1);
  }
  const torch::Tensor values = torch::tensor(drawn, torch::kFloat64);
  result.low = 2 * result.value - torch::quantile(values, 0.975).item<double>();
  result.high = 2 * result.value - torch::quantile(values, 0.025).item<double>();
  return result;
}

double paired_permutation(const torch::Tensor& a, const torch::Tensor& b, int permutations,
                          uint64_t seed,
                          const std::function<double(const torch::Tensor&)>& statistic,
                          const std::function<void(int)>& progress) {
  if (a.size(0) != b.size(0))
    throw input_error("a paired test needs equally many clips, there are " +
                      std::to_string(a.size(0)) + " and " + std::to_string(b.size(0)));
  const double apart = std::abs(statistic(a) - statistic(b));
  int64_t at_least = 1;
  for (int i = 0; i < permutations; ++i) {
    const RandomStream stream(seed, RandomPurpose::kBootstrap, 3, static_cast<uint64_t>(i));
    torch::Tensor change = torch::empty({a.size(0), 1}, torch::kBool);
    auto* values = change.data_ptr<bool>();
    for (int64_t row = 0; row < a.size(0); ++row)
      values[row] = (stream.bits(static_cast<uint64_t>(row)) & 1) != 0;
    const double of_draw =
        std::abs(statistic(torch::where(change, b, a)) - statistic(torch::where(change, a, b)));
    at_least += of_draw >= apart ? 1 : 0;
    if (progress) progress(i + 1);
  }
  return static_cast<double>(at_least) / (permutations + 1);
}

}  // namespace strandwave::audio
