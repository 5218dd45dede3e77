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

Markup main_chart(const ReportRun& run, const nlohmann::json& main, const MetricName& metric) {
  report::DotChart chart;
  chart.title = std::string(metric.name) + " of the model and its baselines, " + run.name();
  chart.x.title = std::string(metric.name) + " (" + (metric.higher_is_better ? "higher" : "lower") +
                  " is better)";
  report::Table numbers;
  numbers.header = {"predictor", metric.name};
  bool with_intervals = false;
  for (const nlohmann::json* result : results_at(run.test(), Setting(main))) {
    const nlohmann::json interval = interval_of(*result, metric.key);
    const bool known = interval.size() == 3;
    with_intervals = with_intervals || known;
    const std::string name = text_at(*result, "name");
    chart.rows.push_back({name, fixed(figure_at(*result, metric.key), 3),
                          figure_at(*result, metric.key), known ? as_number(interval[1]) : NAN,
                          known ? as_number(interval[2]) : NAN,
                          name == kModel ? run.colour : report::kNeutral});
    numbers.rows.push_back({name, interval_text(interval, 4, false)});
  }
  return report::figure(
      capitalised(metric.name) + " beside the baselines",
      setting_name(Setting(main)) + (with_intervals ? ". Bars: 95 % interval." : "."), svg(chart),
      numbers);
}

std::vector<Markup> results_of(const ReportRun& run, bool several) {
  std::vector<Markup> parts;
  if (several) parts.push_back(report::heading(run.name()));
  parts.push_back(report::paragraph(classifier_headline(run).sentence, report::Tone::kVerdict));
  parts.push_back(seen_in_training(run));
  const nlohmann::json* main = main_result(run.test());
  if (main == nullptr) return parts;
  const MetricName* metric = main_metric(*main);
  if (metric == nullptr) return parts;
  std::vector<Markup> figures = {main_chart(run, *main, *metric)};
  for (Markup& figure : class_figures(run, *main)) figures.push_back(std::move(figure));
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
  table.caption = "In brackets: 95 % interval";
  parts.push_back(report::heading("All results"));
  parts.push_back(report::table(table));
  return parts;
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
  if (own.size() != 3 || other.size() != 3)
    headline.sentence += "; there are no intervals to say how sure that is.";
  else
    headline.sentence += apart ? "; the intervals lie apart." : "; the intervals overlap.";
  return headline;
}

std::vector<Markup> classifier_results(const std::vector<const ReportRun*>& runs) {
  std::vector<Markup> parts = compare_classifiers(runs);
  for (const ReportRun* run : runs)
    for (Markup& part : results_of(*run, runs.size() > 1)) parts.push_back(std::move(part));
  return parts;
}

}  // namespace strandwave
