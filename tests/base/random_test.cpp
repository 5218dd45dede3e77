#include "core/base/random.h"

#include <gtest/gtest.h>

#include <vector>

namespace strandwave {
namespace {

TEST(Philox, KnownAnswers) {  // from the kat_vectors of Random123
  const auto zero = philox4x32({0, 0, 0, 0}, {0, 0});
  EXPECT_EQ(zero, (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t f = 0xffffffff;
  const auto ones = philox4x32({f, f, f, f}, {f, f});
  EXPECT_EQ(ones, (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(RandomStream, MomentsAndIndependenceOfPurposes) {
  const RandomStream a(7, RandomPurpose::kWindow, 3, 4);
  const RandomStream b(7, RandomPurpose::kStrand, 3, 4);
  double sum = 0, normal_sum = 0, normal_squares = 0, product = 0;
  const int n = 100000;
  for (int i = 0; i < n; ++i) {
    sum += a.uniform(i);
    normal_sum += a.normal(i);
    normal_squares += a.normal(i) * a.normal(i);
    product += (a.uniform(i) - 0.5) * (b.uniform(i) - 0.5);
  }
  EXPECT_NEAR(sum / n, 0.5, 0.005);
  EXPECT_NEAR(normal_sum / n, 0.0, 0.015);
  EXPECT_NEAR(normal_squares / n, 1.0, 0.02);
  EXPECT_NEAR(product / n, 0.0, 0.002);
}

TEST(RandomStream, BelowStaysBelowAndCoversAll) {
  const RandomStream stream(1, RandomPurpose::kSampling);
  std::vector<int> counts(7);
  for (int i = 0; i < 7000; ++i) ++counts.at(stream.below(i, 7));
  for (const int count : counts) EXPECT_NEAR(count, 1000, 150);
}

TEST(PermuteIndex, IsABijectionThatChangesWithTheEpoch) {
  for (const uint64_t size : {1, 2, 3, 17, 1000}) {
    std::vector<bool> seen(size);
    int moved = 0;
    for (uint64_t i = 0; i < size; ++i) {
      const uint64_t j = permute_index(i, size, 5, 0);
      ASSERT_LT(j, size);
      EXPECT_FALSE(seen[j]) << "size " << size;
      seen[j] = true;
      moved += permute_index(i, size, 5, 1) != j;
    }
    if (size >= 17) EXPECT_GT(moved, static_cast<int>(size / 2));
  }
}

}  // namespace
}  // namespace strandwave
