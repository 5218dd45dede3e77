#include "audio/clip_page.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace strandwave::audio {
namespace {

std::vector<float> sine(double hertz, int rate, size_t length) {
  std::vector<float> samples(length);
  for (size_t t = 0; t < length; ++t)
    samples[t] = static_cast<float>(
        0.5 * std::sin(2 * std::numbers::pi * hertz * static_cast<double>(t) / rate));
  return samples;
}

// The lightest row of the middle column.
int lightest_row(const report::IndexedImage& image) {
  int best = 0;
  const auto at = [&](int row) {
    return image.pixels[static_cast<size_t>(row * image.width + image.width / 2)];
  };
  for (int row = 1; row < image.height; ++row)
    if (at(row) > at(best)) best = row;
  return best;
}

TEST(SpectrogramImage, LowTonesAreAtTheBottom) {
  const int low = lightest_row(spectrogram_image(sine(200, 8000, 8000), 8000));
  const int high = lightest_row(spectrogram_image(sine(3000, 8000, 8000), 8000));
  EXPECT_GT(low, 50);
  EXPECT_LT(high, 12);
  // The strongest tone is as light as it gets.
  const report::IndexedImage image = spectrogram_image(sine(1000, 16000, 8000), 16000);
  EXPECT_EQ(255, *std::max_element(image.pixels.begin(), image.pixels.end()));
}

TEST(SpectrogramImage, SilenceIsDark) {
  const report::IndexedImage image = spectrogram_image(std::vector<float>(4000, 0.0F), 8000);
  EXPECT_EQ(0, *std::max_element(image.pixels.begin(), image.pixels.end()));
}

TEST(SpectrogramImage, LongClipsStayNarrow) {
  EXPECT_LE(spectrogram_image(sine(500, 8000, 400000), 8000).width, 402);
  EXPECT_GE(spectrogram_image(sine(500, 8000, 2), 8000).width, 1);
}

TEST(ClipPage, HoldsSoundAndPictures) {
  ClipPage page;
  page.title = "clips & more";
  page.sample_rate = 8000;
  page.clips.push_back({"one", "log-likelihood -3.0", "RIFF", "audio/wav", sine(300, 8000, 800)});
  page.all_clips = 70;
  const std::string html = clip_page(page);
  EXPECT_NE(std::string::npos, html.find("clips &amp; more"));
  EXPECT_NE(std::string::npos, html.find("data:audio/wav;base64,UklGRg=="));
  EXPECT_NE(std::string::npos, html.find("data:image/png;base64,"));
  EXPECT_NE(std::string::npos, html.find("The first 1 of 70 clips"));
  EXPECT_NE(std::string::npos, html.find("media-src data:"));
  EXPECT_EQ(std::string::npos, html.find("<script"));
}

}  // namespace
}  // namespace strandwave::audio
