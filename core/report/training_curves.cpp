#include "core/report/training_curves.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace strandwave::report {
namespace {

using Curve = std::vector<Point>;
using CurveOf = std::function<const Curve&(const TrainingLog&)>;

const Curve& evaluation_of(const TrainingLog& log, const std::string& metric) {
  static const Curve kNone;
  for (const auto& [name, curve] : log.evaluations)
    if (name == metric) return curve;
  return kNone;
}

std::string spaced(std::string name) {
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

// Linear between the points of `curve`, from (0, 0) on; NaN without any.
double interpolated(const Curve& curve, double x) {
  Point before{0, 0};
  for (const Point& point : curve) {
    if (point.x >= x)
      return before.y + (point.x > before.x ? (x - before.x) / (point.x - before.x) : 1) *
                            (point.y - before.y);
    before = point;
  }
  return curve.empty() ? NAN : before.y;
}

// The limits that show a course without letting a few wild values at its start press it flat: the
// highest is at most eight times the middle half's height above it.
std::pair<double, double> sober_range(std::vector<double> values) {
  std::erase_if(values, [](double value) { return !std::isfinite(value); });
  if (values.empty()) return {NAN, NAN};
  std::sort(values.begin(), values.end());
  const auto quantile = [&](double share) {
    return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
  };
  const double upper = quantile(0.75);
  return {values.front(), std::min(values.back(), upper + 8 * (upper - quantile(0.25)) + 0.02)};
}

class Curves {
 public:
  Curves(const std::vector<TrainingRun>& runs, const TrainingWords& words)
      : runs_(runs), words_(words), over_tokens_(unequal_steps()) {}

  Markup all() const;

 private:
  bool unequal_steps() const;
  double x_of(const TrainingRun& run, double step) const {
    return over_tokens_ ? interpolated(run.log.tokens, step) : step;
  }
  Axis x_axis() const {
    Axis axis;
    axis.title = over_tokens_ ? words_.token + "s read" : "step";
    axis.minimum = 0;
    return axis;
  }
  Curve over_x(const TrainingRun& run, const Curve& curve, double scale) const;
  bool any(const CurveOf& of, size_t at_least) const;
  void add_marks(LineChart& chart) const;
  Table numbers(const std::string& name, const CurveOf& of, double scale, int decimals) const;
  Markup loss() const;
  // A figure of one curve per run.
  Markup single(const std::string& title, const std::string& remark, Axis y, const CurveOf& of,
                bool dots) const;

  const std::vector<TrainingRun>& runs_;
  const TrainingWords& words_;
  bool over_tokens_;
};

bool Curves::unequal_steps() const {
  double least = INFINITY;
  double most = 0;
  for (const TrainingRun& run : runs_) {
    if (run.log.tokens.empty()) continue;
    const double per_step = run.log.tokens.back().y / run.log.tokens.back().x;
    least = std::min(least, per_step);
    most = std::max(most, per_step);
  }
  return most > 1.05 * least && std::isfinite(least);
}

Curve Curves::over_x(const TrainingRun& run, const Curve& curve, double scale) const {
  Curve result;
  for (const Point& point : curve) {
    const double y = point.y * scale;
    result.push_back(
        {x_of(run, point.x), y, run.name + ", step " + grouped(point.x) + ": " + compact(y)});
  }
  return result;
}

bool Curves::any(const CurveOf& of, size_t at_least) const {
  return std::any_of(runs_.begin(), runs_.end(), [&](const TrainingRun& run) {
    const Curve& curve = of(run.log);
    return curve.size() >= at_least && std::any_of(curve.begin(), curve.end(), [](const Point& p) {
             return std::isfinite(p.y);
           });
  });
}

void Curves::add_marks(LineChart& chart) const {
  for (const TrainingRun& run : runs_) {
    const std::string whose = runs_.size() > 1 ? run.name + ": " : "";
    for (const double step : run.log.resumed)
      chart.marks.emplace_back(x_of(run, step), runs_.size() > 1 ? "" : "resumed");
    for (const auto& [step, count] : run.log.skips)
      chart.skips.emplace_back(x_of(run, step),
                               whose + grouped(count) + " skipped up to step " + grouped(step));
  }
}

// About forty rows: every n-th record and the last one.
Table Curves::numbers(const std::string& name, const CurveOf& of, double scale,
                      int decimals) const {
  Table table;
  table.header = {"run", "step", name};
  for (const TrainingRun& run : runs_) {
    const Curve& curve = of(run.log);
    const size_t stride = (curve.size() + 39) / 40;
    for (size_t i = 0; i < curve.size(); ++i) {
      if (i + 1 != curve.size() && (i + 1) % stride != 0) continue;
      const double value = curve[i].y * scale;
      table.rows.push_back(
          {run.name, grouped(curve[i].x), decimals >= 0 ? fixed(value, decimals) : compact(value)});
    }
    if (stride > 1)
      table.caption += (table.caption.empty() ? "" : "; ") + run.name + ": one in " +
                       std::to_string(stride) + " of " +
                       grouped(static_cast<int64_t>(curve.size())) + " records";
  }
  return table;
}

Markup Curves::loss() const {
  const bool single_run = runs_.size() == 1;
  LineChart chart;
  chart.title = "Loss in " + words_.loss + " during training";
  chart.x = x_axis();
  chart.y.title = words_.loss;
  std::vector<double> values;
  bool validated = false;
  for (const TrainingRun& run : runs_) {
    Series training{single_run ? "training" : run.name,
                    over_x(run, run.log.loss, words_.loss_scale), run.colour};
    Series validation{single_run ? "validation" : "",
                      over_x(run, evaluation_of(run.log, words_.metric), words_.metric_scale),
                      single_run ? run.colour + 1 : run.colour};
    validation.dots = true;
    training.thin = true;
    for (const Series* series : {&training, &validation})
      for (const Point& point : series->points) values.push_back(point.y);
    validated = validated || !validation.points.empty();
    chart.series.push_back(std::move(training));
    chart.series.push_back(std::move(validation));
    for (const auto& level : run.levels)
      if (std::find(chart.levels.begin(), chart.levels.end(), level) == chart.levels.end())
        chart.levels.push_back(level);
  }
  for (const auto& [value, name] : chart.levels) values.push_back(value);
  const auto [low, high] = sober_range(values);
  if (high > low) {
    chart.y.minimum = std::max(0.0, low - 0.05 * (high - low));
    chart.y.maximum = high + 0.03 * (high - low);
  }
  add_marks(chart);
  std::string remark = "Mean of each log interval";
  if (!words_.remark.empty()) remark += "; " + words_.remark;
  if (!single_run && validated) remark += "; dots: validation";
  if (!chart.levels.empty()) remark += "; dotted: baselines on the test positions";
  if (!chart.skips.empty()) remark += "; triangles: skipped steps";
  if (!single_run && !chart.marks.empty()) remark += "; broken upright lines: resumed";
  const CurveOf losses = [](const TrainingLog& log) -> const Curve& { return log.loss; };
  Table table = numbers(words_.loss, losses, words_.loss_scale, 4);
  for (const TrainingRun& run : runs_)
    for (const Point& point : evaluation_of(run.log, words_.metric))
      table.rows.push_back(
          {run.name + ", validation", grouped(point.x), fixed(point.y * words_.metric_scale, 4)});
  return figure("Loss", remark + ".", svg(chart), table);
}

Markup Curves::single(const std::string& title, const std::string& remark, Axis y,
                      const CurveOf& of, bool dots) const {
  LineChart chart;
  chart.title = title + " during training";
  chart.x = x_axis();
  chart.y = std::move(y);
  for (const TrainingRun& run : runs_) {
    Series series{runs_.size() > 1 ? run.name : "", over_x(run, of(run.log), 1), run.colour};
    series.dots = dots;
    series.thin = !dots;
    chart.series.push_back(std::move(series));
  }
  add_marks(chart);
  return figure(title, remark, svg(chart), numbers(chart.y.title, of, 1, -1));
}

Markup Curves::all() const {
  const auto curve = [](Curve TrainingLog::*member) {
    return CurveOf([member](const TrainingLog& log) -> const Curve& { return log.*member; });
  };
  const auto axis = [](const std::string& title, bool log, bool from_zero) {
    Axis result;
    result.title = title;
    result.log = log;
    if (from_zero) result.minimum = 0;
    return result;
  };
  std::vector<Markup> figures;
  if (any(curve(&TrainingLog::loss), 1)) figures.push_back(loss());
  std::vector<std::string> metrics;
  for (const TrainingRun& run : runs_)
    for (const auto& [name, evaluations] : run.log.evaluations)
      if (name != words_.metric && evaluations.size() > 1 &&
          std::find(metrics.begin(), metrics.end(), name) == metrics.end())
        metrics.push_back(name);
  for (const std::string& metric : metrics)
    figures.push_back(single(
        "Validation: " + spaced(metric), "", axis(spaced(metric), false, false),
        [metric](const TrainingLog& log) -> const Curve& { return evaluation_of(log, metric); },
        true));
  if (any(curve(&TrainingLog::lr), 1))
    figures.push_back(single("Learning rate", "", axis("learning rate", false, true),
                             curve(&TrainingLog::lr), false));
  if (any(curve(&TrainingLog::grad_norm), 1))
    figures.push_back(single("Gradient norm", "2-norm before clipping, last step of each interval.",
                             axis("2-norm", true, false), curve(&TrainingLog::grad_norm), false));
  if (any(curve(&TrainingLog::tokens_per_second), 1))
    figures.push_back(single("Throughput", "While training, without evaluations and checkpoints.",
                             axis(words_.token + "s per second", false, true),
                             curve(&TrainingLog::tokens_per_second), false));
  return grid(figures);
}

}  // namespace

Markup training_curves(const std::vector<TrainingRun>& runs, const TrainingWords& words) {
  return Curves(runs, words).all();
}

}  // namespace strandwave::report
