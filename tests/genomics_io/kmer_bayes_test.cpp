#include "genomics/baselines/kmer_bayes.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "tests/genomics_io/test_files.h"

namespace strandwave {
namespace {

TEST(KmerBayes, PosteriorByHand) {
  KmerBayes bayes(2, 1);  // two canonical 1-mers: A (= T) and C (= G)
  bayes.add(0, "AATNC");  // 3, 1
  bayes.add(1, "GG");     // 0, 2
  const double p0 = 4.0 / 6 * (2.0 / 6);
  const double p1 = 1.0 / 4 * (3.0 / 4);
  const std::vector<double> posterior = bayes.log_posterior("TG");
  ASSERT_EQ(posterior.size(), 2U);
  EXPECT_NEAR(std::exp(posterior[0]), p0 / (p0 + p1), 1e-12);
  EXPECT_NEAR(std::exp(posterior[1]), p1 / (p0 + p1), 1e-12);
  EXPECT_EQ(bayes.predict("TG"), 0);
  EXPECT_EQ(bayes.predict("CG"), 1);
}

TEST(KmerBayes, PriorDecidesWithoutKmers) {
  KmerBayes frequency(2, 6, KmerBayes::Prior::kFrequency);
  for (int i = 0; i < 3; ++i) frequency.add(1, "ACGTACGT");
  frequency.add(0, "ACGTACGT");
  EXPECT_NEAR(std::exp(frequency.log_posterior("NNNNNNNN")[1]), 4.0 / 6, 1e-12);
  KmerBayes uniform(2, 6);
  uniform.add(1, "ACGTACGT");
  EXPECT_NEAR(std::exp(uniform.log_posterior("ACG")[1]), 0.5, 1e-12);
}

TEST(KmerBayes, BothStrandsAreOne) {
  std::mt19937_64 random(5);
  KmerBayes bayes(3, 4);
  for (int label = 0; label < 3; ++label)
    bayes.add(label, test::random_letters(500, random, "ACGTN"));
  for (int round = 0; round < 20; ++round) {
    const std::string read = test::random_letters(60, random, "ACGTN");
    std::string other(read.rbegin(), read.rend());
    for (char& c : other) c = c == 'A' ? 'T' : c == 'C' ? 'G' : c == 'G' ? 'C' : c == 'T' ? 'A' : c;
    const auto a = bayes.log_posterior(read);
    const auto b = bayes.log_posterior(other);
    double total = 0;
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(a[i], b[i], 1e-9);
      total += std::exp(a[i]);
    }
    EXPECT_NEAR(total, 1.0, 1e-12);
  }
}

TEST(KmerBayes, GenomesAreReadInPiecesWithoutATrace) {
  std::mt19937_64 random(6);
  const test::TemporaryFolder folder;
  const std::string text = test::random_letters((size_t{2} << 20) + 3, random, "AACGT");
  const Genome genome =
      Genome::open({folder.write("g.fa", ">a\n" + text + "\n")}, folder.path("cache"));
  KmerBayes from_genome(2, 6);
  KmerBayes from_text(2, 6);
  from_genome.add(0, genome, {0, 0, static_cast<int64_t>(text.size()), "", '.'});
  from_text.add(0, text);
  from_genome.add(1, "ACGTTGCAACGT");
  from_text.add(1, "ACGTTGCAACGT");
  const std::string read = test::random_letters(200, random);
  EXPECT_EQ(from_genome.log_posterior(read), from_text.log_posterior(read));
}

TEST(KmerBayes, TellsCompositionsApart) {
  std::mt19937_64 random(7);
  KmerBayes bayes(2);
  bayes.add(0, test::random_letters(50000, random, "AAACGT"));
  bayes.add(1, test::random_letters(50000, random, "ACCGGT"));
  int right = 0;
  for (int i = 0; i < 100; ++i) {
    right +=
        bayes.predict(test::random_letters(150, random, i % 2 == 0 ? "AAACGT" : "ACCGGT")) == i % 2
            ? 1
            : 0;
  }
  EXPECT_GE(right, 95);
}

TEST(KmerBayes, RefusesImpossibleSettings) {
  test::error_of([] { KmerBayes(1); }, ErrorKind::kUsage);
  test::error_of([] { KmerBayes(2, 13); }, ErrorKind::kUsage);
  test::error_of([] { KmerBayes(2, 0); }, ErrorKind::kUsage);
}

TEST(Majority, IsTheFirstOfTheLargest) {
  EXPECT_EQ(majority_class(std::array<int64_t, 4>{1, 5, 5, 2}), 1);
}

}  // namespace
}  // namespace strandwave
