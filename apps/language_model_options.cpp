#include "apps/language_model_options.h"

#include <algorithm>
#include <ostream>
#include <sstream>

#include "apps/options.h"
#include "apps/table.h"
#include "core/base/error.h"
#include "core/base/progress.h"
#include "genomics/language_model_report.h"

namespace strandwave::apps {
namespace {

using Rows = std::vector<std::vector<std::string>>;

// An interval from a few blocks of 100 kb would only look like one.
constexpr int64_t kFewestBlocks = 10;

// Where there is no training task: windows for the CNN, and bases per step.
constexpr int64_t kCnnWindow = 8192;
constexpr int64_t kCnnTokens = 16384;

double cnn_seconds(const EvaluationOptions& options, const std::string& path) {
  if (options.cnn_seconds > 0) return options.cnn_seconds;
  if (const std::optional<double> seconds = training_seconds(path)) return *seconds;
  throw usage_error("the causal CNN is trained for as long as the model was, and " + path +
                    " has no log.jsonl that says how long: give --cnn-seconds");
}

std::string bits_text(const nlohmann::json& figures) {
  return format_number("%.4f", figures.at("bits_per_base").get<double>());
}

std::string baseline_text(const nlohmann::json& baseline, bool several) {
  const std::string name = baseline.at("name");
  if (baseline.contains("seconds"))
    return name + ", " + format_number("%.0f", baseline.at("seconds").get<double>()) + " s";
  if (!several) return name;
  return name + (baseline.at("training") == "seen" ? ", bases seen" : ", all bases");
}

std::string difference_text(const nlohmann::json& baseline) {
  const auto limit = [&](size_t i) {
    return format_number("%+.4f", baseline.at("difference")[i].get<double>());
  };
  return limit(0) + (baseline.at("blocks").get<int64_t>() < kFewestBlocks
                         ? " (too few blocks)"
                         : " (" + limit(1) + ", " + limit(2) + ")");
}

// One row per predictor; a column per region where the genome carries a soft mask.
Rows predictor_rows(const nlohmann::json& result) {
  Rows rows = {{"predictor", "bits per base"}};
  for (const auto& region : result.at("regions")) rows[0].push_back(region.at("name"));
  rows[0].emplace_back("model - predictor (95 % interval)");
  const auto add = [&](const std::string& name, const nlohmann::json& figures,
                       const std::string& difference) {
    rows.push_back({name, bits_text(figures)});
    for (const auto& region : figures.at("regions")) rows.back().push_back(bits_text(region));
    rows.back().push_back(difference);
  };
  add("this model", result, "");
  const auto& baselines = result.at("baselines");
  const bool several = std::any_of(baselines.begin(), baselines.end(),
                                   [](const auto& b) { return b.at("training") == "seen"; });
  for (const auto& baseline : baselines)
    add(baseline_text(baseline, several), baseline, difference_text(baseline));
  return rows;
}

Rows context_rows(const nlohmann::json& result) {
  Rows rows = {{"bases seen before", "bits per base", "positions"}};
  for (const auto& bucket : result.at("context"))
    rows.push_back({std::to_string(bucket.at("first").get<int64_t>()) + "-" +
                        std::to_string(bucket.at("last").get<int64_t>() - 1),
                    bits_text(bucket), std::to_string(bucket.at("positions").get<int64_t>())});
  return rows;
}

void print_test(const nlohmann::json& result, std::ostream& out) {
  const auto window = result.at("window").get<int64_t>();
  out << "test: " << result.at("positions").get<int64_t>() << " bases in "
      << (window == 0 ? "whole intervals" : "windows of " + std::to_string(window))
      << (result.at("baselines").empty() ? "\n" : "; all predictors on the same positions\n");
  print_table(out, predictor_rows(result));
  const Rows context = context_rows(result);
  if (context.size() > 2) print_table(out, context);
}

void tell_what_was_seen(const std::optional<TrainingData>& training, const nlohmann::json& result,
                        std::ostream& out) {
  if (!training) {
    out << "whether the model was trained on the targets is not recorded with it\n";
    return;
  }
  const auto found = result.find("seen_in_training");
  if (found == result.end()) return;
  const SeenFraction seen{found->at("fraction"), found->at("by"), found->at("compared")};
  if (seen.notable()) {
    warn(seen.sentence());
  } else {
    out << seen.sentence() << '\n';
  }
}

}  // namespace

bool EvaluationOptions::wants(const std::string& baseline) const {
  return std::find(baselines.begin(), baselines.end(), baseline) != baselines.end();
}

std::vector<int> EvaluationOptions::markov_orders() const {
  std::vector<int> wanted;
  if (wants("markov"))
    std::copy_if(orders.begin(), orders.end(), std::back_inserter(wanted),
                 [](int order) { return order >= 0; });
  return wanted;
}

void add_evaluation_options(CLI::App& command, EvaluationOptions& options) {
  command
      .add_option("--test-window", options.window,
                  "Bases per window of the test; 0: the test intervals whole, run in pieces; "
                  "default: that of training")
      ->check(non_negative_number());
  command
      .add_option(
          "--test-bases", options.bases,
          "Test on at most so many bases, evenly spread, with --test-window 0 the first; 0: "
          "all")
      ->check(non_negative_number())
      ->capture_default_str();
  command
      .add_option("--markov", options.orders,
                  "Orders of the Markov models to compare with, 0 to 12; -1: none")
      ->allow_extra_args(false)
      ->delimiter(',')
      ->check(CLI::Range(-1, MarkovModel::kMaxOrder))
      ->capture_default_str();
  command
      .add_option(
          "--cnn-seconds", options.cnn_seconds,
          "Seconds that the causal CNN of --baseline cnn is trained; 0: as long as the model")
      ->check(non_negative_number())
      ->capture_default_str();
}

std::vector<std::string> parse_baselines(const std::string& text) {
  std::vector<std::string> baselines;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    if (part != "markov" && part != "cnn")
      throw usage_error("--baseline " + text + ": '" + part +
                        "' is no baseline of a language model; there are markov and cnn");
    baselines.push_back(part);
  }
  return baselines;
}

nlohmann::json evaluate_language_model(SequenceModel& model, const std::string& path,
                                       const Genome& genome, const Splits& splits,
                                       const EvaluationOptions& options,
                                       const TrainingWindows& windows, bool quiet,
                                       std::ostream& out) {
  Progress progress(stderr, quiet);
  LanguageModelTest test;
  test.window = options.window.value_or(test.window);
  test.max_bases = options.bases;
  test.batch_tokens = options.batch_tokens;
  test.orders = options.markov_orders();
  test.training = TrainingData::of_model(path);
  test.progress = [&](const std::string& text) { progress.update(text); };
  if (options.wants("cnn")) {
    test.cnn.emplace();
    test.cnn->seconds = cnn_seconds(options, path);
    test.cnn->device = model.device();
    test.cnn->windows =
        windows ? windows
                : random_training_windows(genome, splits.train, kCnnWindow, kCnnTokens, /*seed=*/0);
  }
  const nlohmann::json result = test_language_model(model, genome, splits, test);
  progress.finish();
  print_test(result, out);
  tell_what_was_seen(test.training, result, out);
  return result;
}

}  // namespace strandwave::apps
