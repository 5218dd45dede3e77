#include "genomics/splits.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace strandwave
