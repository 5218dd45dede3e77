#include "genomics/io/sequence_reader.h"

#include <gtest/gtest.h>
#include <htslib/sam.h>

#include <string>
#include <vector>

#include "tests/genomics_io/test_files.h"

namespace strandwave {
namespace {

using test::error_of;

std::vector<SequenceRecord> read(SequenceReader& reader) {
  std::vector<SequenceRecord> records;
  SequenceRecord record;
  while (reader.next(record)) records.push_back(record);
  return records;
}

std::string phred(const SequenceRecord& record) {
  std::string text = record.qualities;
  for (char& c : text) c = static_cast<char>(c + 33);
  return text;
}

constexpr std::string_view kSam =
    "@HD\tVN:1.6\n@SQ\tSN:c\tLN:1000\n"
    "plus\t0\tc\t10\t60\t4M\t*\t0\t0\tAACG\tABCD\n"
    "minus\t16\tc\t20\t20\t4M\t*\t0\t0\tAACN\tABCD\n"
    "secondary\t256\tc\t20\t60\t4M\t*\t0\t0\tAACG\tABCD\n"
    "failed\t512\tc\t20\t60\t4M\t*\t0\t0\tAACG\tABCD\n"
    "duplicate\t1024\tc\t20\t60\t4M\t*\t0\t0\tAACG\tABCD\n"
    "supplementary\t2048\tc\t20\t60\t4M\t*\t0\t0\tAACG\tABCD\n"
    "none\t4\t*\t0\t0\t*\t*\t0\t0\t*\t*\n"
    "equal\t0\tc\t30\t60\t4M\t*\t0\t0\tA=RG\t*\n"
    "unmapped\t77\t*\t0\t0\t*\t*\t0\t0\tTTTT\tIIII\n";

class SequenceReaderTest : public testing::Test {
 protected:
  std::string convert(std::string_view sam, const std::string& name, const char* mode) {
    return test::convert_sam(folder_, sam, name, mode, reference_);
  }
  std::string bam() { return convert(kSam, "x.bam", "wb"); }

  void expect_sam_records(const std::string& path, SequenceFormat format) {
    SequenceReader reader(path);
    EXPECT_EQ(reader.format(), format);
    const auto records = read(reader);
    ASSERT_EQ(records.size(), 4U) << path;
    EXPECT_EQ(records[0].name, "plus");
    EXPECT_EQ(records[0].sequence, "AACG");
    EXPECT_EQ(phred(records[0]), "ABCD");
    EXPECT_EQ(records[0].mapping_quality, 60);
    EXPECT_TRUE(records[0].has_alignment);
    EXPECT_EQ(records[1].sequence, "NGTT");  // turned back
    EXPECT_EQ(phred(records[1]), "DCBA");
    EXPECT_EQ(records[1].flags, 16);
    EXPECT_EQ(records[2].sequence, "ANRG");
    EXPECT_EQ(records[2].qualities, "");
    EXPECT_EQ(records[3].name, "unmapped");
    EXPECT_EQ(records[3].number, 9);
    EXPECT_EQ(reader.counts().records, 9);
    EXPECT_EQ(reader.counts().delivered, 4);
    EXPECT_EQ(reader.counts().bases, 16);
    EXPECT_EQ(reader.counts().filtered_flags, 4);
    EXPECT_EQ(reader.counts().without_sequence, 1);
  }
  std::string refusal(const std::string& bytes) {
    const std::string path = folder_.write("bad", bytes);
    return error_of([&] {
      SequenceReader reader(path);
      read(reader);
    });
  }

  test::TemporaryFolder folder_;
  std::string reference_;
};

TEST_F(SequenceReaderTest, ReadsFasta) {
  for (const std::string_view end : {"\n", "\r\n"}) {
    std::string text = ">a first  one\nACgt\nNNRY\n\n>empty\n>b\nAC  \nU";
    if (end == "\r\n") {
      for (size_t at = 0; (at = text.find('\n', at)) != text.npos; at += 2)
        text.replace(at, 1, "\r\n");
    }
    for (const std::string& bytes : {text, test::gzip(text), test::bgzip(text)}) {
      SequenceReader reader(folder_.write("x", bytes));
      EXPECT_EQ(reader.format(), SequenceFormat::kFasta);
      const auto records = read(reader);
      ASSERT_EQ(records.size(), 2U);
      EXPECT_EQ(records[0].name, "a");
      EXPECT_EQ(records[0].comment, "first  one");
      EXPECT_EQ(records[0].sequence, "ACgtNNRY");
      EXPECT_FALSE(records[0].has_alignment);
      EXPECT_EQ(records[1].sequence, "ACU");
      EXPECT_EQ(records[1].number, 3);
      EXPECT_EQ(reader.counts().without_sequence, 1);
      EXPECT_EQ(reader.counts().bases, 11);
    }
  }
}

TEST_F(SequenceReaderTest, ReadsFastq) {
  const std::string text = "@r1 x y\nACGT\n+\nIIII\n@r2\n\n+\n\n@r3\nAC\n+r3\n@!\n\n";
  const test::StandardInput input(test::gzip(text));
  SequenceReader reader("-");
  EXPECT_EQ(reader.format(), SequenceFormat::kFastq);
  const auto records = read(reader);
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].comment, "x y");
  EXPECT_EQ(records[0].qualities, std::string(4, 40));
  EXPECT_EQ(records[1].name, "r3");
  EXPECT_EQ(records[1].qualities, std::string("\x1f\0", 2));
  EXPECT_EQ(reader.counts().without_sequence, 1);
}

TEST_F(SequenceReaderTest, ReadsAlignmentsOfEveryKind) {
  expect_sam_records(folder_.write("x.sam", kSam), SequenceFormat::kSam);
  expect_sam_records(folder_.write("x.sam.gz", test::gzip(kSam)), SequenceFormat::kSam);
  expect_sam_records(folder_.write("x.sam.bgz", test::bgzip(kSam, 100)), SequenceFormat::kSam);
  const std::string path = bam();
  expect_sam_records(path, SequenceFormat::kBam);
  const std::string bytes = test::read_file(path);
  expect_sam_records(folder_.write("x.bam.gz", test::gzip(bytes)), SequenceFormat::kBam);
  const test::StandardInput input(bytes);
  expect_sam_records("-", SequenceFormat::kBam);
}

TEST_F(SequenceReaderTest, ReadsSamWithoutHeader) {
  SequenceReader reader(folder_.write("x.sam", "r\t4\t*\t0\t0\t*\t*\t0\t0\tACGT\tIIII\n"));
  EXPECT_EQ(reader.format(), SequenceFormat::kSam);
  EXPECT_EQ(read(reader).size(), 1U);
}

TEST_F(SequenceReaderTest, FiltersAsSamtools) {
  const std::string path = bam();
  const auto names = [&](const SequenceReaderOptions& options) {
    SequenceReader reader(path, options);
    std::string all;
    for (const SequenceRecord& record : read(reader)) all += record.name + " ";
    return all;
  };
  SequenceReaderOptions options;
  options.exclude_flags = 0;
  options.require_flags = 0xF00;
  EXPECT_EQ(names(options), "");
  options.require_flags = 1024;
  EXPECT_EQ(names(options), "duplicate ");
  options = {};
  options.min_mapping_quality = 60;
  EXPECT_EQ(names(options), "plus equal ");
  options = {};
  options.exclude_flags = 0xF00 | 4;
  EXPECT_EQ(names(options), "plus minus equal ");
}

TEST(AlignmentFlags, AreNumbersOrNames) {
  EXPECT_EQ(alignment_flags("0"), 0);
  EXPECT_EQ(alignment_flags("3840"), 0xF00);
  EXPECT_EQ(alignment_flags("0xF00"), 0xF00);
  EXPECT_EQ(alignment_flags("SECONDARY,dup"), 0x500);
  for (const char* text : {"", "SECONDRY", "-1", "65536"})
    EXPECT_FALSE(alignment_flags(text)) << text;
}

TEST_F(SequenceReaderTest, LongFastaGoesThroughATemporaryFile) {
  std::mt19937_64 random(9);
  const std::string whole = test::random_letters(700000, random, "ACGTacgtN");
  const std::string short_one = test::random_letters(1000, random);
  // One line longer than any buffer, lines of 60, and what must not be spooled.
  const std::string text =
      ">one line\n" + whole + "\n>wrapped\n" + test::wrap(whole, 60) + ">short\n" + short_one;
  for (const std::string& bytes : {text, test::gzip(text)}) {
    SequenceReaderOptions options;
    options.spool_above = 1000;
    SequenceReader reader(folder_.write("x", bytes), options);
    const auto records = read(reader);
    ASSERT_EQ(records.size(), 3U);
    for (size_t i = 0; i < 2; ++i) {
      ASSERT_TRUE(records[i].spool);
      EXPECT_TRUE(records[i].sequence.empty());
      ASSERT_EQ(records[i].length(), 700000);
      std::string letters(700000, ' ');
      records[i].spool->read(0, letters);
      EXPECT_EQ(letters, whole);
      letters.resize(7);
      records[i].spool->read(699993, letters);
      EXPECT_EQ(letters, whole.substr(699993));
    }
    EXPECT_FALSE(records[2].spool);
    EXPECT_EQ(records[2].sequence, short_one);
    EXPECT_EQ(reader.counts().bases, 1401000);
  }
  // A bad letter far behind the buffer's end.
  EXPECT_CONTAINS(refusal(">a\n" + std::string(300000, 'A') + "!\n"),
                  "record 1 \"a\", line 2, position 300001: \"!\"");
  EXPECT_CONTAINS(refusal(">a\nAC\n" + std::string(300000, 'A') + " \t A\n"),
                  "line 3, position 300003");
}

TEST_F(SequenceReaderTest, FilteredRecordsCanBeDeliveredToo) {
  SequenceReaderOptions options;
  options.deliver_all = true;
  options.keep_alignments = true;
  SequenceReader reader(bam(), options);
  std::string fates;
  for (const SequenceRecord& record : read(reader)) {
    ASSERT_TRUE(record.alignment);
    EXPECT_STREQ(bam_get_qname(record.alignment.get()), record.name.c_str());
    fates += "rfqw"[static_cast<int>(record.fate)];
  }
  EXPECT_EQ(fates, "rrffffwrr");
  EXPECT_EQ(reader.counts().delivered, 4);
  options.min_mapping_quality = 30;
  SequenceReader stricter(bam(), options);
  fates.clear();
  for (const SequenceRecord& record : read(stricter))
    fates += "rfqw"[static_cast<int>(record.fate)];
  EXPECT_EQ(fates, "rqffffqrq");  // what is filtered is not looked at further
  EXPECT_EQ(stricter.counts().filtered_quality, 3);
}

TEST_F(SequenceReaderTest, LiveInputIsReadAsItComes) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const int saved = ::dup(STDIN_FILENO);
  ::dup2(ends[0], STDIN_FILENO);
  ::close(ends[0]);
  const std::string first = "@r1\nACGT\n+\nIIII\n";
  ASSERT_EQ(::write(ends[1], first.data(), first.size()), static_cast<ssize_t>(first.size()));
  {
    std::stop_source stop;
    SequenceReaderOptions options;
    options.stop = stop.get_token();
    SequenceReader reader("-", options);  // the pipe stays open and silent
    SequenceRecord record;
    EXPECT_TRUE(reader.next(record));
    EXPECT_EQ(record.name, "r1");
    stop.request_stop();
    EXPECT_CONTAINS(error_of([&] { reader.next(record); }, ErrorKind::kInterrupted), "given up");
  }
  ::close(ends[1]);
  ::dup2(saved, STDIN_FILENO);
  ::close(saved);
}

TEST_F(SequenceReaderTest, ReadsCramOnlyWithItsReference) {
  std::mt19937_64 random(6);
  const std::string sequence = test::random_letters(1000, random);
  reference_ = folder_.write("ref.fa", ">c\n" + sequence + "\n");
  folder_.write("ref.fa.fai", "c\t1000\t3\t1000\t1001\n");
  std::string sam = "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:c\tLN:1000\tUR:" + reference_ + "\n";
  for (size_t i = 0; i < 900; ++i) {  // with few reads htslib stores the reference itself
    sam += "r\t0\tc\t" + std::to_string(i + 1) + "\t60\t50M\t*\t0\t0\t" + sequence.substr(i, 50) +
           "\t*\n";
  }
  const std::string path = convert(sam, "x.cram", "wc");
  SequenceReaderOptions options;
  options.reference = reference_;
  SequenceReader reader(path, options);
  EXPECT_EQ(reader.format(), SequenceFormat::kCram);
  const auto records = read(reader);
  ASSERT_EQ(records.size(), 900U);
  EXPECT_EQ(records[100].sequence, sequence.substr(100, 50));

  // The header's own path (UR) must not be used in silence.
  EXPECT_CONTAINS(error_of([&] {
                    SequenceReader without(path);
                    read(without);
                  }),
                  "x.cram, record 1 cannot be decoded: contig c (M5 ");
  options.reference = folder_.path("none.fa");
  EXPECT_CONTAINS(error_of([&] { SequenceReader(path, options); }), "none.fa does not exist");
  options.reference = folder_.write("noindex.fa", ">c\nACGT\n");
  EXPECT_CONTAINS(error_of([&] { SequenceReader(path, options); }), "run: samtools faidx");
  const std::string bytes = test::read_file(path);
  const std::string cut = folder_.write("cut.cram", bytes.substr(0, bytes.size() - 10));
  EXPECT_CONTAINS(error_of([&] { SequenceReader reader2(cut); }),
                  "truncated: the CRAM end-of-file marker");
}

TEST_F(SequenceReaderTest, NoticesTruncatedBam) {
  std::string sam = "@SQ\tSN:c\tLN:1000\n";
  std::mt19937_64 random(2);
  for (int i = 0; i < 3000; ++i) {
    sam += "r" + std::to_string(i) + "\t4\t*\t0\t0\t*\t*\t0\t0\t" +
           test::random_letters(100, random) + "\t*\n";
  }
  const std::string whole = test::read_file(convert(sam, "long.bam", "wb"));
  for (const size_t size : {size_t{20}, size_t{5000}, whole.size() / 2, whole.size() - 29,
                            whole.size() - 28, whole.size() - 1}) {
    const std::string cut = whole.substr(0, size);
    EXPECT_CONTAINS(refusal(cut), "truncated") << size;
    // Inside gzip the marker cannot be looked for in advance.
    EXPECT_CONTAINS(refusal(test::gzip(cut)), "truncated") << size;
  }
  SequenceReader reader(folder_.path("long.bam"));
  EXPECT_EQ(read(reader).size(), 3000U);
}

TEST_F(SequenceReaderTest, MayBeLeftBeforeTheEnd) {
  std::string sam = "@SQ\tSN:c\tLN:1000\n";
  for (int i = 0; i < 50000; ++i)
    sam += "r\t4\t*\t0\t0\t*\t*\t0\t0\tACGTACGTACGTACGTACGTACGTACGTACGT\t*\n";
  SequenceReader reader(folder_.write("x.sam.gz", test::gzip(sam)));
  SequenceRecord record;
  EXPECT_TRUE(reader.next(record));
  SequenceReader moved = std::move(reader);
  EXPECT_TRUE(moved.next(record));
}

TEST_F(SequenceReaderTest, NoticesDamagedAlignments) {
  EXPECT_CONTAINS(refusal(std::string(kSam) + "short\t0\tc\n"),
                  "bad, record 10 cannot be read: the SAM data are truncated or damaged");
  EXPECT_CONTAINS(refusal(std::string(kSam) + "r\t0\tc\t10\t60\t4M\t*\t0\t0\tAACG\tAB\n"),
                  "record 10");
}

TEST_F(SequenceReaderTest, SaysWhatIsWrongWithFastq) {
  EXPECT_CONTAINS(refusal("@r\nACGT\n+\nII\n"),
                  "bad, record 1 \"r\", line 4: 2 qualities for 4 bases");
  EXPECT_CONTAINS(refusal("@a\nAC\n+\nII\n@b\nACGT\n+\n"),
                  "record 2 \"b\": the FASTQ file ends in the middle of the record, after line 7");
  EXPECT_CONTAINS(refusal("@a\nAC\n+\nII\n@b\n"), "record 2 \"b\"");
  EXPECT_CONTAINS(refusal("@a\nAC\nGT\n+\nIIII\n"),
                  "record 1 \"a\", line 3: FASTQ needs \"+\" here, found \"GT\"");
  EXPECT_CONTAINS(refusal("@a\nAC\n+\nII\nb\n"), "record 2, line 5: FASTQ needs \"@\" here");
  EXPECT_CONTAINS(refusal("@a\nAEC\n+\nIII\n"),
                  "record 1 \"a\", line 2, position 2: \"E\" is no IUPAC");
  EXPECT_CONTAINS(refusal("@a\nAC\n+\nI\x7f\n"), "a quality is not a character from ! to ~");
}

TEST_F(SequenceReaderTest, SaysWhatIsWrongWithFasta) {
  EXPECT_CONTAINS(refusal(">a\nACGT\n>p\nAC\nMKVL\n"),
                  "record 2 \"p\", line 5, position 6: \"L\" is no IUPAC");
  EXPECT_CONTAINS(refusal(">\nACGT\n"), "record 1, line 1 has no name");
  EXPECT_CONTAINS(refusal(">a\nAC GT\n"), "position 3: \" \"");
}

TEST_F(SequenceReaderTest, SaysWhatIsNotKnown) {
  EXPECT_CONTAINS(refusal("hello\n"),
                  "bad is none of FASTA, FASTQ, SAM, BAM and CRAM: it starts with \"hello\"");
  EXPECT_CONTAINS(refusal("BZh91AY"), "compressed with bzip2");
  EXPECT_CONTAINS(refusal(std::string("\1\0\0\0x", 5)), "\"????x\" (a binary file)");
  EXPECT_CONTAINS(refusal(""), "is empty");
  EXPECT_CONTAINS(refusal(test::gzip("")), "is empty");
  EXPECT_CONTAINS(error_of([&] { SequenceReader(folder_.path("none")); }), "No such file");
}

}  // namespace
}  // namespace strandwave
