// Pictures and sound inside an HtmlPage, as data: addresses. No LibTorch.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/report/html_page.h"

namespace strandwave::report {

// RFC 4648, with padding.
std::string base64(std::string_view bytes);

struct IndexedImage {
  int width = 0, height = 0;
  std::vector<uint8_t> pixels;  // indices into the palette, row by row from the top
  std::array<std::array<uint8_t, 3>, 256> palette = {};
};
// From dark to light, steady in brightness: what shades of a spectrogram mean is seen without a
// legend and in grey.
std::array<std::array<uint8_t, 3>, 256> heat_palette();

// The image as a PNG file (ISO/IEC 15948) whose data are stored, not compressed. Throws
// std::logic_error when the pixels are not width x height.
std::string png(const IndexedImage& image);

// `alternative` is what a reader without pictures gets.
Markup picture(const IndexedImage& image, const std::string& alternative);
// A player with the file's bytes inside; type: "audio/wav".
Markup player(std::string_view file, const std::string& type, const std::string& name);
// A picture over its player, with a title and a remark (may be empty).
Markup sound_figure(const std::string& title, const std::string& remark, const Markup& picture,
                    const Markup& player);

}  // namespace strandwave::report
