// Labelled sequences: clusters, copies, folds, labels of every kind.
#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "tests/genomics/fragments_testing.h"

namespace strandwave {
namespace {

// A table of `count` sequences of 100 bases for each of the classes a and b; where `family` > 1, so
// many neighbours are pieces of one longer sequence, 20 bases apart.
std::string families_table(int count, int family, const std::string& header = "sequence,label",
                           const std::string& end = "") {
  std::string table = header + "\n";
  for (int i = 0; i < 2 * count; ++i) {
    const std::string whole = random_letters(400, 7000 + static_cast<uint64_t>(i / family));
    table += whole.substr(static_cast<size_t>(i % family) * 20, 100) + "," +
             (i / family % 2 == 0 ? "a" : "b") + end + "\n";
  }
  return table;
}

class SequencesTest : public FragmentsTest {
 protected:
  SequencesTest() { options.length = 0; }
  std::unique_ptr<LabelledFragments> open(const std::string& text) const {
    return LabelledFragments::open(folder.write("t.csv", text), options);
  }
  std::string refusal(const std::string& text) const {
    try {
      open(text);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(SequencesTest, ClustersAreNeverDividedButRandomRowsAre) {
  const std::string table = families_table(200, 5);
  const auto clusters = open(table);
  const nlohmann::json facts = clusters->leakage();
  EXPECT_EQ(facts["units"], 80);
  EXPECT_EQ(facts["largest_unit"], 5);
  EXPECT_EQ(clusters->class_counts(Split::kTest), (std::vector<int64_t>{20, 20}));
  EXPECT_EQ(clusters->class_counts(Split::kValidation), (std::vector<int64_t>{20, 20}));
  EXPECT_EQ(facts["held_out"][1]["overlapping"], 0);
  for (const LabelledFragment& f : clusters->fixed(Split::kTest, 1000))
    EXPECT_FALSE(f.overlaps_training);
  options.split = SplitPolicy::kRandom;
  const auto random = open(table);
  EXPECT_EQ(random->leakage()["held_out"][1]["sequences"], 40);
  EXPECT_GT(random->leakage()["held_out"][1]["overlapping"], 20);
}

TEST_F(SequencesTest, AnotherSeedDividesDifferently) {
  const std::string table = families_table(100, 1);
  const std::string first = open(table)->hash();
  EXPECT_EQ(first, open(table)->hash());
  options.split_seed = 1;
  EXPECT_NE(first, open(table)->hash());
}

TEST_F(SequencesTest, WhatResemblesTrainingAsAWholeGoesBackThere) {
  // Half of x is in one sequence and half in another, a third of its 31-mers each: no cluster.
  std::string table = "sequence,label,group\n";
  for (int i = 0; i < 60; ++i) {
    const std::string x = random_letters(120, 9000 + static_cast<uint64_t>(i));
    const std::string a = x.substr(0, 65) + random_letters(200, 100 + static_cast<uint64_t>(i));
    const std::string b = random_letters(200, 300 + static_cast<uint64_t>(i)) + x.substr(55);
    const std::string label = i % 2 == 0 ? "a" : "b";
    for (const std::string& sequence : {x, a, b}) table += sequence + "," + label + ",\n";
  }
  const nlohmann::json facts = open(table)->leakage();
  EXPECT_EQ(facts["units"], 180);
  EXPECT_GT(facts["moved_back"], 0);
  for (const nlohmann::json& held : facts["held_out"]) {
    EXPECT_GT(held["sequences"], 0);
    EXPECT_EQ(held["overlapping"], 0);
  }
}

TEST_F(SequencesTest, CopiesAndConflictsAreDropped) {
  const std::string x = random_letters(80, 1), y = random_letters(80, 2);
  std::string turned = x;
  dna::reverse_complement_letters(turned);
  const std::string start = families_table(10, 1);
  const auto data = open(start + x + ",a\n" + turned + ",a\n" + y + ",a\n" + y + ",b\n");
  const nlohmann::json facts = data->leakage();
  EXPECT_EQ(facts["sequences"], 24);
  EXPECT_EQ(facts["kept"], 21);  // one x, no y
  EXPECT_EQ(facts["copies"], 2);
  EXPECT_EQ(facts["conflicting"], 2);
  EXPECT_NE(data->description().find("3 copies and conflicting ones dropped"), std::string::npos);
  const std::string empty = refusal("sequence,label\n" + x + ",a\n" + y + ",a\n" + turned + ",b\n");
  EXPECT_NE(empty.find("the class \"b\" has no sequences"), std::string::npos) << empty;
  EXPECT_NE(empty.find("after 2 copies and sequences with conflicting labels were dropped"),
            std::string::npos)
      << empty;
}

TEST_F(SequencesTest, AGivenSplitIsKeptAndItsOverlapFlagged) {
  const std::string x = random_letters(100, 1), y = random_letters(100, 2);
  std::string turned = x;
  dna::reverse_complement_letters(turned);
  const auto data =
      open("sequence,label,split,name\n" + x + ",a,train,\n" + y + ",b,train,\n" + x +
           ",a,train,\n" + turned + ",b,test,copy\n" + y.substr(0, 60) + random_letters(40, 3) +
           ",b,test,less\n" + y.substr(0, 70) + random_letters(30, 4) + ",b,validation,half\n");
  EXPECT_EQ(data->class_counts(Split::kTrain), (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(data->leakage()["policy"], "given");
  std::map<std::string, bool> overlaps;
  for (const Split split : {Split::kValidation, Split::kTest})
    for (const LabelledFragment& f : data->fixed(split, 10)) overlaps[f.name] = f.overlaps_training;
  EXPECT_EQ(overlaps,
            (std::map<std::string, bool>{{"copy", true}, {"less", false}, {"half", true}}));
  EXPECT_EQ(data->leakage()["held_out"][1]["exact"], 1);
  EXPECT_EQ(data->leakage()["held_out"][1]["without_overlap"], 1);
}

TEST_F(SequencesTest, ValidationComesOutOfTrainingWhereOnlyATestIsGiven) {
  std::string table = families_table(100, 5, "sequence,label,split", ",train");
  for (int i = 0; i < 10; ++i)
    table += random_letters(100, 50 + static_cast<uint64_t>(i)) + ",a,test\n";
  const auto data = open(table);
  EXPECT_EQ(data->class_counts(Split::kValidation), (std::vector<int64_t>{10, 10}));
  EXPECT_EQ(data->class_counts(Split::kTest), (std::vector<int64_t>{10, 0}));
  EXPECT_EQ(data->leakage()["held_out"][0]["overlapping"], 0);
  options.folds = 5;
  EXPECT_NE(refusal(table).find("folds make splits of their own"), std::string::npos);
}

TEST_F(SequencesTest, FoldsTestEveryClusterOnce) {
  options.folds = 4;
  std::map<std::string, int> tested;
  for (options.fold = 0; options.fold < 4; ++options.fold) {
    const auto data = open(families_table(60, 3));
    EXPECT_EQ(data->class_counts(Split::kTest), (std::vector<int64_t>{15, 15}));
    EXPECT_EQ(data->class_counts(Split::kTrain), (std::vector<int64_t>{30, 30}));
    EXPECT_EQ(data->leakage()["held_out"][1]["overlapping"], 0);
    for (const LabelledFragment& f : data->fixed(Split::kTest, 1000)) ++tested[f.name];
  }
  EXPECT_EQ(tested.size(), 120U);
  for (const auto& [name, times] : tested) EXPECT_EQ(times, 1) << name;
}

TEST_F(SequencesTest, SeveralLabelsAndNumbers) {
  options.kind = LabelKind::kMultiLabel;
  std::string table = "sequence,label\n";
  for (int i = 0; i < 60; ++i)
    table += random_letters(50, static_cast<uint64_t>(i)) + "," +
             (i % 3 == 0   ? "x;y"
              : i % 3 == 1 ? "x"
                           : ".") +
             "\n";
  const auto several = open(table);
  EXPECT_EQ(several->task(), LabelKind::kMultiLabel);
  EXPECT_EQ(several->labels(), (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(several->class_counts(Split::kTest), (std::vector<int64_t>{4, 2}));
  EXPECT_EQ(several->fixed(Split::kTest, 100).size(), 6U);
  EXPECT_EQ(several->fixed(Split::kTrain, std::numeric_limits<int64_t>::max()).size(), 48U);
  std::map<std::vector<float>, int> seen;
  for (uint64_t i = 0; i < 600; ++i) {
    const LabelledFragment fragment = several->sample(1, i);
    EXPECT_EQ(fragment.label, -1);
    ++seen[fragment.targets];
  }
  EXPECT_EQ(seen.size(), 3U);
  for (const auto& [targets, count] : seen) EXPECT_NEAR(count, 200, 60);

  options.kind = LabelKind::kRegression;
  table = "sequence,label\n";
  for (int i = 0; i < 100; ++i)
    table += random_letters(50, static_cast<uint64_t>(i)) + "," + std::to_string(i) + ".5\n";
  const auto numbers = open(table);
  EXPECT_EQ(numbers->labels(), std::vector<std::string>{"value"});
  int fifths[5] = {};
  for (const LabelledFragment& f : numbers->fixed(Split::kTest, 100)) {
    ASSERT_EQ(f.targets.size(), 1U);
    ++fifths[static_cast<int>(f.targets[0]) / 20];
  }
  for (const int count : fifths) EXPECT_EQ(count, 2);
}

TEST_F(SequencesTest, PiecesHaveTheGivenLengths) {
  std::string table = "sequence,label,split\n";
  for (int i = 0; i < 20; ++i)
    table += random_letters(300, static_cast<uint64_t>(i)) + (i % 2 == 0 ? ",a," : ",b,") +
             (i < 10 ? "train" : "validation") + "\n";
  options.lengths = LengthDistribution::parse("100-140");
  const auto data = open(table);
  std::map<size_t, int> lengths;
  for (uint64_t i = 0; i < 500; ++i) ++lengths[data->sample(3, i).ids.size()];
  EXPECT_EQ(lengths.begin()->first, 100U);
  EXPECT_EQ(lengths.rbegin()->first, 140U);
  EXPECT_EQ(lengths.size(), 41U);
  for (const LabelledFragment& f : data->fixed(Split::kValidation, 5)) {
    EXPECT_GE(f.ids.size(), 100U);
    EXPECT_LE(f.ids.size(), 140U);
  }
  const auto clean = data->fixed(Split::kValidation, 5, {60, 0});
  const auto changed = data->fixed(Split::kValidation, 5, {60, 0.2});
  EXPECT_EQ(changed[3].ids, data->fixed(Split::kValidation, 5, {60, 0.2})[3].ids);
  int different = 0;
  for (size_t i = 0; i < 10; ++i) {
    ASSERT_EQ(clean[i].ids.size(), 60U);
    for (size_t j = 0; j < 60; ++j) different += clean[i].ids[j] != changed[i].ids[j];
  }
  EXPECT_NEAR(different, 120, 40);
}

}  // namespace
}  // namespace strandwave
