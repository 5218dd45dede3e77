#include "core/base/split_assignment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>

#include "tests/support/error_testing.h"

namespace strandwave {
namespace {

// weight[split][stratum]
std::array<std::vector<int64_t>, kSplits> weights(const std::vector<SplitUnit>& units,
                                                  const std::vector<Split>& splits, size_t strata) {
  std::array<std::vector<int64_t>, kSplits> sums;
  sums.fill(std::vector<int64_t>(strata));
  for (size_t i = 0; i < units.size(); ++i)
    for (const auto& [stratum, weight] : units[i].strata)
      sums[static_cast<size_t>(splits[i])][static_cast<size_t>(stratum)] += weight;
  return sums;
}

std::vector<SplitUnit> singles(int count, int32_t stratum) {
  std::vector<SplitUnit> units;
  for (int i = 0; i < count; ++i)
    units.push_back({static_cast<uint64_t>(1000 * stratum + i), {{stratum, 1}}});
  return units;
}

TEST(SplitAssignmentTest, EveryStratumHasItsShares) {
  std::vector<SplitUnit> units = singles(1000, 0);
  for (const SplitUnit& unit : singles(50, 1)) units.push_back(unit);
  for (uint64_t i = 0; i < 40; ++i) units.push_back({5000 + i, {{0, 5}, {1, 2}}});
  const auto sums = weights(units, assign_splits(units, 2, {}), 2);
  EXPECT_EQ(sums[1], (std::vector<int64_t>{120, 13}));
  EXPECT_EQ(sums[2], (std::vector<int64_t>{120, 13}));
}

TEST(SplitAssignmentTest, DependsOnKeysAndSeedButNotOnTheOrder) {
  std::vector<SplitUnit> units = singles(200, 0);
  const std::vector<Split> splits = assign_splits(units, 1, {});
  std::map<uint64_t, Split> of_key;
  for (size_t i = 0; i < units.size(); ++i) of_key[units[i].key] = splits[i];
  std::reverse(units.begin(), units.end());
  const std::vector<Split> reversed = assign_splits(units, 1, {});
  for (size_t i = 0; i < units.size(); ++i) EXPECT_EQ(reversed[i], of_key[units[i].key]);
  SplitShares other;
  other.seed = 1;
  EXPECT_NE(assign_splits(units, 1, other), reversed);
}

TEST(SplitAssignmentTest, FewUnitsGoToTrainingThenValidationThenTest) {
  for (int count = 1; count <= 4; ++count) {
    const auto units = singles(count, 0);
    const auto sums = weights(units, assign_splits(units, 1, {}), 1);
    EXPECT_EQ(sums[1][0], count >= 2) << count;
    EXPECT_EQ(sums[2][0], count >= 3) << count;
    EXPECT_EQ(sums[0][0], std::max(1, count - 2)) << count;
  }
  // All larger than a tenth: the smallest ones are held out.
  std::vector<SplitUnit> large;
  for (uint64_t i = 0; i < 5; ++i) large.push_back({i, {{0, 10 + static_cast<int64_t>(i)}}});
  const auto splits = assign_splits(large, 1, {});
  EXPECT_EQ(splits, (std::vector<Split>{Split::kValidation, Split::kTest, Split::kTrain,
                                        Split::kTrain, Split::kTrain}));
  // The only unit of stratum 1 is never held out.
  std::vector<SplitUnit> shared = singles(10, 0);
  shared.push_back({77, {{0, 1}, {1, 1}}});
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SplitShares shares;
    shares.seed = seed;
    EXPECT_EQ(assign_splits(shared, 2, shares).back(), Split::kTrain);
  }
}

TEST(SplitAssignmentTest, FoldsHoldOutEverythingOnce) {
  std::vector<SplitUnit> units = singles(50, 0);
  for (uint64_t i = 0; i < 25; ++i) units.push_back({500 + i, {{0, 1}, {1, 3}}});
  units.push_back({900, {{2, 1}}});
  SplitShares shares;
  shares.folds = 5;
  std::vector<int> tested(units.size());
  for (shares.fold = 0; shares.fold < 5; ++shares.fold) {
    const std::vector<Split> splits = assign_splits(units, 3, shares);
    const auto sums = weights(units, splits, 3);
    for (const size_t split : {1U, 2U}) {
      EXPECT_NEAR(static_cast<double>(sums[split][0]), 15, 2);
      EXPECT_NEAR(static_cast<double>(sums[split][1]), 15, 3);
    }
    for (size_t i = 0; i < units.size(); ++i) tested[i] += splits[i] == Split::kTest;
    SplitShares next = shares;
    next.fold = (shares.fold + 1) % 5;
    const std::vector<Split> then = assign_splits(units, 3, next);
    for (size_t i = 0; i < units.size(); ++i)
      if (splits[i] == Split::kValidation) EXPECT_EQ(then[i], Split::kTest);
  }
  EXPECT_EQ(tested.back(), 0);  // the only one of its stratum
  tested.pop_back();
  EXPECT_EQ(std::count(tested.begin(), tested.end(), 1), 75);
}

TEST(SplitAssignmentTest, RefusesSenselessShares) {
  const auto refusal = [](const SplitShares& shares) {
    return test::error_of([&] { assign_splits(singles(5, 0), 1, shares); }, ErrorKind::kUsage);
  };
  EXPECT_CONTAINS(refusal({0.5, 0.5, 0, 0, 0}), "leave something for training");
  EXPECT_CONTAINS(refusal({-0.1, 0.5, 0, 0, 0}), "must not be negative");
  EXPECT_CONTAINS(refusal({0.1, 0.1, 2, 0, 0}), "at least 3");
  EXPECT_CONTAINS(refusal({0.1, 0.1, 3, 3, 0}), "there is no fold 3");
}

}  // namespace
}  // namespace strandwave
