#include "audio/next_sample_task.h"

#include <gtest/gtest.h>

#include <map>
#include <numbers>
#include <set>

#include "core/base/error.h"
#include "tests/audio/tiny_sashimi.h"

namespace strandwave::audio {
namespace {

struct Clips {
  explicit Clips(std::vector<size_t> lengths, int64_t padding = 0) {
    for (size_t i = 0; i < lengths.size(); ++i) {
      codes.push_back(tone(i, lengths[i]));
      codes.back().insert(codes.back().end(), static_cast<size_t>(padding), 128);
    }
    for (size_t i = 0; i < lengths.size(); ++i)
      clips.push_back({codes[i], static_cast<int64_t>(lengths[i]), static_cast<int64_t>(i % 2),
                       "clip " + std::to_string(i)});
  }
  std::vector<std::vector<uint8_t>> codes;
  std::vector<AudioClip> clips;
};

// Adds nothing up; notes the losses.
class Losses : public GradientSum {
 public:
  void add(const torch::Tensor& loss, const std::vector<torch::Tensor>&,
           const std::vector<torch::Tensor>&) override {
    losses.push_back(loss.item<double>());
    loss.backward();
  }
  std::vector<double> losses;
};

NextSampleTask task_on(const Clips& clips, NextSampleOptions options,
                       std::shared_ptr<Sashimi> model = tiny_sashimi()) {
  return {std::move(model), clips.clips, clips.clips, options, "data"};
}

bool same(const Batch& a, const Batch& b) {
  if (a.tensors.size() != b.tensors.size()) return false;
  for (const auto& [name, tensor] : a.tensors)
    if (!torch::equal(tensor, b.at(name))) return false;
  return a.weight == b.weight && a.tokens == b.tokens;
}

TEST(NextSampleTask, AnEpochReadsEveryClipOnce) {
  const Clips clips({30, 31, 32, 33, 34, 35});
  NextSampleOptions options;
  options.batch = 2;
  options.accumulation = 1;
  const NextSampleTask task = task_on(clips, options);
  std::multiset<int64_t> first, second;
  for (int64_t step = 0; step < 6; ++step) {
    const Batch batch = task.batch(step, 0);
    EXPECT_TRUE(same(batch, task.batch(step, 0)));
    const torch::Tensor& tokens = batch.at("tokens");
    EXPECT_EQ(torch::kUInt8, tokens.scalar_type());
    EXPECT_TRUE((tokens.select(1, 0) == 128).all().item<bool>());
    const auto read = batch.tensors.count("weights") > 0 ? batch.at("weights").sum(1)
                                                         : torch::full({2}, tokens.size(1) - 1.0);
    EXPECT_EQ(static_cast<double>(batch.tokens), batch.weight);
    EXPECT_EQ(batch.weight, read.sum().item<double>());
    for (int64_t row = 0; row < 2; ++row)
      (step < 3 ? first : second).insert(read[row].item<int64_t>());
  }
  EXPECT_EQ((std::multiset<int64_t>{30, 31, 32, 33, 34, 35}), first);
  EXPECT_EQ(first, second);
}

TEST(NextSampleTask, PaddingCountsOrNot) {
  const Clips clips({20, 26}, /*padding=*/10);
  NextSampleOptions options;
  options.batch = 2;
  const Batch with = task_on(clips, options).batch(0, 0);
  EXPECT_EQ(66, with.weight);
  options.pad_loss = false;
  const Batch without = task_on(clips, options).batch(0, 0);
  EXPECT_EQ(46, without.weight);
  EXPECT_EQ(46, without.at("weights").sum().item<double>());
  EXPECT_EQ(66, without.tokens);
}

TEST(NextSampleTask, HidesAShareOfTheClasses) {
  const Clips clips({8, 8, 8, 8});
  NextSampleOptions options;
  options.batch = 100;
  const NextSampleTask task = task_on(clips, options, tiny_sashimi({"even", "odd"}));
  int64_t hidden = 0;
  for (int64_t step = 0; step < 20; ++step)
    hidden += (task.batch(step, 0).at("classes") == -1).sum().item<int64_t>();
  EXPECT_NEAR(200, hidden, 50);
  EXPECT_EQ(0u, task_on(clips, options).batch(0, 0).tensors.count("classes"));
}

TEST(NextSampleTask, WindowsStartAnywhere) {
  const Clips clips({40, 12, 5});
  NextSampleOptions options;
  options.batch = 50;
  options.window = 10;
  const NextSampleTask task = task_on(clips, options);
  std::map<std::vector<uint8_t>, int> seen;
  for (int64_t step = 0; step < 40; ++step) {
    const Batch batch = task.batch(step, 0);
    const torch::Tensor tokens = batch.at("tokens").slice(1, 1).contiguous();
    for (int64_t row = 0; row < 50; ++row) {
      const uint8_t* at = tokens.data_ptr<uint8_t>() + row * 10;
      ++seen[{at, at + 10}];
    }
  }
  // 31 starts in the first clip, 3 in the second, the third as a whole.
  EXPECT_EQ(35u, seen.size());
  for (const auto& [window, count] : seen) EXPECT_NEAR(2000.0 / 35, count, 45);
}

TEST(NextSampleTask, CarriedRowsWalkOn) {
  const Clips clips({40, 20, 36});
  NextSampleOptions options;
  options.batch = 2;
  options.window = 16;
  options.carry_state = true;
  const NextSampleTask task = task_on(clips, options);
  // The line: 3 + 2 + 3 windows; the rows stand at 0 and 4.
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t step = 0; step < 8; ++step) {
      const int64_t at = (4 * row + step) % 8;
      const size_t clip = at < 3 ? 0 : at < 5 ? 1 : 2;
      const int64_t first = 16 * (at - std::vector<int64_t>{0, 3, 5}[clip]);
      const Batch batch = task.batch(step, 0);
      const bool restart = first == 0 || step == 0;
      EXPECT_EQ(restart, batch.at("restart")[row].item<bool>());
      const auto& codes = clips.codes[clip];
      const uint8_t before = restart ? 128 : codes[static_cast<size_t>(first - 1)];
      EXPECT_EQ(before, batch.at("tokens")[row][0].item<uint8_t>());
      EXPECT_EQ(codes[static_cast<size_t>(first)], batch.at("tokens")[row][1].item<uint8_t>());
    }
  }
}

TEST(NextSampleTask, CarriedStateEqualsOneLongRow) {
  const Clips clips({64});
  NextSampleOptions options;
  options.batch = 1;
  options.window = 16;
  options.carry_state = true;
  const auto model = tiny_sashimi();
  NextSampleTask task = task_on(clips, options, model);
  Losses losses;
  double sum = 0;
  for (int64_t step = 0; step < 4; ++step)
    sum += task.accumulate(task.batch(step, 0), losses).item<double>();
  ASSERT_EQ(4u, losses.losses.size());
  options.window = 0;
  options.carry_state = false;
  NextSampleTask whole = task_on(clips, options, model);
  EXPECT_NEAR(whole.loss(whole.batch(0, 0)).item<double>(), sum, 1e-3);
}

TEST(NextSampleTask, CarriedStateSurvivesAStop) {
  const Clips clips({64, 48});
  NextSampleOptions options;
  options.batch = 2;
  options.window = 16;
  options.carry_state = true;
  const auto model = tiny_sashimi();
  NextSampleTask task = task_on(clips, options, model);
  Losses losses;
  for (int64_t step = 0; step < 2; ++step) task.accumulate(task.batch(step, 0), losses);
  std::map<std::string, torch::Tensor> saved;
  for (const auto& [name, tensor] : task.carried()) saved.emplace(name, tensor.clone());
  EXPECT_FALSE(saved.empty());
  const auto next = task.accumulate(task.batch(2, 0), losses);
  NextSampleTask resumed = task_on(clips, options, model);
  resumed.restore_carried(saved);
  EXPECT_TRUE(torch::equal(next, resumed.accumulate(resumed.batch(2, 0), losses)));
}

TEST(NextSampleTask, EvaluationSaysBitsOverRealAndOverAllSamples) {
  const Clips clips({30, 41}, /*padding=*/7);
  NextSampleTask task = task_on(clips, {});
  const torch::NoGradGuard no_grad;
  const std::vector<Metric> metrics = task.evaluate();
  ASSERT_EQ(2u, metrics.size());
  EXPECT_EQ("bits_per_sample", metrics[0].name);
  EXPECT_EQ("bits_per_sample_all", metrics[1].name);
  // By hand, clip by clip.
  const auto model = tiny_sashimi();
  double real = 0, all = 0;
  for (const AudioClip& clip : clips.clips) {
    torch::Tensor ids =
        torch::full({1, static_cast<int64_t>(clip.codes.size())}, 128, torch::kLong);
    torch::Tensor targets = torch::empty_like(ids);
    for (size_t t = 0; t < clip.codes.size(); ++t) {
      targets[0][static_cast<int64_t>(t)] = clip.codes[t];
      if (t > 0) ids[0][static_cast<int64_t>(t)] = clip.codes[t - 1];
    }
    const torch::Tensor loss = model->loss(ids, targets).loss[0].to(torch::kFloat64);
    real += loss.slice(0, 0, clip.real).sum().item<double>();
    all += loss.sum().item<double>();
  }
  EXPECT_NEAR(real / std::numbers::ln2 / 71, metrics[0].value, 1e-4);
  EXPECT_NEAR(all / std::numbers::ln2 / 85, metrics[1].value, 1e-4);
}

TEST(NextSampleTask, SaysWhatDoesNotGoTogether) {
  const Clips clips({30});
  NextSampleOptions options;
  options.carry_state = true;
  EXPECT_THROW(task_on(clips, options), Error);
  options.window = 10;  // not a multiple of the pooling, 4
  EXPECT_THROW(task_on(clips, options), Error);
  EXPECT_THROW(task_on(Clips({}), {}), Error);
}

class ScoredChunks : public testing::TestWithParam<std::string> {};

TEST_P(ScoredChunks, DoNotChangeTheLikelihoodWhenTheStateIsCarried) {
  const Clips clips({203, 64, 1, 130});
  const auto model = tiny_sashimi({}, GetParam());
  const auto bits = [&](int64_t chunk, bool carry) {
    ClipScoring scoring;
    scoring.chunk = chunk;
    scoring.carry_state = carry;
    scoring.batch_samples = 300;
    std::vector<double> sums;
    for (const SampleBits& one : bits_of_clips(*model, clips.clips, scoring))
      sums.push_back(one.per_real_sample());
    return sums;
  };
  const std::vector<double> whole = bits(0, false);
  for (const int64_t chunk : {13, 64, 100, 500}) {
    const std::vector<double> carried = bits(chunk, true);
    for (size_t i = 0; i < whole.size(); ++i)
      EXPECT_NEAR(whole[i], carried[i], 1e-4) << "chunks of " << chunk << ", clip " << i;
  }
  EXPECT_GT(std::abs(whole[0] - bits(13, false)[0]), 1e-3);
}

TEST_P(ScoredChunks, ARecordingPieceByPieceGivesTheSame) {
  const Clips clips({150});
  const auto model = tiny_sashimi({}, GetParam());
  RecordingScorer scorer(*model, -1);
  double sum = 0;
  for (size_t at = 0; at < 150; at += 11)
    for (const float nats :
         scorer.score(clips.clips[0].codes.subspan(at, std::min<size_t>(11, 150 - at))))
      sum += nats / std::numbers::ln2;
  EXPECT_NEAR(bits_of_clips(*model, clips.clips, {})[0].all, sum, 1e-2);
}

INSTANTIATE_TEST_SUITE_P(Blocks, ScoredChunks, testing::Values("mamba", "s4d+ff", "s4+ff"),
                         [](const auto& info) {
                           return info.param == "mamba"   ? "Mamba"
                                  : info.param == "s4+ff" ? "S4"
                                                          : "S4D";
                         });

TEST(Spread, TakesClipsEvenly) {
  const Clips clips({10, 10, 10, 10, 10, 10, 10, 10});
  EXPECT_EQ(8u, spread(clips.clips, 0).size());
  EXPECT_EQ(8u, spread(clips.clips, 80).size());
  const std::vector<AudioClip> some = spread(clips.clips, 40);
  ASSERT_EQ(4u, some.size());
  EXPECT_EQ("clip 6", some[3].name);
}

}  // namespace
}  // namespace strandwave::audio
