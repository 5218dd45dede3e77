#include "genomics/classifier_metrics.h"

#include <gtest/gtest.h>

#include <cmath>

namespace strandwave {
namespace {

Truths class_truths() {
  Truths truths;
  truths.labels = {"a", "b", "c"};
  truths.groups = {"g0", "g1", "unused"};
  truths.label = {0, 0, 1, 2};
  truths.group = {0, 0, 1, 1};
  return truths;
}

TEST(ClassifierMetrics, ClassesByHand) {
  PredictionTable table =
      decided({{0.7F, 0.2F, 0.1F}, {0.3F, 0.6F, 0.1F}, {0.2F, 0.7F, 0.1F}, {0.25F, 0.25F, 0.5F}});
  EXPECT_EQ(table.classes, (std::vector<int32_t>{0, 1, 1, 2}));
  const nlohmann::json m = measure(class_truths(), table);
  EXPECT_EQ(m["n"], 4);
  EXPECT_DOUBLE_EQ(m["accuracy"], 0.75);
  EXPECT_DOUBLE_EQ(m["balanced_accuracy"], (0.5 + 1 + 1) / 3);
  EXPECT_NEAR(m["macro_f1"], (2.0 / 3 + 2.0 / 3 + 1) / 3, 1e-12);
  EXPECT_EQ(m["confusion"], nlohmann::json({{1, 1, 0}, {0, 1, 0}, {0, 0, 1}}));
  EXPECT_FALSE(m.contains("unclassified"));
  // a: 0.7, 0.3 against 0.2, 0.25. b: 0.7 against 0.2, 0.6, 0.25. c: 0.5 against 0.1 thrice.
  EXPECT_DOUBLE_EQ(m["auroc"], 1);
  EXPECT_NEAR(m["log_loss"],
              -(std::log(0.7F) + std::log(0.3F) + std::log(0.7F) + std::log(0.5F)) / 4, 1e-6);
  // Confidences 0.7, 0.6, 0.7 (right, wrong, right) and 0.5 (right) in bins of a fifteenth: 0.6
  // lies in (8, 9], 0.7 in (10, 11], 0.5 in (7, 8].
  EXPECT_NEAR(m["ece"], (2 * 0.3 + 0.6 + 0.5) / 4, 1e-6);
  EXPECT_EQ(m["per_class"][0]["label"], "a");
  EXPECT_EQ(m["per_class"][0]["n"], 2);
  EXPECT_DOUBLE_EQ(m["per_class"][0]["precision"], 1);
  EXPECT_DOUBLE_EQ(m["per_class"][0]["recall"], 0.5);
  EXPECT_DOUBLE_EQ(m["per_class"][1]["precision"], 0.5);
  ASSERT_EQ(m["per_group"].size(), 2U);
  EXPECT_EQ(m["per_group"][0], nlohmann::json({{"group", "g0"}, {"n", 2}, {"accuracy", 0.5}}));
  EXPECT_EQ(m["intervals"]["blocks"], 2);
  EXPECT_DOUBLE_EQ(m["intervals"]["accuracy"][0], 0.75);
  EXPECT_LE(m["intervals"]["accuracy"][1], 0.75);
}

TEST(ClassifierMetrics, UnclassifiedIsWrongAndScoresNeedNotBeProbabilities) {
  PredictionTable table;
  table.values = {{1, 0, 0}, {0, 0, 0}, {0, 1, 0}, {0, 0, 0}};
  table.classes = {0, -1, 1, -1};
  table.probabilities = false;
  const nlohmann::json m = measure(class_truths(), table, {.resamples = 0});
  EXPECT_DOUBLE_EQ(m["accuracy"], 0.5);
  EXPECT_EQ(m["unclassified"], nlohmann::json({1, 0, 1}));
  EXPECT_DOUBLE_EQ(m["balanced_accuracy"], (0.5 + 1 + 0) / 3);
  // b is predicted once and rightly; f1 of a: 2 * 1 / (2 + 1); of c: 0.
  EXPECT_NEAR(m["macro_f1"], (2.0 / 3 + 1 + 0) / 3, 1e-12);
  // n 4, right 2, truths (2, 1, 1), predictions (1, 1, 0) and 2 unclassified.
  EXPECT_NEAR(m["matthews"], (2 * 4.0 - 3) / std::sqrt((16.0 - 6) * (16 - 6)), 1e-12);
  EXPECT_FALSE(m.contains("ece"));
  EXPECT_FALSE(m.contains("log_loss"));
  EXPECT_FALSE(curves(class_truths(), table).contains("reliability"));
  EXPECT_TRUE(m["intervals"].empty());
  EXPECT_TRUE(m["per_class"][2]["precision"].is_null() ||
              std::isnan(m["per_class"][2]["precision"].get<double>()));
}

TEST(ClassifierMetrics, SubsetsKeepRowsTogether) {
  const PredictionTable table =
      decided({{0.7F, 0.2F, 0.1F}, {0.3F, 0.6F, 0.1F}, {0.2F, 0.7F, 0.1F}, {0.25F, 0.25F, 0.5F}});
  const std::vector<uint8_t> keep = {0, 1, 1, 0};
  const nlohmann::json m =
      measure(selected(class_truths(), keep), selected(table, keep), {.resamples = 0});
  EXPECT_EQ(m["n"], 2);
  EXPECT_DOUBLE_EQ(m["accuracy"], 0.5);
  EXPECT_EQ(m["confusion"], nlohmann::json({{0, 1, 0}, {0, 1, 0}, {0, 0, 0}}));
}

TEST(ClassifierMetrics, LabelsByHand) {
  Truths truths;
  truths.kind = LabelKind::kMultiLabel;
  truths.labels = {"x", "y"};
  truths.targets = {{1, 0}, {1, 1}, {0, 1}, {0, 0}};
  truths.group = {-1, -1, -1, -1};
  const PredictionTable table = decided({{0.9F, 0.2F}, {0.4F, 0.8F}, {0.3F, 0.6F}, {0.6F, 0.1F}});
  const nlohmann::json m = measure(truths, table);
  EXPECT_DOUBLE_EQ(m["accuracy"], 6.0 / 8);
  EXPECT_DOUBLE_EQ(m["exact"], 0.5);
  EXPECT_DOUBLE_EQ(m["macro_f1"], (0.5 + 1) / 2);
  EXPECT_DOUBLE_EQ(m["auroc"], (0.75 + 1) / 2);  // x: 0.9 beats both, 0.4 beats 0.3
  double loss = 0;
  for (const double p : {0.9, 0.4, 0.7, 0.4, 0.8, 0.8, 0.6, 0.9}) loss -= std::log(p);
  EXPECT_NEAR(m["log_loss"], loss / 8, 1e-6);
  EXPECT_EQ(m["intervals"]["blocks"], 4);
  EXPECT_EQ(m["per_class"][1]["n"], 2);
  EXPECT_TRUE(m["per_group"].empty());
  EXPECT_FALSE(m.contains("confusion"));
  EXPECT_EQ(curves(truths, table)["roc"].size(), 2U);
}

TEST(ClassifierMetrics, ValuesByHand) {
  Truths truths;
  truths.kind = LabelKind::kRegression;
  truths.labels = {"value"};
  truths.groups = {"g"};
  truths.targets = {{1}, {2}, {3}, {4}};
  truths.group = {0, 0, -1, -1};
  const PredictionTable table = decided({{1}, {3}, {2}, {6}});
  const nlohmann::json m = measure(truths, table);
  EXPECT_NEAR(m["r2"], -0.2, 1e-12);
  EXPECT_NEAR(m["mae"], 1, 1e-12);
  EXPECT_NEAR(m["spearman"], 0.8, 1e-12);
  EXPECT_EQ(m["intervals"]["blocks"], 3);
  EXPECT_DOUBLE_EQ(m["per_group"][0]["mae"], 0.5);
  EXPECT_EQ(m["per_class"][0]["label"], "value");
  EXPECT_TRUE(curves(truths, table).empty());
}

}  // namespace
}  // namespace strandwave
