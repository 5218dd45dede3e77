#include "genomics/baselines/gc_content.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string_view>

#include "core/base/error.h"
#include "genomics/io/tokenizer.h"

namespace strandwave {
namespace {

std::vector<uint8_t> ids_of(std::string_view letters) {
  std::vector<uint8_t> ids(letters.size());
  dna::encode(letters, ids.data());
  return ids;
}

TEST(GcContent, CountsBasesOnly) {
  EXPECT_DOUBLE_EQ(gc_content(ids_of("GCNNAT")), 0.5);
  EXPECT_DOUBLE_EQ(gc_content(ids_of("gGcC")), 1);
  EXPECT_TRUE(std::isnan(gc_content(ids_of("NNN"))));
  EXPECT_TRUE(std::isnan(gc_content({})));
}

TEST(GcGaussian, ByHand) {
  GcGaussian gaussian(2);
  for (const char* letters : {"AAAAG", "AAAGG"}) gaussian.add(0, ids_of(letters));  // 0.2, 0.4
  for (const char* letters : {"AGGGG", "AAGGG"}) gaussian.add(1, ids_of(letters));  // 0.8, 0.6
  EXPECT_NEAR(gaussian.mean(0), 0.3, 1e-12);
  EXPECT_NEAR(gaussian.deviation(0), 0.1, 1e-12);
  EXPECT_NEAR(gaussian.posterior(ids_of("AG"))[0], 0.5, 1e-12);  // half way
  // gc 0.4: z = 1 and z = -3.
  EXPECT_NEAR(gaussian.posterior(ids_of("AAAGG"))[0],
              std::exp(-0.5) / (std::exp(-0.5) + std::exp(-4.5)), 1e-12);
  EXPECT_NEAR(gaussian.posterior(ids_of("NN"))[1], 0.5, 1e-12);
}

TEST(GcGaussian, ClassesNotSeenAndNoSpread) {
  GcGaussian gaussian(3);
  gaussian.add(0, ids_of("AG"));
  gaussian.add(2, ids_of("GG"));
  EXPECT_DOUBLE_EQ(gaussian.deviation(0), GcGaussian::kSmallestDeviation);
  EXPECT_TRUE(std::isnan(gaussian.mean(1)));
  const std::vector<double> row = gaussian.posterior(ids_of("GGGG"));
  EXPECT_EQ(row[1], 0);
  EXPECT_NEAR(row[2], 1, 1e-12);
  EXPECT_NEAR(GcGaussian(2).posterior(ids_of("A"))[0], 0.5, 1e-12);
  EXPECT_THROW(GcGaussian(1), Error);
}

TEST(GcLine, LeastSquares) {
  GcLine line;
  EXPECT_EQ(line.predict(ids_of("A")), 0);
  line.add(ids_of("A"), 1);
  EXPECT_EQ(line.predict(ids_of("G")), 1);  // one GC content only: the mean
  line.add(ids_of("G"), 3);
  line.add(ids_of("AG"), 5);
  // Mean value 3, slope (3 - 1) / (1 - 0) by symmetry.
  EXPECT_NEAR(line.predict(ids_of("A")), 2, 1e-12);
  EXPECT_NEAR(line.predict(ids_of("G")), 4, 1e-12);
  EXPECT_NEAR(line.predict(ids_of("NN")), 3, 1e-12);
}

}  // namespace
}  // namespace strandwave
