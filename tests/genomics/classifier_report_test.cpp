#include "genomics/classifier_report.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <sstream>

#include "core/base/error.h"
#include "genomics/io/tokenizer.h"
#include "genomics/labelled_test_set.h"
#include "tests/support/temporary_folder.h"

namespace strandwave {
namespace {

LabelledFragment fragment(const std::string& letters, int32_t label,
                          std::vector<float> targets = {}) {
  LabelledFragment result;
  result.ids.resize(letters.size());
  dna::encode(letters, result.ids.data());
  result.label = label;
  result.targets = std::move(targets);
  return result;
}

VisitTraining training(std::vector<LabelledFragment> sequences) {
  return [sequences](const std::function<void(const LabelledFragment&)>& visit) {
    for (const LabelledFragment& sequence : sequences) visit(sequence);
  };
}

std::map<std::string, PredictionTable> predictions(const Predictors& predictors,
                                                   const std::vector<LabelledFragment>& fragments,
                                                   int64_t length = 0) {
  std::map<std::string, PredictionTable> tables;
  for (const auto& predictor : predictors)
    tables.emplace(predictor->name(), predictor->predict(fragments, length));
  return tables;
}

TEST(ClassifierBaselines, Classes) {
  const std::string at(40, 'A'), gc = "GCGGCCGCAGCGGCGCCGACCGGCGGCGCCGCGTCGCGG";
  const Predictors predictors =
      train_baselines({LabelKind::kClass, {"at", "gc"}},
                      training({fragment(at, 0), fragment(gc, 1), fragment(at + "GT", 0)}));
  const auto tables = predictions(
      predictors, {fragment(gc.substr(0, 35), -1), fragment("AAAAAAAAAA", -1), fragment("", -1)});
  using Classes = std::vector<int32_t>;
  EXPECT_EQ(tables.at("majority").classes, (Classes{0, 0, 0}));
  EXPECT_NEAR(tables.at("majority").values[0][0], 2.0 / 3, 1e-6);
  EXPECT_EQ(tables.at("GC content").classes, (Classes{1, 0, 0}));
  EXPECT_EQ(tables.at("6-mer naive Bayes").classes, (Classes{1, 0, 0}));
  EXPECT_NEAR(tables.at("6-mer naive Bayes").values[2][0], 0.5, 1e-6);
  EXPECT_EQ(tables.at("31-mer lookup").classes, (Classes{1, -1, -1}));
  EXPECT_FALSE(tables.at("31-mer lookup").probabilities);
}

// A class that is as long as another in whole sequences but has more windows is the majority, and
// GC content is learnt from windows of the length that is tested.
TEST(ClassifierBaselines, LengthsOfGenomes) {
  const std::string half = std::string(50, 'A') + std::string(50, 'G');  // windows of 50: 0 and 1
  std::string mixed;
  for (int i = 0; i < 100; ++i) mixed += "AG";
  const Predictors predictors = train_baselines({LabelKind::kClass, {"blocks", "mixed"}, {50, 100}},
                                                training({fragment(half, 0), fragment(mixed, 1)}));
  const LabelledFragment all_a = fragment(std::string(50, 'A'), -1);
  const LabelledFragment even = fragment(half, -1);
  EXPECT_NEAR(predictions(predictors, {all_a}, 50).at("majority").values[0][1], 4.0 / 6, 1e-6);
  EXPECT_EQ(predictions(predictors, {all_a}, 50).at("GC content").classes[0], 0);
  // The usual length, 50, is what 0 means.
  const Predictors usual = train_baselines({LabelKind::kClass, {"blocks", "mixed"}, {0}, 50},
                                           training({fragment(half, 0), fragment(mixed, 1)}));
  EXPECT_EQ(predictions(usual, {all_a}, 0).at("GC content").classes[0], 0);
  EXPECT_NEAR(predictions(usual, {all_a}, 0).at("majority").values[0][1], 4.0 / 6, 1e-6);
  // At 100 bases both classes have a GC content of one half in every window.
  EXPECT_NEAR(predictions(predictors, {even}, 100).at("GC content").values[0][0], 0.5, 1e-6);
}

TEST(ClassifierBaselines, LabelsAndValues) {
  const std::string at(40, 'A'), gc(40, 'G');
  const Predictors labels = train_baselines(
      {LabelKind::kMultiLabel, {"rich", "all"}},
      training({fragment(at, -1, {0, 1}), fragment(gc, -1, {1, 1}), fragment(at, -1, {0, 1})}));
  auto tables = predictions(labels, {fragment("GGGGGGGG", -1), fragment("AAAAAAAA", -1)});
  EXPECT_NEAR(tables.at("majority").values[0][0], 1.0 / 3, 1e-6);
  for (const char* name : {"GC content", "6-mer naive Bayes"}) {
    EXPECT_GT(tables.at(name).values[0][0], 0.5) << name;
    EXPECT_LT(tables.at(name).values[1][0], 0.5) << name;
  }
  EXPECT_FALSE(tables.contains("31-mer lookup"));
  const Predictors values = train_baselines(
      {LabelKind::kRegression, {"value"}},
      training({fragment("AAAA", -1, {1}), fragment("GGGG", -1, {3}), fragment("AGAG", -1, {2})}));
  tables = predictions(values, {fragment("AAAG", -1)});
  EXPECT_NEAR(tables.at("mean").values[0][0], 2, 1e-6);
  EXPECT_NEAR(tables.at("GC content").values[0][0], 1.5, 1e-6);
}

// Says class 1 where the first base is G.
class FirstBase : public Predictor {
 public:
  std::string name() const override { return "first base"; }
  PredictionTable predict(const std::vector<LabelledFragment>& fragments, int64_t) const override {
    std::vector<std::vector<float>> rows;
    for (const LabelledFragment& f : fragments)
      rows.push_back(f.ids[0] == dna::kG ? std::vector<float>{0.1F, 0.9F}
                                         : std::vector<float>{0.9F, 0.1F});
    return decided(std::move(rows));
  }
};

TestReport report_of(const std::vector<int64_t>& lengths, const std::vector<double>& errors) {
  TestSet set;
  set.labels = {"a", "g"};
  set.groups = {"strain 1"};
  set.fragments = [](const FixedOptions& how) {
    std::vector<LabelledFragment> list = {fragment("ACGT", 0), fragment("GCGT", 1),
                                          fragment("GGGG", how.error_rate.high > 0 ? 0 : 1)};
    list[0].name = "one\ttab";
    list[0].group = 0;
    list[2].overlaps_training = true;
    return list;
  };
  set.length = 4;
  Predictors predictors;
  predictors.push_back(std::make_unique<FirstBase>());
  TestOptions options;
  options.lengths = lengths;
  options.error_rates = errors;
  return test_predictors(set, predictors, options);
}

TEST(ClassifierReport, CellsAndSets) {
  const TestReport report = report_of({0, 3}, {0, 0.1});
  EXPECT_EQ(report.json["kind"], "classifier");
  const nlohmann::json& results = report.json["results"];
  ASSERT_EQ(results.size(), 8U);  // 2 lengths, 2 error rates, with and without overlap
  EXPECT_EQ(results[0]["length"], 4);
  EXPECT_EQ(results[0]["set"], "all");
  EXPECT_EQ(results[0]["n"], 3);
  EXPECT_DOUBLE_EQ(results[0]["accuracy"], 1);
  EXPECT_EQ(results[1]["set"], "without overlap");
  EXPECT_EQ(results[1]["n"], 2);
  EXPECT_DOUBLE_EQ(results[2]["accuracy"], 2.0 / 3);
  EXPECT_DOUBLE_EQ(results[2]["error_rate"], 0.1);
  EXPECT_DOUBLE_EQ(results[3]["accuracy"], 1);
  EXPECT_EQ(results[7]["length"], 3);
  EXPECT_EQ(report.json["curves"]["roc"].size(), 2U);
  const TextTable table = results_table(report.json);
  EXPECT_EQ(table.size(), 9U);
  EXPECT_EQ(std::vector<std::string>(table[0].begin(), table[0].begin() + 5),
            (std::vector<std::string>{"predictor", "set", "bases", "errors", "n"}));
  EXPECT_EQ(table[4][3], "0.1");
  EXPECT_EQ(confusion_table(report.json)[2], (std::vector<std::string>{"g", "0", "2"}));
  EXPECT_EQ(group_table(report.json)[1], (std::vector<std::string>{"strain 1", "1", "1.0000"}));
  EXPECT_EQ(results_table(report_of({0}, {0}).json)[0][2], "n");  // nothing to tell apart but sets
}

TEST(ClassifierReport, PredictionsAsText) {
  EXPECT_EQ(report_of({0}, {0}).predictions,
            "name\tgroup\ttruth\tprediction\tp_a\tp_g\toverlaps_training\n"
            "one tab\tstrain 1\ta\ta\t0.9\t0.1\tno\n"
            "\t.\tg\tg\t0.1\t0.9\tno\n"
            "\t.\tg\tg\t0.1\t0.9\tyes\n");
}

TEST(ClassifierReport, NothingToTestOn) {
  TestSet set;
  set.fragments = [](const FixedOptions&) { return std::vector<LabelledFragment>(); };
  EXPECT_THROW(test_predictors(set, {}, {}), Error);
}

TEST(ClassifierReport, Folds) {
  const auto report = [](double accuracy, bool with_auroc) {
    nlohmann::json result = {
        {"name", "m"}, {"set", "all"}, {"length", 0}, {"error_rate", 0}, {"accuracy", accuracy}};
    if (with_auroc) result["auroc"] = 0.5;
    return nlohmann::json{{"kind", "classifier"}, {"labels", {"a", "b"}}, {"results", {result}}};
  };
  const nlohmann::json summary =
      fold_summary({report(0.5, true), report(0.7, false), report(0.9, true)});
  EXPECT_EQ(summary["folds"], 3);
  const nlohmann::json& result = summary["results"][0];
  EXPECT_NEAR(result["accuracy"]["mean"], 0.7, 1e-12);
  EXPECT_NEAR(result["accuracy"]["deviation"], 0.2, 1e-12);
  EXPECT_EQ(result["auroc"]["values"].size(), 2U);
  EXPECT_FALSE(result.contains("ece"));
  EXPECT_EQ(fold_table(summary)[1][1], "0.7000 +- 0.2000");
}

class LabelledTestSetTest : public ::testing::Test {
 protected:
  testing::TemporaryFolder folder_;
  TestSetOptions options_;
};

TEST_F(LabelledTestSetTest, EveryRowOfATable) {
  options_.labels = {"x", "y", "never"};
  const TestSet set =
      open_test_set(folder_.write("t.csv",
                                  "name,sequence,label,split,group\none,ACGTACGT,y,train,g\n"
                                  "two,ACGTACGT,y,test,\nthree,AC,x,,\n"),
                    options_);
  EXPECT_EQ(set.groups, (std::vector<std::string>{"g"}));
  const auto whole = set.fragments({});
  ASSERT_EQ(whole.size(), 3U);  // copies and splits do not matter
  EXPECT_EQ(whole[0].name, "three");
  EXPECT_EQ(whole[0].group, -1);
  EXPECT_EQ(whole[1].label, 1);
  const auto cut = set.fragments({4, 0});
  EXPECT_EQ(dna::decode(cut[1].ids), "GTAC");  // the middle
  EXPECT_EQ(cut[0].ids.size(), 2U);
  EXPECT_THROW(open_test_set(folder_.write("u.csv", "sequence,label\nAC,z\nAC,x\n"), options_),
               Error);
  options_.per_class = 1;
  EXPECT_EQ(open_test_set((folder_.path() / "t.csv").string(), options_).fragments({}).size(), 2U);
}

TEST_F(LabelledTestSetTest, WindowsOfGenomesWithErrors) {
  std::string letters;
  for (int i = 0; i < 1000; ++i) letters += "ACGT"[i * i / 7 % 4];
  folder_.write("a.fa", ">chr\n" + letters + "\n");
  folder_.write("b.fa", ">chr\n" + std::string(500, 'N') + letters + "\n");
  options_.labels = {"a", "b"};
  options_.cache_dir = (folder_.path() / "cache").string();
  const std::string manifest =
      folder_.write("m.tsv", "path\tlabel\tgroup\tsplit\na.fa\ta\ts1\ttest\nb.fa\tb\ts2\ttest\n");
  const TestSet set = open_test_set(manifest, options_);
  EXPECT_THROW(set.fragments({}), Error);  // no length
  const auto clean = set.fragments({100, 0}), noisy = set.fragments({100, 0.2});
  ASSERT_EQ(clean.size(), 20U);  // what is mostly N is left out
  EXPECT_EQ(clean[0].name, "chr:1-100");
  EXPECT_EQ(set.groups[static_cast<size_t>(clean[19].group)], "s2");
  int changed = 0;
  for (size_t i = 0; i < clean.size(); ++i)
    for (size_t j = 0; j < 100; ++j) changed += clean[i].ids[j] != noisy[i].ids[j];
  EXPECT_NEAR(changed, 400, 80);
  EXPECT_EQ(noisy[3].ids, set.fragments({100, 0.2})[3].ids);
}

}  // namespace
}  // namespace strandwave
