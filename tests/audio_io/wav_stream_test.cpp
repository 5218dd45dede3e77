#include "audio/io/wav_stream.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include "core/base/error.h"

namespace strandwave::audio {
namespace {

std::string little(uint32_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>((value >> (8 * i)) & 0xFF);
  return text;
}

std::string header(int tag, int channels, int bits, uint32_t data_bytes) {
  return "RIFF" + little(36 + data_bytes, 4) + "WAVE" + "LIST" + little(3, 4) + "abc" +
         std::string(1, '\0') + "fmt " + little(16, 4) + little(static_cast<uint32_t>(tag), 2) +
         little(static_cast<uint32_t>(channels), 2) + little(8000, 4) +
         little(static_cast<uint32_t>(8000 * channels * bits / 8), 4) +
         little(static_cast<uint32_t>(channels * bits / 8), 2) +
         little(static_cast<uint32_t>(bits), 2) + "data" + little(data_bytes, 4);
}

std::vector<float> all_of(const std::string& bytes, size_t piece = 5,
                          std::optional<int> raw = std::nullopt) {
  std::istringstream in(bytes);
  WavStream stream(in, "a pipe", raw);
  std::vector<float> samples, part(piece);
  while (const size_t count = stream.read(part))
    samples.insert(samples.end(), part.begin(), part.begin() + static_cast<ptrdiff_t>(count));
  return samples;
}

TEST(WavStream, ReadsEveryWidth) {
  EXPECT_EQ((std::vector<float>{-1, 0.5F}),
            all_of(header(1, 1, 8, 2) + std::string("\x00\xc0", 2)));
  EXPECT_EQ((std::vector<float>{-1, 0.5F}),
            all_of(header(1, 1, 16, 4) + little(0x8000, 2) + little(0x4000, 2)));
  EXPECT_EQ((std::vector<float>{-1, 0.5F}),
            all_of(header(1, 1, 24, 6) + little(0x800000, 3) + little(0x400000, 3)));
  EXPECT_EQ((std::vector<float>{-1, 0.5F}),
            all_of(header(1, 1, 32, 8) + little(0x80000000U, 4) + little(0x40000000, 4)));
  const float value = 1.25F;
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  EXPECT_EQ((std::vector<float>{1.25F}), all_of(header(3, 1, 32, 4) + little(bits, 4)));
}

TEST(WavStream, AveragesChannels) {
  EXPECT_EQ((std::vector<float>{0.25F, -0.5F}),
            all_of(header(1, 2, 16, 8) + little(0x4000, 2) + little(0, 2) + little(0x8000, 2) +
                   little(0, 2)));
}

TEST(WavStream, TakesTheLengthAsABoundOnly) {
  const std::string sound = little(0x4000, 2) + little(0x4000, 2) + little(0x4000, 2);
  EXPECT_EQ(2u, all_of(header(1, 1, 16, 4) + sound).size());            // a tag may follow
  EXPECT_EQ(3u, all_of(header(1, 1, 16, 4000) + sound).size());         // ends early
  EXPECT_EQ(3u, all_of(header(1, 1, 16, 0) + sound).size());            // unknown
  EXPECT_EQ(3u, all_of(header(1, 1, 16, 0xFFFFFFFFU) + sound).size());  // unknown
  EXPECT_TRUE(all_of(header(1, 1, 16, 0)).empty());
}

TEST(WavStream, ReadsBareSamples) {
  EXPECT_EQ((std::vector<float>{0.5F, -1}),
            all_of(little(0x4000, 2) + little(0x8000, 2), 1, 16000));
}

TEST(WavStream, SaysWhatIsWrong) {
  const auto message = [](const std::string& bytes) -> std::string {
    try {
      all_of(bytes);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(std::string::npos, message("ID3 and so on, surely MP3").find("a pipe is no WAV"));
  EXPECT_NE(std::string::npos, message("").find("no WAV"));
  EXPECT_NE(std::string::npos, message(header(1, 1, 16, 4).substr(0, 20)).find("ends inside"));
  EXPECT_NE(std::string::npos, message(header(85, 1, 16, 4)).find("kind 85"));
  EXPECT_NE(std::string::npos, message(header(1, 0, 16, 4)).find("0 channels"));
  EXPECT_NE(std::string::npos, message(header(1, 1, 16, 4) + "abc").find("inside sample 1"));
  const std::string nan = little(0x7FC00000, 4);
  EXPECT_NE(std::string::npos, message(header(3, 1, 32, 8) + little(0, 4) + nan).find("sample 1"));
  EXPECT_NE(std::string::npos,
            message("RIFF" + little(0, 4) + "WAVEjunk" + little(0x7FFFFFFF, 4)).find("chunk"));
}

}  // namespace
}  // namespace strandwave::audio
