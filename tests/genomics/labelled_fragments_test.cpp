// What all kinds of labelled fragments have in common.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "core/base/error.h"
#include "genomics/finetune_task.h"
#include "tests/genomics/fragments_testing.h"

namespace strandwave {
namespace {

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

}  // namespace
}  // namespace strandwave
