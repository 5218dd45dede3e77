#include "core/base/spelling.h"

#include <gtest/gtest.h>

namespace strandwave {
namespace {

TEST(EditDistance, CountsLettersInsertedDeletedAndReplaced) {
  EXPECT_EQ(edit_distance("", ""), 0U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("abc", ""), 3U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
  EXPECT_EQ(edit_distance("chr1", "chr11"), 1U);
  EXPECT_EQ(edit_distance("ab", "ba"), 2U);
}

TEST(NearestWord, FindsTyposAndNothingFarAway) {
  const std::vector<std::string> known = {"d_state", "d_conv", "expand"};
  EXPECT_EQ(nearest_word("d_sate", known), "d_state");
  EXPECT_EQ(nearest_word("expnd", known), "expand");
  EXPECT_EQ(nearest_word("zzzzzzzzzzzz", known), "");
  EXPECT_EQ(nearest_word("d_state", {}), "");
}

}  // namespace
}  // namespace strandwave
