#include "core/statistics/temperature.h"

#include <algorithm>
#include <cmath>

namespace strandwave {
namespace {

// The zero in [log 1/50, log 50] of log(1/T) of a derivative that ascends; the nearer end when
// there is none.
template <class Derivative>
double temperature_at_minimum(Derivative derivative) {
  double low = -std::log(50.0), high = std::log(50.0);
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (derivative(std::exp(middle)) < 0 ? low : high) = middle;
  }
  return std::exp(-(low + high) / 2);
}

}  // namespace

double fit_temperature(std::span<const double> logits, std::span<const int32_t> labels) {
  if (labels.empty()) return 1;
  const size_t n = labels.size(), classes = logits.size() / n;
  const double truth = static_cast<double>(n + 1) / static_cast<double>(n + 2);
  const double rest = (1 - truth) / static_cast<double>(classes - 1);
  // d/dbeta of log sum_c exp(beta z_c) - beta sum_c t_c z_c is E_p[z] - E_t[z].
  return temperature_at_minimum([&](double beta) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) {
      const double* z = logits.data() + i * classes;
      const double top = *std::max_element(z, z + classes);
      double mass = 0, mean = 0, target = 0;
      for (size_t c = 0; c < classes; ++c) {
        const double p = std::exp(beta * (z[c] - top));
        mass += p;
        mean += p * z[c];
        target += (c == static_cast<size_t>(labels[i]) ? truth : rest) * z[c];
      }
      sum += mean / mass - target;
    }
    return sum;
  });
}

double fit_sigmoid_temperature(std::span<const double> logits, std::span<const float> targets) {
  if (targets.empty()) return 1;
  const double smoothing = 1.0 / static_cast<double>(targets.size() + 2);
  return temperature_at_minimum([&](double beta) {
    double sum = 0;
    for (size_t i = 0; i < targets.size(); ++i) {
      const double target = targets[i] > 0.5F ? 1 - smoothing : smoothing;
      sum += (1 / (1 + std::exp(-beta * logits[i])) - target) * logits[i];
    }
    return sum;
  });
}

}  // namespace strandwave
