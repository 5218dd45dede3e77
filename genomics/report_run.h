// One DNA run as the sections of a report see it. No LibTorch.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/report/html_page.h"
#include "core/report/run_sections.h"

namespace strandwave {

enum class ReportKind { kLanguageModel, kClassifier, kRegression, kOther };

struct ReportRun : report::LoggedRun {
  ReportKind kind = ReportKind::kOther;
};

// What a run reached, beside the best of its baselines.
struct Headline {
  std::string metric;           // "bits per base"
  std::string value, baseline;  // the two figures, the second with its predictor's name
  std::string difference;       // run minus baseline with its interval, if known
  std::string sentence;         // for people: which is better, and how sure that is
};

// "-0.0069 (-0.0240 to +0.0121)" of [value, low, high]; without limits the value alone.
std::string interval_text(const nlohmann::json& interval, int decimals, bool with_sign);

// Tests of language models: test.json of kind language_model (docs/formats.md).
Headline language_model_headline(const ReportRun& run);
// (bits per base, name) of the baselines on all training bases.
std::vector<std::pair<double, std::string>> baseline_levels(const ReportRun& run);
std::vector<report::Markup> language_model_results(const std::vector<const ReportRun*>& runs);

// Tests of classifiers, multi-label classifiers and regressions.
Headline classifier_headline(const ReportRun& run);
std::vector<report::Markup> classifier_results(const std::vector<const ReportRun*>& runs);

// A warning when the test holds what the model was trained on; else empty.
report::Markup seen_in_training(const ReportRun& run);

// Facts about data and leakage: one column per run.
std::vector<report::Markup> data_section(const std::vector<ReportRun>& runs);

}  // namespace strandwave
