#include <algorithm>
#include <cmath>
#include <set>

#include "core/report/json_view.h"
#include "core/report/number_text.h"
#include "core/report/svg_chart.h"
#include "genomics/report_classifier.h"

namespace strandwave {
namespace {

using report::fixed;
using report::list_at;
using report::Markup;
using report::percent;
using report::text_at;

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

}  // namespace

std::vector<Markup> by_length_and_errors(const ReportRun& run, const std::string& set,
                                         const MetricName& metric) {
  const Sweep sweep = sweep_of(run.test(), set);
  if (!sweep.varies()) return {};
  return {report::heading("By length and error rate"),
          report::grid(sweep_charts(run, set, sweep, metric)),
          report::table(sweep_table(run, set, sweep, metric))};
}

}  // namespace strandwave
