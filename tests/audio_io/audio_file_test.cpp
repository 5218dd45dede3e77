#include "audio/io/audio_file.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <numeric>

#include "core/base/files.h"
#include "tests/audio_io/sound_files.h"
#include "tests/support/error_testing.h"
#include "tests/support/temporary_folder.h"

namespace strandwave::audio {
namespace {

using strandwave::test::error_of;
using strandwave::testing::TemporaryFolder;
using test::sine;
using test::write_sound;

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    largest = std::max(largest, std::abs(double{a[i]} - double{b[i]}));
  return largest;
}

class AudioFileTest : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  TemporaryFolder folder_;
};

TEST_F(AudioFileTest, WhatIsWrittenReadsBackExactly) {
  std::vector<float> all(65536);
  for (int i = 0; i < 65536; ++i)
    all[static_cast<size_t>(i)] = static_cast<float>(i - 32768) / 32768;
  for (const char* name : {"a.wav", "a.flac"}) {
    EXPECT_EQ(write_audio(path(name), {8000, all}, Encoding::kPcm16), 0);
    const Waveform back = read_audio(path(name));
    EXPECT_EQ(back.sample_rate, 8000);
    EXPECT_EQ(back.samples, all) << name;
  }
  const std::vector<float> fine = {0.123456F, -0.00001F, 1.0F / (1 << 23), -1, 0.999F};
  write_audio(path("fine.wav"), {44100, fine}, Encoding::kPcm24);
  EXPECT_LT(largest_difference(read_audio(path("fine.wav")).samples, fine), 6e-8);
  write_audio(path("fine.flac"), {44100, fine}, Encoding::kPcm24);
  EXPECT_LT(largest_difference(read_audio(path("fine.flac")).samples, fine), 6e-8);
}

TEST_F(AudioFileTest, FloatKeepsPeaksAndIntegersCountThem) {
  const std::vector<float> loud = {1.05F, -1.5F, 0.5F, 3e-9F};
  EXPECT_EQ(write_audio(path("loud.wav"), {16000, loud}, Encoding::kFloat), 0);
  EXPECT_EQ(read_audio(path("loud.wav")).samples, loud);
  EXPECT_EQ(write_audio(path("cut.wav"), {16000, loud}), 2);
  const std::vector<float> cut = read_audio(path("cut.wav")).samples;
  EXPECT_FLOAT_EQ(cut[0], 32767.0F / 32768);
  EXPECT_FLOAT_EQ(cut[1], -1);
}

TEST_F(AudioFileTest, EqualInputGivesEqualBytes) {
  const std::vector<float> samples = sine(101, 440, 8000);
  for (const char* container : {"wav", "flac"})
    EXPECT_EQ(audio_file_bytes(container, samples, 8000, Encoding::kPcm24),
              audio_file_bytes(container, samples, 8000, Encoding::kPcm24));
  // 101 samples of 3 bytes: a chunk of odd length is followed by one byte more.
  EXPECT_EQ(audio_file_bytes("wav", samples, 8000, Encoding::kPcm24).size(), 44U + 304U);
}

TEST_F(AudioFileTest, RefusesToWriteWhatIsNoSound) {
  const std::vector<float> nan = {0, std::numeric_limits<float>::quiet_NaN()};
  EXPECT_CONTAINS(error_of(
                      [&] {
                        write_audio(path("x.wav"), {8000, nan});
                      },
                      ErrorKind::kRuntime),
                  "sample 1");
  EXPECT_CONTAINS(error_of(
                      [&] {
                        write_audio(path("x.mp3"), {8000, {0}});
                      },
                      ErrorKind::kUsage),
                  ".wav or .flac");
  EXPECT_CONTAINS(error_of(
                      [&] {
                        write_audio(path("x.flac"), {8000, {0}}, Encoding::kFloat);
                      },
                      ErrorKind::kUsage),
                  "floating-point");
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(AudioFileTest, EveryFormatByContentAndToItsEnd) {
  const std::vector<float> samples = sine(24000, 440, 24000);
  const std::vector<std::pair<const char*, int>> formats = {
      {"wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16},
      {"flac", SF_FORMAT_FLAC | SF_FORMAT_PCM_24},
      {"vorbis", SF_FORMAT_OGG | SF_FORMAT_VORBIS},
      {"opus", SF_FORMAT_OGG | SF_FORMAT_OPUS},
      {"mp3", SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III},
      {"aiff", SF_FORMAT_AIFF | SF_FORMAT_PCM_16},
      {"au", SF_FORMAT_AU | SF_FORMAT_FLOAT}};
  for (const auto& [name, format] : formats) {
    SCOPED_TRACE(name);
    // The ending says nothing.
    write_sound(path(std::string(name) + ".data"), format, 24000, 1, samples);
    const Waveform back = read_audio(path(std::string(name) + ".data"));
    EXPECT_EQ(back.sample_rate, 24000);
    // MP3 brings the silence of its encoder's and decoder's delays.
    EXPECT_GE(back.samples.size(), 24000U - 960U);
    EXPECT_LE(back.samples.size(), 24000U + 2400U);
    const float peak = *std::max_element(back.samples.begin(), back.samples.end());
    EXPECT_NEAR(peak, 0.5, 0.05);
    std::ifstream in(path(std::string(name) + ".data"), std::ios::binary);
    std::string first(16, '\0');
    in.read(first.data(), 16);
    EXPECT_TRUE(looks_like_audio(first));
  }
  EXPECT_FALSE(looks_like_audio("path\tlabel\n"));
  EXPECT_FALSE(looks_like_audio("\xff\xfet\0e\0x\0t\0"));
  EXPECT_FALSE(looks_like_audio(""));
}

TEST_F(AudioFileTest, ChannelsAreAveraged) {
  std::vector<float> stereo;
  for (int t = 0; t < 100; ++t) {
    stereo.push_back(0.5F);
    stereo.push_back(-0.25F);
    stereo.push_back(0.5F);
  }
  write_sound(path("a.wav"), SF_FORMAT_WAV | SF_FORMAT_FLOAT, 8000, 3, stereo);
  const Waveform wave = read_audio(path("a.wav"));
  EXPECT_EQ(wave.samples, std::vector<float>(100, 0.25F));
  EXPECT_EQ(audio_file_facts(path("a.wav")).channels, 3);
  EXPECT_EQ(audio_file_facts(path("a.wav")).format, "WAV");
}

// A tone below the new Nyquist frequency stays what it was, one above it goes.
TEST_F(AudioFileTest, Resamples) {
  const std::vector<float> tone = sine(48000, 1000, 48000);
  const std::vector<float> down = resample(tone, 48000, 16000);
  ASSERT_EQ(down.size(), 16000U);
  const std::vector<float> expected = sine(16000, 1000, 16000);
  for (size_t t = 1000; t < 15000; ++t) ASSERT_NEAR(down[t], expected[t], 1e-4) << t;
  const std::vector<float> gone = resample(sine(48000, 10000, 48000), 48000, 16000);
  for (size_t t = 1000; t < 15000; ++t) ASSERT_NEAR(gone[t], 0, 1e-4) << t;
  EXPECT_EQ(resample(sine(22050, 300, 22050), 22050, 16000).size(), 16000U);
  EXPECT_EQ(resample(tone, 48000, 48000), tone);
  write_audio(path("a.wav"), {48000, tone});
  EXPECT_EQ(read_audio(path("a.wav"), {.target_rate = 16000}).samples.size(), 16000U);
}

TEST_F(AudioFileTest, RefusesWhatIsNoAudio) {
  EXPECT_CONTAINS(error_of([&] { read_audio(path("absent.wav")); }), "cannot be opened");
  EXPECT_CONTAINS(error_of([&] { read_audio(folder_.path()); }), "not a regular file");
  const auto message = [&](const std::string& content) {
    const std::string file = folder_.write("bad.wav", content);
    const std::string text = error_of([&] { read_audio(file); });
    EXPECT_CONTAINS(text, "bad.wav: ");
    return text;
  };
  EXPECT_CONTAINS(message(""), "is empty");
  EXPECT_CONTAINS(message("hello, this is text"), "no audio file");
  EXPECT_CONTAINS(message("RIFF\x10\0\0\0WAVEgarbage"), "bad.wav");
  EXPECT_CONTAINS(message(std::string("fLaC") + std::string(100, 'x')), "damaged");
  EXPECT_CONTAINS(message(audio_file_bytes("wav", {}, 8000, Encoding::kPcm16)), "holds no samples");
}

TEST_F(AudioFileTest, NoticesFilesThatWereCut) {
  const std::vector<float> samples = sine(8000, 440, 8000);
  for (const char* container : {"wav", "flac"}) {
    const std::string whole = audio_file_bytes(container, samples, 8000, Encoding::kPcm16);
    for (const size_t length : {whole.size() - 1, whole.size() / 2, size_t{200}}) {
      const std::string file = folder_.write("cut", whole.substr(0, length));
      const std::string text = error_of([&] { read_audio(file); });
      EXPECT_TRUE(text.find("cut short") != text.npos || text.find("damaged") != text.npos)
          << container << ' ' << length << ' ' << text;
    }
  }
  // A recorder that never came back to its header.
  std::string open_end = audio_file_bytes("wav", samples, 8000, Encoding::kPcm16);
  for (const size_t at : {size_t{4}, size_t{40}}) open_end.replace(at, 4, "\xff\xff\xff\xff");
  EXPECT_EQ(read_audio(folder_.write("open.wav", open_end)).samples.size(), 8000U);
}

TEST_F(AudioFileTest, RefusesNumbersThatAreNone) {
  std::vector<float> samples = sine(100, 440, 8000);
  samples[70] = std::numeric_limits<float>::quiet_NaN();
  write_sound(path("nan.wav"), SF_FORMAT_WAV | SF_FORMAT_FLOAT, 8000, 1, samples);
  EXPECT_CONTAINS(error_of([&] { read_audio(path("nan.wav")); }), "sample 70 is not finite (NaN)");
  samples[70] = std::numeric_limits<float>::infinity();
  write_sound(path("inf.wav"), SF_FORMAT_WAV | SF_FORMAT_FLOAT, 8000, 1, samples);
  EXPECT_CONTAINS(error_of([&] { read_audio(path("inf.wav")); }), "infinite");
}

TEST_F(AudioFileTest, StopsBeforeTheMemoryIsFull) {
  write_audio(path("long.wav"), {8000, sine(100000, 440, 8000)});
  const std::string text = error_of([&] { read_audio(path("long.wav"), {.max_samples = 80000}); });
  EXPECT_CONTAINS(text, "longer than 10.0 s");
  EXPECT_CONTAINS(text, "cut it into pieces");
  EXPECT_EQ(read_audio(path("long.wav"), {.max_samples = 100000}).samples.size(), 100000U);
}

}  // namespace
}  // namespace strandwave::audio
