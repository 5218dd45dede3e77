#include <algorithm>
#include <cmath>
#include <utility>

#include "core/report/json_view.h"
#include "core/report/number_text.h"
#include "core/report/run_sections.h"
#include "genomics/report_run.h"
#include "genomics/training_data.h"

namespace strandwave {
namespace {

using report::Markup;
using report::text_at;
using report::value_at;

// "missing_bases" -> "missing bases"
std::string words(std::string key) {
  for (char& c : key)
    if (c == '_') c = ' ';
  for (size_t at = 0; (at = key.find('.', at)) != std::string::npos; at += 2)
    key.replace(at, 1, ", ");
  return key;
}

std::string fact_text(const nlohmann::json& value) {
  if (value.is_number_integer()) return report::grouped(value.get<int64_t>());
  const std::string text = report::as_text(value);
  // Of a hash the beginning tells two apart.
  const bool hash =
      text.size() >= 32 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
  return hash ? text.substr(0, 12) : text;
}

bool is_list_of_objects(const nlohmann::json& value) {
  return value.is_array() && !value.empty() &&
         std::all_of(value.begin(), value.end(), [](const auto& row) { return row.is_object(); });
}

// Facts per split or per group: one row for each object, one column for each of their keys.
report::Table list_table(const nlohmann::json& list, const std::string& caption) {
  report::Table table;
  table.caption = caption;
  std::vector<std::string> keys;
  for (const char* first : {"split", "group", "label"})  // what the rest is about
    for (const nlohmann::json& row : list)
      if (row.contains(first) && std::find(keys.begin(), keys.end(), first) == keys.end())
        keys.emplace_back(first);
  for (const nlohmann::json& row : list)
    for (const auto& [key, value] : report::leaves(row))
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  for (const std::string& key : keys) table.header.push_back(words(key));
  for (const nlohmann::json& row : list) {
    const auto found = report::leaves(row);
    table.rows.emplace_back();
    for (const std::string& key : keys) {
      const auto leaf = std::find_if(found.begin(), found.end(),
                                     [&](const auto& entry) { return entry.first == key; });
      table.rows.back().push_back(leaf == found.end() ? "" : fact_text(leaf->second));
    }
  }
  return table;
}

}  // namespace

Markup seen_in_training(const ReportRun& run) {
  const nlohmann::json& seen = value_at(run.test(), "seen_in_training");
  const double fraction = report::number_at(seen, "fraction");
  if (!(fraction > 0)) return {};
  const std::string how = text_at(seen, "by") == "sketch" ? "estimated from sampled k-mers"
                                                          : "by " + text_at(seen, "by");
  return report::paragraph(run.name() + ": " + report::percent(fraction, 2) +
                               " of the tested bases were seen in training (" + how +
                               "). Figures on new data may be worse.",
                           report::Tone::kWarning);
}

std::vector<Markup> data_section(const std::vector<ReportRun>& runs) {
  report::FactTable facts(report::logged(runs));
  std::vector<Markup> lists;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (!runs[i].log.task.empty()) facts.add(i, "task", runs[i].log.task);
    const nlohmann::json& task = value_at(runs[i].files.config, "task");
    for (const char* key : {"genome", "data"})
      if (!text_at(task, key).empty())
        facts.add(i, std::string(key) + " (hash)", fact_text(value_at(task, key)));
    for (const auto& [name, value] : report::leaves(value_at(task, "splits")))
      facts.add(i, "split " + words(name), fact_text(value));
    if (const std::string start = text_at(task, "start_model"); !start.empty())
      facts.add(i, "started from model (hash)", start.substr(0, 12));
    else if (task.contains("start_model"))
      facts.add(i, "started from", "random weights");
    const nlohmann::json& seen = value_at(runs[i].test(), "seen_in_training");
    const bool exact = text_at(seen, "by") == "intervals";
    const double compared = report::number_at(seen, "compared");
    if (!exact && compared < static_cast<double>(SeenFraction::kLeastCompared))
      facts.add(
          i, "tested bases seen in training",
          "too few sampled 21-mers to tell (" + report::as_text(value_at(seen, "compared")) + ")");
    else if (const double fraction = report::number_at(seen, "fraction"); std::isfinite(fraction))
      facts.add(i, "tested bases seen in training",
                report::percent(fraction, 3) + ", by " + text_at(seen, "by"));
    for (const auto& [name, value] : report::leaves(value_at(runs[i].test(), "leakage"))) {
      if (!is_list_of_objects(value)) {
        facts.add(i, "leakage: " + words(name), fact_text(value));
        continue;
      }
      lists.push_back(report::table(list_table(
          value, (runs.size() > 1 ? runs[i].name() + ": " : "") + "leakage, " + words(name))));
    }
  }
  const report::Table table = facts.table("");
  std::vector<Markup> parts;
  if (!table.rows.empty()) parts.push_back(report::table(table));
  parts.push_back(report::joined(lists));
  return parts;
}

}  // namespace strandwave
