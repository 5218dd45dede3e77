#include "audio/baselines.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "core/base/random.h"

namespace strandwave::audio {
namespace {

// x_t = 1.6 x_{t-1} - 0.8 x_{t-2} + noise, as codes.
std::vector<uint8_t> resonance(uint64_t clip, size_t length) {
  const RandomStream noise(5, RandomPurpose::kSynthetic, clip);
  std::vector<float> x(length);
  for (size_t t = 0; t < length; ++t)
    x[t] = static_cast<float>((t > 0 ? 1.6 * x[t - 1] : 0) - (t > 1 ? 0.8 * x[t - 2] : 0) +
                              0.05 * noise.normal(t));
  std::vector<uint8_t> codes(length);
  encode(Companding::kMuLaw, x, codes);
  return codes;
}

SampleBaselines learned() {
  SampleBaselines baselines(Companding::kMuLaw);
  for (uint64_t clip = 0; clip < 40; ++clip) baselines.learn(resonance(clip, 1000));
  baselines.finish();
  return baselines;
}

TEST(SampleBaselines, CountsBeginAtOne) {
  SampleBaselines baselines(Companding::kMuLaw);
  const std::vector<uint8_t> codes = {10, 20, 10, 20, 20};
  baselines.learn(codes);
  baselines.finish();
  const std::vector<ClipBits> bits = baselines.bits(codes, 3);
  ASSERT_EQ(3u, bits.size());
  // Unigram: 10 twice, 20 three times among 256 + 5.
  const double ten = std::log2(261.0 / 3), twenty = std::log2(261.0 / 4);
  EXPECT_NEAR(2 * ten + twenty, bits[0].real, 1e-12);
  EXPECT_NEAR(2 * ten + 3 * twenty, bits[0].all, 1e-12);
  // Order 1: 128 -> 10, 10 -> 20 twice, 20 -> 10 and 20 -> 20.
  const double first = std::log2(257.0 / 2), up = std::log2(258.0 / 3),
               after = std::log2(258.0 / 2);
  EXPECT_NEAR(first + up + after, bits[1].real, 1e-12);
  EXPECT_NEAR(first + 2 * up + 2 * after, bits[1].all, 1e-12);
}

TEST(SampleBaselines, LinearPredictionFindsTheProcess) {
  const SampleBaselines baselines = learned();
  // Quantisation adds noise, which pulls the two down a little.
  EXPECT_NEAR(1.6, baselines.coefficients()[0], 0.1);
  EXPECT_NEAR(-0.8, baselines.coefficients()[1], 0.15);
}

TEST(SampleBaselines, LinearPredictionIsTheLeastSquaresSolution) {
  // The gradient of the squared error vanishes: errors and past samples are orthogonal.
  SampleBaselines baselines(Companding::kMuLaw);
  const std::vector<std::vector<uint8_t>> clips = {resonance(1, 400), resonance(2, 17),
                                                   resonance(3, 5)};
  for (const auto& codes : clips) baselines.learn(codes);
  baselines.finish();
  for (int lag = 1; lag <= SampleBaselines::kOrder; ++lag) {
    double product = 0, scale = 0;
    for (const auto& codes : clips) {
      std::vector<float> x(codes.size());
      decode(Companding::kMuLaw, codes, x);
      const auto at = [&](int64_t t) { return t < 0 ? 0.0 : double{x[static_cast<size_t>(t)]}; };
      for (int64_t t = 0; t < static_cast<int64_t>(x.size()); ++t) {
        double error = at(t);
        for (int k = 1; k <= SampleBaselines::kOrder; ++k)
          error -= baselines.coefficients()[static_cast<size_t>(k - 1)] * at(t - k);
        product += error * at(t - lag);
        scale += at(t) * at(t);
      }
    }
    EXPECT_NEAR(0, product / scale, 1e-6) << "lag " << lag;
  }
}

TEST(SampleBaselines, ProbabilitiesOfAllCodesAddUpToOne) {
  const SampleBaselines baselines = learned();
  std::vector<uint8_t> codes = resonance(99, 50);
  for (size_t predictor = 0; predictor < 3; ++predictor) {
    codes.back() = 0;
    const double before = baselines.bits(std::span(codes).first(49), 49)[predictor].all;
    double sum = 0;
    for (int code = 0; code < 256; ++code) {
      codes.back() = static_cast<uint8_t>(code);
      sum += std::exp2(before - baselines.bits(codes, 50)[predictor].all);
    }
    EXPECT_NEAR(1, sum, 1e-9) << SampleBaselines::names()[predictor];
  }
}

TEST(SampleBaselines, BetterPredictorsNeedFewerBits) {
  const SampleBaselines baselines = learned();
  const std::vector<uint8_t> codes = resonance(1000, 4000);
  const std::vector<ClipBits> bits = baselines.bits(codes, 4000);
  EXPECT_LT(bits[1].all, bits[0].all);
  EXPECT_LT(bits[2].all, bits[1].all);
}

TEST(SampleBaselines, SilenceIsNoTrouble) {
  SampleBaselines baselines(Companding::kMuLaw);
  const std::vector<uint8_t> silence(500, kSilence);
  baselines.learn(silence);
  baselines.finish();
  for (const ClipBits& bits : baselines.bits(silence, 100)) {
    EXPECT_TRUE(std::isfinite(bits.all));
    EXPECT_LT(bits.all / 500, 1.0);
  }
}

}  // namespace
}  // namespace strandwave::audio
