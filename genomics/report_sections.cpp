#include "genomics/report_sections.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <map>
#include <numbers>
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

ReportKind kind_of(const report::RunFiles& files) {
  const std::string kind = text_at(files.test, "kind");
  const std::string objective = text_at(value_at(files.config, "task"), "objective");
  const std::string head = text_at(value_at(value_at(files.config, "model"), "head"), "kind");
  if (kind == "language_model" || objective == "next_base") return ReportKind::kLanguageModel;
  const std::set<std::string> labelled = {"classifier", "classification", "multi_label",
                                          "regression"};
  for (const std::string& word : {kind, objective, head})
    if (labelled.count(word) > 0) return ReportKind::kClassifier;
  return ReportKind::kOther;
}

const char* kind_name(const ReportRun& run) {
  switch (run.kind) {
    case ReportKind::kLanguageModel:
      return "language model";
    case ReportKind::kClassifier:
      return "classifier";
    case ReportKind::kOther:
      break;
  }
  return "-";
}

Headline headline_of(const ReportRun& run) {
  if (run.kind == ReportKind::kLanguageModel && !run.test().is_null())
    return language_model_headline(run);
  if (run.kind == ReportKind::kClassifier && !run.test().is_null()) return classifier_headline(run);
  return {};
}

std::string duration(double seconds) { return seconds > 0 ? format_duration(seconds) : "-"; }

std::string count(double value) { return std::isfinite(value) ? format_count(value) : "-"; }

// ---- summary

Markup summary_of_one(const ReportRun& run) {
  const Headline headline = headline_of(run);
  std::vector<report::Fact> facts;
  if (!headline.value.empty()) {
    const bool labelled = run.kind == ReportKind::kClassifier;
    facts.push_back(
        {headline.metric, headline.value, labelled ? "on the test" : "on the test positions"});
    if (!headline.baseline.empty())
      facts.push_back({"best baseline", headline.baseline.substr(headline.baseline.rfind(": ") + 2),
                       headline.baseline.substr(0, headline.baseline.rfind(": "))});
  }
  if (std::isfinite(run.log.step))
    facts.push_back(
        {"state", run.log.finished() ? "finished" : "unfinished", report::progress_text(run.log)});
  if (std::isfinite(run.log.parameters))
    facts.push_back({"parameters", count(run.log.parameters), report::grouped(run.log.parameters)});
  if (!run.log.tokens.empty()) facts.push_back({"bases read", count(run.log.tokens.back().y), ""});
  if (run.log.seconds > 0)
    facts.push_back({"training time", duration(run.log.seconds), run.log.device});
  if (run.log.skipped > 0)
    facts.push_back(
        {"skipped steps", report::grouped(run.log.skipped), "without a finite gradient"});
  return facts.empty() ? Markup{} : report::facts(facts);
}

Markup summary_of_several(const std::vector<ReportRun>& runs) {
  report::Table table;
  table.header = {"run",        "kind",          "state",
                  "parameters", "bases read",    "train time",
                  "result",     "best baseline", "difference (95 % interval)"};
  for (const ReportRun& run : runs) {
    const Headline headline = headline_of(run);
    table.colours.push_back(run.colour);
    table.rows.push_back(
        {run.name(), kind_name(run), report::progress_text(run.log), count(run.log.parameters),
         run.log.tokens.empty() ? "-" : count(run.log.tokens.back().y), duration(run.log.seconds),
         headline.value.empty() ? "not tested" : headline.metric + " " + headline.value,
         headline.baseline.empty() ? "-" : headline.baseline,
         headline.difference.empty() ? "-" : headline.difference});
  }
  return report::table(table);
}

std::vector<Markup> summary(const std::vector<ReportRun>& runs) {
  std::vector<Markup> parts;
  parts.push_back(runs.size() == 1 ? summary_of_one(runs[0]) : summary_of_several(runs));
  for (const ReportRun& run : runs)
    for (const std::string& note : run.files.notes)
      parts.push_back(report::paragraph((runs.size() > 1 ? run.name() + ": " : "") + note + ".",
                                        report::Tone::kWarning));
  return parts;
}

// ---- training

report::TrainingWords words_of(ReportKind kind) {
  switch (kind) {
    case ReportKind::kLanguageModel:
      return {"bits per base", "base", "bits_per_base", 1};
    case ReportKind::kClassifier:
      return {"bits per sequence", "base", "cross_entropy", 1 / std::numbers::ln2};
    case ReportKind::kOther:
      break;
  }
  return {"bits", "token", "", 1};
}

// The best baselines of one run; of several only the best of each, or there would be a thicket.
std::vector<std::pair<double, std::string>> levels_of(const ReportRun& run, bool several) {
  std::vector<std::pair<double, std::string>> levels = baseline_levels(run);
  std::sort(levels.begin(), levels.end());
  levels.resize(std::min<size_t>(levels.size(), several ? 1 : 3));
  return levels;
}

Markup training(const std::vector<const ReportRun*>& runs) {
  std::vector<report::TrainingRun> curves;
  for (const ReportRun* run : runs)
    if (!run->files.log.empty())
      curves.push_back({run->name(), run->colour, run->log, levels_of(*run, runs.size() > 1)});
  if (curves.empty()) return {};
  const Markup figures = report::training_curves(curves, words_of(runs.front()->kind));
  if (figures.html.empty())
    return report::paragraph("The log has no training records yet.", report::Tone::kNote);
  return figures;
}

std::vector<Markup> kind_section(const std::vector<const ReportRun*>& runs) {
  std::vector<Markup> parts;
  std::vector<const ReportRun*> tested;
  for (const ReportRun* run : runs)
    if (!run->test().is_null()) tested.push_back(run);
  if (!tested.empty() && runs.front()->kind == ReportKind::kLanguageModel)
    parts = language_model_results(tested);
  if (!tested.empty() && runs.front()->kind == ReportKind::kClassifier)
    parts = classifier_results(tested);
  const Markup curves = training(runs);
  if (!curves.html.empty()) {
    parts.push_back(report::heading("Training"));
    parts.push_back(curves);
  }
  return parts;
}

// ---- facts, settings, commands

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

std::vector<Markup> data_section(const std::vector<ReportRun>& runs) {
  FactTable facts(runs);
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
      facts.add(i, "test positions seen in training",
                report::percent(fraction, 3) + ", by " + text_at(seen, "by"));
    for (const auto& [name, value] : report::leaves(value_at(runs[i].test(), "leakage")))
      facts.add(i, "leakage: " + words(name), fact_text(value));
  }
  report::Table table = facts.table("");
  if (table.rows.empty()) return {};
  return {report::table(table)};
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

std::string title_of(const std::vector<ReportRun>& runs) {
  return runs.size() == 1 ? runs[0].name() : "Report on " + std::to_string(runs.size()) + " runs";
}

std::string lead_of(const std::vector<ReportRun>& runs) {
  if (runs.size() == 1)
    return runs[0].log.task.empty() ? "strandwave report"
                                    : "strandwave report: " + runs[0].log.task;
  std::string names;
  for (const ReportRun& run : runs) names += (names.empty() ? "" : ", ") + run.name();
  return "strandwave report: " + names;
}

}  // namespace

std::string interval_text(const nlohmann::json& interval, int decimals, bool with_sign) {
  if (!interval.is_array() || interval.empty()) return "-";
  const auto number = [&](size_t i) {
    const double value = report::as_number(interval[i]);
    return with_sign ? report::with_sign(value, decimals) : report::fixed(value, decimals);
  };
  if (interval.size() != 3) return number(0);
  return number(0) + " (" + number(1) + " to " + number(2) + ")";
}

std::string dna_report(std::vector<report::RunFiles> files) {
  std::vector<ReportRun> runs;
  for (report::RunFiles& run : files) {
    const ReportKind kind = kind_of(run);
    report::TrainingLog log = report::training_log(run);
    runs.push_back({std::move(run), std::move(log), kind, static_cast<int>(runs.size())});
  }
  report::HtmlPage page(title_of(runs), lead_of(runs));
  page.section("Summary", summary(runs));
  const std::vector<std::pair<ReportKind, std::string>> kinds = {
      {ReportKind::kLanguageModel, "Language model"},
      {ReportKind::kClassifier, "Classifier"},
      {ReportKind::kOther, "Training"}};
  for (const auto& [kind, title] : kinds) {
    std::vector<const ReportRun*> chosen;
    for (const ReportRun& run : runs)
      if (run.kind == kind) chosen.push_back(&run);
    if (!chosen.empty()) page.section(title + (chosen.size() > 1 ? "s" : ""), kind_section(chosen));
  }
  page.section("Data and leakage", data_section(runs));
  page.section("Commands", command_section(runs));
  page.section("Settings and versions", settings_section(runs));
  return page.html();
}

}  // namespace strandwave
