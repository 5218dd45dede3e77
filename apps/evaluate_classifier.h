// The half of `dna evaluate` that tests classifiers, multi-label classifiers and regressions.
#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/checkpoint/checkpoint.h"
#include "genomics/classifier_report.h"
#include "genomics/prefix_classifier.h"

namespace strandwave::apps {

struct ClassifierEvaluation {
  std::string baseline;     // training data of the baselines; empty: none
  std::string predictions;  // TSV to write; empty: none
  std::string prior = "uniform";
  int64_t length = 0;  // bases of a fragment; 0: whole sequences
  int64_t per_class = 2000;
  PrefixOptions decide;  // lengths empty: reads are not decided early
  TestOptions test;
};
// --test-lengths and --test-error-rates, whose every pair is one row of the figures.
void add_test_cell_options(CLI::App& command, TestOptions& test, const std::string& lengths_help);
void add_classifier_evaluation_options(CLI::App& command, ClassifierEvaluation& evaluation);

// The figures as test.json holds them; prints the tables to `out`. `model_path` is what the user
// named, for messages and companions; `cache`: folder of packed genomes.
nlohmann::json evaluate_classifier(const LoadedModel& model, const std::string& model_path,
                                   const std::string& data, const ClassifierEvaluation& evaluation,
                                   int64_t batch_bases, const std::string& cache, bool quiet,
                                   std::ostream& out);

}  // namespace strandwave::apps
