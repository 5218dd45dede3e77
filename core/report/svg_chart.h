// Charts as inline SVG for an HtmlPage, whose style sheet colours them. No LibTorch.
//
// A chart is 440 units wide and scales with its column. Lines carry their names at their ends
// instead of a legend; every dot tells its numbers when pointed at. Values that are not finite (or
// not positive on a logarithmic axis) are gaps. A title names each chart for screen readers; the
// numbers themselves belong into the table that report::figure() puts beside it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/report/html_page.h"
#include "core/report/number_text.h"
#include "core/report/page_style.h"

namespace strandwave::report {

struct Point {
  double x = 0, y = 0;
  std::string text = {};  // shown when pointed at
  double radius = 3.5;    // of its dot
};

// At most about 4 * buckets points that draw the same line: the first, lowest, highest and last of
// each stretch of x (M4: Jugel et al., PVLDB 7(10), 2014). Points in the order of x; gaps stay.
std::vector<Point> thinned(const std::vector<Point>& points, size_t buckets);

struct Axis {
  std::string title;  // with its unit
  bool log = false;
  std::optional<double> minimum = {}, maximum = {};  // default: those of the data, with a margin
  std::vector<Tick> ticks = {};                      // default: round numbers
};

struct Series {
  std::string name = {};  // may be empty
  std::vector<Point> points;
  int colour = kNeutral;
  bool line = true, dots = false, dashed = false, thin = false;
};

struct LineChart {
  std::string title;
  Axis x, y;
  std::vector<Series> series;
  std::vector<std::pair<double, std::string>> levels = {};  // horizontal lines to compare with
  std::vector<std::pair<double, std::string>> marks = {};   // vertical lines
  std::vector<std::pair<double, std::string>> skips = {};   // triangles on the x axis
};
Markup svg(const LineChart& chart);

// Rows of values, each with an interval where low and high are finite, and its text at the right.
struct DotRow {
  std::string name;
  std::string text;
  double value, low, high;
  int colour = kNeutral;
};
struct DotChart {
  std::string title;
  Axis x;
  std::vector<DotRow> rows;
  std::optional<double> level = {};  // a vertical line, for instance at 0
};
Markup svg(const DotChart& chart);

// Counts by true (row) and predicted (column) class; the shade is the share of the row.
struct ConfusionChart {
  std::string title;
  std::vector<std::string> labels;
  std::vector<std::vector<double>> counts;  // labels x labels
};
Markup svg(const ConfusionChart& chart);

}  // namespace strandwave::report
