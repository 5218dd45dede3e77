#include <algorithm>
#include <cmath>

#include "core/report/json_view.h"
#include "core/report/number_text.h"
#include "core/report/svg_chart.h"
#include "genomics/report_classifier.h"

namespace strandwave {
namespace {

using report::as_number;
using report::fixed;
using report::grouped;
using report::list_at;
using report::Markup;
using report::number_at;
using report::text_at;
using report::value_at;

constexpr size_t kMostCurves = 8;     // lines that can be told apart
constexpr size_t kMostConfused = 40;  // classes of a confusion matrix that can be read

std::vector<std::string> labels_of(const nlohmann::json& test) {
  std::vector<std::string> labels;
  for (const nlohmann::json& label : list_at(test, "labels"))
    labels.push_back(report::as_text(label));
  return labels;
}

Markup confusion_figure(const ReportRun& run, const nlohmann::json& result,
                        const std::string& title) {
  report::ConfusionChart chart;
  chart.title = title + ", " + run.name();
  chart.labels = labels_of(run.test());
  for (const nlohmann::json& row : list_at(result, "confusion")) {
    chart.counts.emplace_back();
    if (!row.is_array()) continue;
    for (const nlohmann::json& count : row) chart.counts.back().push_back(as_number(count));
  }
  if (chart.counts.empty() || chart.labels.empty()) return {};
  report::Table numbers;
  numbers.header = {"true \\ predicted"};
  for (const std::string& label : chart.labels) numbers.header.push_back(label);
  for (size_t i = 0; i < chart.counts.size() && i < chart.labels.size(); ++i) {
    numbers.rows.push_back({chart.labels[i]});
    for (const double count : chart.counts[i]) numbers.rows.back().push_back(grouped(count));
  }
  const bool readable = chart.labels.size() <= kMostConfused;
  return report::figure(title, "Shade: share of the true class.", readable ? svg(chart) : Markup{},
                        numbers);
}

struct CurveWords {
  const char* key;
  const char* title;
  const char* x;
  const char* y;
  const char* area;  // key of the area in per_class
};

double area_of(const nlohmann::json& result, const std::string& label, const char* area) {
  for (const nlohmann::json& row : list_at(result, "per_class"))
    if (text_at(row, "label") == label) return number_at(row, area);
  return NAN;
}

Markup curve_figure(const ReportRun& run, const nlohmann::json& result, const CurveWords& words) {
  report::LineChart chart;
  chart.title = std::string(words.title) + ", " + run.name();
  chart.x.title = words.x;
  chart.y.title = words.y;
  chart.x.minimum = chart.y.minimum = 0;
  chart.x.maximum = chart.y.maximum = 1;
  report::Table numbers;
  numbers.header = {"class", "area under the curve"};
  const auto& curves = list_at(value_at(run.test(), "curves"), words.key);
  for (const nlohmann::json& curve : curves) {
    report::Series series;
    series.name = text_at(curve, "label");
    series.colour = static_cast<int>(chart.series.size());
    for (const nlohmann::json& point : list_at(curve, "points"))
      if (point.is_array() && point.size() == 2)
        series.points.push_back({as_number(point[0]), as_number(point[1])});
    const double area = area_of(result, series.name, words.area);
    numbers.rows.push_back({series.name, fixed(area, 4)});
    // The curves end in one corner, where the names stand as a legend: the areas order them.
    series.name = report::shortened(series.name, 12);
    if (std::isfinite(area)) series.name += " " + fixed(area, 2);
    if (!series.points.empty() && chart.series.size() < kMostCurves)
      chart.series.push_back(std::move(series));
  }
  if (chart.series.empty()) return {};
  std::string remark = "One class against the others.";
  if (curves.size() > kMostCurves)
    remark += " The first " + std::to_string(kMostCurves) + " of " + std::to_string(curves.size()) +
              " classes; all areas below.";
  return report::figure(words.title, remark, svg(chart), numbers);
}

Markup reliability_figure(const ReportRun& run, const nlohmann::json& result) {
  const auto& bins = list_at(value_at(run.test(), "curves"), "reliability");
  double most = 0;
  for (const nlohmann::json& bin : bins)
    if (const double n = number_at(bin, "n"); n > most) most = n;
  if (!(most > 0)) return {};
  report::LineChart chart;
  chart.title = "Accuracy by stated probability, " + run.name();
  chart.x.title = "probability that the model states";
  chart.y.title = "share that is right";
  chart.x.minimum = chart.y.minimum = 0;
  chart.x.maximum = chart.y.maximum = 1;
  chart.series.push_back({"perfect", {{0, 0}, {1, 1}}});
  chart.series.back().dashed = true;
  report::Series series;
  series.colour = run.colour;
  series.dots = true;
  report::Table numbers;
  numbers.header = {"stated probability", "share right", "sequences"};
  for (const nlohmann::json& bin : bins) {
    const double n = number_at(bin, "n");
    if (!(n > 0)) continue;
    const double confidence = number_at(bin, "confidence");
    const double accuracy = number_at(bin, "accuracy");
    numbers.rows.push_back({fixed(confidence, 3), fixed(accuracy, 3), grouped(n)});
    series.points.push_back({confidence, accuracy,
                             "stated " + fixed(confidence, 3) + ", right " + fixed(accuracy, 3) +
                                 ", " + grouped(n) + " sequences",
                             3 + 7 * std::sqrt(n / most)});
  }
  chart.series.push_back(std::move(series));
  std::string remark = "Below the diagonal: too sure of itself. Larger dots: more sequences.";
  if (const double ece = number_at(result, "ece"); std::isfinite(ece))
    remark += " Expected calibration error " + fixed(ece, 4) + ".";
  const double temperature = number_at(value_at(run.test(), "rejection"), "temperature");
  if (std::isfinite(temperature))
    remark += " Temperature " + fixed(temperature, 3) + ", fitted on validation.";
  return report::figure("Calibration", remark, svg(chart), numbers);
}

// Rows of objects as a table: (key, heading, decimals; -1: a count, -2: text).
struct Column {
  const char* key;
  const char* name;
  int decimals;
};
report::Table table_of(const std::vector<nlohmann::json>& rows, const std::vector<Column>& columns,
                       const std::string& caption) {
  report::Table table;
  table.caption = caption;
  for (const Column& column : columns) table.header.emplace_back(column.name);
  for (const nlohmann::json& row : rows) {
    table.rows.emplace_back();
    for (const Column& column : columns) {
      const double value = number_at(row, column.key);
      table.rows.back().push_back(column.decimals == -2 ? report::as_text(value_at(row, column.key))
                                  : column.decimals == -1 ? grouped(value)
                                                          : fixed(value, column.decimals));
    }
  }
  return table;
}

}  // namespace

std::vector<Markup> class_figures(const ReportRun& run, const nlohmann::json& result) {
  return {confusion_figure(run, result, "Confusion matrix"),
          curve_figure(run, result,
                       {"roc", "ROC", "false positive rate", "true positive rate", "auroc"}),
          curve_figure(run, result, {"pr", "Precision and recall", "recall", "precision", "auprc"}),
          reliability_figure(run, result)};
}

std::vector<Markup> tables_by_class_and_group(const ReportRun& run, const nlohmann::json& result) {
  std::vector<Markup> parts;
  if (const auto& rows = list_at(result, "per_class"); !rows.empty())
    parts.push_back(report::table(table_of(rows,
                                           {{"label", "class", -2},
                                            {"n", "n", -1},
                                            {"precision", "precision", 3},
                                            {"recall", "recall", 3},
                                            {"f1", "F1", 3},
                                            {"auroc", "AUROC", 3},
                                            {"auprc", "AUPRC", 3}},
                                           "By class")));
  if (const auto& rows = list_at(result, "per_group"); !rows.empty()) {
    const Markup table = report::table(table_of(
        rows, {{"group", "group", -2}, {"n", "n", -1}, {"accuracy", "accuracy", 3}}, "By group"));
    parts.push_back(
        rows.size() > 20
            ? report::details("By group: " + grouped(static_cast<double>(rows.size())), table)
            : table);
  }
  if (const auto& rows = list_at(value_at(run.test(), "rejection"), "leave_one_class_out");
      !rows.empty())
    parts.push_back(report::table(
        table_of(rows, {{"label", "class left out", -2}, {"auroc", "AUROC", 3}},
                 "Recognising reads of a class that training never saw, by out-of-distribution "
                 "score")));
  return parts;
}

}  // namespace strandwave
