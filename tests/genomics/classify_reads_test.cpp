// The pipeline from files of reads to labelled reads.
#include "genomics/classify_reads.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/random.h"
#include "genomics/io/tokenizer.h"
#include "kernels/common/parallel.h"
#include "tests/support/temporary_folder.h"

namespace strandwave {
namespace {

std::string random_letters(int64_t length, uint64_t seed) {
  const RandomStream stream(seed, RandomPurpose::kSynthetic);
  std::string letters;
  for (int64_t i = 0; i < length; ++i) letters += "ACGT"[stream.below(static_cast<uint64_t>(i), 4)];
  return letters;
}

std::vector<uint8_t> ids_of(const std::string& letters) {
  std::vector<uint8_t> ids(letters.size());
  dna::encode(letters, ids.data());
  return ids;
}

std::shared_ptr<SequenceModel> tiny_model(HeadConfig::Kind kind = HeadConfig::Kind::kClassifier) {
  ModelConfig config;
  config.d_model = 8;
  config.stack = "MM";
  config.layers = {{'M', LayerConfig{"mamba", {{"d_state", 4}}}}};
  config.vocab_size = dna::kPaddedVocabulary;
  config.head.kind = kind;
  config.head.classes = {"x", "y", "z"};
  auto model = std::make_shared<SequenceModel>(config, 3);
  const torch::NoGradGuard no_grad;  // far enough from even odds that labels differ
  for (auto& [name, tensor] : model->named_tensors())
    if (name == "score.weight") tensor.mul_(40);
  return model;
}

// Keeps everything it is given.
class Collector : public ReadWriter {
 public:
  struct Row {
    std::string name;
    ReadCall call;
  };
  void write(const SequenceRecord& record, const ReadCall& call) override {
    rows.push_back({record.name, call});
  }
  void flush() override { ++flushes; }
  void finish() override { finished = true; }

  std::vector<Row> rows;
  int flushes = 0;
  bool finished = false;
};

class ClassifyReadsTest : public ::testing::Test {
 protected:
  ClassifyReadsTest() {
    for (uint64_t i = 0; i < 70; ++i)
      sequences_.push_back(random_letters(i % 9 == 0 ? 700 : 20 + static_cast<int64_t>(i), i));
    std::string fasta;
    for (size_t i = 0; i < sequences_.size(); ++i)
      fasta += ">r" + std::to_string(i) + "\n" + sequences_[i] + "\n";
    fasta_ = folder_.write("reads.fa", fasta);
  }

  static ClassifierOptions with_batch(int64_t bases) {
    ClassifierOptions options;
    options.batch_bases = bases;
    return options;
  }

  ClassifyReadsCounts run(const ClassifyReadsOptions& options, Collector& out,
                          ClassifierOptions classifier = {},
                          const PrefixOptions* prefix = nullptr) {
    const SequenceClassifier model(model_, classifier);
    std::optional<PrefixClassifier> early;
    if (prefix != nullptr) early.emplace(model, *prefix);
    notes_.clear();
    ClassifyReadsCounts counts =
        classify_reads(options, model, early ? &*early : nullptr, out, {},
                       [this](const std::string& note) { notes_.push_back(note); });
    EXPECT_TRUE(out.finished);
    EXPECT_EQ(counts.sum(), counts.records);
    EXPECT_EQ(static_cast<int64_t>(out.rows.size()), counts.records);
    return counts;
  }

  std::string error_of(const ClassifyReadsOptions& options) {
    Collector out;
    try {
      classify_reads(options, SequenceClassifier(model_, {}), nullptr, out);
    } catch (const Error& error) {
      EXPECT_FALSE(out.finished);
      return error.what();
    }
    ADD_FAILURE() << "no error";
    return "";
  }

  static void expect_same(const Collector& a, const Collector& b) {
    ASSERT_EQ(a.rows.size(), b.rows.size());
    for (size_t i = 0; i < a.rows.size(); ++i) {
      EXPECT_EQ(a.rows[i].name, b.rows[i].name);
      EXPECT_EQ(a.rows[i].call.status, b.rows[i].call.status);
      ASSERT_EQ(a.rows[i].call.probabilities.size(), b.rows[i].call.probabilities.size());
      for (size_t c = 0; c < a.rows[i].call.probabilities.size(); ++c)
        EXPECT_NEAR(a.rows[i].call.probabilities[c], b.rows[i].call.probabilities[c], 1e-5);
    }
  }

  testing::TemporaryFolder folder_;
  std::shared_ptr<SequenceModel> model_ = tiny_model();
  std::vector<std::string> sequences_;
  std::vector<std::string> notes_;
  std::string fasta_;
};

TEST_F(ClassifyReadsTest, BatchesAndThreadsChangeNothing) {
  ClassifyReadsOptions options;
  options.inputs = {fasta_};
  Collector one_by_one;
  // A batch of the pipeline holds four times this many bases: 1 read, about 7, and all.
  run(options, one_by_one, with_batch(5));
  EXPECT_EQ(one_by_one.rows.size(), 70U);
  for (size_t i = 0; i < one_by_one.rows.size(); ++i)
    EXPECT_EQ(one_by_one.rows[i].name, "r" + std::to_string(i));
  const int threads = thread_count();
  for (const int64_t bases : {100, 1 << 16}) {
    for (const int n : {1, 2}) {
      set_thread_count(n);
      Collector out;
      run(options, out, with_batch(bases));
      expect_same(one_by_one, out);
    }
  }
  set_thread_count(threads);
  // And the classifier itself says the same.
  const SequenceClassifier classifier(model_, {});
  const auto alone = classifier.predict(std::vector<std::vector<uint8_t>>{ids_of(sequences_[9])});
  for (size_t c = 0; c < 3; ++c)
    EXPECT_NEAR(one_by_one.rows[9].call.probabilities[c], alone[0].probabilities[c], 1e-5);
}

TEST_F(ClassifyReadsTest, EveryRecordIsCountedOnce) {
  const std::string sam = folder_.write("x.sam",
                                        "good\t4\t*\t0\t0\t*\t*\t0\t0\tACGTACGTAC\tIIIIIIIIII\n"
                                        "short\t4\t*\t0\t0\t*\t*\t0\t0\tACGTA\t*\n"
                                        "empty\t4\t*\t0\t0\t*\t*\t0\t0\t*\t*\n"
                                        "secondary\t260\t*\t0\t0\t*\t*\t0\t0\tACGTACGTAC\t*\n"
                                        "last\t4\t*\t0\t0\t*\t*\t0\t0\tTTTTTTTTTTTT\t*\n");
  ClassifyReadsOptions options;
  options.inputs = {sam, folder_.write("y.fa", ">a\nACGTACGTACGT\n>b\n>c\nAC\n")};
  options.min_length = 6;
  Collector out;
  const ClassifyReadsCounts counts = run(options, out);
  EXPECT_EQ(counts.records, 8);
  EXPECT_EQ(counts.classified, 3);
  EXPECT_EQ(counts.too_short, 2);
  EXPECT_EQ(counts.without_sequence, 2);
  EXPECT_EQ(counts.filtered, 1);
  EXPECT_EQ(counts.bases, 34);
  std::string order;
  for (const auto& row : out.rows) order += row.name + " ";
  EXPECT_EQ(order, "good short empty secondary last a b c ");
  // Rejection moves reads from one count to the other.
  options.min_probability = 1.1;
  Collector rejected;
  const ClassifyReadsCounts none = run(options, rejected);
  EXPECT_EQ(none.classified, 0);
  EXPECT_EQ(none.unclassified, 3);
  EXPECT_EQ(rejected.rows[0].call.status, ReadStatus::kUnclassified);
}

TEST_F(ClassifyReadsTest, LabelsAreThoseAboveTheLeastProbability) {
  model_ = tiny_model(HeadConfig::Kind::kMultiLabel);
  ClassifyReadsOptions options;
  options.inputs = {fasta_};
  std::set<size_t> sizes;
  for (const double least : {0.5, 0.9}) {
    options.min_probability = least;
    Collector out;
    const ClassifyReadsCounts counts = run(options, out);
    EXPECT_EQ(counts.classified, 70);  // none of the labels is an answer too
    EXPECT_EQ(counts.without_label, 0);
    for (const auto& row : out.rows) {
      std::vector<int32_t> expected;
      for (int32_t c = 0; c < 3; ++c)
        if (row.call.probabilities[static_cast<size_t>(c)] > least) expected.push_back(c);
      EXPECT_EQ(row.call.labels, expected);
      sizes.insert(expected.size());
    }
  }
  EXPECT_GT(sizes.size(), 1U);
}

TEST_F(ClassifyReadsTest, ValuesAreGivenAsTheyAre) {
  model_ = tiny_model(HeadConfig::Kind::kRegression);
  ClassifyReadsOptions options;
  options.inputs = {fasta_};
  Collector out;
  EXPECT_EQ(run(options, out).classified, 70);
  const auto alone = SequenceClassifier(model_, {})
                         .predict(std::vector<std::vector<uint8_t>>{ids_of(sequences_[9])});
  for (size_t c = 0; c < 3; ++c)
    EXPECT_NEAR(out.rows[9].call.probabilities[c], alone[0].probabilities[c], 1e-4);
  EXPECT_EQ(out.rows[9].call.label, -1);
}

TEST_F(ClassifyReadsTest, FiltersOfAlignmentsThatHaveNoEffectAreSaidOnce) {
  ClassifyReadsOptions options;
  options.inputs = {fasta_, fasta_};
  Collector out;
  run(options, out);
  EXPECT_TRUE(notes_.empty());
  options.reader.min_mapping_quality = 20;
  Collector filtered;
  run(options, filtered);
  ASSERT_EQ(notes_.size(), 1U);
  EXPECT_NE(notes_[0].find("-q, -f and -F select alignments"), std::string::npos) << notes_[0];
  EXPECT_EQ(filtered.rows.size(), 140U);
}

TEST_F(ClassifyReadsTest, BasesOfLowQualityAreUnknown) {
  const std::string letters = random_letters(60, 5);
  std::string masked = letters, qualities(60, 'I');
  for (size_t i = 7; i < 60; i += 9) {
    masked[i] = 'N';
    qualities[i] = '#';
  }
  ClassifyReadsOptions options;
  options.min_base_quality = 10;
  options.inputs = {folder_.write("q.fq", "@a\n" + letters + "\n+\n" + qualities + "\n@b\n" +
                                              masked + "\n+\n" + std::string(60, 'I') + "\n@c\n" +
                                              letters + "\n+\n" + std::string(60, 'I') + "\n")};
  Collector out;
  run(options, out);
  EXPECT_EQ(out.rows[0].call.probabilities, out.rows[1].call.probabilities);
  EXPECT_NE(out.rows[0].call.probabilities, out.rows[2].call.probabilities);
}

TEST_F(ClassifyReadsTest, LongRecordsAreStreamed) {
  const std::string letters = random_letters((1 << 20) + 5000, 1);
  ClassifyReadsOptions options;
  options.inputs = {
      folder_.write("long.fa", ">short\nACGTACGT\n>long\n" + letters + "\n>after\nTTTTTTTT\n")};
  Collector out;
  ClassifierOptions one_strand;
  one_strand.both_strands = false;
  run(options, out, one_strand);
  ASSERT_EQ(out.rows.size(), 3U);
  EXPECT_EQ(out.rows[1].name, "long");
  const auto expected = SequenceClassifier(model_, one_strand)
                            .predict(std::vector<std::vector<uint8_t>>{
                                ids_of("ACGTACGT"), ids_of(letters), ids_of("TTTTTTTT")});
  for (size_t i = 0; i < 3; ++i)
    for (size_t c = 0; c < 3; ++c)
      EXPECT_NEAR(out.rows[i].call.probabilities[c], expected[i].probabilities[c], 1e-5);
}

// Pairs ------------------------------------------------------------------------------------------

std::string fastq(const std::string& name, const std::string& letters) {
  return "@" + name + "\n" + letters + "\n+\n" + std::string(letters.size(), 'I') + "\n";
}

TEST_F(ClassifyReadsTest, MatesGetTheSumOfTheirEvidence) {
  std::string first, second, both;
  for (size_t i = 0; i < 10; ++i) {
    const std::string name = "p" + std::to_string(i);
    first += fastq(name + "/1", sequences_[i]);
    second += fastq(name + "/2", sequences_[20 + i]);
    both += fastq(name, sequences_[i]) + fastq(name, sequences_[20 + i]);
  }
  ClassifyReadsOptions options;
  options.paired = true;
  options.inputs = {folder_.write("1.fq", first), folder_.write("2.fq", second)};
  Collector two_files, interleaved;
  EXPECT_EQ(run(options, two_files).pairs, 10);
  options.inputs = {folder_.write("12.fq", both)};
  EXPECT_EQ(run(options, interleaved, with_batch(5)).pairs, 10);
  const SequenceClassifier classifier(model_, {});
  for (size_t i = 0; i < 10; ++i) {
    const auto alone = classifier.predict(
        std::vector<std::vector<uint8_t>>{ids_of(sequences_[i]), ids_of(sequences_[20 + i])});
    double sum = 0;
    std::vector<double> product;
    for (size_t c = 0; c < 3; ++c) {
      product.push_back(static_cast<double>(alone[0].probabilities[c]) *
                        static_cast<double>(alone[1].probabilities[c]));
      sum += product.back();
    }
    for (const Collector* out : {&two_files, &interleaved}) {
      const auto& a = out->rows[2 * i].call;
      const auto& b = out->rows[2 * i + 1].call;
      EXPECT_EQ(a.label, b.label);
      for (size_t c = 0; c < 3; ++c) {
        EXPECT_NEAR(a.probabilities[c], product[c] / sum, 1e-5);
        EXPECT_EQ(a.probabilities[c], b.probabilities[c]);
      }
    }
  }
}

TEST_F(ClassifyReadsTest, PairsCountOnce) {
  // Three pairs: both read, one mate too short, both too short.
  std::string mates;
  const std::string lengths[3][2] = {
      {sequences_[1], sequences_[2]}, {sequences_[3], "AC"}, {"A", "AC"}};
  for (const auto& pair : lengths)
    for (const std::string& letters : pair)
      mates += fastq("p" + std::to_string(&pair - lengths), letters);
  ClassifyReadsOptions options;
  options.inputs = {folder_.write("12.fq", mates)};
  options.min_length = 5;
  Collector single, paired;
  const ClassifyReadsCounts reads = run(options, single);
  EXPECT_EQ(reads.per_label[0] + reads.per_label[1] + reads.per_label[2], 3);
  EXPECT_EQ(reads.without_label, 3);
  EXPECT_FALSE(single.rows[0].call.pair);
  options.paired = true;
  const ClassifyReadsCounts pairs = run(options, paired);
  EXPECT_EQ(pairs.classified, 3);
  EXPECT_EQ(pairs.too_short, 3);
  EXPECT_EQ(pairs.pairs, 1);
  EXPECT_EQ(pairs.per_label[0] + pairs.per_label[1] + pairs.per_label[2], 2);
  EXPECT_EQ(pairs.without_label, 1);
  for (size_t i = 0; i < 6; ++i) {
    const auto& call = paired.rows[i].call;
    ASSERT_TRUE(call.pair) << i;
    EXPECT_EQ(call.pair->first, i % 2 == 0);
    EXPECT_EQ(call.pair->status, i < 4 ? ReadStatus::kClassified : ReadStatus::kShort);
    if (call.has_prediction()) EXPECT_EQ(call.pair->label, call.label);
    for (size_t mate = 0; mate < 2; ++mate)
      EXPECT_EQ(call.pair->lengths[mate], static_cast<int64_t>(lengths[i / 2][mate].size()));
  }
}

TEST_F(ClassifyReadsTest, MatesInAlignmentsAreFoundByName) {
  const auto line = [&](const std::string& name, int flags, size_t sequence) {
    return name + "\t" + std::to_string(flags) + "\t*\t0\t0\t*\t*\t0\t0\t" + sequences_[sequence] +
           "\t*\n";
  };
  // Mates apart, a secondary one between, one whose mate failed, one whose mate never comes, and a
  // read that has none.
  const std::string records = line("a", 77, 1) + line("b", 77, 2) + line("a", 77 + 256, 9) +
                              line("f", 77 + 512, 3) + line("a", 141, 4) + line("f", 141, 5) +
                              line("alone", 4, 6) + line("b", 141, 7) + line("lost", 77, 8);
  ClassifyReadsOptions options;
  options.inputs = {folder_.write("x.sam", records)};
  Collector single, paired;
  run(options, single);
  options.paired = true;
  const ClassifyReadsCounts counts = run(options, paired);
  EXPECT_EQ(counts.pairs, 2);
  EXPECT_EQ(counts.filtered, 2);
  std::string order;
  for (const auto& row : paired.rows) order += row.name + " ";
  EXPECT_EQ(order, "a b a f a f alone b lost ");
  EXPECT_EQ(paired.rows[0].call.probabilities, paired.rows[4].call.probabilities);
  EXPECT_EQ(paired.rows[1].call.probabilities, paired.rows[7].call.probabilities);
  EXPECT_NE(paired.rows[0].call.probabilities, single.rows[0].call.probabilities);
  for (const size_t i : {5U, 6U, 8U})
    EXPECT_EQ(paired.rows[i].call.probabilities, single.rows[i].call.probabilities);

  options.pair_window = 3;  // "a" waits for 4 records
  EXPECT_NE(error_of(options).find("x.sam, record 1 \"a\": its mate has not come within 3 records"),
            std::string::npos);
  // By the header mates follow each other: then nothing is waited for.
  options.inputs = {folder_.write(
      "y.sam", "@HD\tVN:1.6\tSO:unsorted\tGO:query\n" + line("lost", 77, 8) + line("c", 77, 1) +
                   line("c", 141, 2) + line("alone", 4, 3) + line("d", 4, 3) + line("e", 4, 3) +
                   line("f", 77, 3) + line("f", 141, 3))};
  options.pair_window = 5;
  Collector collated;
  EXPECT_EQ(run(options, collated).pairs, 2);
}

TEST_F(ClassifyReadsTest, WhatIsNoPairIsNamed) {
  ClassifyReadsOptions options;
  options.paired = true;
  const std::string one = folder_.write("1.fq", fastq("a", "ACGT") + fastq("b", "ACGT"));
  options.inputs = {one, folder_.write("2.fq", fastq("a", "ACGT") + fastq("c", "ACGT"))};
  const std::string names = error_of(options);
  EXPECT_NE(names.find("1.fq, record 2 \"b\" and "), std::string::npos) << names;
  EXPECT_NE(names.find("2.fq, record 2 \"c\" are not mates"), std::string::npos) << names;
  options.inputs = {one, folder_.write("2.fq", fastq("a", "ACGT"))};
  const std::string ends = error_of(options);
  EXPECT_NE(ends.find("1.fq, record 2 \"b\" has no mate: "), std::string::npos) << ends;
  EXPECT_NE(ends.find("2.fq ends after 1 record."), std::string::npos) << ends;
  options.inputs = {
      folder_.write("3.fq", fastq("a", "ACGT") + fastq("a", "ACGT") + fastq("b", "ACGT"))};
  EXPECT_NE(error_of(options).find("3.fq, record 3 \"b\" has no mate"), std::string::npos);
}

// Early decisions and live input -----------------------------------------------------------------

TEST_F(ClassifyReadsTest, EarlyDecisionsAreThoseOfThePrefixClassifier) {
  ClassifyReadsOptions options;
  options.inputs = {fasta_};
  const PrefixOptions prefix{{30, 60}, 0.4};
  options.min_probability = prefix.min_prob;
  Collector out;
  const ClassifyReadsCounts counts = run(options, out, {}, &prefix);
  ASSERT_EQ(counts.decided_at.size(), 2U);
  int64_t decided = 0, bases = 0;
  for (const auto& row : out.rows) {
    bases += row.call.bases_read;
    decided += row.call.bases_read == 30 ? 1 : 0;
  }
  EXPECT_EQ(counts.bases_read, bases);
  EXPECT_LT(bases, counts.bases);
  EXPECT_GE(decided, counts.decided_at[0]);
  EXPECT_GT(counts.decided_at[0], 0);
  EXPECT_EQ(counts.decided_at[0] + counts.decided_at[1] + counts.undecided, 70);
  const SequenceClassifier classifier(model_, {});
  std::vector<std::vector<uint8_t>> reads;
  for (const std::string& sequence : sequences_) reads.push_back(ids_of(sequence));
  const auto decisions = PrefixClassifier(classifier, prefix).decide(reads);
  for (size_t i = 0; i < reads.size(); ++i) {
    EXPECT_EQ(out.rows[i].call.bases_read, decisions[i].bases);
    EXPECT_EQ(out.rows[i].call.status == ReadStatus::kClassified, decisions[i].confident);
  }
}

TEST_F(ClassifyReadsTest, LiveInputIsAnsweredWhileThePipeIsOpen) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const int saved = ::dup(STDIN_FILENO);
  ::dup2(ends[0], STDIN_FILENO);
  ::close(ends[0]);
  // Counts what has been written while nothing more comes.
  class Live : public Collector {
   public:
    void flush() override {
      Collector::flush();
      if (rows.size() == 2 && writer >= 0) ::close(std::exchange(writer, -1));
    }
    int writer = -1;
  } out;
  out.writer = ends[1];
  const std::string two = fastq("a", "ACGTACGT") + fastq("b", "ACGTACGT");
  ASSERT_EQ(::write(ends[1], two.data(), two.size()), static_cast<ssize_t>(two.size()));
  ClassifyReadsOptions options;
  options.inputs = {"-"};
  options.flush_seconds = 0.05;
  run(options, out);  // would never end if the two were held until the batch is full
  EXPECT_EQ(out.rows.size(), 2U);
  EXPECT_GE(out.flushes, 1);
  ::dup2(saved, STDIN_FILENO);
  ::close(saved);
}

TEST_F(ClassifyReadsTest, AFailingWriterEndsTheReadingOfASilentPipe) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const int saved = ::dup(STDIN_FILENO);
  ::dup2(ends[0], STDIN_FILENO);
  ::close(ends[0]);
  class Failing : public Collector {
   public:
    void write(const SequenceRecord&, const ReadCall&) override { throw runtime_failure("full"); }
  } out;
  const std::string one = fastq("a", "ACGTACGT");
  ASSERT_EQ(::write(ends[1], one.data(), one.size()), static_cast<ssize_t>(one.size()));
  ClassifyReadsOptions options;
  options.inputs = {"-"};
  options.flush_seconds = 0.05;
  EXPECT_THROW(classify_reads(options, SequenceClassifier(model_, {}), nullptr, out), Error);
  ::close(ends[1]);
  ::dup2(saved, STDIN_FILENO);
  ::close(saved);
}

}  // namespace
}  // namespace strandwave
