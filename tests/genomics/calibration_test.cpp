// Temperatures, thresholds, priors and their file.
#include "genomics/calibration.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"
#include "genomics/labelled_fragments.h"
#include "genomics/sequence_classifier.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_classifier.h"

namespace strandwave {
namespace {

using testing::head;
using testing::random_bases;
using testing::tiny_classifier;

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(RejectionTest, AreaUnderTheCurve) {
  const float nan = std::nanf("");
  const std::vector<float> in = {1, 2, 3, nan}, out = {2, 4};
  // pairs won: 2 > 1, 2 = 2 (half), 4 > 1, 2, 3
  EXPECT_NEAR(rejection_auroc(in, out), 4.5 / 6, 1e-12);
  EXPECT_NEAR(rejection_auroc(out, in), 1.5 / 6, 1e-12);
  EXPECT_TRUE(std::isnan(rejection_auroc(in, std::vector<float>{nan})));
}

Calibration example() {
  Calibration calibration;
  calibration.labels = {"x", "y", "z"};
  calibration.class_frequencies = {0.5, 0.25, 0.25};
  calibration.both_strands = {{64, 9, 2.0, 0.5, 0.6, {0.1, 0.2, 0.3, 0.4}},
                              {256, 99, 1.0, 0.25, 0.3, {0, 0.05, 0.1, 0.2, 0.3, 0.35, 0.4, 0.5}}};
  calibration.one_strand = {{64, 9, 3.0, 0.5, 0.6, {}}};
  return calibration;
}

TEST(CalibrationTest, InterpolatesBetweenLengths) {
  const Calibration c = example();
  EXPECT_EQ(c.temperature(10, true), 2);
  EXPECT_EQ(c.temperature(64, true), 2);
  EXPECT_NEAR(c.temperature(128, true), 1.5, 1e-12);
  EXPECT_EQ(c.temperature(256, true), 1);
  EXPECT_EQ(c.temperature(100000, true), 1);
  EXPECT_EQ(c.temperature(100, false), 3);
  EXPECT_EQ(Calibration().temperature(100, true), 1);
  EXPECT_NEAR(c.threshold(64, 0.1, true), 0.4, 1e-12);
  EXPECT_NEAR(c.threshold(128, 0.1, true), 0.3, 1e-12);
  EXPECT_NEAR(c.threshold(64, std::sqrt(0.1 * 0.2), true), 0.35, 1e-12);
  // Only 256 bases were measured down to 1 %.
  EXPECT_NEAR(c.threshold(64, 0.01, true), 0.5, 1e-12);
}

TEST(CalibrationTest, ImpossibleThresholdsSayWhy) {
  const Calibration c = example();
  EXPECT_TRUE(contains(message_of([&] { c.threshold(64, 0, true); }), "above 0"));
  EXPECT_TRUE(contains(message_of([&] { c.threshold(64, 0.7, true); }), "at most 0.5"));
  EXPECT_TRUE(contains(message_of([&] { c.threshold(64, 0.001, true); }), "down to 0.01"));
  EXPECT_TRUE(contains(message_of([&] { c.threshold(64, 0.1, false); }), "--lm-weight"));
}

TEST(CalibrationTest, FileRoundTrip) {
  const Calibration before = example();
  const Calibration after = parse_calibration(calibration_text(before), "c.json");
  EXPECT_EQ(after.to_json(), before.to_json());
  EXPECT_EQ(after.both_strands[1].thresholds, before.both_strands[1].thresholds);
  EXPECT_EQ(after.one_strand[0].temperature, 3);
  EXPECT_EQ(after.class_frequencies, before.class_frequencies);
  EXPECT_EQ(calibration_text(after), calibration_text(before));
}

TEST(CalibrationTest, DamagedFilesSayWhatAndWhere) {
  const auto damaged = [](const std::function<void(nlohmann::json&)>& damage) {
    nlohmann::json json = example().to_json();
    damage(json);
    return message_of([&] { Calibration::from_json(json, "m/calibration.json"); });
  };
  const std::pair<const char*, std::function<void(nlohmann::json&)>> cases[] = {
      {"\"format\"", [](auto& j) { j["format"] = "other"; }},
      {"\"format_version\"", [](auto& j) { j["format_version"] = 2; }},
      {"\"temperature\"", [](auto& j) { j["both_strands"][0]["temperature"] = 0; }},
      {"must ascend", [](auto& j) { j["both_strands"][1]["length"] = 64; }},
      {"\"thresholds\": entry 2", [](auto& j) { j["both_strands"][0]["thresholds"][1][0] = 0.4; }},
      {"one per label", [](auto& j) { j["class_frequencies"].push_back(1); }},
      {"\"lengths\"", [](auto& j) { j["one_strand"][0]["lengths"] = 1; }},
      {"\"labels\"", [](auto& j) { j.erase("labels"); }},
  };
  for (const auto& [part, damage] : cases) {
    const std::string message = damaged(damage);
    EXPECT_TRUE(contains(message, part)) << message;
    EXPECT_TRUE(contains(message, "m/calibration.json")) << message;
  }
  EXPECT_THROW(parse_calibration("{", "c.json"), Error);
}

TEST(PriorTest, UniformTrainingOrFile) {
  const testing::TemporaryFolder folder;
  const std::vector<std::string> labels = {"x", "y", "z"};
  EXPECT_TRUE(read_prior("uniform", labels, {}).empty());
  EXPECT_EQ(read_prior("train", labels, example()), (std::vector<double>{0.5, 0.25, 0.25}));
  EXPECT_TRUE(contains(message_of([&] { read_prior("train", labels, {}); }), "--prior train"));
  EXPECT_EQ(read_prior(folder.write("p.tsv", "# weights\nz\t1\r\nx\t3\n\ny\t0\n"), labels, {}),
            (std::vector<double>{0.75, 0, 0.25}));
  const std::pair<const char*, const char*> wrong[] = {
      {"x\t1\ny\t1\n", "no weight for class \"z\""},
      {"x\t1\nx\t1\n", "line 2: class \"x\""},
      {"x\t1\nw\t1\n", "line 2: the model has no"},
      {"x 1\n", "line 1: expected"},
      {"x\t-1\n", "line 1: the weight"},
      {"x\t1e\n", "line 1: the weight"},
      {"x\t0\ny\t0\nz\t0\n", "above 0"},
  };
  for (const auto& [text, part] : wrong) {
    const std::string message =
        message_of([&] { read_prior(folder.write("w.tsv", text), labels, {}); });
    EXPECT_TRUE(contains(message, part)) << message;
  }
  EXPECT_TRUE(contains(message_of([&] { read_prior("trian", labels, {}); }), "no file \"trian\""));
}

class FitTest : public ::testing::Test {
 protected:
  // Labels are what the model itself finds most probable, a fifth of them changed.
  std::vector<LabelledFragment> fragments(const SequenceClassifier& classifier, int64_t length) {
    std::vector<LabelledFragment> all;
    for (uint64_t i = 0; i < 120; ++i) {
      LabelledFragment fragment;
      fragment.ids = random_bases(i % 4 == 0 ? length / 2 : length, i);
      const std::vector<std::vector<uint8_t>> one = {fragment.ids};
      const std::vector<float> p = classifier.predict(one)[0].probabilities;
      fragment.label = static_cast<int32_t>(std::max_element(p.begin(), p.end()) - p.begin());
      if (i % 5 == 0) fragment.label = (fragment.label + 1) % 3;
      for (size_t c = 0; c < 3; ++c) fragment.targets.push_back(p[c] > 0.5F);
      all.push_back(fragment);
    }
    return all;
  }
};

TEST_F(FitTest, MeasuresEveryLengthAndLowersTheLoss) {
  ClassifierOptions options;
  options.both_strands = false;  // no matter: both are measured
  const SequenceClassifier classifier(
      tiny_classifier(head(HeadConfig::Kind::kClassifier, /*language_model=*/true)), options);
  const auto data = fragments(classifier, 100);
  double last = 0;
  CalibrationOptions fitting;
  fitting.lengths = {70, 400};
  fitting.class_frequencies = {1, 0, 0};
  const Calibration c = fit_calibration(classifier, data, fitting, [&](double done) {
    EXPECT_GE(done, last);
    last = done;
  });
  EXPECT_NEAR(last, 1, 1e-9);
  EXPECT_EQ(c.labels, classifier.labels());
  EXPECT_EQ(c.class_frequencies, (std::vector<double>{1, 0, 0}));
  std::vector<int64_t> lengths, reads;
  for (const CalibrationPoint& point : c.both_strands) {
    lengths.push_back(point.length);
    reads.push_back(point.reads);
  }
  EXPECT_EQ(lengths, (std::vector<int64_t>{32, 64, 70, 100}));
  EXPECT_EQ(reads, (std::vector<int64_t>{120, 90, 90, 90}));
  for (const auto* points : {&c.both_strands, &c.one_strand})
    for (const CalibrationPoint& point : *points) {
      EXPECT_LE(point.log_loss, point.raw_log_loss + 1e-3);
      EXPECT_GT(point.raw_log_loss, 0.1);
      // 1 / (reads + 1) <= 0.02 from 49 reads on, <= 0.01 from 99.
      EXPECT_EQ(point.thresholds.size(), point.reads >= 99 ? 8U : 7U);
      EXPECT_TRUE(std::is_sorted(point.thresholds.begin(), point.thresholds.end()));
    }
  // The threshold holds for the reads that it was measured on, both with and without the reverse
  // strand.
  for (const bool both : {true, false}) {
    ClassifierOptions scoring;
    scoring.both_strands = both;
    scoring.want_out_of_distribution = true;
    std::vector<std::vector<uint8_t>> long_reads;
    for (const LabelledFragment& fragment : data)
      if (fragment.ids.size() == 100) long_reads.push_back(fragment.ids);
    int above = 0;
    const double threshold = c.threshold(100, 0.1, both);
    for (const Prediction& one :
         SequenceClassifier(classifier.model(), scoring).predict(long_reads))
      above += one.out_of_distribution > threshold + 1e-5;
    EXPECT_LE(above, 9);
    EXPECT_GE(above, 7);
  }
}

TEST_F(FitTest, OtherHeadsAndNoReads) {
  const SequenceClassifier multi(tiny_classifier(head(HeadConfig::Kind::kMultiLabel, false)), {});
  const Calibration c = fit_calibration(multi, fragments(multi, 64));
  EXPECT_FALSE(c.has_thresholds());
  EXPECT_LT(c.both_strands.back().log_loss, c.both_strands.back().raw_log_loss);
  EXPECT_LT(c.both_strands.back().temperature, 1);  // the targets are what the model says: sharpen
  const SequenceClassifier values(tiny_classifier(head(HeadConfig::Kind::kRegression, true)), {});
  const Calibration r = fit_calibration(values, fragments(values, 64));
  EXPECT_TRUE(r.has_thresholds());
  EXPECT_EQ(r.both_strands.back().temperature, 1);
  EXPECT_TRUE(fit_calibration(multi, {}).empty());
}

}  // namespace
}  // namespace strandwave
