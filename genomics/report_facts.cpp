#include <algorithm>
#include <cmath>
#include <ctime>
#include <map>
#include <set>
#include <utility>

#include "core/base/progress.h"
#include "core/report/json_view.h"
#include "core/report/number_text.h"
#include "genomics/report_run.h"

namespace strandwave {
namespace {

using report::Markup;
using report::text_at;
using report::value_at;

// One row per name, one column per run; a name that a run lacks has an empty cell.
class FactTable {
 public:
  explicit FactTable(const std::vector<ReportRun>& runs) : runs_(runs) {}

  void add(size_t run, const std::string& name, const std::string& value) {
    const auto [place, fresh] = places_.try_emplace(name, rows_.size());
    if (fresh) rows_.emplace_back(name, std::vector<std::string>(runs_.size()));
    rows_[place->second].second[run] = value;
  }
  // `differing`: only the rows in which the runs differ.
  report::Table table(const std::string& caption, bool differing = false) const {
    report::Table table;
    table.caption = caption;
    table.header = {""};
    for (const ReportRun& run : runs_) table.header.push_back(run.name());
    for (const auto& [name, values] : rows_) {
      if (differing && std::all_of(values.begin(), values.end(), [&](const std::string& value) {
            return value == values.front();
          }))
        continue;
      table.rows.push_back({name});
      table.rows.back().insert(table.rows.back().end(), values.begin(), values.end());
    }
    return table;
  }

 private:
  const std::vector<ReportRun>& runs_;
  std::map<std::string, size_t> places_;
  std::vector<std::pair<std::string, std::vector<std::string>>> rows_;
};

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

std::string date(const nlohmann::json& seconds) {
  const double value = report::as_number(seconds);
  if (!(value > 0 && value < 1e11)) return "-";
  const auto time = static_cast<std::time_t>(value);
  std::tm parts{};
  gmtime_r(&time, &parts);
  char text[64];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &parts);
  return text;
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
  FactTable facts(runs);
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
    if (const double fraction = report::number_at(seen, "fraction"); std::isfinite(fraction))
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

std::vector<Markup> command_section(const std::vector<ReportRun>& runs) {
  std::vector<Markup> parts;
  std::set<std::string> shown;
  for (const ReportRun& run : runs) {
    std::vector<std::string> commands = run.log.commands;
    commands.push_back(text_at(run.test(), "command"));
    std::string name = run.name();
    for (const std::string& line : commands) {
      if (line.empty() || !shown.insert(line).second) continue;
      if (!name.empty() && runs.size() > 1) parts.push_back(report::heading(name));
      name.clear();
      parts.push_back(report::command(line));
    }
  }
  if (!parts.empty())
    parts.insert(parts.begin(), report::paragraph("As they were typed; a click selects one whole.",
                                                  report::Tone::kNote));
  return parts;
}

std::vector<Markup> settings_section(const std::vector<ReportRun>& runs) {
  FactTable versions(runs);
  FactTable settings(runs);
  for (size_t i = 0; i < runs.size(); ++i) {
    const report::TrainingLog& log = runs[i].log;
    if (!log.version.empty()) versions.add(i, "strandwave", log.version);
    if (!log.device.empty()) versions.add(i, "device", log.device);
    if (std::isfinite(log.threads)) versions.add(i, "threads", report::grouped(log.threads));
    if (log.memory_bytes > 0 && log.memory_bytes < 1e18)
      versions.add(i, "peak memory", format_bytes(static_cast<int64_t>(log.memory_bytes)));
    std::vector<std::string> starts;
    for (const nlohmann::json& record : runs[i].files.log)
      if (text_at(record, "type") == "run") starts.push_back(date(value_at(record, "time")));
    if (!starts.empty()) versions.add(i, "started", starts.front());
    if (starts.size() > 1)
      versions.add(
          i, "resumed",
          (starts.size() == 2 ? "once, " : std::to_string(starts.size() - 1) + " times, last ") +
              starts.back());
    for (const auto& [name, value] : report::leaves(runs[i].files.config))
      settings.add(i, name, report::as_text(value));
  }
  std::vector<Markup> parts;
  if (const report::Table table = versions.table("Program and machine"); !table.rows.empty())
    parts.push_back(report::table(table));
  const report::Table all = settings.table("");
  if (all.rows.empty()) return parts;
  if (runs.size() > 1)
    if (const report::Table table = settings.table("Settings that differ", true);
        !table.rows.empty())
      parts.push_back(report::table(table));
  parts.push_back(
      report::details("All " + std::to_string(all.rows.size()) + " resolved settings (config.json)",
                      report::table(all)));
  return parts;
}

}  // namespace strandwave
