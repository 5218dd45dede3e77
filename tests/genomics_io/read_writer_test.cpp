// What the writers of classified reads write.
#include "genomics/io/read_writer.h"

#include <gtest/gtest.h>
#include <htslib/sam.h>

#include <string>
#include <vector>

#include "tests/genomics_io/test_files.h"

namespace strandwave {
namespace {

using test::error_of;
using test::read_file;

constexpr std::string_view kSam =
    "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:c\tLN:1000\n@PG\tID:map\tPN:map\n"
    "@PG\tID:sort\tPN:sort\tPP:map\n"
    "plus\t67\tc\t10\t60\t2S4M\t=\t30\t9\tGGAACG\tABCDEF\tNM:i:1\tXA:B:C,1,2\n"
    "minus\t147\tc\t20\t20\t4M\t*\t0\t0\tAACN\tABCD\tsl:Z:old\tsp:f:0.1\tRG:Z:x\n"
    "secondary\t256\tc\t20\t60\t4M\t*\t0\t0\t*\t*\tsl:Z:old\n"
    "unmapped\t4\t*\t0\t0\t*\t*\t0\t0\tTTTT\t*\n";

ReadCall call_of(int32_t label, float probability, float ood = 0.5F) {
  ReadCall call;
  call.status = ReadStatus::kClassified;
  call.label = label;
  call.probabilities = {1 - probability, 1 - probability};
  call.probabilities[static_cast<size_t>(label)] = probability;
  call.out_of_distribution = ood;
  call.bases_read = 4;
  return call;
}

class ReadWriterTest : public testing::Test {
 protected:
  ReadWriterTest() {
    options_.labels = {"a", "b/c"};
    options_.version = "9";
    options_.command = "strandwave\tdna";
    options_.model_hash = "ff";
  }

  // Each record of `in` with the call of the same number.
  void write_all(ReadWriter& writer, const std::string& in, const std::vector<ReadCall>& calls) {
    SequenceReaderOptions all;
    all.deliver_all = true;
    all.keep_alignments = true;
    all.spool_above = 100;
    SequenceReader reader(in, all);
    writer.begin(in, reader.format(), reader.alignment_header().get());
    SequenceRecord record;
    for (const ReadCall& call : calls) {
      ASSERT_TRUE(reader.next(record));
      writer.write(record, call);
    }
    EXPECT_FALSE(reader.next(record));
  }

  static ReadCall unclassified() {
    ReadCall call = call_of(0, 0.75F, std::numeric_limits<float>::quiet_NaN());
    call.status = ReadStatus::kUnclassified;
    return call;
  }
  static ReadCall with_status(ReadStatus status) {
    ReadCall call;
    call.status = status;
    return call;
  }

  test::TemporaryFolder folder_;
  ReadWriterOptions options_;
};

TEST_F(ReadWriterTest, BamKeepsEverythingAndAddsTags) {
  const std::string in = test::convert_sam(folder_, kSam, "in.bam", "wb");
  for (const bool cram : {false, true}) {
    options_.path = folder_.path(cram ? "out.cram" : "out.bam");
    options_.cram = cram;
    std::string random(1000, 'A');
    options_.reference = cram ? folder_.write("ref.fa", ">c\n" + random + "\n") : "";
    folder_.write("ref.fa.fai", "c\t1000\t3\t1000\t1001\n");
    const auto writer = open_alignment_writer(options_);
    write_all(*writer, in,
              {call_of(1, 0.875F), unclassified(), with_status(ReadStatus::kFiltered),
               with_status(ReadStatus::kShort)});
    EXPECT_FALSE(std::filesystem::exists(options_.path));
    writer->finish();
    std::string header;
    const auto lines = test::sam_lines(options_.path, &header, options_.reference);
    ASSERT_EQ(lines.size(), 4U);
    EXPECT_EQ(lines[0], std::string("plus\t67\tc\t10\t60\t2S4M\t=\t30\t9\tGGAACG\tABCDEF\tNM:i:1\t"
                                    "XA:B:C,1,2\tsl:Z:b/c\tsp:f:0.875\tso:f:0.5") +
                            (cram ? "\tMD:Z:2A0A0" : ""));  // whoever reads CRAM works out MD
    EXPECT_CONTAINS(lines[1], "RG:Z:x\tsl:Z:unclassified\tsp:f:0.75");
    EXPECT_EQ(lines[1].find("so:f"), std::string::npos);
    EXPECT_EQ(lines[1].find("old"), std::string::npos);
    EXPECT_CONTAINS(lines[1], "minus\t147\tc\t20\t20\t4M\t*\t0\t0\tAACN\tABCD");
    EXPECT_CONTAINS(lines[2], "secondary\t256\tc\t20\t60\t4M\t*\t0\t0\t*\t*");
    EXPECT_EQ(lines[2].find("sl:Z"), std::string::npos);
    EXPECT_EQ(lines[3], "unmapped\t4\t*\t0\t0\t*\t*\t0\t0\tTTTT\t*");
    EXPECT_CONTAINS(header, "@PG\tID:strandwave\tPN:strandwave\tPP:sort\tVN:9\tCL:strandwave dna");
    EXPECT_CONTAINS(header, "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:c\tLN:1000");
  }
}

TEST_F(ReadWriterTest, WithoutPgTheHeaderStays) {
  const std::string in = test::convert_sam(folder_, kSam, "in.bam", "wb");
  options_.path = folder_.path("out.bam");
  options_.provenance = false;
  const auto writer = open_alignment_writer(options_);
  write_all(*writer, in, std::vector<ReadCall>(4, with_status(ReadStatus::kFiltered)));
  EXPECT_CONTAINS(
      error_of([&] { writer->begin(in, SequenceFormat::kBam, nullptr); }, ErrorKind::kUsage),
      "one file of alignments at a time");
  writer->finish();
  std::string header, before;
  test::sam_lines(options_.path, &header);
  test::sam_lines(in, &before);
  EXPECT_EQ(header, before);
}

TEST_F(ReadWriterTest, FastqBecomesUnalignedBam) {
  const std::string in = folder_.write("in.fq", "@r/1 x\nACGN\n+\nABCD\n@s\nAC\n+\n!!\n");
  for (const bool cram : {false, true}) {
    options_.path = folder_.path("out");
    options_.cram = cram;
    const auto writer = open_alignment_writer(options_);
    write_all(*writer, in, {call_of(0, 0.75F), with_status(ReadStatus::kShort)});
    writer->finish();
    std::string header;
    const auto lines = test::sam_lines(options_.path, &header);
    ASSERT_EQ(lines.size(), 2U);
    EXPECT_EQ(lines[0], "r/1\t4\t*\t0\t0\t*\t*\t0\t0\tACGN\tABCD\tsl:Z:a\tsp:f:0.75\tso:f:0.5");
    EXPECT_EQ(lines[1], "s\t4\t*\t0\t0\t*\t*\t0\t0\tAC\t!!");
    EXPECT_CONTAINS(header, "@HD\tVN:1.6\tSO:unsorted\n@PG\tID:strandwave");
  }
}

TEST_F(ReadWriterTest, Tables) {
  const std::string in = test::convert_sam(folder_, kSam, "in.bam", "wb");
  const std::vector<ReadCall> calls = {call_of(1, 0.875F), unclassified(),
                                       with_status(ReadStatus::kFiltered),
                                       with_status(ReadStatus::kShort)};
  options_.path = folder_.path("out.tsv");
  options_.bases_read = true;
  const auto tsv = open_tsv_writer(options_);
  write_all(*tsv, in, calls);
  tsv->finish();
  EXPECT_EQ(read_file(options_.path),
            "##strandwave=9\n##command=strandwave\tdna\n##model=ff\n"
            "#name\tlength\tlabel\tprobability\tp:a\tp:b/c\tood\tstatus\tbases_read\n"
            "plus\t6\tb/c\t0.875000\t0.125000\t0.875000\t0.500000\tclassified\t4\n"
            "minus\t4\tunclassified\t0.750000\t0.750000\t0.250000\tNA\tunclassified\t4\n"
            "unmapped\t4\tunclassified\tNA\tNA\tNA\tNA\tshort\t0\n");
  options_.path = folder_.path("out.kraken");
  options_.taxids = {562, 1280};
  const auto kraken = open_kraken_writer(options_);
  write_all(*kraken, in, calls);
  kraken->finish();
  EXPECT_EQ(read_file(options_.path),
            "C\tplus\t1280\t6\tb/c:6\nU\tminus\t0\t4\tunclassified:4\n"
            "U\tunmapped\t0\t4\tunclassified:4\n");
}

TEST_F(ReadWriterTest, BamSaysHowMuchWasRead) {
  const std::string in = folder_.write(
      "in.sam",
      "r\t4\t*\t0\t0\t*\t*\t0\t0\tACGTAC\t*\tsb:i:7\nf\t4\t*\t0\t0\t*\t*\t0\t0\tAC\t*\tsb:i:7\n");
  options_.path = folder_.path("out.bam");
  options_.bases_read = true;
  const auto writer = open_alignment_writer(options_);
  write_all(*writer, in, {call_of(0, 0.75F), with_status(ReadStatus::kFiltered)});
  writer->finish();
  const auto lines = test::sam_lines(options_.path);
  EXPECT_EQ(lines[0], "r\t4\t*\t0\t0\t*\t*\t0\t0\tACGTAC\t*\tsl:Z:a\tsp:f:0.75\tso:f:0.5\tsb:i:4");
  EXPECT_EQ(lines[1], "f\t4\t*\t0\t0\t*\t*\t0\t0\tAC\t*");
}

TEST_F(ReadWriterTest, SeveralLabels) {
  const std::string in = folder_.write("in.fa", ">both\nACGT\n>none\nACG\n>odd\nAC\n");
  std::vector<ReadCall> calls = {call_of(1, 0.75F), call_of(0, 0.25F), unclassified()};
  calls[0].labels = {0, 1};
  options_.answers = AnswerKind::kLabels;
  options_.provenance = false;
  options_.path = folder_.path("out.tsv");
  const auto tsv = open_tsv_writer(options_);
  write_all(*tsv, in, calls);
  tsv->finish();
  EXPECT_EQ(read_file(options_.path),
            "#name\tlength\tlabel\tprobability\tp:a\tp:b/c\tood\tstatus\n"
            "both\t4\ta;b/c\t0.750000\t0.250000\t0.750000\t0.500000\tclassified\n"
            "none\t3\t.\t0.250000\t0.250000\t0.750000\t0.500000\tclassified\n"
            "odd\t2\tunclassified\t0.750000\t0.750000\t0.250000\tNA\tunclassified\n");
  options_.path = folder_.path("out.bam");
  const auto bam = open_alignment_writer(options_);
  write_all(*bam, in, calls);
  bam->finish();
  const auto lines = test::sam_lines(options_.path);
  EXPECT_CONTAINS(lines[0], "sl:Z:a;b/c\t");
  EXPECT_CONTAINS(lines[1], "sl:Z:.\t");
}

TEST_F(ReadWriterTest, Values) {
  const std::string in = folder_.write("in.fa", ">a\nACGT\n>b\nACG\n>c\nAC\n");
  ReadCall value;
  value.status = ReadStatus::kClassified;
  value.probabilities = {7.5F, -2};
  value.out_of_distribution = 0.25F;
  ReadCall rejected = value;
  rejected.status = ReadStatus::kUnclassified;
  options_.answers = AnswerKind::kValues;
  options_.labels = {"activity", "half life"};
  options_.provenance = false;
  options_.path = folder_.path("out.tsv");
  const auto tsv = open_tsv_writer(options_);
  write_all(*tsv, in, {value, rejected, with_status(ReadStatus::kShort)});
  tsv->finish();
  EXPECT_EQ(read_file(options_.path),
            "#name\tlength\tactivity\thalf life\tood\tstatus\n"
            "a\t4\t7.500000\t-2.000000\t0.250000\tpredicted\n"
            "b\t3\t7.500000\t-2.000000\t0.250000\trejected\n"
            "c\t2\tNA\tNA\tNA\tshort\n");
}

TEST_F(ReadWriterTest, KrakenHasOneLinePerPair) {
  const std::string in = folder_.write("in.fa", ">p/1\nACGT\n>p/2\nACG\n>q/1\nACGT\n>q/2\nA\n");
  ReadCall first = call_of(1, 0.75F);
  first.pair = PairCall{true, ReadStatus::kClassified, 1, {4, 3}};
  ReadCall second = first;
  second.pair->first = false;
  ReadCall lost = with_status(ReadStatus::kShort);
  lost.pair = PairCall{true, ReadStatus::kShort, -1, {4, 1}};
  ReadCall last = lost;
  last.pair->first = false;
  options_.path = folder_.path("out.kraken");
  options_.taxids = {562, 1280};
  const auto kraken = open_kraken_writer(options_);
  write_all(*kraken, in, {first, second, lost, last});
  kraken->finish();
  EXPECT_EQ(read_file(options_.path),
            "C\tp\t1280\t4|3\tb/c:4 |:| b/c:3\n"
            "U\tq\t0\t4|1\tunclassified:4 |:| unclassified:1\n");
}

TEST_F(ReadWriterTest, FilesByLabel) {
  const std::string in = test::convert_sam(folder_, kSam, "in.bam", "wb");
  options_.path = folder_.path("split");
  const auto writer = open_fastq_split_writer(options_);
  write_all(*writer, in,
            {call_of(1, 0.875F), unclassified(), with_status(ReadStatus::kFiltered),
             with_status(ReadStatus::kShort)});
  EXPECT_FALSE(std::filesystem::exists(options_.path));
  writer->finish();
  EXPECT_EQ(folder_.file_count("split"), 3U);
  EXPECT_EQ(read_file(folder_.path("split/b_c.fastq")), "@plus/1\nGGAACG\n+\nABCDEF\n");
  // In the orientation of the read.
  EXPECT_EQ(read_file(folder_.path("split/unclassified.fastq")), "@minus/2\nNGTT\n+\nDCBA\n");
  EXPECT_EQ(read_file(folder_.path("split/unclassified.fa")), ">unmapped\nTTTT\n");
}

TEST_F(ReadWriterTest, LongFastaByLabelCompressed) {
  std::mt19937_64 random(1);
  const std::string letters = test::random_letters(250, random);
  const std::string in = folder_.write("in.fa", ">long some words\n" + letters + "\n>r\nACGT\n");
  options_.path = folder_.path("split");
  options_.gzip = true;
  const auto writer = open_fastq_split_writer(options_);
  write_all(*writer, in, {call_of(0, 0.75F), call_of(0, 0.75F)});
  writer->finish();
  SequenceReader reader(folder_.path("split/a.fa.gz"));
  SequenceRecord record;
  ASSERT_TRUE(reader.next(record));
  EXPECT_EQ(record.sequence, letters);
  EXPECT_EQ(record.comment, "some words");
  ASSERT_TRUE(reader.next(record));
  EXPECT_EQ(record.name, "r");
  EXPECT_FALSE(reader.next(record));
  EXPECT_EQ(read_file(folder_.path("split/a.fa.gz")).substr(0, 2), "\x1f\x8b");
}

}  // namespace
}  // namespace strandwave
