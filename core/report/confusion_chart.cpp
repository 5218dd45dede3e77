#include <algorithm>

#include "core/report/svg_canvas.h"
#include "core/report/svg_chart.h"

namespace strandwave::report {
namespace {

constexpr double kTop = 24;
constexpr double kLargestCell = 64;
constexpr size_t kLongestName = 16;

}  // namespace

Markup svg(const ConfusionChart& chart) {
  const size_t n = chart.labels.size();
  double name_width = 0;
  for (const std::string& label : chart.labels)
    name_width = std::max(name_width, text_width(shortened(label, kLongestName)));
  const double left = name_width + 12;
  const double classes = std::max(1.0, static_cast<double>(n));
  // Names of columns lie flat where they fit; otherwise they lean, over the right border.
  const bool flat = name_width < std::min(kLargestCell, (kWidth - left) / classes) - 4;
  const double reach = flat ? 8 : 0.72 * name_width + 8;
  const double cell = std::min(kLargestCell, (kWidth - left - reach) / classes);
  const double side = cell * static_cast<double>(n);
  const double head = flat ? 18 : 0.72 * name_width + 16;
  const double top = kTop + head;
  const bool named = cell >= 11;    // room for a name per row
  const bool written = cell >= 30;  // room for a count

  SvgCanvas canvas(chart.title, kWidth, top + side + 8);
  canvas.text(4, 14, "rows: true class, columns: predicted class", Anchor::kStart);
  for (size_t i = 0; i < n && named; ++i) {
    const double middle = (static_cast<double>(i) + 0.5) * cell;
    const std::string name = shortened(chart.labels[i], kLongestName);
    canvas.text(left - 6, top + middle + 4, name, Anchor::kEnd, "row");
    canvas.text(left + middle, top - 6, name, flat ? Anchor::kMiddle : Anchor::kStart, "row",
                flat ? 0 : -45);
  }
  for (size_t row = 0; row < chart.counts.size() && row < n; ++row) {
    double sum = 0;
    for (const double count : chart.counts[row]) sum += count;
    for (size_t column = 0; column < chart.counts[row].size() && column < n; ++column) {
      const double count = chart.counts[row][column];
      const double share = sum > 0 ? count / sum : 0;
      const double x = left + static_cast<double>(column) * cell;
      const double y = top + static_cast<double>(row) * cell;
      canvas.rectangle(x + 0.5, y + 0.5, cell - 1, cell - 1, "cell", share,
                       chart.labels[row] + " taken for " + chart.labels[column] + ": " +
                           grouped(count) + " (" + percent(share) + ")");
      if (written)
        canvas.text(x + cell / 2, y + cell / 2 + 4, tick_text(count, 1), Anchor::kMiddle,
                    share > 0.55 ? "on" : "row");
    }
  }
  canvas.rectangle(left, top, side, side, "frame");
  return canvas.finish();
}

}  // namespace strandwave::report
