#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <set>
#include <tuple>

#include "core/report/json_view.h"
#include "core/report/number_text.h"
#include "core/report/svg_chart.h"
#include "genomics/metrics.h"
#include "genomics/report_run.h"

namespace strandwave {
namespace {

using report::as_number;
using report::fixed;
using report::grouped;
using report::list_at;
using report::Markup;
using report::number_at;
using report::percent;
using report::text_at;
using report::value_at;

constexpr size_t kMostCurves = 8;     // lines that can be told apart
constexpr size_t kMostConfused = 40;  // classes of a confusion matrix that can be read
constexpr size_t kFewestGroups = 10;  // for an interval over groups
constexpr const char* kModel = "this model";

struct MetricName {
  const char* key;
  const char* name;
  bool higher_is_better;
};
// The first that a test has is its main one.
constexpr std::array<MetricName, 13> kMetrics = {{{"accuracy", "accuracy", true},
                                                  {"balanced_accuracy", "balanced", true},
                                                  {"macro_f1", "macro F1", true},
                                                  {"matthews", "MCC", true},
                                                  {"auroc", "AUROC", true},
                                                  {"auprc", "AUPRC", true},
                                                  {"r2", "R2", true},
                                                  {"pearson", "Pearson r", true},
                                                  {"spearman", "Spearman rho", true},
                                                  {"mae", "MAE", false},
                                                  {"rmse", "RMSE", false},
                                                  {"ece", "ECE", false},
                                                  {"log_loss", "log loss", false}}};

// What a result was measured on.
struct Setting {
  std::string set;
  double length = NAN, error_rate = NAN;

  explicit Setting(const nlohmann::json& result)
      : set(text_at(result, "set")),
        length(number_at(result, "length")),
        error_rate(number_at(result, "error_rate")) {}
  bool operator==(const Setting& other) const { return key() == other.key(); }
  std::tuple<std::string, double, double> key() const {
    return {set, std::isfinite(length) ? length : 0, std::isfinite(error_rate) ? error_rate : 0};
  }
};

std::string capitalised(std::string text) {
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

std::string length_name(double length) {
  return length > 0 ? grouped(length) + " bases" : "whole sequences";
}

std::string setting_name(const Setting& setting) {
  std::string name = length_name(setting.length) + ", " + percent(std::get<2>(setting.key()), 0) +
                     " substitutions";
  if (!setting.set.empty() && setting.set != "all") name += ", " + setting.set;
  return name;
}

// The model's result to begin with: on all sequences, as the test lists them.
const nlohmann::json* main_result(const nlohmann::json& test) {
  const nlohmann::json* found = nullptr;
  for (const nlohmann::json& result : list_at(test, "results")) {
    if (text_at(result, "name") != kModel) continue;
    if (text_at(result, "set") == "all") return &result;
    if (found == nullptr) found = &result;
  }
  return found;
}

std::vector<const nlohmann::json*> results_at(const nlohmann::json& test, const Setting& setting) {
  std::vector<const nlohmann::json*> found;
  for (const nlohmann::json& result : list_at(test, "results"))
    if (Setting(result) == setting) found.push_back(&result);
  return found;
}

// A figure of one test, or its mean over the folds of a cross-validation.
double figure_at(const nlohmann::json& result, const char* metric) {
  const nlohmann::json& value = value_at(result, metric);
  return value.is_object() ? number_at(value, "mean") : as_number(value);
}

const MetricName* main_metric(const nlohmann::json& result) {
  const auto* found = std::find_if(kMetrics.begin(), kMetrics.end(), [&](const MetricName& metric) {
    return std::isfinite(figure_at(result, metric.key));
  });
  return found == kMetrics.end() ? nullptr : found;
}

nlohmann::json interval_of(const nlohmann::json& result, const char* metric) {
  const nlohmann::json& interval = value_at(value_at(result, "intervals"), metric);
  if (interval.is_array() && interval.size() == 3) return interval;
  return nlohmann::json::array({figure_at(result, metric)});
}

// "0.8425 (0.8215 to 0.8605)"; of several folds "0.8425 ± 0.0120", the standard deviation.
std::string figure_text(const nlohmann::json& result, const char* metric) {
  const double deviation = number_at(value_at(result, metric), "deviation");
  const std::string text = interval_text(interval_of(result, metric), 4, false);
  return std::isfinite(deviation) ? text + " \xC2\xB1 " + fixed(deviation, 4) : text;
}

const nlohmann::json* best_baseline(const nlohmann::json& test, const nlohmann::json& main,
                                    const MetricName& metric) {
  const nlohmann::json* best = nullptr;
  for (const nlohmann::json* result : results_at(test, Setting(main))) {
    const double value = figure_at(*result, metric.key);
    if (text_at(*result, "name") == kModel || !std::isfinite(value)) continue;
    const double sign = metric.higher_is_better ? 1 : -1;
    if (best == nullptr || sign * value > sign * figure_at(*best, metric.key)) best = result;
  }
  return best;
}

// Results as rows, with the metrics that any of them has.
report::Table metric_table(const std::vector<const nlohmann::json*>& results,
                           const std::vector<std::string>& names, const std::string& first) {
  report::Table table;
  table.header = {first, "n"};
  std::vector<const MetricName*> shown;
  for (const MetricName& metric : kMetrics)
    if (std::any_of(results.begin(), results.end(), [&](const nlohmann::json* result) {
          return std::isfinite(figure_at(*result, metric.key));
        })) {
      shown.push_back(&metric);
      table.header.emplace_back(metric.name);
    }
  for (size_t i = 0; i < results.size(); ++i) {
    table.rows.push_back({names[i], grouped(number_at(*results[i], "n"))});
    for (const MetricName* metric : shown)
      table.rows.back().push_back(figure_text(*results[i], metric->key));
    if (text_at(*results[i], "name") == kModel) table.strong.push_back(i);
  }
  return table;
}

Markup main_chart(const ReportRun& run, const nlohmann::json& main, const MetricName& metric) {
  report::DotChart chart;
  chart.title = std::string(metric.name) + " of the model and its baselines, " + run.name();
  chart.x.title = std::string(metric.name) + " (" + (metric.higher_is_better ? "higher" : "lower") +
                  " is better)";
  report::Table numbers;
  numbers.header = {"classifier", metric.name};
  for (const nlohmann::json* result : results_at(run.test(), Setting(main))) {
    const nlohmann::json interval = interval_of(*result, metric.key);
    const bool known = interval.size() == 3;
    const std::string name = text_at(*result, "name");
    chart.rows.push_back({name, fixed(figure_at(*result, metric.key), 3),
                          figure_at(*result, metric.key), known ? as_number(interval[1]) : NAN,
                          known ? as_number(interval[2]) : NAN,
                          name == kModel ? run.colour : report::kNeutral});
    numbers.rows.push_back({name, interval_text(interval, 4, false)});
  }
  return report::figure(capitalised(metric.name) + " beside the baselines",
                        setting_name(Setting(main)) + ". Bars: 95 % interval.", svg(chart),
                        numbers);
}

// ---- by length and error rate

std::vector<std::string> predictor_names(const nlohmann::json& test, const std::string& set) {
  std::vector<std::string> names;
  for (const nlohmann::json& result : list_at(test, "results"))
    if (const std::string name = text_at(result, "name");
        text_at(result, "set") == set && std::find(names.begin(), names.end(), name) == names.end())
      names.push_back(name);
  return names;
}

double value_of(const nlohmann::json& test, const std::string& name, const Setting& setting,
                const MetricName& metric) {
  for (const nlohmann::json* result : results_at(test, setting))
    if (text_at(*result, "name") == name) return figure_at(*result, metric.key);
  return NAN;
}

struct Sweep {
  std::set<double> lengths, errors;
  bool varies() const { return lengths.size() > 1 || errors.size() > 1; }
};

Sweep sweep_of(const nlohmann::json& test, const std::string& set) {
  Sweep sweep;
  for (const nlohmann::json& result : list_at(test, "results")) {
    if (text_at(result, "set") != set) continue;
    const auto [name, length, error] = Setting(result).key();
    sweep.lengths.insert(length);
    sweep.errors.insert(error);
  }
  return sweep;
}

Setting setting_of(const std::string& set, double length, double error) {
  return Setting({{"set", set}, {"length", length}, {"error_rate", error}});
}

// One chart per length over error rates, or one over lengths where only these vary.
std::vector<Markup> sweep_charts(const ReportRun& run, const std::string& set, const Sweep& sweep,
                                 const MetricName& metric) {
  std::vector<Markup> figures;
  const auto draw = [&](const std::string& title, const std::string& x_title,
                        const std::vector<std::pair<double, Setting>>& places) {
    report::LineChart chart;
    chart.title = title + ", " + run.name();
    chart.x.title = x_title;
    chart.y.title = metric.name;
    report::Table numbers;
    numbers.header = {"classifier", x_title, metric.name};
    for (size_t i = 0; i < places.size(); ++i)
      chart.x.ticks.push_back({static_cast<double>(i), report::compact(places[i].first)});
    chart.x.minimum = -0.2;
    chart.x.maximum = static_cast<double>(places.size()) - 0.8;
    int next_colour = run.colour + 1;
    for (const std::string& name : predictor_names(run.test(), set)) {
      report::Series series;
      series.name = name;
      series.colour = name == kModel ? run.colour : next_colour++;
      series.dots = true;
      series.dashed = series.thin = name != kModel;
      for (size_t i = 0; i < places.size(); ++i) {
        const double value = value_of(run.test(), name, places[i].second, metric);
        const std::string x = report::compact(places[i].first);
        series.points.push_back(
            {static_cast<double>(i), value, name + " at " + x + ": " + fixed(value, 4)});
        numbers.rows.push_back({name, x, fixed(value, 4)});
      }
      chart.series.push_back(std::move(series));
    }
    figures.push_back(
        report::figure(title, set == "all" ? "" : "Test set " + set + ".", svg(chart), numbers));
  };
  std::vector<std::pair<double, Setting>> places;
  if (sweep.errors.size() > 1) {
    for (const double length : sweep.lengths) {
      places.clear();
      for (const double error : sweep.errors)
        places.emplace_back(100 * error, setting_of(set, length, error));
      draw(capitalised(metric.name) + " at " + length_name(length), "substitutions, % of bases",
           places);
    }
  } else if (sweep.lengths.size() > 1) {
    for (const double length : sweep.lengths)
      places.emplace_back(length, setting_of(set, length, *sweep.errors.begin()));
    draw(capitalised(metric.name) + " by length", "length, bases", places);
  }
  return figures;
}

report::Table sweep_table(const ReportRun& run, const std::string& set, const Sweep& sweep,
                          const MetricName& metric) {
  report::Table table;
  table.caption = capitalised(metric.name) + " by length and substitutions";
  table.header = {"classifier", "length"};
  for (const double error : sweep.errors) table.header.push_back(percent(error, 0));
  for (const double length : sweep.lengths)
    for (const std::string& name : predictor_names(run.test(), set)) {
      if (name == kModel) table.strong.push_back(table.rows.size());
      table.rows.push_back({name, length_name(length)});
      for (const double error : sweep.errors)
        table.rows.back().push_back(
            fixed(value_of(run.test(), name, setting_of(set, length, error), metric), 3));
    }
  return table;
}

std::vector<Markup> by_length_and_errors(const ReportRun& run, const std::string& set,
                                         const MetricName& metric) {
  const Sweep sweep = sweep_of(run.test(), set);
  if (!sweep.varies()) return {};
  return {report::heading("By length and error rate"),
          report::grid(sweep_charts(run, set, sweep, metric)),
          report::table(sweep_table(run, set, sweep, metric))};
}

// ---- by class

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
    if (chart.series.size() < kMostCurves) chart.series.push_back(std::move(series));
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

// ---- a run, several runs

std::vector<Markup> results_of(const ReportRun& run, bool several) {
  std::vector<Markup> parts;
  if (several) parts.push_back(report::heading(run.name()));
  parts.push_back(report::paragraph(classifier_headline(run).sentence, report::Tone::kVerdict));
  const nlohmann::json* main = main_result(run.test());
  if (main == nullptr) return parts;
  const MetricName* metric = main_metric(*main);
  if (metric == nullptr) return parts;
  std::vector<Markup> figures = {
      main_chart(run, *main, *metric), confusion_figure(run, *main, "Confusion matrix"),
      curve_figure(run, *main,
                   {"roc", "ROC", "false positive rate", "true positive rate", "auroc"}),
      curve_figure(run, *main, {"pr", "Precision and recall", "recall", "precision", "auprc"}),
      reliability_figure(run, *main)};
  parts.push_back(report::grid(figures));
  parts.push_back(report::beside(tables_by_class_and_group(run, *main)));
  for (Markup& part : by_length_and_errors(run, text_at(*main, "set"), *metric))
    parts.push_back(std::move(part));

  std::vector<const nlohmann::json*> all;
  std::vector<std::string> names;
  for (const nlohmann::json& result : list_at(run.test(), "results")) {
    all.push_back(&result);
    names.push_back(text_at(result, "name") + ", " + setting_name(Setting(result)));
  }
  report::Table table = metric_table(all, names, "classifier and test");
  table.caption = "Intervals in brackets: 95 %";
  parts.push_back(report::heading("All results"));
  parts.push_back(report::table(table));
  return parts;
}

// (n, number right) per group, where both runs were tested on the same groups of the same sizes.
std::string paired_difference(const nlohmann::json& a, const nlohmann::json& b,
                              const MetricName& metric) {
  const double plain = figure_at(a, metric.key) - figure_at(b, metric.key);
  const auto& groups_a = list_at(a, "per_group");
  const auto& groups_b = list_at(b, "per_group");
  if (std::string(metric.key) != "accuracy" || groups_a.size() != groups_b.size() ||
      groups_a.size() < kFewestGroups)
    return report::with_sign(plain, 4);
  std::vector<double> difference;
  std::vector<double> sizes;
  for (size_t i = 0; i < groups_a.size(); ++i) {
    const double n = number_at(groups_a[i], "n");
    if (value_at(groups_a[i], "group") != value_at(groups_b[i], "group") ||
        n != number_at(groups_b[i], "n"))
      return report::with_sign(plain, 4);
    sizes.push_back(n);
    difference.push_back(n *
                         (number_at(groups_a[i], "accuracy") - number_at(groups_b[i], "accuracy")));
  }
  const BootstrapInterval interval = block_bootstrap(difference, sizes, 1000, 0);
  return interval_text({interval.value, interval.low, interval.high}, 4, true);
}

std::vector<Markup> comparison(const std::vector<const ReportRun*>& runs) {
  std::vector<const nlohmann::json*> results;
  std::vector<std::string> names;
  report::Table table;
  std::vector<const ReportRun*> tested;
  for (const ReportRun* run : runs)
    if (const nlohmann::json* result = main_result(run->test())) {
      tested.push_back(run);
      results.push_back(result);
      names.push_back(run->name());
    }
  if (results.size() < 2) return {};
  const MetricName* metric = main_metric(*results.front());
  if (metric == nullptr) return {};
  table = metric_table(results, names, "run");
  table.caption = "Each run on its own test; intervals in brackets: 95 %";
  table.strong.clear();
  for (const ReportRun* run : tested) table.colours.push_back(run->colour);
  report::Table differences;
  differences.caption = std::string(metric->name) + ": row minus column";
  differences.header = {"run"};
  for (size_t row = 0; row < results.size(); ++row) {
    differences.header.push_back(names[row]);
    differences.rows.push_back({names[row]});
    differences.colours.push_back(tested[row]->colour);
    for (size_t column = 0; column < results.size(); ++column) {
      const bool alike =
          Setting(*results[row]) == Setting(*results[column]) &&
          value_at(*results[row], "n") == value_at(*results[column], "n") &&
          value_at(tested[row]->test(), "labels") == value_at(tested[column]->test(), "labels");
      differences.rows.back().push_back(
          row == column ? ""
          : alike       ? paired_difference(*results[row], *results[column], *metric)
                        : "not on the same test");
    }
  }
  return {report::heading("Runs compared"), report::table(table), report::table(differences),
          report::paragraph("With a 95 % interval (paired bootstrap over groups) where both runs "
                            "were tested on the same ten groups or more.",
                            report::Tone::kNote)};
}

}  // namespace

Headline classifier_headline(const ReportRun& run) {
  Headline headline;
  headline.metric = "accuracy";
  headline.sentence = run.name() + ": the test holds no figures of the model.";
  const nlohmann::json* main = main_result(run.test());
  const MetricName* metric = main == nullptr ? nullptr : main_metric(*main);
  if (metric == nullptr) return headline;
  headline.metric = metric->name;
  const nlohmann::json own = interval_of(*main, metric->key);
  headline.value = fixed(figure_at(*main, metric->key), 4);
  headline.sentence = run.name() + ": " + metric->name + " " + figure_text(*main, metric->key) +
                      " on " + grouped(number_at(*main, "n")) + " sequences (" +
                      setting_name(Setting(*main)) + ")";
  const nlohmann::json* best = best_baseline(run.test(), *main, *metric);
  if (best == nullptr) {
    headline.sentence += ". No baseline was tested beside it.";
    return headline;
  }
  const nlohmann::json other = interval_of(*best, metric->key);
  const double sign = metric->higher_is_better ? 1 : -1;
  const double difference = figure_at(*main, metric->key) - figure_at(*best, metric->key);
  headline.baseline = text_at(*best, "name") + ": " + fixed(figure_at(*best, metric->key), 4);
  headline.difference = report::with_sign(difference, 4);
  const bool apart =
      own.size() == 3 && other.size() == 3 &&
      (as_number(own[1]) > as_number(other[2]) || as_number(own[2]) < as_number(other[1]));
  headline.sentence += "; the best baseline is " + text_at(*best, "name") + ": " +
                       figure_text(*best, metric->key) + ". ";
  if (difference == 0)
    headline.sentence += "Both are equal";
  else
    headline.sentence += sign * difference > 0 ? "The model is better" : "That baseline is better";
  headline.sentence += own.size() != 3 || other.size() != 3 ? "."
                       : apart                              ? "; the intervals lie apart."
                                                            : "; the intervals overlap.";
  return headline;
}

std::vector<Markup> classifier_results(const std::vector<const ReportRun*>& runs) {
  std::vector<Markup> parts = comparison(runs);
  for (const ReportRun* run : runs)
    for (Markup& part : results_of(*run, runs.size() > 1)) parts.push_back(std::move(part));
  return parts;
}

}  // namespace strandwave
