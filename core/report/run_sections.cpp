#include "core/report/run_sections.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <set>

#include "core/base/progress.h"
#include "core/report/json_view.h"
#include "core/report/number_text.h"

namespace strandwave::report {
namespace {

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

void FactTable::add(size_t run, const std::string& name, const std::string& value) {
  const auto [place, fresh] = places_.try_emplace(name, rows_.size());
  if (fresh) rows_.emplace_back(name, std::vector<std::string>(runs_.size()));
  rows_[place->second].second[run] = value;
}

Table FactTable::table(const std::string& caption, bool differing) const {
  Table table;
  table.caption = caption;
  table.header = {""};
  for (const LoggedRun* run : runs_) table.header.push_back(run->name());
  for (const auto& [name, values] : rows_) {
    if (differing && std::all_of(values.begin(), values.end(),
                                 [&](const std::string& value) { return value == values.front(); }))
      continue;
    table.rows.push_back({name});
    table.rows.back().insert(table.rows.back().end(), values.begin(), values.end());
  }
  return table;
}

std::vector<Markup> command_section(const std::vector<const LoggedRun*>& runs) {
  std::vector<Markup> parts;
  std::set<std::string> shown;
  for (const LoggedRun* run : runs) {
    std::vector<std::string> commands = run->log.commands;
    commands.push_back(text_at(run->test(), "command"));
    std::string name = run->name();
    for (const std::string& line : commands) {
      if (line.empty() || !shown.insert(line).second) continue;
      if (!name.empty() && runs.size() > 1) parts.push_back(heading(name));
      name.clear();
      parts.push_back(command(line));
    }
  }
  if (!parts.empty())
    parts.insert(parts.begin(),
                 paragraph("As they were typed; a click selects one whole.", Tone::kNote));
  return parts;
}

std::vector<Markup> settings_section(const std::vector<const LoggedRun*>& runs) {
  FactTable versions(runs);
  FactTable settings(runs);
  for (size_t i = 0; i < runs.size(); ++i) {
    const TrainingLog& log = runs[i]->log;
    if (!log.version.empty()) versions.add(i, "strandwave", log.version);
    if (!log.device.empty()) versions.add(i, "device", log.device);
    if (std::isfinite(log.threads)) versions.add(i, "threads", grouped(log.threads));
    if (log.memory_bytes > 0 && log.memory_bytes < 1e18)
      versions.add(i, "peak memory", format_bytes(static_cast<int64_t>(log.memory_bytes)));
    std::vector<std::string> starts;
    for (const nlohmann::json& record : runs[i]->files.log)
      if (text_at(record, "type") == "run") starts.push_back(date(value_at(record, "time")));
    if (!starts.empty()) versions.add(i, "started", starts.front());
    if (starts.size() > 1)
      versions.add(
          i, "resumed",
          (starts.size() == 2 ? "once, " : std::to_string(starts.size() - 1) + " times, last ") +
              starts.back());
    for (const auto& [name, value] : leaves(runs[i]->files.config))
      settings.add(i, name, as_text(value));
  }
  std::vector<Markup> parts;
  if (const Table table = versions.table("Program and machine"); !table.rows.empty())
    parts.push_back(report::table(table));
  const Table all = settings.table("");
  if (all.rows.empty()) return parts;
  if (runs.size() > 1)
    if (const Table table = settings.table("Settings that differ", true); !table.rows.empty())
      parts.push_back(report::table(table));
  parts.push_back(details(
      "All " + std::to_string(all.rows.size()) + " resolved settings (config.json)", table(all)));
  return parts;
}

}  // namespace strandwave::report
