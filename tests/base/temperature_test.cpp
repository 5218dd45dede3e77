#include "core/statistics/temperature.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/base/random.h"

namespace strandwave {
namespace {

// Labels are drawn from softmax(z); the given logits are `factor` z: the temperature is `factor`.
TEST(TemperatureTest, FindsTheFactorOfOverconfidence) {
  const RandomStream stream(1, RandomPurpose::kSynthetic);
  constexpr int kReads = 20000, kClasses = 4;
  for (const double factor : {0.4, 1.0, 3.0}) {
    std::vector<double> logits;
    std::vector<int32_t> labels;
    std::vector<float> targets;
    for (uint64_t i = 0; i < kReads; ++i) {
      double mass = 0, z[kClasses];
      for (uint64_t c = 0; c < kClasses; ++c) {
        z[c] = 2 * stream.normal(i * 8 + c);
        mass += std::exp(z[c]);
        logits.push_back(factor * z[c]);
        targets.push_back(stream.uniform((i * 8 + c) * 2 + 1000000007) < 1 / (1 + std::exp(-z[c])));
      }
      double u = stream.uniform(i * 8 + 7) * mass;
      int32_t label = 0;
      while (label < kClasses - 1 && (u -= std::exp(z[label])) > 0) ++label;
      labels.push_back(label);
    }
    EXPECT_NEAR(fit_temperature(logits, labels) / factor, 1, 0.04) << factor;
    EXPECT_NEAR(fit_sigmoid_temperature(logits, targets) / factor, 1, 0.04) << factor;
  }
}

TEST(TemperatureTest, FewReadsThatAreAllRightDoNotMakeCertainty) {
  const std::vector<double> logits = {2, 0, 0, 2};  // two reads, two classes
  const std::vector<int32_t> labels = {0, 1};
  const double t = fit_temperature(logits, labels);
  // Targets 3/4: exp(2/t) = 3.
  EXPECT_NEAR(t, 2 / std::log(3.0), 1e-6);
  EXPECT_EQ(fit_temperature({}, {}), 1);
  const std::vector<int32_t> wrong = {1, 0};
  EXPECT_NEAR(fit_temperature(logits, wrong), 50, 1e-6);  // says nothing
}

// What few rows are given against certainty does not grow with the number of classes.
TEST(TemperatureTest, ManyClassesDoNotMakeFewReadsDoubtful) {
  constexpr size_t kRows = 98, kClasses = 50;
  std::vector<double> logits(kRows * kClasses, 0.0);
  std::vector<int32_t> labels;
  for (size_t i = 0; i < kRows; ++i) {
    logits[i * kClasses + i % kClasses] = 1;
    labels.push_back(static_cast<int32_t>(i % kClasses));
  }
  const double z = std::exp(1 / fit_temperature(logits, labels));
  EXPECT_NEAR(z / (z + kClasses - 1), 0.99, 1e-9);
}

}  // namespace
}  // namespace strandwave
