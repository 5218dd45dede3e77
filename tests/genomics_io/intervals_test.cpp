#include "genomics/io/intervals.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "tests/genomics_io/test_files.h"

namespace strandwave {
namespace {

using test::error_of;

class IntervalsTest : public testing::Test {
 protected:
  IntervalsTest()
      : genome_(open(">chr1\n" + std::string(3000, 'A') + "\n>chr2\n" + std::string(1000, 'C') +
                     "\n>HLA-A*01:01\n" + std::string(50, 'G') + "\n>empty\n")) {}
  Genome open(const std::string& text) {
    return Genome::open({folder_.write("g.fa", text)}, folder_.path("cache"));
  }
  Intervals read(const std::string& text) {
    return read_bed(folder_.write("x.bed", text), genome_);
  }
  std::string refusal(const std::string& text) {
    return error_of([&] { read(text); });
  }
  Interval region(const std::string& text) { return parse_region(text, genome_); }
  std::string region_refusal(const std::string& text, ErrorKind kind = ErrorKind::kUsage) {
    return error_of([&] { region(text); }, kind);
  }

  test::TemporaryFolder folder_;
  Genome genome_;
};

Interval at(int64_t contig, int64_t start, int64_t end, std::string label = "", char strand = '.') {
  return {contig, start, end, std::move(label), strand};
}

TEST_F(IntervalsTest, ReadsBed) {
  const Intervals intervals = read(
      "track name=x\nbrowser position chr1\n# a comment\n\nchr1\t0\t10\nchr2 5 1000 test\n"
      "chr1\t1\t2\tname with blanks\t960\t-\t1\t2\t0\t1\t1,\t0,\r\n");
  ASSERT_EQ(intervals.size(), 3U);
  EXPECT_EQ(intervals[0], at(0, 0, 10));
  EXPECT_EQ(intervals[1], at(1, 5, 1000, "test"));
  EXPECT_EQ(intervals[2], at(0, 1, 2, "name with blanks", '-'));
  EXPECT_EQ(read_bed(folder_.write("x.gz", test::gzip("chr1\t0\t10\n")), genome_).size(), 1U);
}

TEST_F(IntervalsTest, SaysWhichBedLineIsWrong) {
  EXPECT_CONTAINS(refusal("chr1\t0\t10\nchr1\t5\t5\n"), "x.bed, line 2: 5-5 is empty");
  EXPECT_CONTAINS(refusal("chr1\t9\t5\n"), "line 1: 9-5 is empty");
  EXPECT_CONTAINS(refusal("chr1\t-1\t5\n"), "-1-5 is empty; BED needs 0 <= start < end");
  EXPECT_CONTAINS(refusal("chr2\t0\t1001\n"), "ends past contig chr2 of length 1000");
  EXPECT_CONTAINS(refusal("1\t0\t10\n"),
                  "line 1: the genome has no contig \"1\". The genome calls it \"chr1\"");
  EXPECT_CONTAINS(refusal("chr1\t0\n"), "2 columns; BED has 3 to 12");
  EXPECT_CONTAINS(refusal("chr1\tx\t10\n"), "start \"x\" is not a whole number");
  EXPECT_CONTAINS(refusal("chr1\t0\t1e3\n"), "end \"1e3\" is not a whole number");
  EXPECT_CONTAINS(refusal("chr1\t0\t10\ta\t0\tx\n"), "strand \"x\"");
  EXPECT_CONTAINS(refusal("# nothing\n"), "holds no interval");
  EXPECT_CONTAINS(refusal(""), "is empty");
}

TEST_F(IntervalsTest, WritesWhatItReads) {
  const Intervals intervals = {at(0, 0, 10, "train"), at(1, 5, 9, "test", '+'), at(0, 20, 30)};
  const std::string path = folder_.path("out.bed");
  write_bed(path, genome_, intervals, {"seed 1"});
  EXPECT_EQ(test::read_file(path),
            "# seed 1\nchr1\t0\t10\ttrain\t0\t.\nchr2\t5\t9\ttest\t0\t+\nchr1\t20\t30\t.\t0\t.\n");
  EXPECT_EQ(read_bed(path, genome_), intervals);
  write_bed(path, genome_, {at(0, 1, 2)});
  EXPECT_EQ(test::read_file(path), "chr1\t1\t2\n");
  error_of([&] { write_bed(folder_.path("no/folder.bed"), genome_, intervals); },
           ErrorKind::kRuntime);
  EXPECT_EQ(folder_.file_count("."), 3U);  // genome, cache, out.bed: no temporary file
}

TEST_F(IntervalsTest, ParsesRegions) {
  EXPECT_EQ(region("chr1"), at(0, 0, 3000));
  EXPECT_EQ(region("chr1:1,000-2,000"), at(0, 999, 2000));
  EXPECT_EQ(region("chr1:5-5"), at(0, 4, 5));
  EXPECT_EQ(region("chr1:100"), at(0, 99, 3000));
  EXPECT_EQ(region("chr1:100-"), at(0, 99, 3000));
  EXPECT_EQ(region("chr1:-100"), at(0, 0, 100));
  EXPECT_EQ(region("chr2:900-5000"), at(1, 899, 1000));
  EXPECT_EQ(region("HLA-A*01:01"), at(2, 0, 50));
  EXPECT_EQ(region("HLA-A*01:01:3-4"), at(2, 2, 4));
  EXPECT_EQ(region("{HLA-A*01:01}:3-4"), at(2, 2, 4));
  EXPECT_EQ(region_string(genome_, at(0, 999, 2000)), "chr1:1000-2000");
}

TEST_F(IntervalsTest, RefusesImpossibleRegions) {
  EXPECT_CONTAINS(region_refusal("chr1:20-5"), "the start is greater than the end");
  EXPECT_CONTAINS(region_refusal("chr1:0-5"), "positions count from 1");
  EXPECT_CONTAINS(region_refusal("chr1:3001-3005"),
                  "starts past the end of contig chr1, whose length is 3000");
  EXPECT_CONTAINS(region_refusal("chr1:abc"), "\"abc\" is no range");
  EXPECT_CONTAINS(region_refusal("chr1:-"), "is no range");
  EXPECT_CONTAINS(region_refusal("chr1:1-2-3"), "is no range");
  EXPECT_CONTAINS(region_refusal("chr3:1-2", ErrorKind::kInput),
                  "region \"chr3:1-2\": the genome has no contig \"chr3\"");
}

TEST_F(IntervalsTest, MergesSortsGrowsAndShrinks) {
  EXPECT_EQ(merge_intervals({at(1, 0, 5), at(0, 8, 12, "a"), at(0, 0, 4, "a"), at(0, 4, 6, "a"),
                             at(0, 11, 20, "b")}),
            (Intervals{at(0, 0, 6, "a"), at(0, 8, 20), at(1, 0, 5)}));
  EXPECT_EQ(grow_intervals({at(1, 10, 990)}, 20, genome_), (Intervals{at(1, 0, 1000)}));
  EXPECT_EQ(shrink_intervals({at(0, 10, 30, "x"), at(0, 0, 10)}, 5),
            (Intervals{at(0, 15, 25, "x")}));
  EXPECT_EQ(with_label({at(0, 0, 1, "a"), at(0, 1, 2, "b")}, "b"), (Intervals{at(0, 1, 2, "b")}));
  EXPECT_EQ(whole_genome(genome_).size(), 3U);
  EXPECT_EQ(total_length(whole_genome(genome_)), 4050);
}

// Every operation against sets of positions.
TEST_F(IntervalsTest, SetOperationsAgreeWithSetsOfPositions) {
  std::mt19937_64 random(4);
  using Positions = std::set<std::pair<int64_t, int64_t>>;
  const auto positions = [](const Intervals& intervals) {
    Positions set;
    for (const Interval& i : intervals) {
      for (int64_t p = i.start; p < i.end; ++p) set.insert({i.contig, p});
    }
    return set;
  };
  const auto draw = [&] {
    Intervals intervals;
    for (uint64_t n = random() % 8; n > 0; --n) {
      const auto start = static_cast<int64_t>(random() % 60);
      intervals.push_back(at(static_cast<int64_t>(random() % 2), start,
                             start + 1 + static_cast<int64_t>(random() % 15)));
    }
    return intervals;
  };
  for (int round = 0; round < 300; ++round) {
    const Intervals a = draw();
    const Intervals b = draw();
    const Positions pa = positions(a);
    const Positions pb = positions(b);
    Positions both;
    Positions only;
    for (const auto& p : pa) (pb.count(p) != 0 ? both : only).insert(p);
    EXPECT_EQ(positions(intersect_intervals(a, b)), both);
    EXPECT_EQ(positions(subtract_intervals(a, b)), only);
    EXPECT_EQ(overlaps(a, b), !both.empty());
    const Intervals merged = merge_intervals(a);
    EXPECT_EQ(positions(merged), pa);
    EXPECT_EQ(static_cast<size_t>(total_length(merged)), pa.size());
  }
}

TEST_F(IntervalsTest, WindowsAreAPureFunctionAndUniform) {
  const Intervals intervals = {at(0, 100, 130), at(1, 0, 15), at(0, 500, 505)};
  const WindowSampler sampler(genome_, intervals, 10);
  EXPECT_EQ(sampler.starts(), 21 + 6);
  EXPECT_EQ(sampler.unusable_bases(), 5);
  std::vector<int> seen(27);
  int reversed = 0;
  constexpr int kDraws = 27000;
  for (uint64_t i = 0; i < kDraws; ++i) {
    const Window window = sampler.window(3, i);
    EXPECT_EQ(window.length(), 10);
    const int64_t start = window.contig == 0 ? window.start - 100 : window.start + 21;
    ASSERT_TRUE(start >= 0 && start < 27 && (window.contig == 0 ? start < 21 : start >= 21));
    ++seen[static_cast<size_t>(start)];
    reversed += window.reverse ? 1 : 0;
  }
  for (const int count : seen) EXPECT_NEAR(count, 1000, 160);  // five standard deviations
  EXPECT_NEAR(reversed, kDraws / 2, 411);
  EXPECT_EQ(sampler.window(3, 5), WindowSampler(genome_, intervals, 10).window(3, 5));
  std::set<int64_t> others;
  for (uint64_t seed = 0; seed < 20; ++seed) others.insert(sampler.window(seed, 5).start);
  EXPECT_GT(others.size(), 5U);
}

TEST_F(IntervalsTest, WindowsAvoidN) {
  const Genome genome =
      open(">a\n" + std::string(1000, 'N') + std::string(200, 'A') + std::string(1000, 'n') + "\n");
  WindowSampler::Options options;
  options.reverse_complement = false;
  const WindowSampler sampler(genome, whole_genome(genome), 100, options);
  bool some_with_n = false;
  for (uint64_t i = 0; i < 500; ++i) {
    const Window window = sampler.window(1, i);
    const int64_t unknown = genome.count_unknown(0, window.start, window.end);
    EXPECT_LE(unknown, 50);
    some_with_n = some_with_n || unknown > 0;
    EXPECT_FALSE(window.reverse);
  }
  EXPECT_TRUE(some_with_n);
  EXPECT_CONTAINS(error_of([&] { WindowSampler(genome, {at(0, 0, 900)}, 100); }), "mostly N");
  EXPECT_CONTAINS(error_of([&] { WindowSampler(genome, {at(0, 0, 900)}, 1000); }),
                  "no interval is as long as a window of 1000 bases; the longest of 1 has 900");
  error_of([&] { WindowSampler(genome, {at(0, 0, 900)}, 0); }, ErrorKind::kUsage);
}

TEST_F(IntervalsTest, TilesIntervals) {
  const auto starts = [](const std::vector<Window>& windows) {
    std::vector<std::pair<int64_t, int64_t>> result;
    for (const Window& w : windows) result.emplace_back(w.start, w.end);
    return result;
  };
  using Pairs = std::vector<std::pair<int64_t, int64_t>>;
  EXPECT_EQ(starts(tile_windows(genome_, {at(0, 5, 30)}, 10, 10)),
            (Pairs{{5, 15}, {15, 25}, {25, 30}}));
  EXPECT_EQ(starts(tile_windows(genome_, {at(0, 5, 30)}, 10, 10, false)),
            (Pairs{{5, 15}, {15, 25}}));
  EXPECT_EQ(starts(tile_windows(genome_, {at(0, 5, 25)}, 10, 5)),
            (Pairs{{5, 15}, {10, 20}, {15, 25}}));
  const Genome genome = open(">a\nAAAANNNNNAAAA\n");
  EXPECT_EQ(starts(tile_windows(genome, whole_genome(genome), 4, 4, true, 0.5)),
            (Pairs{{0, 4}, {8, 12}, {12, 13}}));
}

}  // namespace
}  // namespace strandwave
