// Writes SVG elements. No LibTorch.
#pragma once

#include <string>

#include "core/report/html_page.h"
#include "core/report/page_style.h"

namespace strandwave::report {

constexpr double kWidth = 440;  // of every chart

// "12.5": at most two decimals, no exponent.
std::string coordinate(double value);
// "k3", "kn"
std::string colour_class(int colour);
// A guess at the width of a text of the charts' font size.
double text_width(const std::string& text);

enum class Anchor { kStart, kMiddle, kEnd };

// `style` arguments are classes of the style sheet (core/report/page_style.cpp); texts are escaped.
class SvgCanvas {
 public:
  SvgCanvas(const std::string& title, double width, double height);

  void line(double x1, double y1, double x2, double y2, const std::string& style);
  void rectangle(double x, double y, double width, double height, const std::string& style,
                 double opacity = 1, const std::string& tip = {});
  void circle(double x, double y, double radius, const std::string& style,
              const std::string& tip = {});
  // `data`: a path made of coordinate()s.
  void path(const std::string& data, const std::string& style);
  // A small triangle that stands on (x, y).
  void triangle(double x, double y, const std::string& style, const std::string& tip);
  void text(double x, double y, const std::string& words, Anchor anchor,
            const std::string& style = {}, double degrees = 0);
  // What is drawn between the two is cut off at this rectangle.
  void begin_clip(double x, double y, double width, double height);
  void end_clip();

  Markup finish() { return {svg_ + "</svg>\n"}; }

 private:
  void close(const std::string& tag, const std::string& tip);

  std::string svg_;
};

}  // namespace strandwave::report
