#include "genomics/report_sections.h"

#include <algorithm>
#include <cmath>
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
  for (const std::string& word : {kind, objective, head}) {
    if (word == "regression") return ReportKind::kRegression;
    if (word == "classifier" || word == "classification" || word == "multi_label")
      return ReportKind::kClassifier;
  }
  return ReportKind::kOther;
}

Headline headline_of(const ReportRun& run) {
  if (run.test().is_null() || run.kind == ReportKind::kOther) return {};
  return run.kind == ReportKind::kLanguageModel ? language_model_headline(run)
                                                : classifier_headline(run);
}

std::string duration(double seconds) { return seconds > 0 ? format_duration(seconds) : "-"; }

std::string count(double value) { return std::isfinite(value) ? format_count(value) : "-"; }

// ---- summary

Markup summary_of_one(const ReportRun& run) {
  const Headline headline = headline_of(run);
  std::vector<report::Fact> facts;
  if (!headline.value.empty()) {
    const bool labelled = run.kind != ReportKind::kLanguageModel;
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
  table.header = {"run",   "result",     "best baseline", "difference (95 % interval)",
                  "state", "parameters", "bases read",    "train time"};
  for (const ReportRun& run : runs) {
    const Headline headline = headline_of(run);
    const std::string result = headline.metric + " " + headline.value;
    table.colours.push_back(run.colour);
    table.rows.push_back({run.name(), headline.value.empty() ? "not tested" : result,
                          headline.baseline.empty() ? "-" : headline.baseline,
                          headline.difference.empty() ? "-" : headline.difference,
                          report::progress_text(run.log), count(run.log.parameters),
                          run.log.tokens.empty() ? "-" : count(run.log.tokens.back().y),
                          duration(run.log.seconds)});
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

report::TrainingWords words_of(const ReportRun& run) {
  constexpr double kBits = 1 / std::numbers::ln2;
  const nlohmann::json& task = value_at(run.files.config, "task");
  std::string remark;
  if (report::number_at(task, "lm_weight") > 0)
    remark = "in training with the weighted loss of the next base";
  switch (run.kind) {
    case ReportKind::kLanguageModel:
      return {"bits per base", "base", "bits_per_base", kBits, 1};
    case ReportKind::kClassifier:
      return {text_at(task, "objective") == "multi_label" ? "bits per label" : "bits per sequence",
              "base",
              "log_loss",
              kBits,
              kBits,
              remark};
    case ReportKind::kRegression:
      return {"squared error", "base", "", 1, 1, remark};
    case ReportKind::kOther:
      break;
  }
  return {"loss", "token", "", 1, 1};
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
  const Markup figures = report::training_curves(curves, words_of(*runs.front()));
  if (figures.html.empty())
    return report::paragraph("The log has no training records yet.", report::Tone::kNote);
  return figures;
}

std::vector<Markup> kind_section(const std::vector<const ReportRun*>& runs) {
  std::vector<Markup> parts;
  std::vector<const ReportRun*> tested;
  for (const ReportRun* run : runs)
    if (!run->test().is_null()) tested.push_back(run);
  const ReportKind kind = runs.front()->kind;
  if (!tested.empty() && kind != ReportKind::kOther)
    parts = kind == ReportKind::kLanguageModel ? language_model_results(tested)
                                               : classifier_results(tested);
  const Markup curves = training(runs);
  if (!curves.html.empty()) {
    parts.push_back(report::heading("Training"));
    parts.push_back(curves);
  }
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
    runs.push_back({{std::move(run), std::move(log), static_cast<int>(runs.size())}, kind});
  }
  report::HtmlPage page(title_of(runs), lead_of(runs));
  page.section("Summary", summary(runs));
  const std::vector<std::pair<ReportKind, std::string>> kinds = {
      {ReportKind::kLanguageModel, "Language model"},
      {ReportKind::kClassifier, "Classifier"},
      {ReportKind::kRegression, "Regression"},
      {ReportKind::kOther, "Training"}};
  for (const auto& [kind, title] : kinds) {
    std::vector<const ReportRun*> chosen;
    for (const ReportRun& run : runs)
      if (run.kind == kind) chosen.push_back(&run);
    if (!chosen.empty()) page.section(title + (chosen.size() > 1 ? "s" : ""), kind_section(chosen));
  }
  page.section("Data and leakage", data_section(runs));
  page.section("Commands", report::command_section(report::logged(runs)));
  page.section("Settings and versions", report::settings_section(report::logged(runs)));
  return page.html();
}

}  // namespace strandwave
