// Tests of classifiers, multi-label classifiers and regressions in a report: what test.json holds
// ("results", docs/formats.md) and the parts of the page made of it. No LibTorch.
#pragma once

#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <vector>

#include "core/report/html_page.h"
#include "genomics/report_run.h"

namespace strandwave {

constexpr const char* kModel = "this model";  // its name among the predictors
constexpr size_t kFewestGroups = 10;          // for an interval over groups

struct MetricName {
  const char* key;
  const char* name;
  bool higher_is_better;
};
// The first that a test has is its main one.
inline constexpr std::array<MetricName, 13> kMetrics = {{{"accuracy", "accuracy", true},
                                                         {"balanced_accuracy", "balanced", true},
                                                         {"macro_f1", "macro F1", true},
                                                         {"matthews", "MCC", true},
                                                         {"auroc", "AUROC", true},
                                                         {"auprc", "AUPRC", true},
                                                         {"r2", "R2", true},
                                                         {"pearson", "Pearson r", true},
                                                         {"spearman", "Spearman rho", true},
                                                         {"mae", "MAE", false},
                                                         {"rmse", "RMSE", false},
                                                         {"ece", "ECE", false},
                                                         {"log_loss", "log loss", false}}};

// What a result was measured on.
struct Setting {
  explicit Setting(const nlohmann::json& result);
  bool operator==(const Setting& other) const { return key() == other.key(); }
  std::tuple<std::string, double, double> key() const { return {set, length, error_rate}; }

  std::string set;
  double length = 0;  // bases; 0: whole sequences
  double error_rate = 0;
};
std::string length_name(double length);
std::string setting_name(const Setting& setting);

// The model's result to begin with: on all sequences, as the test lists them. Null without one.
const nlohmann::json* main_result(const nlohmann::json& test);
std::vector<const nlohmann::json*> results_at(const nlohmann::json& test, const Setting& setting);

// A figure of one test, or its mean over the folds of a cross-validation; NaN without.
double figure_at(const nlohmann::json& result, const char* metric);
// [value, low, high], or [value] where groups are too few for an interval.
nlohmann::json interval_of(const nlohmann::json& result, const char* metric);
// "0.8425 (0.8215 to 0.8605)"; of several folds "0.8425 +- 0.0120", the standard deviation.
std::string figure_text(const nlohmann::json& result, const char* metric);
// The first of kMetrics that the result has; null without any.
const MetricName* main_metric(const nlohmann::json& result);
// Results as rows, with the metrics that any of them has, the first with its interval.
report::Table metric_table(const std::vector<const nlohmann::json*>& results,
                           const std::vector<std::string>& names, const std::string& first);

std::string capitalised(std::string text);

// report_by_length.cpp: empty when the test has one length and one error rate.
std::vector<report::Markup> by_length_and_errors(const ReportRun& run, const std::string& set,
                                                 const MetricName& metric);
// report_by_class.cpp: confusion matrix, ROC, precision and recall, calibration.
std::vector<report::Markup> class_figures(const ReportRun& run, const nlohmann::json& result);
std::vector<report::Markup> tables_by_class_and_group(const ReportRun& run,
                                                      const nlohmann::json& result);
// report_comparison.cpp: empty unless two of the runs were tested.
std::vector<report::Markup> compare_classifiers(const std::vector<const ReportRun*>& runs);

}  // namespace strandwave
