#include "audio/audio_report.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "audio/next_sample_report.h"
#include "core/base/progress.h"
#include "core/report/json_view.h"
#include "core/report/number_text.h"
#include "core/report/run_sections.h"

namespace strandwave::audio {
namespace {

using report::fixed;
using report::list_at;
using report::LoggedRun;
using report::Markup;
using report::number_at;
using report::text_at;
using report::value_at;

std::string bits(const nlohmann::json& figures) {
  return fixed(number_at(figures, "bits_per_sample"), 4);
}

std::string bits_with_padding(const nlohmann::json& figures) {
  return fixed(number_at(figures, "bits_per_sample_all"), 4);
}

// The strongest baseline, null without one.
const nlohmann::json& best_baseline(const nlohmann::json& test) {
  static const nlohmann::json kNone;
  const std::vector<nlohmann::json>& baselines = list_at(test, "baselines");
  const auto best = std::min_element(
      baselines.begin(), baselines.end(), [](const nlohmann::json& a, const nlohmann::json& b) {
        return number_at(a, "bits_per_sample") < number_at(b, "bits_per_sample");
      });
  return best == baselines.end() ? kNone : *best;
}

std::string count(double value) { return std::isfinite(value) ? format_count(value) : "-"; }

Markup summary(const std::vector<LoggedRun>& runs) {
  report::Table table;
  table.header = {"run",   "bits per sample", "with padding", "best baseline",
                  "state", "parameters",      "samples read", "train time"};
  for (const LoggedRun& run : runs) {
    const nlohmann::json& baseline = best_baseline(run.test());
    table.colours.push_back(run.colour);
    table.rows.push_back(
        {run.name(), run.test().is_null() ? "not tested" : bits(run.test()),
         number_at(run.test(), "padding_samples") > 0 ? bits_with_padding(run.test()) : "-",
         baseline.is_null() ? "-" : text_at(baseline, "name") + ": " + bits(baseline),
         report::progress_text(run.log), count(run.log.parameters),
         run.log.tokens.empty() ? "-" : count(run.log.tokens.back().y),
         run.log.seconds > 0 ? format_duration(run.log.seconds) : "-"});
  }
  return report::table(table);
}

// All predictors of a test on the same samples.
Markup predictors(const LoggedRun& run) {
  const nlohmann::json& test = run.test();
  report::Table table;
  table.caption = run.name() + ": " + text_at(test, "split") + ", " +
                  report::grouped(number_at(test, "clips")) + " clips, " +
                  report::grouped(number_at(test, "samples")) + " samples";
  table.header = {"predictor", "bits per sample", "with padding"};
  table.rows.push_back({"this model", bits(test), bits_with_padding(test)});
  table.strong = {0};
  for (const nlohmann::json& baseline : list_at(test, "baselines"))
    table.rows.push_back({text_at(baseline, "name"), bits(baseline), bits_with_padding(baseline)});
  return report::table(table);
}

Markup classes(const std::vector<LoggedRun>& runs) {
  report::FactTable table(report::logged(runs));
  for (size_t i = 0; i < runs.size(); ++i)
    for (const nlohmann::json& one : list_at(runs[i].test(), "classes"))
      table.add(i, text_at(one, "name"), bits(one));
  const report::Table content = table.table("Bits per sample by class");
  return content.rows.empty() ? Markup{} : report::table(content);
}

std::vector<Markup> results(const std::vector<LoggedRun>& runs) {
  std::vector<Markup> tables;
  for (const LoggedRun& run : runs)
    if (!run.test().is_null()) tables.push_back(predictors(run));
  return {report::beside(tables), classes(runs)};
}

Markup training(const std::vector<LoggedRun>& runs) {
  std::vector<report::TrainingRun> curves;
  for (const LoggedRun& run : runs) {
    if (run.files.log.empty()) continue;
    report::TrainingRun curve{run.name(), run.colour, run.log, {}};
    const nlohmann::json& baseline = best_baseline(run.test());
    if (!baseline.is_null())
      curve.levels.emplace_back(number_at(baseline, "bits_per_sample"), text_at(baseline, "name"));
    curves.push_back(std::move(curve));
  }
  if (curves.empty()) return {};
  return report::training_curves(
      curves, {"bits per sample", "sample", "bits_per_sample", 1 / std::numbers::ln2, 1});
}

std::vector<Markup> notes(const std::vector<LoggedRun>& runs) {
  std::vector<Markup> parts;
  for (const LoggedRun& run : runs)
    for (const std::string& note : run.files.notes)
      parts.push_back(report::paragraph((runs.size() > 1 ? run.name() + ": " : "") + note + ".",
                                        report::Tone::kWarning));
  return parts;
}

void require_comparable_tests(const std::vector<LoggedRun>& runs) {
  const LoggedRun* first = nullptr;
  for (const LoggedRun& run : runs) {
    if (!run.test().is_object() || !run.test().contains("measure")) continue;
    if (first == nullptr)
      first = &run;
    else
      require_comparable(first->test(), first->name(), run.test(), run.name());
  }
}

}  // namespace

bool is_audio_run(const report::RunFiles& run) {
  return text_at(run.test, "kind") == "next_sample" ||
         text_at(value_at(run.config, "task"), "objective") == "next_sample";
}

std::string audio_report(std::vector<report::RunFiles> files) {
  std::vector<LoggedRun> runs;
  for (report::RunFiles& run : files) {
    report::TrainingLog log = report::training_log(run);
    runs.push_back({std::move(run), std::move(log), static_cast<int>(runs.size())});
  }
  require_comparable_tests(runs);
  report::HtmlPage page(
      runs.size() == 1 ? runs[0].name() : "Report on " + std::to_string(runs.size()) + " runs",
      "strandwave report" + (runs.size() == 1 ? ": " + runs[0].log.task : std::string()));
  std::vector<Markup> first = notes(runs);
  first.insert(first.begin(), summary(runs));
  page.section("Summary", first);
  page.section("Likelihood", results(runs));
  page.section("Training", {training(runs)});
  page.section("Commands", report::command_section(report::logged(runs)));
  page.section("Settings and versions", report::settings_section(report::logged(runs)));
  return page.html();
}

}  // namespace strandwave::audio
