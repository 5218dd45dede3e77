// The measures of audio quality against formulas worked out another way.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "audio/metrics/class_scores.h"
#include "audio/metrics/feature_moments.h"
#include "audio/metrics/kernel_distance.h"
#include "audio/metrics/resampling.h"
#include "audio/quality.h"
#include "core/base/error.h"
#include "core/base/random.h"

namespace strandwave::audio {
namespace {

torch::Tensor normal(int64_t n, int64_t d, uint64_t seed) {
  const RandomStream stream(seed, RandomPurpose::kSynthetic, 77);
  torch::Tensor rows = torch::empty({n, d}, torch::kFloat64);
  auto* values = rows.data_ptr<double>();
  for (int64_t i = 0; i < n * d; ++i) values[i] = stream.normal(static_cast<uint64_t>(i));
  return rows;
}

torch::Tensor log_probabilities(int64_t n, int64_t classes, double sharpness, uint64_t seed) {
  return torch::log_softmax(normal(n, classes, seed) * sharpness, 1);
}

TEST(FrechetDistanceTest, DiagonalGaussiansHaveAClosedForm) {
  // Rows made to have exactly these moments: whitened, then stretched.
  const auto with_moments = [](const torch::Tensor& mean, const torch::Tensor& sd, uint64_t seed) {
    torch::Tensor rows = normal(300, 3, seed);
    rows = rows - rows.mean(0);
    const torch::Tensor factor =
        torch::linalg_cholesky(rows.t().matmul(rows) / static_cast<double>(rows.size(0) - 1));
    return torch::linalg_solve(factor, rows.t()).t() * sd + mean;
  };
  const torch::Tensor m1 = torch::tensor({0.0, 1.0, -2.0}, torch::kFloat64);
  const torch::Tensor m2 = torch::tensor({0.5, 1.0, 1.0}, torch::kFloat64);
  const torch::Tensor s1 = torch::tensor({1.0, 2.0, 0.5}, torch::kFloat64);
  const torch::Tensor s2 = torch::tensor({3.0, 2.0, 0.1}, torch::kFloat64);
  const double expected =
      (m1 - m2).square().sum().item<double>() + (s1 - s2).square().sum().item<double>();
  EXPECT_NEAR(expected, frechet_distance(with_moments(m1, s1, 1), with_moments(m2, s2, 2)), 1e-9);
}

TEST(FrechetDistanceTest, EqualsTheNuclearNormOfTheProduct) {
  const torch::Tensor a = normal(50, 8, 3).matmul(normal(8, 8, 4)), b = normal(70, 8, 5) + 0.3;
  const torch::Tensor x = a - a.mean(0), y = b - b.mean(0);
  const double shared =
      torch::linalg_svdvals(x.matmul(y.t())).sum().item<double>() / std::sqrt(49.0 * 69.0);
  const double expected = (a.mean(0) - b.mean(0)).square().sum().item<double>() +
                          x.square().sum().item<double>() / 49 +
                          y.square().sum().item<double>() / 69 - 2 * shared;
  EXPECT_NEAR(expected, frechet_distance(a, b), 1e-9 * expected);
}

TEST(FrechetDistanceTest, RankDeficientSetsGiveFiniteValues) {
  const torch::Tensor a = normal(5, 30, 6), b = normal(7, 30, 7);
  EXPECT_TRUE(std::isfinite(frechet_distance(a, b)));
  // Eigenvalues that are 0 come out as 1e-16 or so, and count by their roots.
  EXPECT_NEAR(0, frechet_distance(a, a), 1e-5);
}

TEST(FeatureMomentsTest, PiecesMergeToTheWhole) {
  const torch::Tensor rows = normal(101, 6, 8) * 3 + 100;
  FeatureMoments pieces(6), left(6);
  pieces.add(rows.slice(0, 0, 1));
  pieces.add(rows.slice(0, 1, 40));
  left.add(rows.slice(0, 40, 101));
  pieces.merge(left);
  const torch::Tensor deviations = rows - rows.mean(0);
  EXPECT_EQ(101, pieces.n());
  EXPECT_TRUE(
      torch::allclose(pieces.covariance(), deviations.t().matmul(deviations) / 100, 1e-12, 1e-12));
  EXPECT_TRUE(torch::allclose(pieces.mean(), rows.mean(0), 1e-13, 0));
}

TEST(FeatureMomentsTest, OneRowAndNanAreErrors) {
  EXPECT_THROW(FeatureMoments(normal(1, 4, 9)).covariance(), Error);
  torch::Tensor rows = normal(3, 4, 9);
  rows[1][2] = std::nan("");
  EXPECT_THROW(FeatureMoments{rows}, Error);
}

TEST(FrechetInfinityTest, TakesTheBiasOfFewClipsAway) {
  const torch::Tensor reference = normal(20000, 16, 10), few = normal(400, 16, 11);
  const double plain = frechet_distance(few, reference);
  const FrechetExtrapolation line = frechet_infinity(few, FeatureMoments(reference), 1);
  EXPECT_LT(std::abs(line.value), plain / 3) << "plain " << plain;
  EXPECT_GT(line.r2, 0.8);
  EXPECT_EQ(400, line.sizes.back());
}

TEST(KernelDistanceTest, EqualsTheSumsOverPairs) {
  const torch::Tensor x = normal(45, 5, 12), y = normal(52, 5, 13) + 0.5;
  const double bandwidth = 1.7;
  const auto k = [&](const torch::Tensor& a, const torch::Tensor& b) {
    return std::exp(-(a - b).square().sum().item<double>() / (2 * bandwidth * bandwidth));
  };
  double xx = 0, yy = 0, xy = 0;
  for (int64_t i = 0; i < 45; ++i)
    for (int64_t j = 0; j < 45; ++j) xx += i == j ? 0 : k(x[i], x[j]);
  for (int64_t i = 0; i < 52; ++i)
    for (int64_t j = 0; j < 52; ++j) yy += i == j ? 0 : k(y[i], y[j]);
  for (int64_t i = 0; i < 45; ++i)
    for (int64_t j = 0; j < 52; ++j) xy += k(x[i], y[j]);
  const double expected = 100 * (xx / (45 * 44) + yy / (52 * 51) - 2 * xy / (45 * 52));
  const KernelDistance distance = kernel_distance(x, y, 0, bandwidth);
  EXPECT_NEAR(expected, distance.interval.value, 1e-9);
  EXPECT_LT(distance.interval.low, expected);
  EXPECT_GT(distance.interval.high, expected);
}

TEST(KernelDistanceTest, AShiftOfBothSetsChangesNothing) {
  const torch::Tensor x = normal(60, 8, 14), y = normal(60, 8, 15);
  const double here = kernel_distance(x, y, 0).interval.value;
  EXPECT_NEAR(here, kernel_distance(x + 1000, y + 1000, 0).interval.value, 1e-7);
}

// Of 60 pairs of sets at a known distance the intervals must cover it in 85 % or more.
TEST(IntervalsTest, CoverTheDistanceOfKnownGaussians) {
  constexpr int kTrials = 60;
  constexpr int64_t kDimensions = 4, kClips = 160;
  const double frechet = kDimensions * (0.8 - 1) * (0.8 - 1) + 0.5 * 0.5;
  int covered = 0, kernel_covered = 0;
  const auto pair = [&](int trial, int64_t n) {
    torch::Tensor a = normal(n, kDimensions, 1000 + 2 * static_cast<uint64_t>(trial)) * 0.8;
    a.select(1, 0).add_(0.5);
    return std::pair(a, normal(n, kDimensions, 1001 + 2 * static_cast<uint64_t>(trial)));
  };
  const auto [many_a, many_b] = pair(5000, 4000);
  const double bandwidth = 2.5;
  const double kernel = kernel_distance(many_a, many_b, 0, bandwidth).interval.value;
  for (int trial = 0; trial < kTrials; ++trial) {
    const auto [a, b] = pair(trial, kClips);
    const Interval95 interval =
        basic_bootstrap(kClips, kClips, 200, static_cast<uint64_t>(trial),
                        [&, &a = a, &b = b](const auto& i, const auto& j) {
                          return frechet_distance(a.index_select(0, i), b.index_select(0, j));
                        });
    covered += interval.low <= frechet && frechet <= interval.high ? 1 : 0;
    EXPECT_LE(interval.low, interval.value);
    const Interval95 of_kernel = kernel_distance(a, b, 0, bandwidth).interval;
    kernel_covered += of_kernel.low <= kernel && kernel <= of_kernel.high ? 1 : 0;
  }
  EXPECT_GE(covered, kTrials * 85 / 100);
  EXPECT_GE(kernel_covered, kTrials * 85 / 100);
}

TEST(PairedPermutationTest, TellsAWorseSetFromAnEqualOne) {
  const torch::Tensor reference = normal(300, 3, 20), a = normal(120, 3, 21);
  const FeatureMoments moments(reference);
  const auto statistic = [&](const torch::Tensor& rows) {
    return frechet_distance(FeatureMoments(rows), moments);
  };
  EXPECT_LT(paired_permutation(a, a + 0.6, 99, 1, statistic), 0.05);
  EXPECT_DOUBLE_EQ(1.0, paired_permutation(a, a.clone(), 99, 1, statistic));
  EXPECT_THROW(paired_permutation(a, reference, 9, 1, statistic), Error);
}

TEST(ClassScoresTest, EqualTheirDefinitions) {
  const torch::Tensor log_p = log_probabilities(40, 5, 2, 30), p = log_p.exp();
  const torch::Tensor reference = log_probabilities(60, 5, 1, 31);
  double is = 0, mis = 0, entropy = 0;
  for (int64_t i = 0; i < 40; ++i) {
    is += (p[i] * (log_p[i] - p.mean(0).log())).sum().item<double>() / 40;
    entropy -= (p[i] * log_p[i]).sum().item<double>() / 40;
    for (int64_t j = 0; j < 40; ++j)
      mis += (p[i] * (log_p[i] - log_p[j])).sum().item<double>() / 1600;
  }
  const torch::Tensor q = reference.exp().mean(0);
  const double am = (q * (q.log() - p.mean(0).log())).sum().item<double>() + entropy;
  EXPECT_NEAR(std::exp(is), inception_score(log_p), 1e-10);
  EXPECT_NEAR(std::exp(mis), modified_inception_score(log_p), 1e-9 * std::exp(mis));
  EXPECT_NEAR(am, am_score(reference, log_p), 1e-12);
}

TEST(ClassScoresTest, ConfidentProbabilitiesStayFinite) {
  const torch::Tensor log_p = log_probabilities(50, 10, 3000, 32);
  EXPECT_TRUE(std::isfinite(inception_score(log_p)));
  EXPECT_LE(inception_score(log_p), 10 + 1e-9);
  EXPECT_TRUE(std::isfinite(am_score(log_p, log_p)));
}

// Values of the published formulas in numpy 2.4 (axis 0 of the first one included).
TEST(ClassScoresTest, SashimiProfileFollowsTheReference) {
  torch::Tensor log_p = torch::empty({25, 4}, torch::kFloat64);
  for (int64_t i = 0; i < 25; ++i)
    for (int64_t c = 0; c < 4; ++c)
      log_p[i][c] = std::sin(1.7 * static_cast<double>(i) + 2.3 * static_cast<double>(c)) * 2;
  log_p = torch::log_softmax(log_p, 1);
  EXPECT_NEAR(1.6929548681107391, sashimi_inception_score(log_p), 1e-9);
  EXPECT_NEAR(3.8130994279370305, sashimi_modified_inception_score(log_p), 1e-9);
}

TEST(NdbTest, EqualSetsDifferAsOftenAsExpected) {
  const torch::Tensor reference = normal(600, 3, 40);
  const NdbResult same = ndb(reference, normal(600, 3, 41), 1);
  EXPECT_EQ(30, same.bins);
  EXPECT_NEAR(0.05, same.expected_share, 0.02);
  EXPECT_LT(same.share, 0.25);
  const NdbResult other = ndb(reference, normal(600, 3, 42) * 0.3, 1);
  EXPECT_GT(other.share, 0.6);
  EXPECT_THROW(ndb(reference, normal(39, 3, 42), 1), Error);
}

TEST(KMeansTest, FindsSeparatedClusters) {
  const torch::Tensor corners =
      torch::tensor({{0.0, 0.0}, {50.0, 0.0}, {0.0, 50.0}}, torch::kFloat64);
  const torch::Tensor rows = corners.repeat_interleave(30, 0) + normal(90, 2, 43);
  const torch::Tensor centres = k_means(rows, 3, 1);
  for (int64_t i = 0; i < 3; ++i)
    EXPECT_LT((centres - corners[i]).norm(2, 1).min().item<double>(), 1.0);
}

// Whole evaluations
// --------------------------------------------------------------------------------

NamedClips clips(const std::string& name, const torch::Tensor& features,
                 const char* embedding = "logmel") {
  NamedClips set{name, {}};
  for (int64_t i = 0; i < features.size(0); ++i)
    set.clips.names.push_back(name + std::to_string(i));
  set.clips.features = features.to(torch::kFloat32);
  set.clips.embedding = {{"name", embedding}};
  return set;
}

QualityOptions quick() {
  QualityOptions options;
  options.resamples = 20;
  options.permutations = 19;
  return options;
}

TEST(QualityTest, ReportsEverythingWithItsCounts) {
  const nlohmann::json result =
      quality_of(clips("real", normal(200, 4, 50)),
                 {clips("a", normal(150, 4, 51)), clips("b", normal(150, 4, 52) + 1)}, quick());
  EXPECT_EQ(150, result["candidates"][0]["rows"]);
  EXPECT_EQ(200, result["reference"]["rows"]);
  EXPECT_TRUE(result["candidates"][0]["frechet"]["low"].is_number());
  EXPECT_LT(result["candidates"][0]["kad"]["value"], result["candidates"][1]["kad"]["value"]);
  EXPECT_LE(result["p_value"], 0.1);
  EXPECT_EQ(result, quality_of(clips("real", normal(200, 4, 50)),
                               {clips("a", normal(150, 4, 51)), clips("b", normal(150, 4, 52) + 1)},
                               quick()));
}

TEST(QualityTest, RefusesWhatWouldMislead) {
  const NamedClips real = clips("real", normal(200, 30, 53));
  const auto refused = [&](const NamedClips& reference, const NamedClips& candidate) {
    try {
      quality_of(reference, {candidate}, quick());
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  EXPECT_NE(std::string::npos, refused(real, clips("few", normal(59, 30, 54))).find("below 2 d"));
  EXPECT_NE(std::string::npos, refused(real, clips("one", normal(1, 30, 54))).find("has 1 clip"));
  EXPECT_NE(
      std::string::npos,
      refused(real, clips("other", normal(200, 30, 55), "vggish")).find("different embeddings"));
  EXPECT_NE(std::string::npos, refused(real, clips("wide", normal(200, 31, 55))).find("31"));
  NamedClips longer = clips("longer", normal(200, 30, 57)), shorter = real;
  longer.clips.mean_seconds = 1;
  shorter.clips.mean_seconds = 0.5;
  EXPECT_NE(std::string::npos, refused(shorter, longer).find("last 500 ms on average"));
  shorter.clips.mean_seconds = 0.99;
  EXPECT_EQ("nothing", refused(shorter, longer));
  NamedClips judged = clips("judged", normal(200, 30, 56));
  judged.clips.embedding = {{"name", "classifier"}, {"accuracy", 0.9}};
  EXPECT_NE(std::string::npos, refused(judged, judged).find("90 % of its test clips"));
  QualityOptions forced = quick();
  forced.force = true;
  const nlohmann::json result = quality_of(real, {clips("few", normal(59, 30, 54))}, forced);
  EXPECT_TRUE(result["candidates"][0]["frechet"]["low"].is_null());
  EXPECT_EQ(2, result["notes"].size());
}

TEST(MemorisationTest, CopiesAreNamed) {
  const torch::Tensor training = normal(300, 5, 60);
  torch::Tensor generated = normal(100, 5, 61);
  generated[7] = training[42] + 1e-4;
  const nlohmann::json found =
      memorisation_of(clips("t", training), clips("g", generated), clips("h", normal(100, 5, 62)));
  EXPECT_EQ("g7", found["nearest"][0]["clip"]);
  EXPECT_EQ("t42", found["nearest"][0]["training_clip"]);
  EXPECT_LT(found["nearer_than_held_out"], 0.1);
  const nlohmann::json copied =
      memorisation_of(clips("t", training), clips("g", training.slice(0, 0, 100) + 1e-3),
                      clips("h", normal(100, 5, 62)));
  EXPECT_GT(copied["nearer_than_held_out"], 0.99);
}

}  // namespace
}  // namespace strandwave::audio
