#include <algorithm>
#include <cctype>
#include <cmath>

#include "core/report/json_view.h"
#include "core/report/number_text.h"
#include "genomics/report_classifier.h"

namespace strandwave {
namespace {

using report::as_number;
using report::fixed;
using report::grouped;
using report::list_at;
using report::number_at;
using report::percent;
using report::text_at;
using report::value_at;

}  // namespace

Setting::Setting(const nlohmann::json& result)
    : set(text_at(result, "set")),
      length(number_at(result, "length")),
      error_rate(number_at(result, "error_rate")) {
  if (!(length > 0)) length = 0;
  if (!(error_rate > 0)) error_rate = 0;
}

std::string capitalised(std::string text) {
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

std::string length_name(double length) {
  return length > 0 ? grouped(length) + " bases" : "whole sequences";
}

std::string setting_name(const Setting& setting) {
  std::string name = length_name(setting.length);
  if (setting.error_rate > 0) name += ", " + percent(setting.error_rate, 0) + " substitutions";
  if (!setting.set.empty() && setting.set != "all") name += ", " + setting.set;
  return name;
}

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
  const nlohmann::json& intervals = value_at(result, "intervals");
  const nlohmann::json& interval = value_at(intervals, metric);
  const bool few = number_at(intervals, "blocks") < static_cast<double>(kFewestGroups);
  if (interval.is_array() && interval.size() == 3 && !few) return interval;
  return nlohmann::json::array({figure_at(result, metric)});
}

std::string figure_text(const nlohmann::json& result, const char* metric) {
  const double deviation = number_at(value_at(result, metric), "deviation");
  const std::string text = interval_text(interval_of(result, metric), 4, false);
  return std::isfinite(deviation) ? text + " \xC2\xB1 " + fixed(deviation, 4) : text;
}

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
      table.rows.back().push_back(metric == shown.front()
                                      ? figure_text(*results[i], metric->key)
                                      : fixed(figure_at(*results[i], metric->key), 4));
    if (text_at(*results[i], "name") == kModel) table.strong.push_back(i);
  }
  return table;
}

}  // namespace strandwave
