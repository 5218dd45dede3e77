// Against librosa, torchaudio and torchvggish: tests/python/make_audio_fixtures.py.
#include "audio/dsp/mel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <thread>

#include "core/base/error.h"
#include "core/base/safetensors.h"

namespace strandwave::audio {
namespace {

uint32_t mixed(uint32_t x) {
  x ^= x >> 16;
  x *= 0x85EBCA6BU;
  x ^= x >> 13;
  x *= 0xC2B2AE35U;
  return x ^ (x >> 16);
}

// As signal() of the script.
std::vector<float> signal(int rate, int length) {
  using std::numbers::pi;
  std::vector<float> samples(static_cast<size_t>(length));
  for (int n = 0; n < length - length / 8; ++n) {
    const double t = static_cast<double>(n) / rate;
    double x = 0.4 * std::sin(2 * pi * 440 * n / rate);
    x += 0.3 * std::sin(2 * pi * (200 * t + 1500 * t * t));
    x += 0.2 * std::exp(-4.0 * n / length) * (mixed(static_cast<uint32_t>(n)) / 2147483648.0 - 1);
    samples[static_cast<size_t>(n)] = static_cast<float>(x);
  }
  return samples;
}

Matrix expected(const std::string& name) {
  static const SafetensorsFile file(STRANDWAVE_SOURCE_DIR "/tests/fixtures/audio/mel.safetensors");
  const SafetensorsEntry& entry = file.entry(name);
  Matrix result(entry.shape.at(0), entry.shape.at(1));
  std::vector<float> values(result.values.size());
  std::memcpy(values.data(), entry.bytes.data(), entry.bytes.size());
  std::copy(values.begin(), values.end(), result.values.begin());
  return result;
}

// Each value within 1e-4 of itself, or of `least` times the largest where it is smaller than that.
void expect_equal(const Matrix& actual, const Matrix& expected, double least = 1e-9) {
  ASSERT_EQ(actual.rows, expected.rows);
  ASSERT_EQ(actual.columns, expected.columns);
  least *= *std::max_element(expected.values.begin(), expected.values.end());
  for (int64_t t = 0; t < actual.rows; ++t)
    for (int64_t m = 0; m < actual.columns; ++m)
      ASSERT_NEAR(actual.at(t, m), expected.at(t, m),
                  1e-4 * std::max(std::abs(expected.at(t, m)), least))
          << "frame " << t << " band " << m;
}

void expect_near(const Matrix& actual, const Matrix& expected, double tolerance) {
  ASSERT_EQ(actual.rows, expected.rows);
  ASSERT_EQ(actual.columns, expected.columns);
  for (size_t i = 0; i < actual.values.size(); ++i)
    ASSERT_NEAR(actual.values[i], expected.values[i], tolerance) << i;
}

TEST(MelSpectrogramTest, ProfilesEqualThePythonLibraries) {
  const auto mel = [](const char* profile, int rate, int length) {
    return MelSpectrogram(SpectrogramConfig::of_profile(profile, rate))(signal(rate, length));
  };
  expect_equal(mel("librosa", 22050, 3000), expected("librosa"));
  expect_equal(mel("librosa-0.8", 22050, 3000), expected("librosa-0.8"));
  // torchaudio computes its filters in float32: where a triangle ends just beyond a bin, its weight
  // is little more than their rounding.
  expect_equal(mel("torchaudio", 16000, 3001), expected("torchaudio"), 1e-4);
  expect_near(mel("vggish", 16000, 4000), expected("vggish"), 1e-4);
}

TEST(MelSpectrogramTest, ShortWindowsLieInTheMiddle) {
  SpectrogramConfig librosa = SpectrogramConfig::of_profile("librosa", 8000);
  librosa.fft = 512;
  librosa.window = 400;
  librosa.hop = 128;
  librosa.power = 1;
  librosa.mels = 40;
  librosa.low = 50;
  librosa.high = 3500;
  expect_equal(MelSpectrogram(librosa)(signal(8000, 2000)), expected("librosa-window"));
  SpectrogramConfig torchaudio = SpectrogramConfig::of_profile("torchaudio", 16000);
  torchaudio.fft = 512;
  torchaudio.window = 320;
  torchaudio.hop = 160;
  torchaudio.mels = 40;
  expect_equal(MelSpectrogram(torchaudio)(signal(16000, 2000)), expected("torchaudio-window"));
}

TEST(MelSpectrogramTest, ImagesOfTheSpeechMetrics) {
  for (const char* profile : {"librosa", "librosa-0.8"})
    for (const int rate : {8000, 16000}) {
      SpectrogramConfig config = SpectrogramConfig::of_profile(profile, rate);
      config.mels = 32;
      config.fft = config.window = rate == 8000 ? 1024 : 2048;
      config.hop = config.fft / 4;
      Matrix image = MelSpectrogram(config)(signal(rate, rate));
      power_to_db(image, {.reference = {}});
      EXPECT_EQ(image.rows, 32);
      expect_near(image,
                  expected("sc09-" + std::to_string(rate / 1000) + "k-" + std::string(profile)),
                  1e-4);
    }
}

TEST(MelSpectrogramTest, EveryLengthHasItsFrames) {
  const MelSpectrogram padded(SpectrogramConfig::of_profile("librosa-0.8", 8000));
  const MelSpectrogram vggish(SpectrogramConfig::of_profile("vggish", 16000));
  EXPECT_EQ(padded({}).rows, 0);
  for (const int length : {1, 2, 511, 512, 1023, 1024}) {
    const Matrix mel = padded(signal(8000, length));
    EXPECT_EQ(mel.rows, 1 + length / 512) << length;
    for (const double value : mel.values) EXPECT_TRUE(std::isfinite(value));
  }
  EXPECT_EQ(vggish(signal(16000, 399)).rows, 0);
  EXPECT_EQ(vggish(signal(16000, 400)).rows, 1);
  EXPECT_EQ(vggish(signal(16000, 15360)).rows, 94);  // 0.96 s: less than VGGish's 96 frames
  EXPECT_EQ(vggish(signal(16000, 15600)).rows, 96);
}

TEST(SpectrogramTest, EqualsTheDefinition) {
  SpectrogramConfig config = SpectrogramConfig::of_profile("librosa", 8000);
  config.fft = config.window = 15;  // odd
  config.hop = 4;
  const std::vector<float> x = signal(8000, 40);
  const Matrix found = Spectrogram(config)(x);
  ASSERT_EQ(found.columns, 8);
  for (int t = 0; t < found.rows; ++t)
    for (int k = 0; k < 8; ++k) {
      std::complex<double> sum = 0;
      for (int i = 0; i < 15; ++i) {
        const int at = t * 4 - 7 + i;
        const double phase = 2 * std::numbers::pi * i / 15;
        if (at < 0 || at >= 40) continue;
        sum += (0.5 - 0.5 * std::cos(phase)) * x[static_cast<size_t>(at)] *
               std::polar(1.0, -k * phase);
      }
      EXPECT_NEAR(found.at(t, k), std::norm(sum), 1e-12);
    }
}

TEST(SpectrogramTest, ThreadsShareOneAndMakeTheirOwn) {
  const std::vector<float> x = signal(8000, 4000);
  const MelSpectrogram shared(SpectrogramConfig::of_profile("librosa", 8000));
  const Matrix once = shared(x);
  std::vector<int> equal(8);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < equal.size(); ++i)
    threads.emplace_back([&, i] {
      const MelSpectrogram own(SpectrogramConfig::of_profile("librosa", 8000));
      equal[i] = shared(x).values == once.values && own(x).values == once.values;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(std::count(equal.begin(), equal.end(), 1), 8);
}

TEST(PowerToDecibelTest, ReferenceFloorAndRange) {
  Matrix power(1, 3);
  power.values = {1e-3, 10, 0};
  Matrix relative = power;
  power_to_db(relative, {.reference = {}});
  EXPECT_EQ(relative.values, (std::vector<double>{-40, 0, -80}));
  Matrix plain = power;
  power_to_db(plain, {.reference = 1, .top_db = {}});
  EXPECT_EQ(plain.values, (std::vector<double>{-30, 10, -100}));
  Matrix silent(2, 2);  // all at the reference: 0 dB
  power_to_db(silent, {.reference = {}});
  EXPECT_EQ(silent.values, (std::vector<double>{0, 0, 0, 0}));
}

TEST(SpectrogramConfigTest, ErrorsSayWhatAndWhere) {
  const auto message = [](const std::function<void()>& body) -> std::string {
    try {
      body();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(message([] { SpectrogramConfig::of_profile("libroza", 8000); }).find("librosa"),
            std::string::npos);
  EXPECT_NE(message([] { SpectrogramConfig::of_profile("vggish", 8000); }).find("8000"),
            std::string::npos);
  SpectrogramConfig config = SpectrogramConfig::of_profile("librosa", 8000);
  config.high = 5000;
  EXPECT_NE(message([&] { MelSpectrogram{config}; }).find("4000"), std::string::npos);
  config.high = 4000;
  config.window = 4096;
  EXPECT_NE(message([&] { MelSpectrogram{config}; }).find("4096"), std::string::npos);
}

}  // namespace
}  // namespace strandwave::audio
