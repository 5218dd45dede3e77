#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "core/report/svg_canvas.h"
#include "core/report/svg_chart.h"

namespace strandwave::report {
namespace {

constexpr double kHeight = 275;
constexpr double kTop = 26;  // the y axis' title lies above the plot
constexpr double kBottom = 42;
constexpr double kLineHeight = 15;
constexpr size_t kLongestName = 17;  // characters at the end of a line
constexpr double kBold = 1.12;       // how much wider bold text is
constexpr size_t kBuckets = 150;     // for thinning: about one per two pixels

bool drawable(double value, const Axis& axis) {
  return std::isfinite(value) && (!axis.log || value > 0);
}

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void add(double value, const Axis& axis) {
    if (!drawable(value, axis)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

// Maps values of one axis to coordinates.
class Projection {
 public:
  // `margin`: the share of the range left free at both ends where the axis sets no limit.
  Projection(const Axis& axis, Range range, double margin, double from, double to)
      : log_(axis.log), from_(from), to_(to) {
    if (!(range.low <= range.high)) range = axis.log ? Range{1, 10} : Range{0, 1};
    low_ = scaled(axis.minimum && drawable(*axis.minimum, axis) ? *axis.minimum : range.low);
    high_ = scaled(axis.maximum && drawable(*axis.maximum, axis) ? *axis.maximum : range.high);
    if (!(high_ > low_)) {
      const double half = log_ ? 0.5 : std::max(std::fabs(low_) * 0.05, 1e-9);
      low_ -= half;
      high_ = low_ + 2 * half;
      return;
    }
    const double span = high_ - low_;
    if (!axis.minimum) low_ -= margin * span;
    if (!axis.maximum) high_ += margin * span;
  }

  double operator()(double value) const {
    return from_ + (scaled(value) - low_) / (high_ - low_) * (to_ - from_);
  }
  double low() const { return log_ ? std::pow(10, low_) : low_; }
  double high() const { return log_ ? std::pow(10, high_) : high_; }
  bool shows(double value) const { return value >= low() * (1 - 1e-12) && value <= high(); }
  std::vector<Tick> ticks(const Axis& axis, int most) const {
    if (!axis.ticks.empty()) return axis.ticks;
    return log_ ? log_ticks(low(), high(), most) : linear_ticks(low(), high(), most);
  }

 private:
  double scaled(double value) const { return log_ ? std::log10(value) : value; }

  bool log_;
  double from_, to_;
  double low_ = 0, high_ = 1;
};

// A name beside the end of what it names.
struct EndLabel {
  double wanted;  // y of what it names
  double y;       // y of the text
  std::string text;
  int colour;
};

// Moves labels apart until none covers another, as little as possible, inside [top, bottom].
void spread(std::vector<EndLabel>& labels, double top, double bottom) {
  std::sort(labels.begin(), labels.end(), [](const EndLabel& a, const EndLabel& b) {
    return std::tie(a.wanted, a.text) < std::tie(b.wanted, b.text);
  });
  double next = top;
  for (EndLabel& label : labels) {
    label.y = std::max(label.wanted, next);
    next = label.y + kLineHeight;
  }
  double limit = bottom;
  for (auto label = labels.rbegin(); label != labels.rend(); ++label) {
    label->y = std::min(label->y, limit);
    limit = label->y - kLineHeight;
  }
}

class LineDrawing {
 public:
  explicit LineDrawing(const LineChart& chart)
      : chart_(chart),
        left_(left_margin()),
        right_(kWidth - right_margin()),
        x_(chart.x, x_range(), 0, left_, right_),
        y_(chart.y, y_range(), 0.06, kHeight - kBottom, kTop),
        canvas_(chart.title, kWidth, kHeight) {}

  Markup draw();

 private:
  Range x_range() const;
  Range y_range() const;
  double left_margin() const;
  double right_margin() const;
  void draw_axes();
  void draw_marks();
  void draw_series(const Series& series);
  void draw_names();

  const LineChart& chart_;
  double left_, right_;
  Projection x_, y_;
  SvgCanvas canvas_;
};

Range LineDrawing::x_range() const {
  Range range;
  for (const Series& series : chart_.series)
    for (const Point& point : series.points)
      if (drawable(point.y, chart_.y)) range.add(point.x, chart_.x);
  return range;
}

Range LineDrawing::y_range() const {
  Range range;
  for (const Series& series : chart_.series)
    for (const Point& point : series.points)
      if (drawable(point.x, chart_.x)) range.add(point.y, chart_.y);
  for (const auto& [value, name] : chart_.levels) range.add(value, chart_.y);
  return range;
}

double LineDrawing::left_margin() const {
  double widest = 18;
  const Projection y(chart_.y, y_range(), 0.06, kHeight - kBottom, kTop);
  for (const Tick& tick : y.ticks(chart_.y, 6)) widest = std::max(widest, text_width(tick.text));
  return std::min(widest + 10, 90.0);
}

double LineDrawing::right_margin() const {
  double widest = 0;
  for (const Series& series : chart_.series)
    if (!series.points.empty())
      widest = std::max(widest, text_width(shortened(series.name, kLongestName)));
  for (const auto& [value, name] : chart_.levels)
    widest = std::max(widest, text_width(shortened(name, kLongestName)));
  return widest > 0 ? kBold * widest + 20 : 18;
}

void LineDrawing::draw_axes() {
  const double bottom = kHeight - kBottom;
  canvas_.text(4, 14, chart_.y.title, Anchor::kStart);
  for (const Tick& tick : y_.ticks(chart_.y, 6)) {
    if (!y_.shows(tick.value)) continue;
    canvas_.line(left_, y_(tick.value), right_, y_(tick.value), "rule");
    canvas_.text(left_ - 6, y_(tick.value) + 4, tick.text, Anchor::kEnd);
  }
  double free_from = -100;
  for (const Tick& tick : x_.ticks(chart_.x, 5)) {
    const double at = x_(tick.value);
    const double half = text_width(tick.text) / 2;
    if (at < left_ - 0.5 || at > right_ + 0.5) continue;
    canvas_.line(at, bottom, at, bottom + 4, "axis");
    if (at - half < free_from) continue;  // no room for this one's text
    canvas_.text(at, bottom + 18, tick.text, Anchor::kMiddle);
    free_from = at + half + 4;
  }
  canvas_.line(left_, bottom, right_, bottom, "axis");
  const double half = text_width(chart_.x.title) / 2;
  canvas_.text(std::clamp((left_ + right_) / 2, half, std::max(half, kWidth - half)), kHeight - 6,
               chart_.x.title, Anchor::kMiddle);
}

void LineDrawing::draw_marks() {
  const double bottom = kHeight - kBottom;
  for (const auto& [value, name] : chart_.levels)
    if (y_.shows(value)) canvas_.line(left_, y_(value), right_, y_(value), "level");
  double free_from = left_;
  for (const auto& [value, name] : chart_.marks) {
    const double at = x_(value);
    if (at < left_ - 0.5 || at > right_ + 0.5) continue;
    canvas_.line(at, kTop, at, bottom, "mark");
    if (at + 3 < free_from || at + 3 + text_width(name) > kWidth) continue;
    canvas_.text(at + 3, kTop + 10, name, Anchor::kStart);
    free_from = at + text_width(name) + 8;
  }
}

void LineDrawing::draw_series(const Series& series) {
  const std::vector<Point> points = series.dots ? series.points : thinned(series.points, kBuckets);
  const std::string colour = colour_class(series.colour);
  if (series.line) {
    std::string path;
    bool open = false;
    for (const Point& point : points) {
      const bool good = drawable(point.x, chart_.x) && drawable(point.y, chart_.y);
      if (good)
        path += (open ? "L" : "M") + coordinate(x_(point.x)) + " " + coordinate(y_(point.y));
      open = good;
    }
    canvas_.path(
        path, "path " + colour + (series.dashed ? " dashed" : "") + (series.thin ? " thin" : ""));
  }
  if (!series.dots) return;
  for (const Point& point : points)
    if (drawable(point.x, chart_.x) && drawable(point.y, chart_.y))
      canvas_.circle(x_(point.x), y_(point.y), point.radius, "dot " + colour, point.text);
}

void LineDrawing::draw_names() {
  std::vector<EndLabel> labels;
  const auto add = [&](double value, const std::string& name, int colour) {
    const double at = std::clamp(y_(value), kTop, kHeight - kBottom);
    labels.push_back({at, at, shortened(name, kLongestName), colour});
  };
  for (const Series& series : chart_.series) {
    const auto last =
        std::find_if(series.points.rbegin(), series.points.rend(), [&](const Point& point) {
          return drawable(point.x, chart_.x) && drawable(point.y, chart_.y);
        });
    if (!series.name.empty() && last != series.points.rend())
      add(last->y, series.name, series.colour);
  }
  for (const auto& [value, name] : chart_.levels)
    if (y_.shows(value)) add(value, name, kNeutral);
  spread(labels, kTop, kHeight - kBottom);
  for (const EndLabel& label : labels) {
    canvas_.line(right_ + 2, label.wanted, right_ + 12, label.y, "leader");
    canvas_.text(right_ + 15, label.y + 4, label.text, Anchor::kStart,
                 "name " + colour_class(label.colour));
  }
}

Markup LineDrawing::draw() {
  draw_axes();
  draw_marks();
  // Dots on the border stay whole; what lies farther out is cut off.
  canvas_.begin_clip(left_ - 5, kTop - 5, right_ - left_ + 10, kHeight - kBottom - kTop + 10);
  for (const Series& series : chart_.series) draw_series(series);
  canvas_.end_clip();
  for (const auto& [value, text] : chart_.skips)
    canvas_.triangle(x_(value), kHeight - kBottom, "skip", text);
  draw_names();
  return canvas_.finish();
}

}  // namespace

std::vector<Point> thinned(const std::vector<Point>& points, size_t buckets) {
  if (points.size() <= 4 * buckets) return points;
  std::vector<Point> kept;
  const double first = points.front().x;
  const double span = points.back().x - first;
  const auto bucket_of = [&](const Point& point) {
    const double at = span > 0 ? (point.x - first) / span : 0;
    return static_cast<int64_t>(std::clamp(at, 0.0, 1.0) * static_cast<double>(buckets));
  };
  for (size_t begin = 0; begin < points.size();) {
    size_t end = begin;
    size_t low = begin;
    size_t high = begin;
    const bool gap = !std::isfinite(points[begin].y);
    for (; end < points.size() && bucket_of(points[end]) == bucket_of(points[begin]) &&
           gap == !std::isfinite(points[end].y);
         ++end) {
      if (points[end].y < points[low].y) low = end;
      if (points[end].y > points[high].y) high = end;
    }
    std::vector<size_t> chosen = {begin, std::min(low, high), std::max(low, high), end - 1};
    chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
    for (const size_t index : chosen) kept.push_back(points[index]);
    begin = end;
  }
  return kept;
}

Markup svg(const LineChart& chart) { return LineDrawing(chart).draw(); }

}  // namespace strandwave::report
