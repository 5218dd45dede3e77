#include "audio/io/companding.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include "audio/io/audio_format.h"
#include "tests/support/error_testing.h"

namespace strandwave::audio {
namespace {

using strandwave::test::error_of;

std::vector<uint8_t> codes_of(Companding companding, const std::vector<float>& samples) {
  std::vector<uint8_t> codes(samples.size());
  encode(companding, samples, codes);
  return codes;
}

std::vector<float> values_of(Companding companding) {
  std::vector<uint8_t> codes(256);
  std::iota(codes.begin(), codes.end(), uint8_t{0});
  std::vector<float> values(256);
  decode(companding, codes, values);
  return values;
}

int unchanged_codes(Companding companding) {
  const std::vector<uint8_t> again = codes_of(companding, values_of(companding));
  int same = 0;
  for (int code = 0; code < 256; ++code) same += again[static_cast<size_t>(code)] == code;
  return same;
}

TEST(CompandingTest, CodesOfCodes) {
  EXPECT_EQ(unchanged_codes(Companding::kMuLaw), 256);
  EXPECT_EQ(unchanged_codes(Companding::kS4), 130);  // counted with the public code
  EXPECT_EQ(unchanged_codes(Companding::kLinear), 256);
}

TEST(CompandingTest, KnownValues) {
  EXPECT_EQ(codes_of(Companding::kMuLaw, {-1, -0.5F, 0, 0.01F, 0.5F, 1}),
            (std::vector<uint8_t>{0, 16, 128, 157, 239, 255}));
  EXPECT_EQ(codes_of(Companding::kS4, {-1, 0, 1}), (std::vector<uint8_t>{0, 128, 255}));
  EXPECT_EQ(codes_of(Companding::kLinear, {-1, -0.5F, 0, 0.5F, 1}),
            (std::vector<uint8_t>{0, 64, 128, 192, 255}));
  EXPECT_FLOAT_EQ(values_of(Companding::kMuLaw)[255], 1);
  EXPECT_FLOAT_EQ(values_of(Companding::kMuLaw)[0], -1);
  EXPECT_NEAR(values_of(Companding::kS4)[255], 0.957, 5e-4);
}

TEST(CompandingTest, SilenceStaysSilent) {
  for (const Companding companding : {Companding::kMuLaw, Companding::kS4, Companding::kLinear}) {
    EXPECT_EQ(codes_of(companding, {0, -0.0F}), (std::vector<uint8_t>{kSilence, kSilence}))
        << to_string(companding);
    EXPECT_LT(std::abs(values_of(companding)[kSilence]), 1e-4) << to_string(companding);
  }
}

TEST(CompandingTest, CodesRiseWithSamplesAndErrorsAreHalfAStep) {
  std::vector<float> ramp(20001);
  for (size_t i = 0; i < ramp.size(); ++i) ramp[i] = static_cast<float>(i) / 10000 - 1;
  for (const Companding companding : {Companding::kMuLaw, Companding::kS4, Companding::kLinear}) {
    const std::vector<uint8_t> codes = codes_of(companding, ramp);
    EXPECT_TRUE(std::is_sorted(codes.begin(), codes.end()));
    EXPECT_EQ(codes.front(), 0);
    EXPECT_EQ(codes.back(), 255);
  }
  const std::vector<uint8_t> codes = codes_of(Companding::kMuLaw, ramp);
  std::vector<float> back(ramp.size());
  decode(Companding::kMuLaw, codes, back);
  double sum = 0, squares = 0;
  for (size_t i = 0; i < ramp.size(); ++i) {
    const double error = double{back[i]} - double{ramp[i]};
    sum += error;
    squares += error * error;
  }
  const auto count = static_cast<double>(ramp.size());
  EXPECT_NEAR(sum / count, 0, 1e-4);
  EXPECT_NEAR(std::sqrt(squares / count), 0.0073, 1e-4);  // of torchaudio's on uniform numbers
}

TEST(CompandingTest, CountsWhatIsClipped) {
  const std::vector<float> samples = {1.5F, 1, -1, -1.0001F, 0, 100};
  std::vector<uint8_t> codes(samples.size());
  EXPECT_EQ(encode(Companding::kMuLaw, samples, codes), 3);
  EXPECT_EQ(codes, (std::vector<uint8_t>{255, 255, 0, 0, 128, 255}));
}

TEST(CompandingTest, Names) {
  for (const std::string& name : companding_names())
    EXPECT_EQ(to_string(companding_of(name)), name);
  EXPECT_CONTAINS(error_of([] { companding_of("a-law"); }, ErrorKind::kUsage), "'a-law'");
}

TEST(AudioFormatTest, Json) {
  const AudioFormat format = {.sample_rate = 8000,
                              .companding = Companding::kS4,
                              .scale = Scale::kMinMax,
                              .length = LengthPolicy::kSlice,
                              .clip_length = 4096};
  EXPECT_EQ(AudioFormat::from_json(format.to_json(), "here"), format);
  const auto refused = [](const char* text) {
    return error_of([&] { AudioFormat::from_json(nlohmann::json::parse(text), "here"); },
                    ErrorKind::kUsage);
  };
  EXPECT_CONTAINS(refused(R"({"sample_rate": 10})"), "sample_rate");
  EXPECT_CONTAINS(refused(R"({"scale": "loud"})"), "loud");
  EXPECT_CONTAINS(refused(R"({"sample_rat": 16000})"), "sample_rate");
  EXPECT_CONTAINS(refused(R"({"resampler": "sox"})"), "resampler");
}

}  // namespace
}  // namespace strandwave::audio
