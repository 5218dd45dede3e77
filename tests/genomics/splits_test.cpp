#include "genomics/splits.h"

#include <gtest/gtest.h>

#include <set>

#include "core/base/error.h"
#include "tests/support/temporary_folder.h"

namespace strandwave {
namespace {

class SplitsTest : public ::testing::Test {
 protected:
  SplitsTest()
      : genome(Genome::open({folder.write("g.fa", ">a\n" + std::string(1000, 'A') + "\n>b\n" +
                                                      std::string(500, 'C') + "\n")},
                            (folder.path() / "cache").string())) {}

  testing::TemporaryFolder folder;
  Genome genome;
};

TEST_F(SplitsTest, TrainingIsTheRestLessTheGap) {
  const Splits splits = make_splits(genome, {"", {"b:1-100"}, {"a:401-500"}, {}, 50});
  EXPECT_EQ(splits.test, (Intervals{{0, 400, 500, "", '.'}}));
  EXPECT_EQ(splits.validation, (Intervals{{1, 0, 100, "", '.'}}));
  EXPECT_EQ(splits.train,
            (Intervals{{0, 0, 350, "", '.'}, {0, 550, 1000, "", '.'}, {1, 150, 500, "", '.'}}));
}

TEST_F(SplitsTest, WhatIsWrittenReadsBackTheSame) {
  const Splits splits = make_splits(genome, {"", {"b:1-100"}, {"a:401-500"}, {}, 50});
  const std::string path = (folder.path() / "split.bed").string();
  write_splits(path, genome, splits);
  const Splits again = make_splits(genome, {path, {}, {}, {}, 0});
  EXPECT_EQ(again.train, splits.train);
  EXPECT_EQ(again.validation, splits.validation);
  EXPECT_EQ(again.test, splits.test);
}

TEST_F(SplitsTest, OverlapsAndUnknownLabelsAreRefused) {
  EXPECT_THROW(make_splits(genome, {"", {"a:1-100"}, {"a:100-200"}, {}, 0}), Error);
  EXPECT_THROW(make_splits(genome, {"", {}, {"a:100-200"}, {"a:1-150"}, 0}), Error);
  EXPECT_THROW(make_splits(genome, {folder.write("l.bed", "a\t0\t10\tholdout\n"), {}, {}, {}, 0}),
               Error);
  EXPECT_THROW(make_splits(genome, {"", {}, {"a", "b"}, {}, 0}), Error);
  EXPECT_NO_THROW(make_splits(genome, {"", {"a:1-100"}, {"a:101-200"}, {}, 0}));
}

TEST_F(SplitsTest, OverlapsAreNotedWhereTheyAreAllowed) {
  SplitOptions options;
  options.test = {"a:100-200"};
  options.train = {"a:1-150", "b"};
  options.allow_overlap = true;
  const Splits splits = make_splits(genome, options);
  ASSERT_EQ(splits.overlaps.size(), 1U);
  EXPECT_NE(splits.overlaps[0].find("train and test overlap at a:100-150 (51 bases in all)"),
            std::string::npos)
      << splits.overlaps[0];
  EXPECT_EQ(total_length(splits.test), 101);
  options.allow_overlap = false;
  try {
    make_splits(genome, options);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("--allow-overlap"), std::string::npos) << error.what();
  }
}

class BlocksTest : public SplitsTest {
 protected:
  static SplitOptions blocks(int64_t size, double validation, double test, uint64_t seed) {
    SplitOptions options;
    options.gap = 5;
    options.blocks = {size, validation, test, seed};
    return options;
  }
};

TEST_F(BlocksTest, WholeBlocksAreHeldOutByTheSeed) {
  const Splits splits = make_splits(genome, blocks(50, 0.1, 0.2, 3));
  EXPECT_EQ(total_length(splits.test), 300);
  EXPECT_EQ(total_length(splits.validation), 150);
  for (const Intervals* split : {&splits.test, &splits.validation})
    for (const Interval& interval : *split) {
      EXPECT_EQ(interval.start % 50, 0);
      EXPECT_EQ(interval.length() % 50, 0);
    }
  EXPECT_FALSE(overlaps(splits.test, splits.validation));
  // The gap lies between training and all that is held out.
  Intervals held_out = splits.test;
  held_out.insert(held_out.end(), splits.validation.begin(), splits.validation.end());
  EXPECT_FALSE(overlaps(splits.train, grow_intervals(held_out, 5, genome)));
  EXPECT_EQ(splits.train,
            subtract_intervals(whole_genome(genome), grow_intervals(held_out, 5, genome)));
  EXPECT_EQ(make_splits(genome, blocks(50, 0.1, 0.2, 3)).test, splits.test);
  EXPECT_NE(make_splits(genome, blocks(50, 0.1, 0.2, 4)).test, splits.test);
  EXPECT_TRUE(make_splits(genome, blocks(50, 0.1, 0, 3)).test.empty());

  const std::string path = (folder.path() / "split.bed").string();
  write_splits(path, genome, splits);
  SplitOptions from_bed;
  from_bed.bed = path;
  const Splits again = make_splits(genome, from_bed);
  EXPECT_EQ(again.train, splits.train);
  EXPECT_EQ(again.validation, splits.validation);
  EXPECT_EQ(again.test, splits.test);
}

TEST_F(BlocksTest, ShortRestsStayWithTheirBlockAndNIsNeverHeldOut) {
  const Genome with_n = Genome::open(
      {folder.write("n.fa", ">a\n" + std::string(100, 'A') + std::string(100, 'N') +
                                std::string(100, 'C') + std::string(30, 'G') + "\n>b\nACGT\n")},
      (folder.path() / "cache").string());
  std::set<std::pair<int64_t, int64_t>> seen;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const Splits splits = make_splits(with_n, blocks(100, 0, 0.01, seed));
    ASSERT_EQ(splits.test.size(), 1U);
    seen.insert({splits.test[0].start, splits.test[0].end});
  }
  EXPECT_EQ(seen, (std::set<std::pair<int64_t, int64_t>>{{0, 4}, {0, 100}, {200, 330}}));
}

TEST_F(BlocksTest, WhatBlocksCannotDo) {
  const auto message = [&](const SplitOptions& options) -> std::string {
    try {
      make_splits(genome, options);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(message(blocks(2000, 0.3, 0.3, 0)).find("only 2 blocks of 2000 bases"),
            std::string::npos);
  EXPECT_NE(message(blocks(50, 0.5, 0.5, 0)).find("together less than 1"), std::string::npos);
  SplitOptions wide = blocks(50, 0.3, 0.3, 0);
  wide.gap = 1000;
  EXPECT_NE(message(wide).find("lower --gap"), std::string::npos) << message(wide);
  SplitOptions both = blocks(50, 0.1, 0.1, 0);
  both.test = {"a"};
  EXPECT_NE(message(both).find("blocks divide the whole genome"), std::string::npos);
}

}  // namespace
}  // namespace strandwave
