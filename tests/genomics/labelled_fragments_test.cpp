// Fragments for fine-tuning.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>

#include "core/base/error.h"
#include "core/base/random.h"
#include "genomics/finetune_task.h"
#include "genomics/io/tokenizer.h"
#include "tests/support/temporary_folder.h"

namespace strandwave {
namespace {

std::string random_letters(int64_t length, uint64_t seed) {
  const RandomStream stream(seed, RandomPurpose::kSynthetic);
  std::string letters;
  for (int64_t i = 0; i < length; ++i) letters += "ACGT"[stream.below(static_cast<uint64_t>(i), 4)];
  return letters;
}

std::shared_ptr<SequenceModel> tiny_classifier(
    HeadConfig::Pooling pooling = HeadConfig::Pooling::kMean) {
  ModelConfig config;
  config.d_model = 8;
  config.stack = "MM";
  config.layers = {{'M', LayerConfig{"mamba", {{"d_state", 4}}}}};
  config.vocab_size = dna::kPaddedVocabulary;
  config.head.kind = HeadConfig::Kind::kClassifier;
  config.head.classes = {"x", "y", "z"};
  config.head.pooling = pooling;
  return std::make_shared<SequenceModel>(config, 3);
}

class FragmentsTest : public ::testing::Test {
 protected:
  FragmentsTest() {
    for (const char* name : {"a0", "a1", "b0", "b1"})
      folder.write(std::string(name) + ".fa", ">chr\n" + letters[name] + "\n");
    manifest = folder.write("m.tsv",
                            "path\tlabel\tgroup\tsplit\na0.fa\ta\ta0\ttrain\na1.fa\ta\ta1\ttest\n"
                            "b0.fa\tb\tb0\ttrain\nb1.fa\tb\tb1\ttest\n");
    options.length = 50;
    options.cache_dir = (folder.path() / "cache").string();
  }

  // True when the fragment is a substring of `text`, on either strand.
  static bool comes_from(const std::vector<uint8_t>& ids, const std::string& text) {
    std::vector<uint8_t> turned = ids;
    dna::reverse_complement(turned);
    return text.find(dna::decode(ids)) != std::string::npos ||
           text.find(dna::decode(turned)) != std::string::npos;
  }

  std::map<std::string, std::string> letters = {{"a0", random_letters(3000, 1)},
                                                {"a1", random_letters(1000, 2)},
                                                {"b0", random_letters(1000, 3)},
                                                {"b1", random_letters(1000, 4)}};
  testing::TemporaryFolder folder;
  std::string manifest;
  FragmentOptions options;
};

TEST_F(FragmentsTest, GenomesStayInTheirSplit) {
  const auto data = LabelledFragments::open(manifest, options);
  EXPECT_EQ(data->labels(), (std::vector<std::string>{"a", "b"}));
  int counts[2] = {0, 0};
  bool forward = false, backward = false;
  for (uint64_t i = 0; i < 400; ++i) {
    const LabelledFragment fragment = data->sample(1, i);
    ++counts[fragment.label];
    const std::string& source = letters[fragment.label == 0 ? "a0" : "b0"];
    // The last tenth is for validation.
    ASSERT_TRUE(comes_from(fragment.ids, source.substr(0, source.size() * 9 / 10)));
    (source.find(dna::decode(fragment.ids)) != std::string::npos ? forward : backward) = true;
  }
  EXPECT_NEAR(counts[0], 200, 50);  // classes alike, although genome a is three times as long
  EXPECT_TRUE(forward && backward);
  for (const LabelledFragment& fragment : data->fixed(Split::kTest, 10))
    EXPECT_TRUE(letters[fragment.label == 0 ? "a1" : "b1"].find(dna::decode(fragment.ids)) !=
                std::string::npos);
  for (const LabelledFragment& fragment : data->fixed(Split::kValidation, 10)) {
    const std::string& source = letters[fragment.label == 0 ? "a0" : "b0"];
    EXPECT_GE(source.find(dna::decode(fragment.ids)), source.size() * 9 / 10);
  }
  EXPECT_EQ(data->sample(1, 7).ids, data->sample(1, 7).ids);
  EXPECT_NE(data->sample(1, 7).ids, data->sample(2, 7).ids);
}

TEST_F(FragmentsTest, SubstitutionsHaveTheGivenRate) {
  options.error_rate = 0.1;
  options.reverse_complement = false;
  const auto data = LabelledFragments::open(manifest, options);
  options.error_rate = 0;
  const auto clean = LabelledFragments::open(manifest, options);
  int changed = 0, all = 0;
  for (uint64_t i = 0; i < 200; ++i) {
    const auto a = data->sample(1, i).ids, b = clean->sample(1, i).ids;
    for (size_t j = 0; j < a.size(); ++j, ++all) {
      EXPECT_TRUE(dna::is_base(a[j]));
      changed += a[j] != b[j];
    }
  }
  EXPECT_NEAR(static_cast<double>(changed) / all, 0.1, 0.015);
}

TEST_F(FragmentsTest, EachFragmentDrawsItsRateFromARange) {
  options.error_rate = ErrorRate::parse("0-0.4");
  options.reverse_complement = false;
  const auto data = LabelledFragments::open(manifest, options);
  options.error_rate = 0;
  const auto clean = LabelledFragments::open(manifest, options);
  double sum = 0;
  int few = 0, many = 0;
  for (uint64_t i = 0; i < 400; ++i) {
    const auto a = data->sample(1, i).ids, b = clean->sample(1, i).ids;
    int changed = 0;
    for (size_t j = 0; j < a.size(); ++j) changed += a[j] != b[j];
    const double rate = changed / static_cast<double>(a.size());
    sum += rate;
    few += rate < 0.1;
    many += rate > 0.3;
  }
  EXPECT_NEAR(sum / 400, 0.2, 0.02);
  EXPECT_NEAR(few / 400.0, 0.25, 0.08);  // one rate for all would give 0
  EXPECT_NEAR(many / 400.0, 0.25, 0.08);
}

TEST(ErrorRate, IsAShareOrARange) {
  EXPECT_EQ(ErrorRate::parse("0.05").low, 0.05);
  EXPECT_EQ(ErrorRate::parse("0.05").high, 0.05);
  EXPECT_EQ(ErrorRate::parse("1e-3-0.2").low, 0.001);
  EXPECT_EQ(ErrorRate::parse("1e-3-0.2").high, 0.2);
  for (const char* text : {"", "x", "-0.1", "0.1-", "0.2-0.1", "1.5", "0-2", "nan", "0.1x"})
    EXPECT_THROW(ErrorRate::parse(text), Error) << text;
}

TEST_F(FragmentsTest, CopiesNeverLieOnBothSides) {
  std::string table = "sequence,label\n";
  for (int i = 0; i < 300; ++i) {
    std::string sequence = random_letters(40, 100 + static_cast<uint64_t>(i) % 100);
    if (i >= 200) dna::reverse_complement_letters(sequence);
    table += sequence + "," + std::to_string(i % 100 % 2) + "\n";
  }
  options.length = 0;
  const auto data = LabelledFragments::open(folder.write("t.csv", table), options);
  std::map<std::string, int> seen;
  const auto note = [&](std::vector<uint8_t> ids, int split) {
    std::string forward = dna::decode(ids);
    dna::reverse_complement(ids);
    const std::string key = std::min(forward, dna::decode(ids));
    const auto [entry, fresh] = seen.try_emplace(key, split);
    EXPECT_EQ(entry->second, split);
    return fresh;
  };
  int counts[3] = {0, 0, 0};
  data->for_each_training_sequence([&](int32_t, std::span<const uint8_t> ids) {
    counts[0] += note({ids.begin(), ids.end()}, 0);
  });
  for (const LabelledFragment& f : data->fixed(Split::kValidation, 1000))
    counts[1] += note(f.ids, 1);
  for (const LabelledFragment& f : data->fixed(Split::kTest, 1000)) counts[2] += note(f.ids, 2);
  EXPECT_EQ(counts[0] + counts[1] + counts[2], 100);
  EXPECT_NEAR(counts[1], 10, 9);
  EXPECT_NEAR(counts[2], 10, 9);
}

TEST_F(FragmentsTest, GroupsAreNeverDivided) {
  std::string table = "sequence,label,group\n";
  for (int i = 0; i < 300; ++i)
    table += random_letters(40, static_cast<uint64_t>(i)) + "," + std::to_string(i % 2) + ",g" +
             std::to_string(i % 60) + "\n";
  const std::string path = folder.write("t.csv", table);
  options.length = 0;
  const auto data = LabelledFragments::open(path, options);
  std::map<std::string, std::string> group_of;
  for (const LabelledSequence& s : read_labelled(path).sequences) group_of[s.sequence] = s.group;
  std::map<std::string, int> split_of;
  int counts[3] = {0, 0, 0};
  const auto note = [&](std::span<const uint8_t> ids, int split) {
    ++counts[split];
    const std::string& group =
        group_of.at(dna::decode(std::vector<uint8_t>(ids.begin(), ids.end())));
    EXPECT_EQ(split_of.try_emplace(group, split).first->second, split) << group;
  };
  data->for_each_training_sequence([&](int32_t, std::span<const uint8_t> ids) { note(ids, 0); });
  for (const LabelledFragment& f : data->fixed(Split::kValidation, 1000)) note(f.ids, 1);
  for (const LabelledFragment& f : data->fixed(Split::kTest, 1000)) note(f.ids, 2);
  EXPECT_EQ(counts[0] + counts[1] + counts[2], 300);
  EXPECT_GT(counts[1], 0);
  EXPECT_GT(counts[2], 0);
}

TEST_F(FragmentsTest, HashIsOfContentLabelAndSplitButNotOfPaths) {
  const auto hash = [&](const std::string& name, const std::string& text) {
    return LabelledFragments::open(folder.write(name, text), options)->hash();
  };
  const std::string header = "path\tlabel\tsplit\n";
  const std::string rows = "a0.fa\ta\ttrain\nb0.fa\tb\ttrain\n";
  const std::string first = hash("1.tsv", header + rows + "a1.fa\ta\ttest\n");
  EXPECT_EQ(first.size(), 64U);
  folder.write("copy.fa", ">chr\n" + letters["a1"] + "\n");
  EXPECT_EQ(first, hash("2.tsv", header + rows + "copy.fa\ta\ttest\n"));
  EXPECT_NE(first, hash("3.tsv", header + rows + "a1.fa\tb\ttest\n"));
  EXPECT_NE(first, hash("4.tsv", header + rows + "a1.fa\ta\ttrain\n"));
  EXPECT_NE(first, hash("5.tsv", header + rows + "b1.fa\ta\ttest\n"));
  options.length = 0;
  const std::string table = hash("1.csv", "sequence,label,split\nACGT,a,train\nAGGT,b,train\n");
  EXPECT_NE(table, hash("2.csv", "sequence,label,split\nACGT,b,train\nAGGT,a,train\n"));
  EXPECT_NE(table, hash("3.csv", "sequence,label,split\nACGT,a,train\nACGA,b,train\n"));
  EXPECT_NE(hash("4.csv", "sequence,label,split\nAC,a,train\nAG,b,train\nAT,a,test\n"),
            hash("5.csv", "sequence,label,split\nAC,a,train\nAG,b,train\nAT,a,validation\n"));
}

TEST_F(FragmentsTest, RunConfigurationNamesWhatDecidesTheResult) {
  const auto config = [&](FinetuneOptions task) {
    return FinetuneTask(tiny_classifier(), LabelledFragments::open(manifest, options), task)
        .config();
  };
  const nlohmann::json first = config({});
  EXPECT_EQ(first, config({}));
  FinetuneOptions started;
  started.start_model = "abc";
  EXPECT_NE(first, config(started));
  const FragmentOptions kept = options;
  options.error_rate = 0.01;
  EXPECT_NE(first, config({}));
  options = kept;
  options.length = 60;
  EXPECT_NE(first, config({}));
  options = kept;
  options.reverse_complement = false;
  EXPECT_NE(first, config({}));
}

TEST_F(FragmentsTest, BaselinesSeeWholeSequencesHoweverShort) {
  folder.write("short.fa", ">one\nACGTACGTAC\n>two\nGGGTTT\n");
  options.labels = {"a", "b"};
  std::map<size_t, int32_t> seen;  // length -> label
  for_each_labelled_sequence(
      folder.write("s.tsv", "path\tlabel\tsplit\na0.fa\ta\ttrain\nshort.fa\tb\t\na1.fa\ta\ttest\n"),
      options, [&](int32_t label, std::span<const uint8_t> ids) { seen[ids.size()] = label; });
  EXPECT_EQ(seen, (std::map<size_t, int32_t>{{3000, 0}, {10, 1}, {6, 1}}));
  seen.clear();
  for_each_labelled_sequence(
      folder.write("s.csv", "sequence,label,split\nACG,a,train\nACGT,b,\nACGTA,a,validation\n"),
      options, [&](int32_t label, std::span<const uint8_t> ids) { seen[ids.size()] = label; });
  EXPECT_EQ(seen, (std::map<size_t, int32_t>{{3, 0}, {4, 1}}));
}

TEST_F(FragmentsTest, GenomesWithoutALengthAreRefused) {
  options.length = 0;
  EXPECT_THROW(LabelledFragments::open(manifest, options), Error);
  options.length = 100000;
  EXPECT_THROW(LabelledFragments::open(manifest, options), Error);
}

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

class GenomesTest : public FragmentsTest {
 protected:
  // `genomes` of 2,000 bases of class a and one of class b, each its own group.
  std::string grouped(int genomes, const std::string& b_split = "") {
    std::string text = "path\tlabel\tgroup\tsplit\n";
    for (int i = 0; i < genomes; ++i) {
      const std::string name = "g" + std::to_string(i);
      letters[name] = random_letters(2000, 40 + static_cast<uint64_t>(i));
      folder.write(name + ".fa", ">" + name + "\n" + letters[name] + "\n");
      text += name + ".fa\ta\t" + name + "\t\n";
    }
    return folder.write("g.tsv", text + "b0.fa\tb\tb0\t" + b_split + "\n");
  }
  static std::map<std::string, int> groups_of(const LabelledFragments& data,
                                              const std::vector<LabelledFragment>& fragments) {
    std::map<std::string, int> counts;
    for (const LabelledFragment& f : fragments)
      ++counts[data.groups()[static_cast<size_t>(f.group)]];
    return counts;
  }
};

TEST_F(GenomesTest, WholeGroupsAreHeldOutWhereThereAreEnough) {
  const std::string path = grouped(4);
  const auto data = LabelledFragments::open(path, options);
  std::map<std::string, std::set<int>> splits_of;
  for (const Split split : {Split::kTrain, Split::kValidation, Split::kTest})
    for (const auto& [group, count] : groups_of(*data, data->fixed(split, 100)))
      splits_of[group].insert(static_cast<int>(split));
  EXPECT_EQ(splits_of.at("b0"), (std::set<int>{0, 1}));  // the end of its contig
  int held[3] = {};
  for (int i = 0; i < 4; ++i) {
    const std::set<int>& splits = splits_of.at("g" + std::to_string(i));
    ASSERT_EQ(splits.size(), 1U) << i;
    ++held[*splits.begin()];
  }
  EXPECT_EQ(held[1], 1);
  EXPECT_EQ(held[2], 1);
  for (const LabelledFragment& f : data->fixed(Split::kValidation, 100))
    if (f.label == 1) EXPECT_GE(letters["b0"].find(dna::decode(f.ids)), 900U);
  EXPECT_NE(data->description().find("the ends of the contigs of 1"), std::string::npos);
}

TEST_F(GenomesTest, FixedFragmentsAreSpreadOverGroupsAndPlaces) {
  std::string text = "path\tlabel\tgroup\tsplit\n";
  for (const char* name : {"a0", "b0"})
    text += std::string(name) + ".fa\t" + name[0] + "\ttrain" + name + "\ttrain\n";
  folder.write("long.fa", ">l\n" + random_letters(20000, 5) + "\n");
  text += "long.fa\ta\tlong\ttest\na1.fa\ta\tshort\ttest\nb1.fa\tb\tb1\ttest\n";
  const auto data = LabelledFragments::open(folder.write("s.tsv", text), options);
  const auto fragments = data->fixed(Split::kTest, 40);
  const std::map<std::string, int> even = {{"long", 20}, {"short", 20}, {"b1", 40}};
  EXPECT_EQ(groups_of(*data, fragments), even);
  std::set<std::string> names;
  for (const LabelledFragment& f : fragments) names.insert(f.name);
  EXPECT_EQ(names.size(), 80U);
  // Where one group has no more, the other gives the rest.
  const auto long_ones = groups_of(*data, data->fixed(Split::kTest, 40, {900, 0}));
  EXPECT_LE(long_ones.at("short"), 5);
  EXPECT_EQ(long_ones.at("short") + long_ones.at("long"), 40);
  const LabelledFragment& first = fragments.front();
  const size_t colon = first.name.find(':'), dash = first.name.find('-');
  const auto start = static_cast<size_t>(std::stol(first.name.substr(colon + 1)));
  const auto end = static_cast<size_t>(std::stol(first.name.substr(dash + 1)));
  const std::string& source = first.name[0] == 'l' ? random_letters(20000, 5) : letters["a1"];
  EXPECT_EQ(source.substr(start - 1, end - start + 1), dna::decode(first.ids));
  EXPECT_EQ(first.ids.size(), 50U);
}

TEST_F(GenomesTest, LengthsAreDrawnAndEveryStartIsPossible) {
  options.lengths = LengthDistribution::parse("30-60");
  folder.write("pieces.fa",
               ">p\n" + random_letters(32, 1) + "\n>q\n" + random_letters(70, 2) + "\n>r\nACGT\n");
  const auto data = LabelledFragments::open(
      folder.write("p.tsv",
                   "path\tlabel\tsplit\npieces.fa\ta\ttrain\na1.fa\ta\tvalidation\n"
                   "b0.fa\tb\ttrain\nb1.fa\tb\tvalidation\n"),
      options);
  std::map<std::string, int> names;
  std::map<size_t, int> lengths;
  for (uint64_t i = 0; i < 40000; ++i) {
    const LabelledFragment fragment = data->sample(1, i);
    if (fragment.label != 0) continue;
    ++names[fragment.name];
    ++lengths[fragment.ids.size()];
  }
  for (const auto& [length, count] : lengths) EXPECT_NEAR(count, 20000 / 31, 120) << length;
  EXPECT_EQ(lengths.size(), 31U);
  size_t possible = 0;
  for (int length = 30; length <= 60; ++length)
    possible += static_cast<size_t>(std::max(0, 33 - length) + 71 - length);
  EXPECT_EQ(names.size(), possible);
  EXPECT_EQ(names.count("r:1-4"), 0U);
}

TEST_F(GenomesTest, TheReportSaysWhatHeldOutGroupsShare) {
  // The held-out genome of class a: a third from its own class, a third from the other, a third
  // new.
  std::string turned = letters["b0"].substr(0, 400);
  dna::reverse_complement_letters(turned);
  folder.write("mix.fa", ">m\n" + letters["a0"].substr(500, 400) + "N" + turned + "N" +
                             random_letters(400, 77) + "\n");
  const auto data = LabelledFragments::open(
      folder.write("x.tsv",
                   "path\tlabel\tgroup\tsplit\na0.fa\ta\ta0\ttrain\nb0.fa\tb\tb0\ttrain\n"
                   "mix.fa\ta\tmix\ttest\nb1.fa\tb\tb1\tvalidation\n"),
      options);
  const nlohmann::json facts = data->leakage();
  ASSERT_EQ(facts["held_out"].size(), 2U);
  const nlohmann::json &b1 = facts["held_out"][0], &mix = facts["held_out"][1];
  EXPECT_EQ(mix["group"], "mix");
  EXPECT_EQ(mix["label"], "a");
  EXPECT_EQ(mix["split"], "test");
  EXPECT_EQ(mix["kmers"], 3 * 370);
  EXPECT_NEAR(mix["in_own_class"].get<double>(), 1.0 / 3, 1e-9);
  EXPECT_NEAR(mix["in_other_classes"].get<double>(), 1.0 / 3, 1e-9);
  EXPECT_EQ(b1["in_own_class"], 0);
  EXPECT_EQ(facts["splits"][0]["genomes"], 2);
  EXPECT_EQ(facts["splits"][0]["bases"], 4000);
}

TEST_F(GenomesTest, FoldsAreOfWholeGroups) {
  options.folds = 3;
  const std::string path = grouped(6);
  std::map<std::string, int> tested;
  for (options.fold = 0; options.fold < 3; ++options.fold) {
    const auto data = LabelledFragments::open(path, options);
    for (const auto& [group, count] : groups_of(*data, data->fixed(Split::kTest, 50)))
      ++tested[group];
    EXPECT_GT(data->class_counts(Split::kTrain)[1], 0);
  }
  EXPECT_EQ(tested.size(), 6U);  // b0, alone in its class, stays in training
  for (const auto& [group, times] : tested) EXPECT_EQ(times, 1) << group;
  EXPECT_THROW(LabelledFragments::open(manifest, options), Error);  // has a test split
  const std::string bare = folder.write("n.tsv", "path\tlabel\na0.fa\ta\nb0.fa\tb\n");
  EXPECT_THROW(LabelledFragments::open(bare, options), Error);
}

TEST_F(GenomesTest, CountsAreBases) {
  const auto data = LabelledFragments::open(manifest, options);
  EXPECT_EQ(data->class_counts(Split::kTest), (std::vector<int64_t>{1000, 1000}));
  EXPECT_EQ(data->class_counts(Split::kTrain), (std::vector<int64_t>{2650, 850}));
  EXPECT_EQ(data->groups(), (std::vector<std::string>{"a0", "a1", "b0", "b1"}));
}

}  // namespace
}  // namespace strandwave
