#include "core/report/svg_canvas.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace strandwave::report {
namespace {

std::string attribute(const char* name, double value) {
  return std::string(" ") + name + "=\"" + coordinate(value) + "\"";
}

std::string style_attribute(const std::string& style) {
  return style.empty() ? "" : " class=\"" + escape(style) + "\"";
}

}  // namespace

std::string coordinate(double value) {
  // Far outside of every picture, but short and finite.
  value = std::isfinite(value) ? std::clamp(value, -1e6, 1e6) : 0;
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", value);
  std::string number = text;
  while (number.back() == '0') number.pop_back();
  if (number.back() == '.') number.pop_back();
  return number == "-0" ? "0" : number;
}

std::string colour_class(int colour) {
  return colour < 0 ? "kn" : "k" + std::to_string(colour % kColours);
}

double text_width(const std::string& text) {
  const auto characters = std::count_if(text.begin(), text.end(), [](unsigned char c) {
    return (c & 0xC0) != 0x80;  // not a continuation byte of UTF-8
  });
  return 7.8 * static_cast<double>(characters);
}

SvgCanvas::SvgCanvas(const std::string& title, double width, double height)
    : svg_("<svg viewBox=\"0 0 " + coordinate(width) + " " + coordinate(height) +
           "\" role=\"img\" aria-label=\"" + escape(title) + "\">\n<title>" + escape(title) +
           "</title>\n") {}

void SvgCanvas::close(const std::string& tag, const std::string& tip) {
  svg_ += tip.empty() ? "/>\n" : "><title>" + escape(tip) + "</title></" + tag + ">\n";
}

void SvgCanvas::line(double x1, double y1, double x2, double y2, const std::string& style) {
  svg_ += "<line" + attribute("x1", x1) + attribute("y1", y1) + attribute("x2", x2) +
          attribute("y2", y2) + style_attribute(style) + "/>\n";
}

void SvgCanvas::rectangle(double x, double y, double width, double height, const std::string& style,
                          double opacity, const std::string& tip) {
  svg_ += "<rect" + attribute("x", x) + attribute("y", y) + attribute("width", width) +
          attribute("height", height) + style_attribute(style);
  if (opacity < 1) svg_ += attribute("fill-opacity", opacity);
  close("rect", tip);
}

void SvgCanvas::circle(double x, double y, double radius, const std::string& style,
                       const std::string& tip) {
  svg_ += "<circle" + attribute("cx", x) + attribute("cy", y) + attribute("r", radius) +
          style_attribute(style);
  close("circle", tip);
}

void SvgCanvas::path(const std::string& data, const std::string& style) {
  if (!data.empty()) svg_ += "<path d=\"" + escape(data) + "\"" + style_attribute(style) + "/>\n";
}

void SvgCanvas::triangle(double x, double y, const std::string& style, const std::string& tip) {
  svg_ += "<path d=\"M" + coordinate(x - 4) + " " + coordinate(y) + "h8l-4 -8z\"" +
          style_attribute(style);
  close("path", tip);
}

void SvgCanvas::text(double x, double y, const std::string& words, Anchor anchor,
                     const std::string& style, double degrees) {
  svg_ += "<text" + attribute("x", x) + attribute("y", y) + style_attribute(style);
  if (anchor != Anchor::kStart)
    svg_ += anchor == Anchor::kMiddle ? " text-anchor=\"middle\"" : " text-anchor=\"end\"";
  if (degrees != 0)
    svg_ += " transform=\"rotate(" + coordinate(degrees) + " " + coordinate(x) + " " +
            coordinate(y) + ")\"";
  svg_ += ">" + escape(words) + "</text>\n";
}

void SvgCanvas::begin_clip(double x, double y, double width, double height) {
  const std::string box =
      coordinate(x) + " " + coordinate(y) + " " + coordinate(width) + " " + coordinate(height);
  svg_ += "<svg" + attribute("x", x) + attribute("y", y) + attribute("width", width) +
          attribute("height", height) + " viewBox=\"" + box + "\">\n";
}

void SvgCanvas::end_clip() { svg_ += "</svg>\n"; }

}  // namespace strandwave::report
