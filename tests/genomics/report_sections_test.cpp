#include "genomics/report_sections.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace strandwave {
namespace {

using nlohmann::json;

constexpr int kBlocks = 20;

json language_model_test(double bits) {
  std::vector<double> sums;
  for (int i = 0; i < kBlocks; ++i) sums.push_back(100 * (bits + 0.001 * (i % 5 - 2)));
  return {{"kind", "language_model"},
          {"command", "strandwave dna pretrain genome.fa"},
          {"window", 1024},
          {"positions", 100 * kBlocks},
          {"bits_per_base", bits},
          {"regions", {{{"name", "repeats"}, {"positions", 900}, {"bits_per_base", bits - 0.1}}}},
          {"baselines",
           {{{"name", "Markov order 11"},
             {"training", "all"},
             {"bits_per_base", 1.75},
             {"blocks", kBlocks},
             {"difference", {bits - 1.75, bits - 1.76, bits - 1.74}},
             {"regions", {{{"name", "repeats"}, {"bits_per_base", 1.7}}}}}}},
          {"context",
           {{{"first", 0}, {"last", 128}, {"positions", 1000}, {"bits_per_base", bits + 0.05}},
            {{"first", 128}, {"last", 1024}, {"positions", 1000}, {"bits_per_base", bits - 0.05}}}},
          {"seen_in_training", {{"fraction", 0.0423}, {"by", "sketch"}}},
          {"block_sums", {{"positions", std::vector<int>(kBlocks, 100)}, {"bits", sums}}}};
}

json result(const std::string& name, double accuracy, double error_rate) {
  return {
      {"name", name},
      {"set", "all"},
      {"length", 150},
      {"error_rate", error_rate},
      {"n", 200},
      {"accuracy", accuracy},
      {"ece", 0.031},
      {"intervals", {{"accuracy", {accuracy, accuracy - 0.02, accuracy + 0.02}}}},
      {"per_class",
       {{{"label", "ecoli"}, {"n", 100}, {"precision", 0.8}, {"recall", 0.7654}, {"auroc", 0.91}}}},
      {"per_group", {{{"group", "DH1"}, {"n", 200}, {"accuracy", accuracy}}}},
      {"confusion", {{81, 19}, {13, 87}}}};
}

json classifier_test() {
  return {{"kind", "classifier"},
          {"command", "strandwave dna finetune strains.tsv"},
          {"labels", {"ecoli", "hpylori"}},
          {"results",
           {result("this model", 0.84, 0.0), result("6-mer naive Bayes", 0.87, 0.0),
            result("this model", 0.71, 0.1), result("6-mer naive Bayes", 0.62, 0.1)}},
          {"curves",
           {{"roc", {{{"label", "ecoli"}, {"points", {{0, 0}, {0.1, 0.8}, {1, 1}}}}}},
            {"pr", {{{"label", "ecoli"}, {"points", {{0, 1}, {1, 0.5}}}}}},
            {"reliability", {{{"confidence", 0.9}, {"accuracy", 0.85}, {"n", 120}}}}}},
          {"leakage", {{"test", {{"exact_duplicates", 54}}}}},
          {"rejection",
           {{"temperature", 1.183},
            {"leave_one_class_out", {{{"label", "ecoli"}, {"auroc", 0.8123}}}}}}};
}

json start(int64_t step) {
  return {{"type", "run"},      {"step", step},
          {"steps", 40},        {"command", "strandwave dna pretrain genome.fa"},
          {"version", "0.1.0"}, {"device", "CPU"},
          {"parameters", 1000}, {"time", 1795531026}};
}

report::RunFiles run_of(const std::string& name, json test) {
  report::RunFiles run;
  run.name = name;
  run.path = name;
  run.test = std::move(test);
  run.config = {
      {"task",
       {{"objective", run.test.value("kind", "") == "classifier" ? "classification" : "next_base"},
        {"splits",
         {{"test", {{"bases", 7400000}, {"sha256", "79994caa6bffef1c59ce3a1d506a2446"}}}}}}},
      {"trainer", {{"lr", 0.005}}}};
  run.log = {start(0)};
  for (int step = 10; step <= 40; step += 10)
    run.log.push_back({{"type", "train"},
                       {"step", step},
                       {"loss", 1.4 - step / 200.0},
                       {"lr", 0.005},
                       {"grad_norm", 0.2},
                       {"tokens", 100 * step},
                       {"tokens_per_second", 50},
                       {"skipped", 0}});
  run.log.push_back({{"type", "eval"}, {"step", 40}, {"metrics", {{"bits_per_base", 1.8}}}});
  return run;
}

void expect_in(const std::string& page, const std::vector<std::string>& words) {
  for (const std::string& word : words) EXPECT_NE(std::string::npos, page.find(word)) << word;
}

TEST(DnaReport, LanguageModel) {
  const std::string page = dna_report({run_of("chr20", language_model_test(1.70))});
  expect_in(page, {"1.7000", "Markov order 11: 1.7500", "-0.0500 (-0.0600 to -0.0400)",
                   "predicts better than every baseline", "Bits per base in repeats", "4.23 %",
                   "Gradient norm", "Learning rate", "Throughput", "7,400,000",
                   "Bits per base by context seen", "finished, 40 steps"});
}

TEST(DnaReport, SaysWhenABaselineWinsOrNothingIsClear) {
  expect_in(dna_report({run_of("a", language_model_test(1.80))}),
            {"predicts worse than that baseline"});
  expect_in(dna_report({run_of("a", language_model_test(1.751))}), {"the interval holds 0"});
  json few = language_model_test(1.70);
  few["baselines"][0]["blocks"] = 3;
  expect_in(dna_report({run_of("a", few)}), {"too few blocks"});
}

TEST(DnaReport, Classifier) {
  const std::string page = dna_report({run_of("species", classifier_test())});
  expect_in(page,
            {"0.8400 (0.8200 to 0.8600)", "6-mer naive Bayes: 0.8700", "That baseline is better",
             "ecoli taken for hpylori: 19", "ROC", "Precision and recall", "Calibration", "1.183",
             "0.765", "By group", "DH1", "0.812", "Accuracy at 150 bases", "exact duplicates"});
}

TEST(DnaReport, FoldsOfACrossValidation) {
  const auto fold_result = [](const char* name, double mean) -> json {
    return {{"name", name},
            {"set", "all"},
            {"length", 0},
            {"error_rate", 0},
            {"accuracy", {{"mean", mean}, {"deviation", 0.0123}, {"values", {mean, mean}}}}};
  };
  const json test = {
      {"kind", "classifier"},
      {"labels", {"a", "b"}},
      {"folds", 2},
      {"results", {fold_result("this model", 0.81), fold_result("GC content", 0.62)}}};
  expect_in(dna_report({run_of("folds", test)}), {"0.8100 \xC2\xB1 0.0123", "GC content: 0.6200",
                                                  "The model is better; there are no intervals"});
}

TEST(DnaReport, ComparesRunsOnTheSamePositions) {
  const std::string page = dna_report(
      {run_of("one", language_model_test(1.70)), run_of("two", language_model_test(1.72))});
  expect_in(page, {"Differences between the runs", "-0.0200 (-0.0200 to -0.0200)"});
  json other = language_model_test(1.72);
  other["block_sums"]["positions"][0] = 99;
  expect_in(dna_report({run_of("one", language_model_test(1.70)), run_of("two", other)}),
            {"not on the same positions"});
}

TEST(DnaReport, ListsOfLeakageAreTables) {
  json test = classifier_test();
  test["leakage"] = {{"policy", "groups"},
                     {"held_out",
                      {{{"group", "DH1"}, {"in_own_class", 0.99819}, {"kmers", 4630251}},
                       {{"group", "G27"}, {"kmers", 1653192}, {"per_class", {{"ecoli", 1}}}}}}};
  expect_in(dna_report({run_of("species", test)}),
            {"leakage, held out", "in own class", "0.9982", "4,630,251", "per class, ecoli",
             "leakage: policy"});
}

TEST(DnaReport, UnfinishedAndOtherRuns) {
  report::RunFiles unfinished = run_of("u", language_model_test(1.7));
  unfinished.test = nullptr;
  unfinished.log.resize(3);
  unfinished.notes = {"test.json is missing"};
  expect_in(dna_report({unfinished}),
            {"unfinished: step 20 of 40", "test.json is missing", "Loss"});
  report::RunFiles begun = unfinished;
  begun.log.resize(1);
  expect_in(dna_report({begun}), {"no training records yet", "unfinished: step 0 of 40"});
  report::RunFiles other = run_of("o", {{"kind", "vocoder"}});
  other.config["task"]["objective"] = "vocoding";
  expect_in(dna_report({other}), {"Loss", "trainer.lr"});
  report::RunFiles bare;
  bare.name = "bare";
  EXPECT_NE("", dna_report({bare}));
}

// Whatever stands in the files, a page comes out: every value is replaced by every other type.
void expect_page_for_any_types(report::RunFiles run, json report::RunFiles::*part) {
  const json original = run.*part;
  const std::vector<json> others = {nullptr,
                                    true,
                                    -1,
                                    1e308,
                                    "</svg><script>",
                                    json::array(),
                                    json::object(),
                                    json::array({1, "x", nullptr, json::array()}),
                                    {{"a", {{"b", "</table>"}}}}};
  std::set<std::string> places;
  const json flat = original.flatten();
  for (const auto& [place, value] : flat.items()) {
    for (std::string at = place; !at.empty(); at = at.substr(0, at.rfind('/'))) places.insert(at);
  }
  for (const std::string& place : places)
    for (const json& other : others) {
      run.*part = original;
      (run.*part)[json::json_pointer(place)] = other;
      const std::string page = dna_report({run, run_of("other", language_model_test(1.71))});
      EXPECT_EQ(std::string::npos, page.find("<script>")) << place;
      EXPECT_NE(std::string::npos, page.find("</html>")) << place;
    }
}

TEST(DnaReport, AnyTypesInTestsOfLanguageModels) {
  json small = language_model_test(1.7);
  small["block_sums"] = {{"positions", {100}}, {"bits", {170}}};
  expect_page_for_any_types(run_of("run", small), &report::RunFiles::test);
}

TEST(DnaReport, AnyTypesInTestsOfClassifiers) {
  json small = classifier_test();
  small["results"].erase(2);
  small["results"].erase(2);
  expect_page_for_any_types(run_of("run", small), &report::RunFiles::test);
}

TEST(DnaReport, AnyTypesInSettings) {
  expect_page_for_any_types(run_of("run", language_model_test(1.7)), &report::RunFiles::config);
}

TEST(DnaReport, AnyTypesInLogs) {
  const report::RunFiles original = run_of("run", language_model_test(1.7));
  for (size_t line = 0; line < original.log.size(); ++line)
    for (const auto& [key, value] : original.log[line].items())
      for (const json& other :
           std::vector<json>{nullptr, -5, 1e300, "x", json::array({1}), json::object()}) {
        report::RunFiles run = original;
        run.log[line][key] = other;
        EXPECT_NE(std::string::npos, dna_report({run}).find("</html>")) << line << key;
      }
}

TEST(DnaReport, EqualFilesGiveEqualBytes) {
  const auto page = [] {
    return dna_report({run_of("a", language_model_test(1.7)), run_of("b", classifier_test())});
  };
  EXPECT_EQ(page(), page());
}

}  // namespace
}  // namespace strandwave
