// Fragments of labelled genomes: groups, places, lengths, what is shared.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "tests/genomics/fragments_testing.h"

namespace strandwave {
namespace {

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
  EXPECT_EQ(data->description().find("5 genomes, 2 classes, "), 0U) << data->description();
  const std::string less = data->description_without(1);
  EXPECT_EQ(less.find("4 genomes, 1 class, "), 0U) << less;
  EXPECT_EQ(less.find("the ends of"), std::string::npos) << less;
  EXPECT_EQ(data->longest_training_sequence(), 2000);
  EXPECT_TRUE(data->taxids().empty());
}

TEST_F(GenomesTest, TaxidsAreThoseOfTheManifest) {
  const auto data = LabelledFragments::open(
      folder.write("ids.tsv",
                   "path\tlabel\ttaxid\na0.fa\ta\t562\na1.fa\ta\t83333\nb0.fa\tb\t210\n"),
      options);
  const std::map<std::string, std::set<int64_t>> expected = {{"a", {562, 83333}}, {"b", {210}}};
  EXPECT_EQ(data->taxids(), expected);
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
