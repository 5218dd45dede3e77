#include "audio/io/clip_dataset.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "audio/io/audio_file.h"
#include "core/base/files.h"
#include "tests/audio_io/sound_files.h"
#include "tests/support/error_testing.h"
#include "tests/support/temporary_folder.h"

namespace strandwave::audio {
namespace {

using strandwave::test::error_of;
using strandwave::testing::TemporaryFolder;

class ClipDatasetTest : public ::testing::Test {
 protected:
  void sound(const std::string& name, const std::vector<float>& samples, int rate = 8000) const {
    write_audio(folder_.path() / name, {rate, samples}, Encoding::kFloat);
  }
  ClipDataset opened(const ClipDatasetOptions& options = {}) const {
    return ClipDataset::open(folder_.path(), options);
  }
  std::string refused(const ClipDatasetOptions& options, ErrorKind kind = ErrorKind::kInput) const {
    return error_of([&] { ClipDataset::open(folder_.path(), options); }, kind);
  }
  static std::vector<uint8_t> codes(const ClipDataset& dataset, size_t i) {
    const auto span = dataset.codes(i);
    return {span.begin(), span.end()};
  }
  TemporaryFolder folder_;
};

TEST_F(ClipDatasetTest, LengthPolicies) {
  sound("a.wav", test::sine(250, 440, 8000));
  sound("b.wav", test::sine(100, 440, 8000));
  const auto lengths = [&](LengthPolicy policy) {
    ClipDatasetOptions options;
    options.format = {.sample_rate = 0, .length = policy, .clip_length = 200};
    const ClipDataset dataset = opened(options);
    std::string text;
    for (size_t i = 0; i < dataset.size(); ++i)
      text += dataset.clip(i).name + ' ' + std::to_string(dataset.clip(i).real) + '/' +
              std::to_string(dataset.codes(i).size()) + ' ';
    EXPECT_EQ(dataset.format().sample_rate, 8000);
    return text;
  };
  EXPECT_EQ(lengths(LengthPolicy::kPad), "a.wav 200/200 b.wav 100/200 ");
  EXPECT_EQ(lengths(LengthPolicy::kCrop), "a.wav 200/200 b.wav 100/100 ");
  EXPECT_EQ(lengths(LengthPolicy::kSlice), "a.wav#0 200/200 a.wav#1 50/50 b.wav 100/100 ");
  ClipDatasetOptions exact;
  exact.format = {.sample_rate = 0, .length = LengthPolicy::kError, .clip_length = 200};
  const std::string text = refused(exact);
  EXPECT_CONTAINS(text, "2 of 2 files");
  EXPECT_CONTAINS(text, "a.wav: has 250 samples, not 200");
  EXPECT_EQ(opened().clip(0).length, 250);
}

TEST_F(ClipDatasetTest, PaddingIsSilence) {
  sound("b.wav", test::sine(100, 440, 8000));
  ClipDatasetOptions options;
  options.format = {.sample_rate = 0, .clip_length = 200};
  for (const Scale scale : {Scale::kNone, Scale::kPeak, Scale::kMinMax}) {
    options.format.scale = scale;
    const std::vector<uint8_t> all = codes(opened(options), 0);
    EXPECT_EQ(std::count(all.begin() + 100, all.end(), kSilence), 100);
  }
}

TEST_F(ClipDatasetTest, Scales) {
  sound("a.wav", {0, 0.2F, -0.1F, 0.1F});
  const auto samples = [&](Scale scale) {
    ClipDatasetOptions options;
    options.format.scale = scale;
    options.format.sample_rate = 0;
    return opened(options).samples(0);
  };
  const auto expect_near = [](const std::vector<float>& values, const std::vector<double>& wanted) {
    for (size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(values[i], wanted[i], 0.011) << i;
  };
  expect_near(samples(Scale::kNone), {0, 0.2, -0.1, 0.1});
  expect_near(samples(Scale::kPeak), {0, 1, -0.5, 0.5});
  expect_near(samples(Scale::kMinMax), {-1.0 / 3, 1, -1, 1.0 / 3});
}

TEST_F(ClipDatasetTest, ClippedSamplesAreCounted) {
  sound("a.wav", {0, 1.2F, -1.1F, 0.1F});
  sound("b.wav", {0, 0.2F, -0.1F, 0.1F});
  const ClipDataset dataset = opened();
  EXPECT_EQ(dataset.facts().at("clipped_samples"), 2);
  EXPECT_EQ(dataset.facts().at("clipped_clips"), 1);
}

TEST_F(ClipDatasetTest, SeveralRatesNeedAPolicy) {
  sound("a.wav", test::sine(800, 440, 8000));
  sound("b.wav", test::sine(1600, 440, 16000), 16000);
  const std::string text = refused({}, ErrorKind::kUsage);
  EXPECT_CONTAINS(text, "1 of 8000 (a.wav), 1 of 16000 (b.wav)");
  EXPECT_CONTAINS(text, "--rate");
  ClipDatasetOptions options;
  options.format.sample_rate = 8000;
  const ClipDataset dataset = opened(options);
  EXPECT_EQ(dataset.clip(1).length, 800);
  EXPECT_EQ(dataset.facts().at("rates"), (nlohmann::json{{"8000", 1}, {"16000", 1}}));
}

TEST_F(ClipDatasetTest, QuietFilesAreNamed) {
  sound("a.wav", test::sine(100, 440, 8000, 0.004));
  sound("b.wav", test::sine(100, 440, 8000, 0.006));
  EXPECT_EQ(opened().facts().at("quiet_files"), nlohmann::json({"a.wav"}));
}

TEST_F(ClipDatasetTest, BadFilesAreNamedRefusedOrSkipped) {
  sound("good.wav", test::sine(100, 440, 8000));
  sound("one.wav", {0.5F});
  sound("silent.wav", std::vector<float>(100, 0.25F));
  folder_.write("text.wav", "text");
  folder_.write("empty.wav", "");
  std::vector<float> samples = test::sine(100, 440, 8000);
  samples[3] = std::numeric_limits<float>::quiet_NaN();
  test::write_sound((folder_.path() / "nan.wav").string(), SF_FORMAT_WAV | SF_FORMAT_FLOAT, 8000, 1,
                    samples);
  const std::string text = refused({});
  for (const char* part : {"5 of 6 files", "one.wav: has one sample only", "silent.wav: is silent",
                           "text.wav: is no audio file", "empty.wav: is empty",
                           "nan.wav: sample 3 is not finite", "--bad-files skip"})
    EXPECT_CONTAINS(text, part);
  ClipDatasetOptions skip;
  skip.reading.skip_bad = true;
  const ClipDataset dataset = opened(skip);
  EXPECT_EQ(dataset.size(), 1U);
  EXPECT_EQ(dataset.facts().at("bad_files").size(), 5U);
  EXPECT_EQ(dataset.facts().at("bad_files")[0].at("name"), "empty.wav");
  std::filesystem::remove(folder_.path() / "good.wav");
  EXPECT_CONTAINS(refused(skip), "none of the 5 files can be used");
}

class PreparedTest : public ClipDatasetTest {
 protected:
  void SetUp() override {
    for (int take = 0; take < 12; ++take)
      for (int digit = 0; digit < 2; ++digit)
        sound(std::to_string(digit) + (take % 2 == 0 ? "_anna_" : "_bert_") + std::to_string(take) +
                  ".wav",
              test::sine(static_cast<size_t>(100 + 7 * take), 300 + 50 * digit + 9 * take, 8000));
  }
  std::string prepared() const {
    ClipDatasetOptions options;
    options.format = {.sample_rate = 0, .clip_length = 150};
    const std::string path = (prepared_.path() / "clips.safetensors").string();
    opened(options).save(path);
    return path;
  }
  TemporaryFolder prepared_;
};

TEST_F(PreparedTest, ReadsBackEverything) {
  ClipDatasetOptions options;
  options.format = {.sample_rate = 0, .clip_length = 150};
  const ClipDataset first = opened(options);
  const std::string path = prepared();
  EXPECT_TRUE(ClipDataset::is_prepared(path));
  EXPECT_FALSE(ClipDataset::is_prepared(folder_.path() / "0_anna_0.wav"));
  const ClipDataset second = ClipDataset::open(path);
  ASSERT_EQ(second.size(), 24U);
  EXPECT_EQ(second.format(), first.format());
  EXPECT_EQ(second.labels(), first.labels());
  EXPECT_EQ(second.hash(), first.hash());
  EXPECT_EQ(second.facts(), first.facts());
  for (size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(codes(second, i), codes(first, i));
    EXPECT_EQ(second.clip(i).name, first.clip(i).name);
    EXPECT_EQ(second.clip(i).speaker, first.clip(i).speaker);
    EXPECT_EQ(second.clip(i).label, first.clip(i).label);
    EXPECT_EQ(second.clip(i).split, first.clip(i).split);
    EXPECT_EQ(second.clip(i).real, first.clip(i).real);
  }
  // And once more, from the mapped file.
  const std::string again = (prepared_.path() / "again.safetensors").string();
  second.save(again);
  EXPECT_EQ(read_file(again), read_file(path));
}

TEST_F(PreparedTest, FactsSayWhatSplitsShare) {
  // A held-out clip that is a copy of one in training, by a speaker of training.
  const ClipFileOptions by_name = {.split = SplitBy::kRegex, .test = "_(10|11)\\."};
  std::filesystem::copy_file(folder_.path() / "1_anna_4.wav", folder_.path() / "1_anna_10.wav",
                             std::filesystem::copy_options::overwrite_existing);
  sound("0_carl_11.wav", test::sine(100, 333, 8000));
  ClipDatasetOptions options;
  options.files = by_name;
  options.files.shares.validation = 0;
  const nlohmann::json splits = opened(options).facts().at("splits");
  EXPECT_EQ(splits[0].at("clips"), 20);
  EXPECT_EQ(splits[2].at("clips"), 5);
  EXPECT_EQ(splits[2].at("speakers"), 3);
  EXPECT_EQ(splits[2].at("clips_of_known_speakers"), 4);
  EXPECT_EQ(splits[2].at("copies"), 1);
  EXPECT_EQ(splits[2].at("per_label"), (nlohmann::json{{"0", 3}, {"1", 2}}));
}

TEST_F(PreparedTest, HashDependsOnContent) {
  const std::string before = opened().hash();
  EXPECT_EQ(opened().hash(), before);
  ClipDatasetOptions other;
  other.files.shares.seed = 7;
  EXPECT_NE(opened(other).hash(), before);
  sound("0_anna_0.wav", test::sine(100, 299, 8000));
  EXPECT_NE(opened().hash(), before);
}

TEST_F(PreparedTest, NoticesDamage) {
  const std::string path = prepared();
  const std::string whole = read_file(path);
  const auto message = [&](const std::string& content) {
    const std::string damaged = prepared_.write("damaged.safetensors", content);
    return error_of([&] { ClipDataset::open(damaged); });
  };
  // Every tensor is either checked against others or part of the hash.
  std::string flipped = whole;
  flipped[whole.size() / 2] = static_cast<char>(flipped[whole.size() / 2] ^ 1);
  EXPECT_CONTAINS(message(flipped), "damaged.safetensors: ");
  EXPECT_CONTAINS(message(whole.substr(0, whole.size() - 1)), "damaged.safetensors");
  std::string old = whole;
  old.replace(whole.find("\"version\":\"1\""), 13, "\"version\":\"7\"");
  EXPECT_CONTAINS(message(old), "version 7");
  const std::string other = prepared_.path() / "model.safetensors";
  write_safetensors(other, {}, {});
  EXPECT_CONTAINS(error_of([&] { ClipDataset::open(other); }), "no prepared set of clips");
}

// Whatever byte is another one: an Error, or clips that are as they were.
TEST_F(PreparedTest, SurvivesEveryChange) {
  const std::string path = prepared();
  const std::string hash = ClipDataset::open(path).hash();
  const std::string whole = read_file(path);
  int refused = 0;
  for (size_t at = 0; at < whole.size(); at += at < 3000 ? 5 : 41) {
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 0x15);
    const std::string file = prepared_.write("changed.safetensors", changed);
    try {
      EXPECT_EQ(ClipDataset::open(file).hash(), hash) << at;
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 300);
}

// Reading files in parallel changes nothing.
TEST_F(PreparedTest, ThreadsDoNotMatter) {
  ClipDatasetOptions options;
  options.reading.threads = 1;
  const std::string one = opened(options).hash();
  options.reading.threads = 5;
  EXPECT_EQ(opened(options).hash(), one);
}

}  // namespace
}  // namespace strandwave::audio
