// Streams along chromosomes, weights of files, soft masks.
#include "genomics/io/window_streams.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <tuple>

#include "core/base/error.h"
#include "genomics/io/soft_mask.h"
#include "tests/genomics_io/test_files.h"

namespace strandwave::test {
namespace {

class WindowStreamsTest : public ::testing::Test {
 protected:
  Genome open(const std::vector<std::string>& texts) {
    std::vector<std::string> paths;
    for (size_t i = 0; i < texts.size(); ++i)
      paths.push_back(files_.write("genome" + std::to_string(i) + ".fa", texts[i]));
    return Genome::open(paths, files_.path("cache"));
  }
  TemporaryFolder files_;
};

TEST_F(WindowStreamsTest, TheFirstPassVisitsEveryBaseOnce) {
  const Genome genome = open({">a\n" + std::string(105, 'A') + "\n>b\n" + std::string(40, 'C') +
                              "\n>c\n" + std::string(7, 'G') + "\n"});
  constexpr int64_t kStreams = 4;
  WindowStreams::Options options;
  options.seed = 5;
  const WindowStreams streams(genome, whole_genome(genome), 10, kStreams, options);
  ASSERT_EQ(streams.windows(), 11 + 4 + 1);
  std::set<bool> strands;
  std::map<int64_t, std::vector<int>> visits;  // in the first pass
  for (size_t i = 0; i < 3; ++i)
    visits[static_cast<int64_t>(i)].resize(static_cast<size_t>(genome.contigs()[i].length));
  for (int64_t stream = 0; stream < kStreams; ++stream) {
    for (int64_t step = 0; step < 20; ++step) {
      const StreamWindow now = streams.window(stream, step);
      EXPECT_EQ(now.window, streams.window(stream, step).window);
      strands.insert(now.window.reverse);
      for (int64_t i = now.window.start; i < now.window.end && step < 4; ++i)
        ++visits[now.window.contig][static_cast<size_t>(i)];
      if (step == 0) {
        EXPECT_TRUE(now.restart);
        continue;
      }
      // It goes on exactly when it says so.
      const Window before = streams.window(stream, step - 1).window;
      const bool adjacent =
          before.contig == now.window.contig && before.reverse == now.window.reverse &&
          (before.reverse ? now.window.end == before.start : now.window.start == before.end);
      EXPECT_EQ(now.restart, !adjacent) << stream << ' ' << step;
    }
  }
  for (const auto& [contig, counts] : visits)
    for (const int count : counts) EXPECT_EQ(count, 1) << contig;
  EXPECT_EQ(strands.size(), 2U);
}

TEST_F(WindowStreamsTest, WindowsOfNothingButNEndAWalk) {
  const Genome genome =
      open({">a\n" + std::string(25, 'A') + std::string(35, 'N') + std::string(20, 'C') + "\n"});
  WindowStreams::Options options;
  options.reverse_complement = false;
  const WindowStreams streams(genome, whole_genome(genome), 10, 1, options);
  EXPECT_EQ(streams.windows(), 5);
  std::map<int64_t, bool> restart_of;
  for (int64_t step = 0; step < 5; ++step)
    restart_of[streams.window(0, step + 5).window.start] = streams.window(0, step + 5).restart;
  EXPECT_EQ(restart_of, (std::map<int64_t, bool>{
                            {0, true}, {10, false}, {20, false}, {60, true}, {70, false}}));
}

TEST_F(WindowStreamsTest, WeightsSetTheShareOfEachFile) {
  const Genome genome =
      open({">a\n" + std::string(300, 'A') + "\n", ">b\n" + std::string(900, 'C') + "\n",
            ">c\n" + std::string(50, 'G') + "\n"});
  WindowStreams::Options options;
  options.file_weights = {1, 2, 0};
  const WindowStreams streams(genome, whole_genome(genome), 10, 1, options);
  std::map<int64_t, int64_t> windows;
  for (int64_t step = 0; step < streams.windows(); ++step)
    ++windows[streams.window(0, step).window.contig];
  // 30 and 90 windows: a pass holds a three times and b twice.
  EXPECT_EQ(windows, (std::map<int64_t, int64_t>{{0, 90}, {1, 180}}));
}

TEST_F(WindowStreamsTest, WhatCannotBeWalked) {
  const Genome genome = open({">a\n" + std::string(30, 'A') + "\n", ">b\nNNNNNNNNNN\n"});
  const auto message = [&](int64_t count, WindowStreams::Options options) {
    return error_of([&] { WindowStreams(genome, whole_genome(genome), 10, count, options); });
  };
  EXPECT_CONTAINS(message(4, {}), "4 streams for only 3 windows of 10 bases");
  EXPECT_CONTAINS(message(1, {true, {1, 1}, 0}), "genome1.fa: this genome has a weight but");
  error_of(
      [&] {
        WindowStreams(genome, whole_genome(genome), 10, 1, {true, {1, 1, 1}, 0});
      },
      ErrorKind::kUsage);
}

TEST_F(WindowStreamsTest, WeightedWindowsComeFromTheirFile) {
  const Genome genome =
      open({">a\n" + std::string(500, 'A') + "\n>b\n" + std::string(300, 'A') + "\n",
            ">c\n" + std::string(40, 'C') + "\n"});
  WindowSampler::Options options;
  options.file_weights = {3, 1};
  const WindowSampler sampler(genome, whole_genome(genome), 20, options);
  std::map<int64_t, int> drawn;
  std::set<int64_t> starts;
  constexpr int kDraws = 4000;
  for (uint64_t i = 0; i < kDraws; ++i) {
    const Window window = sampler.window(9, i);
    ++drawn[window.contig];
    if (window.contig == 2) starts.insert(window.start);
  }
  EXPECT_NEAR(drawn[2], kDraws / 4, 137);  // five standard deviations
  // Within a file every start is equally likely.
  EXPECT_NEAR(drawn[1], 3000.0 * 281 / (281 + 481), 140);
  EXPECT_EQ(starts.size(), 21U);
  options.file_weights = {0, 1};
  const WindowSampler second(genome, whole_genome(genome), 20, options);
  for (uint64_t i = 0; i < 50; ++i) EXPECT_EQ(second.window(9, i).contig, 2);
  EXPECT_CONTAINS(error_of([&] { WindowSampler(genome, whole_genome(genome), 50, options); }),
                  "genome1.fa: no interval of this genome is as long as a window of 50");
  options.file_weights = {1, -1};
  EXPECT_CONTAINS(error_of([&] { WindowSampler(genome, whole_genome(genome), 20, options); },
                           ErrorKind::kUsage),
                  "at least 0");
}

TEST_F(WindowStreamsTest, SoftMasks) {
  const auto contig = [](const std::string& name, int lower, int upper) {
    return ">" + name + "\n" + std::string(static_cast<size_t>(lower), 'a') +
           std::string(static_cast<size_t>(upper), 'C') + "\n";
  };
  const Genome genome =
      open({contig("none", 0, 1000) + contig("few", 9, 991) + contig("one", 10, 990) +
            contig("most", 900, 100) + contig("nearly", 901, 99) + contig("all", 1000, 0)});
  std::string carries;
  for (const Contig& c : genome.contigs()) carries += carries_soft_mask(c) ? c.name + " " : "";
  EXPECT_EQ(carries, "one most ");
  const SoftMaskCounts counts =
      count_soft_masks(genome, {{0, 0, 10, "", '.'}, {0, 20, 30, "", '.'}, {2, 0, 10, "", '.'}});
  EXPECT_EQ(counts.contigs, 2);
  EXPECT_EQ(counts.masked, 1);

  EXPECT_EQ(soft_mask_weight("upper"), 1);
  EXPECT_EQ(soft_mask_weight("ignore"), 0);
  EXPECT_EQ(soft_mask_weight("weight"), 0.1);
  EXPECT_EQ(soft_mask_weight("weight=0.25"), 0.25);
  for (const char* bad :
       {"", "lower", "weight=", "weight=2", "weight=-0.1", "weight=x", "weight0.1"})
    EXPECT_CONTAINS(error_of([&] { soft_mask_weight(bad); }, ErrorKind::kUsage), "weight=W");
}

}  // namespace
}  // namespace strandwave::test
