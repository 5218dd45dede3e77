#include "audio/baselines.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <stdexcept>

namespace strandwave::audio {
namespace {

constexpr double kDecay = 0.9;        // of the running mean of absolute errors
constexpr double kUniform = 2e-3;     // share of all codes alike
constexpr double kLeastError = 3e-5;  // so that silence does not end in a deviation of 0
constexpr double kRidge = 1e-9;       // of the trace: keeps the equations of silence solvable

// Counts -> bits, row by row of 256.
void to_bits(std::vector<double>& counts) {
  for (auto row = counts.begin(); row != counts.end(); row += 256) {
    const double total = std::accumulate(row, row + 256, 0.0);
    std::transform(row, row + 256, row, [&](double count) { return -std::log2(count / total); });
  }
}

double normal_cdf(double z) { return 0.5 * std::erfc(-z / std::numbers::sqrt2); }

ClipBits summed(const std::vector<double>& bits, int64_t real) {
  ClipBits sum;
  for (size_t t = 0; t < bits.size(); ++t) {
    sum.all += bits[t];
    if (static_cast<int64_t>(t) < real) sum.real += bits[t];
  }
  return sum;
}

}  // namespace

SampleBaselines::SampleBaselines(Companding companding)
    : unigram_(256, 1.0), order1_(size_t{256} * 256, 1.0) {
  std::array<uint8_t, 256> codes;
  std::iota(codes.begin(), codes.end(), uint8_t{0});
  std::array<float, 256> values;
  decode(companding, codes, values);
  std::copy(values.begin(), values.end(), value_.begin());
  edge_.front() = -std::numeric_limits<double>::infinity();
  edge_.back() = std::numeric_limits<double>::infinity();
  for (size_t code = 1; code < 256; ++code) edge_[code] = (value_[code - 1] + value_[code]) / 2;
}

const std::vector<std::string>& SampleBaselines::names() {
  static const std::vector<std::string> kNames = {"unigram", "order 1",
                                                  "LPC-" + std::to_string(kOrder)};
  return kNames;
}

void SampleBaselines::learn(std::span<const uint8_t> codes) {
  uint8_t before = kSilence;
  for (const uint8_t code : codes) {
    unigram_[code] += 1;
    order1_[size_t{before} * 256 + code] += 1;
    before = code;
  }
  learned_ += static_cast<double>(codes.size());
  add_products(codes);
}

// products[i][j] = sum over t of x_{t-i} x_{t-j}, x being 0 before the clip. The first row holds
// the lags; products[i][j] lacks the one product of products[i-1][j-1] that reaches past the end.
void SampleBaselines::add_products(std::span<const uint8_t> codes) {
  const auto length = static_cast<int64_t>(codes.size());
  std::vector<double> x(codes.size() + kOrder, 0.0);
  for (size_t t = 0; t < codes.size(); ++t) x[t + kOrder] = value_[codes[t]];
  const auto at = [&](int64_t t) {
    return x[static_cast<size_t>(std::max<int64_t>(0, t + kOrder))];
  };
  std::array<std::array<double, kOrder + 1>, kOrder + 1> sums = {};
  for (int64_t t = 0; t < length; ++t) {
    const double* now = x.data() + t + kOrder;
    for (size_t lag = 0; lag <= kOrder; ++lag)
      sums[0][lag] += now[0] * now[-static_cast<int64_t>(lag)];
  }
  for (size_t i = 0; i <= kOrder; ++i)
    for (size_t j = i; j <= kOrder; ++j) {
      if (i > 0)
        sums[i][j] = sums[i - 1][j - 1] -
                     at(length - static_cast<int64_t>(i)) * at(length - static_cast<int64_t>(j));
      products_[i][j] += sums[i][j];
      if (j > i) products_[j][i] += sums[i][j];
    }
}

// The normal equations by Cholesky's decomposition.
void SampleBaselines::solve() {
  constexpr auto n = static_cast<size_t>(kOrder);
  double trace = 0;
  for (size_t i = 1; i <= n; ++i) trace += products_[i][i];
  std::array<std::array<double, n>, n> lower = {};
  std::array<double, n> forward = {};
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      double sum = products_[i + 1][j + 1] + (i == j ? kRidge * trace + 1e-30 : 0);
      for (size_t k = 0; k < j; ++k) sum -= lower[i][k] * lower[j][k];
      lower[i][j] = i == j ? std::sqrt(std::max(sum, 1e-30)) : sum / lower[j][j];
    }
    double sum = products_[i + 1][0];
    for (size_t k = 0; k < i; ++k) sum -= lower[i][k] * forward[k];
    forward[i] = sum / lower[i][i];
  }
  for (size_t i = n; i-- > 0;) {
    double sum = forward[i];
    for (size_t k = i + 1; k < n; ++k) sum -= lower[k][i] * coefficients_[k];
    coefficients_[i] = sum / lower[i][i];
  }
}

void SampleBaselines::finish() {
  to_bits(unigram_);
  to_bits(order1_);
  solve();
  double squares = products_[0][0];
  for (size_t i = 0; i < kOrder; ++i) squares -= coefficients_[i] * products_[0][i + 1];
  const double variance = std::max(squares, 0.0) / std::max(learned_, 1.0);
  mean_error_ = std::sqrt(variance * 2 / std::numbers::pi);
  finished_ = true;
}

std::vector<double> SampleBaselines::linear_prediction_bits(std::span<const uint8_t> codes) const {
  static const double kDeviation = std::sqrt(std::numbers::pi / 2);
  std::vector<double> x(codes.size() + kOrder, 0.0);
  std::vector<double> bits(codes.size());
  double mean_error = mean_error_;
  for (size_t t = 0; t < codes.size(); ++t) {
    const double* now = x.data() + t + kOrder;
    double prediction = 0;
    for (int k = 1; k <= kOrder; ++k)
      prediction += coefficients_[static_cast<size_t>(k - 1)] * now[-k];
    const double deviation = kDeviation * mean_error + kLeastError;
    const uint8_t code = codes[t];
    const double p = normal_cdf((edge_[size_t{code} + 1] - prediction) / deviation) -
                     normal_cdf((edge_[code] - prediction) / deviation);
    bits[t] = -std::log2((1 - kUniform) * p + kUniform / 256);
    x[t + kOrder] = value_[code];
    mean_error = kDecay * mean_error + (1 - kDecay) * std::abs(value_[code] - prediction);
  }
  return bits;
}

std::vector<ClipBits> SampleBaselines::bits(std::span<const uint8_t> codes, int64_t real) const {
  if (!finished_) throw std::logic_error("SampleBaselines::bits() before finish()");
  std::vector<double> unigram(codes.size());
  std::vector<double> order1(codes.size());
  uint8_t before = kSilence;
  for (size_t t = 0; t < codes.size(); ++t) {
    unigram[t] = unigram_[codes[t]];
    order1[t] = order1_[size_t{before} * 256 + codes[t]];
    before = codes[t];
  }
  return {summed(unigram, real), summed(order1, real), summed(linear_prediction_bits(codes), real)};
}

}  // namespace strandwave::audio
