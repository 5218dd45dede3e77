#include "core/report/media.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace strandwave::report {
namespace {

void append_word(std::string& out, uint32_t value) {  // big-endian
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>((value >> shift) & 0xFF);
}

// The CRC of PNG and zlib (ISO 3309), bit by bit: images are small.
uint32_t crc32(std::string_view bytes) {
  uint32_t crc = 0xFFFFFFFFU;
  for (const char byte : bytes) {
    crc ^= static_cast<uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320U : 0U);
  }
  return ~crc;
}

uint32_t adler32(std::string_view bytes) {
  uint32_t a = 1, b = 0;
  for (const char byte : bytes) {
    a = (a + static_cast<uint8_t>(byte)) % 65521;
    b = (b + a) % 65521;
  }
  return (b << 16) | a;
}

void append_chunk(std::string& out, const std::string& type, const std::string& data) {
  append_word(out, static_cast<uint32_t>(data.size()));
  out += type + data;
  append_word(out, crc32(type + data));
}

// A zlib stream (RFC 1950) of stored blocks (RFC 1951).
std::string stored(const std::string& data) {
  constexpr size_t kBlock = 65535;
  std::string out = "\x78\x01";
  size_t at = 0;
  do {
    const size_t size = std::min(kBlock, data.size() - at);
    out += static_cast<char>(at + size == data.size() ? 1 : 0);
    for (const size_t word : {size, ~size & 0xFFFF}) {
      out += static_cast<char>(word & 0xFF);
      out += static_cast<char>(word >> 8);
    }
    out += data.substr(at, size);
    at += size;
  } while (at < data.size());
  append_word(out, adler32(data));
  return out;
}

}  // namespace

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - at);
    uint32_t group = 0;
    for (size_t i = 0; i < 3; ++i)
      group = (group << 8) | (i < count ? static_cast<uint8_t>(bytes[at + i]) : 0);
    for (size_t i = 0; i < 4; ++i) out += i <= count ? kDigits[(group >> (18 - 6 * i)) & 63] : '=';
  }
  return out;
}

std::array<std::array<uint8_t, 3>, 256> heat_palette() {
  struct Anchor {
    double place, red, green, blue;
  };
  constexpr std::array<Anchor, 5> kAnchors = {
      Anchor{0.00, 8, 8, 24}, Anchor{0.30, 76, 24, 120}, Anchor{0.55, 190, 50, 100},
      Anchor{0.80, 250, 140, 50}, Anchor{1.00, 255, 245, 190}};
  std::array<std::array<uint8_t, 3>, 256> palette = {};
  for (size_t i = 0; i < palette.size(); ++i) {
    const double place = static_cast<double>(i) / 255;
    size_t next = 1;
    while (kAnchors[next].place < place) ++next;
    const Anchor& low = kAnchors[next - 1];
    const Anchor& high = kAnchors[next];
    const double share = (place - low.place) / (high.place - low.place);
    const auto between = [&](double a, double b) {
      return static_cast<uint8_t>(std::lround(a + share * (b - a)));
    };
    palette[i] = {between(low.red, high.red), between(low.green, high.green),
                  between(low.blue, high.blue)};
  }
  return palette;
}

std::string png(const IndexedImage& image) {
  const auto width = static_cast<size_t>(image.width);
  const auto height = static_cast<size_t>(image.height);
  if (image.width <= 0 || image.height <= 0 || image.pixels.size() != width * height)
    throw std::logic_error("an image of " + std::to_string(image.width) + " x " +
                           std::to_string(image.height) + " with " +
                           std::to_string(image.pixels.size()) + " pixels");
  std::string header;
  append_word(header, static_cast<uint32_t>(width));
  append_word(header, static_cast<uint32_t>(height));
  // Eight bits per pixel, palette, deflate, the one filter method, not interlaced.
  header += {8, 3, 0, 0, 0};
  std::string palette;
  for (const auto& colour : image.palette)
    for (const uint8_t part : colour) palette += static_cast<char>(part);
  std::string rows;
  rows.reserve((width + 1) * height);
  for (size_t y = 0; y < height; ++y) {
    rows += '\0';  // no filter
    rows.append(reinterpret_cast<const char*>(image.pixels.data()) + y * width, width);
  }
  std::string out = "\x89PNG\r\n\x1a\n";
  append_chunk(out, "IHDR", header);
  append_chunk(out, "PLTE", palette);
  append_chunk(out, "IDAT", stored(rows));
  append_chunk(out, "IEND", "");
  return out;
}

Markup picture(const IndexedImage& image, const std::string& alternative) {
  return {"<img src=\"data:image/png;base64," + base64(png(image)) + "\" alt=\"" +
          escape(alternative) + "\">\n"};
}

Markup player(std::string_view file, const std::string& type, const std::string& name) {
  return {"<audio controls preload=\"metadata\" aria-label=\"" + escape(name) +
          "\" src=\"data:" + escape(type) + ";base64," + base64(file) + "\"></audio>\n"};
}

Markup sound_figure(const std::string& title, const std::string& remark, const Markup& picture,
                    const Markup& player) {
  std::string html = "<figure>\n<figcaption><b>" + escape(title) + "</b>";
  if (!remark.empty()) html += "<span>" + escape(remark) + "</span>";
  return {html + "</figcaption>\n" + picture.html + player.html + "</figure>\n"};
}

}  // namespace strandwave::report
