#include "audio/next_sample_report.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "tests/audio/tiny_sashimi.h"

namespace strandwave::audio {
namespace {

class NextSampleReport : public testing::Test {
 protected:
  NextSampleReport() {
    for (uint64_t i = 0; i < 6; ++i) codes_.push_back(tone(i, 60));
    for (auto& one : codes_) one.resize(70, kSilence);
    for (size_t i = 0; i < codes_.size(); ++i)
      (i < 4 ? training_ : held_out_)
          .push_back({codes_[i], 60, static_cast<int64_t>(i % 2), "clip"});
    format_.sample_rate = 8000;
    test_.split = "test";
  }
  nlohmann::json result() {
    return test_next_sample(*tiny_sashimi({"even", "odd"}), format_, training_, held_out_, test_);
  }

  std::vector<std::vector<uint8_t>> codes_;
  std::vector<AudioClip> training_, held_out_;
  AudioFormat format_;
  NextSampleTest test_;
};

TEST_F(NextSampleReport, CountsSamplesAndPadding) {
  const nlohmann::json figures = result();
  EXPECT_EQ(2, figures.at("clips"));
  EXPECT_EQ(120, figures.at("samples"));
  EXPECT_EQ(20, figures.at("padding_samples"));
  EXPECT_EQ(3u, figures.at("baselines").size());
  // Two classes with a clip each: their bits average to those of all.
  double sum = 0;
  for (const nlohmann::json& one : figures.at("classes"))
    sum += one.at("bits_per_sample").get<double>();
  EXPECT_NEAR(figures.at("bits_per_sample").get<double>(), sum / 2, 1e-9);
}

TEST_F(NextSampleReport, BaselinesLearnFromPaddingAsTheModelDoes) {
  const double with = result().at("baselines")[0].at("bits_per_sample_all");
  test_.pad_loss = false;
  EXPECT_LT(with, result().at("baselines")[0].at("bits_per_sample_all").get<double>());
}

TEST_F(NextSampleReport, NamesTheBaselinesThatWin) {
  nlohmann::json figures = result();
  figures["bits_per_sample"] = 100;
  EXPECT_NE(std::string::npos, lost_to_baselines(figures).find("order 1 ("));
  figures["bits_per_sample"] = 0.1;
  EXPECT_EQ("", lost_to_baselines(figures));
}

TEST_F(NextSampleReport, OnlyLikeFiguresAreCompared) {
  const nlohmann::json base = result();
  EXPECT_NO_THROW(require_comparable(base, "a", base, "b"));
  const auto refused_for = [&](const std::string& word) {
    try {
      require_comparable(base, "one", result(), "two");
    } catch (const Error& error) {
      const std::string text = error.what();
      EXPECT_EQ(ErrorKind::kUsage, error.kind());
      EXPECT_NE(std::string::npos, text.find("one and two"));
      return text.find(word) != std::string::npos;
    }
    return false;
  };
  format_.companding = Companding::kLinear;
  EXPECT_TRUE(refused_for("companding"));
  format_.companding = Companding::kMuLaw;
  format_.scale = Scale::kPeak;
  EXPECT_TRUE(refused_for("scale"));
  format_.scale = Scale::kNone;
  test_.pad_loss = false;
  EXPECT_TRUE(refused_for("pad_loss"));
  test_.pad_loss = true;
  test_.scoring.chunk = 32;
  EXPECT_TRUE(refused_for("chunk"));
  test_.scoring.chunk = 0;
  held_out_.pop_back();
  EXPECT_TRUE(refused_for("samples"));
}

TEST_F(NextSampleReport, NothingToTestOnIsAnError) {
  held_out_.clear();
  EXPECT_THROW(result(), Error);
}

}  // namespace
}  // namespace strandwave::audio
