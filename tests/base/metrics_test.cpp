#include "core/statistics/metrics.h"

#include <gtest/gtest.h>

#include <cmath>

namespace strandwave {
namespace {

// Truth 0: 8 right, 2 wrong; truth 1: 1 wrong, 4 right.
ConfusionMatrix two_classes() {
  ConfusionMatrix confusion(2);
  for (int i = 0; i < 8; ++i) confusion.add(0, 0);
  for (int i = 0; i < 2; ++i) confusion.add(0, 1);
  confusion.add(1, 0);
  for (int i = 0; i < 4; ++i) confusion.add(1, 1);
  return confusion;
}

TEST(ConfusionMatrix, HandComputedValues) {
  const ConfusionMatrix confusion = two_classes();
  EXPECT_EQ(confusion.total(), 15);
  EXPECT_DOUBLE_EQ(confusion.accuracy(), 12.0 / 15);
  EXPECT_DOUBLE_EQ(confusion.balanced_accuracy(), (0.8 + 0.8) / 2);
  EXPECT_DOUBLE_EQ(confusion.macro_f1(), (2 * 8.0 / (10 + 9) + 2 * 4.0 / (5 + 6)) / 2);
  // (TP TN - FP FN) / sqrt((TP+FP)(TP+FN)(TN+FP)(TN+FN)) with class 1 as positive.
  EXPECT_NEAR(confusion.matthews(), (4.0 * 8 - 2 * 1) / std::sqrt(6.0 * 5 * 10 * 9), 1e-12);
}

TEST(ConfusionMatrix, DegenerateCases) {
  ConfusionMatrix confusion(3);
  EXPECT_EQ(confusion.accuracy(), 0);
  confusion.add(0, 0);
  EXPECT_EQ(confusion.accuracy(), 1);
  EXPECT_EQ(confusion.balanced_accuracy(), 1);  // classes that do not occur are left out
  EXPECT_EQ(confusion.matthews(), 0);
  EXPECT_TRUE(std::isnan(confusion.recall(1)));
}

TEST(BlockBootstrap, CoversTheTruthAndNarrowsWithBlocks) {
  std::vector<double> few, many;
  for (int i = 0; i < 20; ++i) few.push_back(1 + std::sin(i * 12.9898));
  for (int i = 0; i < 2000; ++i) many.push_back(1 + std::sin(i * 12.9898));
  const std::vector<double> few_ones(few.size(), 1), many_ones(many.size(), 1);
  const BootstrapInterval wide = block_bootstrap(few, few_ones, 1000, 0);
  const BootstrapInterval narrow = block_bootstrap(many, many_ones, 1000, 0);
  EXPECT_LT(wide.low, wide.value);
  EXPECT_GT(wide.high, wide.value);
  EXPECT_NEAR(narrow.value, 1, 0.05);
  // Standard error of a mean of n values of standard deviation 0.71.
  EXPECT_NEAR(narrow.high - narrow.low, 2 * 1.96 * std::sqrt(0.5 / 2000), 0.01);
  EXPECT_GT(wide.high - wide.low, 3 * (narrow.high - narrow.low));
}

TEST(BlockBootstrap, WeighsBlocksByTheirPositions) {
  const std::vector<double> sums = {10, 0};
  const std::vector<double> positions = {10, 90};
  EXPECT_DOUBLE_EQ(block_bootstrap(sums, positions, 10, 0).value, 0.1);
}

}  // namespace
}  // namespace strandwave
