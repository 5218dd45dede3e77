#include <algorithm>
#include <cmath>

#include "core/report/json_view.h"
#include "core/report/training_curves.h"

namespace strandwave::report {
namespace {

void add_start(const nlohmann::json& record, bool first, TrainingLog& log) {
  if (!first) log.resumed.push_back(number_at(record, "step"));
  log.steps = number_at(record, "steps");
  log.parameters = number_at(record, "parameters");
  log.version = text_at(record, "version");
  log.device = text_at(record, "device");
  log.threads = number_at(record, "threads");
  log.task = text_at(record, "task");
  log.command = text_at(record, "command");
  if (!log.command.empty() &&
      std::find(log.commands.begin(), log.commands.end(), log.command) == log.commands.end())
    log.commands.push_back(log.command);
}

void add_interval(const nlohmann::json& record, TrainingLog& log) {
  const double step = number_at(record, "step");
  const auto add = [&](std::vector<Point>& curve, const char* key) {
    curve.push_back({step, number_at(record, key)});
  };
  const double tokens_before = log.tokens.empty() ? 0 : log.tokens.back().y;
  add(log.loss, "loss");
  add(log.lr, "lr");
  add(log.grad_norm, "grad_norm");
  add(log.tokens_per_second, "tokens_per_second");
  add(log.tokens, "tokens");
  const double seconds = (log.tokens.back().y - tokens_before) / log.tokens_per_second.back().y;
  if (std::isfinite(seconds) && seconds > 0) log.seconds += seconds;
  log.memory_bytes = number_at(record, "memory_bytes");
  const double skipped = number_at(record, "skipped");
  if (skipped > log.skipped) log.skips.emplace_back(step, skipped - log.skipped);
  if (std::isfinite(skipped)) log.skipped = skipped;
}

void add_evaluation(const nlohmann::json& record, TrainingLog& log) {
  const nlohmann::json& metrics = value_at(record, "metrics");
  if (!metrics.is_object()) return;
  for (const auto& [name, value] : metrics.items()) {
    auto found = std::find_if(log.evaluations.begin(), log.evaluations.end(),
                              [&, key = name](const auto& entry) { return entry.first == key; });
    if (found == log.evaluations.end()) {
      log.evaluations.emplace_back(name, std::vector<Point>{});
      found = log.evaluations.end() - 1;
    }
    found->second.push_back({number_at(record, "step"), as_number(value)});
  }
}

}  // namespace

TrainingLog training_log(const RunFiles& run) {
  TrainingLog log;
  bool first = true;
  for (const nlohmann::json& record : run.log) {
    const std::string type = text_at(record, "type");
    const double step = number_at(record, "step");
    if (!std::isfinite(step)) continue;
    if (type == "run") {
      add_start(record, first, log);
      first = false;
    } else if (type == "train") {
      add_interval(record, log);
    } else if (type == "eval") {
      add_evaluation(record, log);
    }
    log.step = std::isfinite(log.step) ? std::max(log.step, step) : step;
  }
  return log;
}

std::string progress_text(const TrainingLog& log) {
  if (!std::isfinite(log.step)) return "-";
  if (log.finished()) return "finished, " + grouped(log.step) + " steps";
  if (!std::isfinite(log.steps)) return "step " + grouped(log.step);
  return "unfinished: step " + grouped(log.step) + " of " + grouped(log.steps);
}

}  // namespace strandwave::report
