#include "genomics/io/length_distribution.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>

#include "tests/genomics_io/test_files.h"

namespace strandwave {
namespace {

using test::error_of;

// The share of each length among evenly spaced quantiles.
std::map<int64_t, double> shares(const LengthDistribution& lengths, int steps = 10000) {
  std::map<int64_t, double> result;
  for (int i = 0; i < steps; ++i) result[lengths.length_at((i + 0.5) / steps)] += 1.0 / steps;
  return result;
}

std::string refusal(const std::string& text, ErrorKind kind = ErrorKind::kUsage) {
  return error_of([&] { LengthDistribution::parse(text); }, kind);
}

TEST(LengthDistributionTest, RangesAreUniformWithBothEnds) {
  for (const char* text : {"100-300", "uniform:100,300"}) {
    const LengthDistribution lengths = LengthDistribution::parse(text);
    EXPECT_EQ(lengths.shortest(), 100);
    EXPECT_EQ(lengths.longest(), 300);
    EXPECT_NEAR(lengths.mean(), 200, 1e-6);
    const auto share = shares(lengths, 201 * 50);
    EXPECT_EQ(share.size(), 201U);
    for (const auto& [length, part] : share) EXPECT_NEAR(part, 1.0 / 201, 2e-4) << length;
  }
  const LengthDistribution one = LengthDistribution::parse("150");
  EXPECT_EQ(one.length_at(0), 150);
  EXPECT_EQ(one.length_at(0.999999), 150);
  EXPECT_LE(shares(LengthDistribution::parse("1-1073741824")).size(), 10000U);  // thinned out
}

TEST(LengthDistributionTest, NormalHasItsMeanAndDeviation) {
  const LengthDistribution lengths = LengthDistribution::parse("normal:150,20");
  double mean = 0, squares = 0;
  for (const auto& [length, part] : shares(lengths, 100000)) {
    mean += part * static_cast<double>(length);
    squares += part * static_cast<double>(length * length);
  }
  EXPECT_NEAR(mean, 150, 0.05);
  EXPECT_NEAR(std::sqrt(squares - mean * mean), 20, 0.1);
  EXPECT_EQ(lengths.shortest(), 70);
  EXPECT_EQ(lengths.longest(), 230);
  EXPECT_EQ(LengthDistribution::parse("normal:10,20").shortest(), 1);
}

TEST(LengthDistributionTest, FilesGiveTheirLengths) {
  const test::TemporaryFolder folder;
  const std::map<int64_t, double> expected = {{2, 0.25}, {5, 0.75}};
  for (const std::string& path :
       {folder.write("t.tsv", "# reads\nlength\tcount\n5\t3\n2\t1\n9\t0\n"),
        folder.write("r.fa", ">a\nAC\n>b\nACGTA\n>c\nACGTA\n>d\nACGTA\n"),
        folder.write("r.fq.gz", test::gzip("@a\nAC\n+\nII\n@b\nACGTA\n+\nIIIII\n@c\nACGTA\n+\nIIIII"
                                           "\n@d\nACGTA\n+\nIIIII\n")),
        folder.write("r.sam",
                     "1\t4\t*\t0\t0\t*\t*\t0\t0\tAC\t*\n2\t4\t*\t0\t0\t*\t*\t0\t0\tACGTA\t*"
                     "\n3\t4\t*\t0\t0\t*\t*\t0\t0\tACGTA\t*\n4\t4\t*\t0\t0\t*\t*\t0\t0\t"
                     "ACGTA\t*\n")}) {
    const auto found = shares(LengthDistribution::parse(path));
    ASSERT_EQ(found.size(), 2U) << path;
    for (const auto& [length, part] : expected) EXPECT_NEAR(found.at(length), part, 1e-9) << path;
  }
  EXPECT_EQ(LengthDistribution::parse(folder.path("t.tsv")).identity(),
            LengthDistribution::parse(folder.path("r.fa")).identity());
  EXPECT_NE(LengthDistribution::parse(folder.path("t.tsv")).identity(),
            LengthDistribution::parse("2-5").identity());
  EXPECT_EQ(LengthDistribution::parse("2-5").description(), "2 to 5 bases, mean 3.5");
}

TEST(LengthDistributionTest, SaysWhatIsWrong) {
  EXPECT_CONTAINS(refusal("300-100"), "the lengths \"300-100\"");
  EXPECT_CONTAINS(refusal("0-10"), "from 1 to 2^30");
  EXPECT_CONTAINS(refusal("0"), "from 1 to 2^30");
  EXPECT_CONTAINS(refusal("uniform:100"), "uniform:100,300");
  EXPECT_CONTAINS(refusal("normal:150,0"), "a deviation above 0");
  EXPECT_CONTAINS(refusal("normal:x,2"), "normal:150,20");
  EXPECT_CONTAINS(refusal("-"), "no lengths");
  EXPECT_CONTAINS(refusal("/no/such/file", ErrorKind::kInput), "/no/such/file");
  const test::TemporaryFolder folder;
  const auto file = [&](const std::string& text) {
    return refusal(folder.write("x", text), ErrorKind::kInput);
  };
  EXPECT_CONTAINS(file("length\tcount\n5\t-1\n"), "x, line 2: the count \"-1\"");
  EXPECT_CONTAINS(file("5\t1\n0\t1\n"), "x, line 2: the length \"0\"");
  EXPECT_CONTAINS(file("5\t1\n6\n"), "x, line 2: 1 columns");
  EXPECT_CONTAINS(file("5\t0\n"), "counts no length");
  EXPECT_CONTAINS(file("# nothing\n"), "counts no length");
}

}  // namespace
}  // namespace strandwave
