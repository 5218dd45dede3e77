#include <gtest/gtest.h>

#include <stdexcept>

#include "core/report/media.h"

namespace strandwave::report {
namespace {

uint32_t word(const std::string& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = (value << 8) | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

TEST(Base64, FollowsTheStandard) {
  EXPECT_EQ("", base64(""));
  EXPECT_EQ("Zg==", base64("f"));
  EXPECT_EQ("Zm8=", base64("fo"));
  EXPECT_EQ("Zm9v", base64("foo"));
  EXPECT_EQ("Zm9vYmFy", base64("foobar"));
  EXPECT_EQ("/+8A", base64(std::string("\xff\xef\x00", 3)));
}

TEST(Png, HoldsThePixels) {
  IndexedImage image;
  image.width = 3;
  image.height = 2;
  image.pixels = {0, 1, 2, 253, 254, 255};
  image.palette = heat_palette();
  const std::string file = png(image);
  ASSERT_TRUE(file.starts_with("\x89PNG\r\n\x1a\n"));
  EXPECT_EQ("IHDR", file.substr(12, 4));
  EXPECT_EQ(3u, word(file, 16));
  EXPECT_EQ(2u, word(file, 20));
  // The checksum that the standard gives for the empty last chunk.
  EXPECT_EQ("IEND", file.substr(file.size() - 8, 4));
  EXPECT_EQ(0xAE426082U, word(file, file.size() - 4));
  const size_t data = file.find("IDAT");
  ASSERT_NE(std::string::npos, data);
  // zlib header, one stored last block of 2 x (1 + 3) bytes, rows each after a 0.
  const std::string expected("\x78\x01\x01\x08\x00\xf7\xff\x00\x00\x01\x02\x00\xfd\xfe\xff", 15);
  EXPECT_EQ(expected, file.substr(data + 4, expected.size()));
  EXPECT_EQ(0x060A02FEU, word(file, data + 4 + expected.size()));  // Adler-32 of the rows
}

TEST(Png, LargeImagesTakeSeveralBlocks) {
  IndexedImage image;
  image.width = 700;
  image.height = 200;
  image.pixels.assign(140000, 7);
  const std::string file = png(image);
  const size_t data = file.find("IDAT");
  EXPECT_EQ('\0', file[data + 6]);                    // not the last block
  EXPECT_EQ('\1', file[data + 6 + 2 * (5 + 65535)]);  // the third is
  EXPECT_EQ(140200u + 2 + 3 * 5 + 4, word(file, data - 4));
}

TEST(Png, RefusesAWrongSize) {
  IndexedImage image;
  image.width = 2;
  image.height = 2;
  image.pixels = {1, 2, 3};
  EXPECT_THROW(png(image), std::logic_error);
}

TEST(HeatPalette, GetsLighterSteadily) {
  const auto palette = heat_palette();
  const auto light = [&](size_t i) {
    return 0.2126 * palette[i][0] + 0.7152 * palette[i][1] + 0.0722 * palette[i][2];
  };
  for (size_t i = 1; i < palette.size(); ++i) EXPECT_GE(light(i) + 1, light(i - 1)) << i;
  EXPECT_LT(light(0), 20);
  EXPECT_GT(light(255), 230);
}

TEST(SoundFigure, EscapesWhatItShows) {
  const Markup figure = sound_figure("<b>", "a & b", {}, player("RIFF", "audio/wav", "\"clip\""));
  EXPECT_NE(std::string::npos, figure.html.find("&lt;b&gt;"));
  EXPECT_NE(std::string::npos, figure.html.find("a &amp; b"));
  EXPECT_NE(std::string::npos, figure.html.find("&quot;clip&quot;"));
  EXPECT_NE(std::string::npos, figure.html.find("data:audio/wav;base64,UklGRg=="));
}

}  // namespace
}  // namespace strandwave::report
