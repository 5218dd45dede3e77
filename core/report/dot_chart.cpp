#include <algorithm>
#include <cmath>

#include "core/report/svg_canvas.h"
#include "core/report/svg_chart.h"

namespace strandwave::report {
namespace {

constexpr double kRow = 26;
constexpr double kTop = 8;
constexpr double kBottom = 42;
constexpr size_t kLongestName = 24;

struct Extent {
  double low, high;
};

Extent extent_of(const DotChart& chart) {
  std::vector<double> values;
  for (const DotRow& row : chart.rows)
    for (const double value : {row.value, row.low, row.high})
      if (std::isfinite(value)) values.push_back(value);
  if (chart.level) values.push_back(*chart.level);
  if (values.empty()) values = {0, 1};
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  const double margin =
      *most > *least ? 0.06 * (*most - *least) : std::max(std::fabs(*least) * 0.05, 1e-9);
  return {chart.x.minimum.value_or(*least - margin), chart.x.maximum.value_or(*most + margin)};
}

}  // namespace

Markup svg(const DotChart& chart) {
  double name_width = 0;
  double text_space = 0;
  for (const DotRow& row : chart.rows) {
    name_width = std::max(name_width, text_width(shortened(row.name, kLongestName)));
    text_space = std::max(text_space, text_width(row.text));
  }
  const double left = std::min(name_width + 14, 200.0);
  const double right = kWidth - std::min(text_space + 14, 150.0);
  const double bottom = kTop + kRow * static_cast<double>(chart.rows.size());
  const Extent extent = extent_of(chart);
  const auto x = [&](double value) {
    return left + (value - extent.low) / (extent.high - extent.low) * (right - left);
  };

  SvgCanvas canvas(chart.title, kWidth, bottom + kBottom);
  for (const Tick& tick : linear_ticks(extent.low, extent.high, 4)) {
    canvas.line(x(tick.value), kTop, x(tick.value), bottom, "rule");
    canvas.text(x(tick.value), bottom + 16, tick.text, Anchor::kMiddle);
  }
  if (chart.level) canvas.line(x(*chart.level), kTop, x(*chart.level), bottom, "axis");
  double y = kTop + kRow / 2;
  for (const DotRow& row : chart.rows) {
    const std::string colour = colour_class(row.colour);
    canvas.text(4, y + 4, shortened(row.name, kLongestName), Anchor::kStart, "row");
    if (std::isfinite(row.low) && std::isfinite(row.high))
      canvas.line(x(row.low), y, x(row.high), y, "span " + colour);
    if (std::isfinite(row.value))
      canvas.circle(x(row.value), y, 5, "dot " + colour, row.name + ": " + row.text);
    canvas.text(right + 10, y + 4, row.text, Anchor::kStart, "row");
    y += kRow;
  }
  const double half = text_width(chart.x.title) / 2;
  canvas.text(std::clamp((left + right) / 2, half, std::max(half, kWidth - half)), bottom + 34,
              chart.x.title, Anchor::kMiddle);
  return canvas.finish();
}

}  // namespace strandwave::report
