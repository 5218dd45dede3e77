// Reads of regions: with an index, without, from a pipe, in BAM and CRAM.
#include <gtest/gtest.h>
#include <htslib/sam.h>

#include <chrono>
#include <string>
#include <vector>

#include "genomics/io/sequence_reader.h"
#include "tests/genomics_io/test_files.h"

namespace strandwave {
namespace {

using test::error_of;

// Reads of 50 bases every 10 bases on two contigs, then one placed but unmapped and one unplaced.
class AlignmentRegionsTest : public testing::Test {
 protected:
  AlignmentRegionsTest() {
    std::mt19937_64 random(4);
    std::string fasta, index;
    int64_t offset = 0;
    sam_ = "@HD\tVN:1.6\tSO:coordinate\n";
    std::string records;
    for (const std::string contig : {"chr1", "chr2"}) {
      const std::string letters = test::random_letters(20000, random);
      offset += 6;  // ">chr1\n"
      index += contig + "\t20000\t" + std::to_string(offset) + "\t20000\t20001\n";
      offset += 20001;
      fasta += ">" + contig + "\n" + letters + "\n";
      sam_ += "@SQ\tSN:" + contig + "\tLN:20000\n";
      for (size_t at = 0; at + 50 <= letters.size(); at += 10)
        records += contig + ":" + std::to_string(at + 1) + "\t0\t" + contig + "\t" +
                   std::to_string(at + 1) + "\t60\t50M\t*\t0\t0\t" + letters.substr(at, 50) +
                   "\t*\n";
    }
    sam_ += records + "placed\t4\tchr2\t19991\t0\t*\t*\t0\t0\tACGT\t*\n";
    sam_ += "unplaced\t4\t*\t0\t0\t*\t*\t0\t0\tACGT\t*\n";
    reference_ = folder_.write("ref.fa", fasta);
    folder_.write("ref.fa.fai", index);
  }

  std::string write(const std::string& name, const char* mode, bool index) {
    const std::string path = test::convert_sam(folder_, sam_, name, mode, reference_);
    if (index) EXPECT_EQ(sam_index_build(path.c_str(), 0), 0);
    return path;
  }

  std::string names(const std::string& path, const std::vector<std::string>& regions,
                    const std::string& bed = "", size_t notes = 0) {
    SequenceReaderOptions options;
    options.regions = regions;
    options.bed = bed;
    options.reference = reference_;
    SequenceReader reader(path, options);
    SequenceRecord record;
    std::string all;
    while (reader.next(record)) all += record.name + " ";
    EXPECT_EQ(reader.notes().size(), notes) << path;
    int64_t blanks = 0;
    for (const char c : all) blanks += c == ' ' ? 1 : 0;
    EXPECT_EQ(reader.counts().records, blanks);  // records elsewhere are not counted
    return all;
  }

  test::TemporaryFolder folder_;
  std::string sam_, reference_;
};

TEST_F(AlignmentRegionsTest, EveryFormatWithAndWithoutIndex) {
  const std::string bed =
      folder_.write("two.bed", "chr2\t990\t1000\nchr1\t100\t110\n# overlapping\nchr1\t105\t140\n");
  std::vector<std::string> paths = {
      write("x.bam", "wb", true),
      write("bare.bam", "wb", false),
      write("x.cram", "wc", true),
      write("bare.cram", "wc", false),
      folder_.write("x.sam", sam_),
      folder_.write("packed.bam.gz", test::gzip(test::read_file(write("p.bam", "wb", false))))};
  for (const std::string& path : paths) {
    SCOPED_TRACE(path);
    EXPECT_EQ(names(path, {"chr1:100-100"}), "chr1:51 chr1:61 chr1:71 chr1:81 chr1:91 ");
    // In the order of the file, once, whatever the order and overlap of the regions.
    EXPECT_EQ(names(path, {"chr2:1-5", "chr1:1-5", "chr1:3-8", "chr1:1-1"}), "chr1:1 chr2:1 ");
    EXPECT_EQ(names(path, {"chr2:19,991-20,000"}), "chr2:19951 placed ");
    EXPECT_EQ(names(path, {"*"}), "unplaced ");
    EXPECT_EQ(names(path, {"chr1:1-1", "*"}), "chr1:1 unplaced ");
    const std::string by_bed =
        "chr1:61 chr1:71 chr1:81 chr1:91 chr1:101 chr1:111 chr1:121 chr1:131 chr2:951 chr2:961 "
        "chr2:971 chr2:981 chr2:991 ";
    EXPECT_EQ(names(path, {}, bed), by_bed);
    EXPECT_EQ(names(path, {"chr2:1-980", "*"}, bed), "chr2:951 chr2:961 chr2:971 ");
  }
}

TEST_F(AlignmentRegionsTest, IntervalsOnContigsThatTheFileLacksArePassedOver) {
  const std::string path = write("x.bam", "wb", true);
  const std::string bed =
      folder_.write("some.bed", "# x\nchrZ\t1\t2\nchr1\t100\t101\nchrY\t1\t9\n");
  EXPECT_EQ(names(path, {}, bed, 1), "chr1:61 chr1:71 chr1:81 chr1:91 chr1:101 ");
  SequenceReaderOptions options;
  options.bed = bed;
  const std::string note = SequenceReader(path, options).notes().at(0);
  EXPECT_CONTAINS(note, "some.bed: 2 of 3 intervals lie on contigs that ");
  EXPECT_CONTAINS(note,
                  "x.bam does not have and are passed over, the first, on \"chrZ\", in line 2");
}

TEST_F(AlignmentRegionsTest, StandardInputIsFiltered) {
  std::string sam = sam_.substr(0, sam_.find("chr1:2001\t"));
  const test::StandardInput input(test::bgzip(sam));
  EXPECT_EQ(names("-", {"chr1:1-11"}), "chr1:1 chr1:11 ");
}

TEST_F(AlignmentRegionsTest, AnOldIndexIsNotUsed) {
  const std::string path = write("x.bam", "wb", true);
  const auto written = std::filesystem::last_write_time(path);
  std::filesystem::last_write_time(path + ".bai", written - std::chrono::seconds(10));
  EXPECT_EQ(names(path, {"chr1:1-1"}, "", 1), "chr1:1 ");
  folder_.write("x.bam.bai", "nonsense");
  EXPECT_CONTAINS(error_of([&] { names(path, {"chr1:1-1"}); }), "x.bam.bai is damaged");
}

TEST_F(AlignmentRegionsTest, SaysWhatIsWrong) {
  const std::string path = write("x.bam", "wb", true);
  const auto refusal = [&](const std::string& region, ErrorKind kind = ErrorKind::kInput) {
    return error_of([&] { names(path, {region}); }, kind);
  };
  EXPECT_CONTAINS(refusal("1:5-10"), "x.bam has no contig \"1\". ");
  EXPECT_CONTAINS(refusal("1:5-10"), "x.bam calls it \"chr1\": add the prefix chr.");
  EXPECT_CONTAINS(refusal("chr3"), "The nearest of its 2 contigs is \"chr1\".");
  EXPECT_CONTAINS(refusal("chr1:20-5", ErrorKind::kUsage), "the start is greater than the end");
  EXPECT_CONTAINS(refusal("chr1:x", ErrorKind::kUsage), "\"x\" is no range");
  EXPECT_CONTAINS(refusal("chr1:30000", ErrorKind::kUsage), "starts past the end of contig chr1");
  const auto bed = [&](const std::string& text) {
    const std::string file = folder_.write("bad.bed", text);
    return error_of([&] { names(path, {}, file); });
  };
  EXPECT_CONTAINS(bed("chrY\t5\t9\nchrZ\t1\t2\n"), "bad.bed, line 1: ");
  EXPECT_CONTAINS(bed("chrY\t5\t9\nchrZ\t1\t2\n"), "has no contig \"chrY\"");
  EXPECT_CONTAINS(bed("chrZ\t1\t2\nchr1\t5\t5\n"), "line 2: 5-5 is empty");
  EXPECT_CONTAINS(bed("chr1\t5\t5\n"), "line 1: 5-5 is empty");
  EXPECT_CONTAINS(bed("# nothing\n"), "bad.bed holds no interval");
  const std::string fasta = folder_.write("reads.fa", ">r\nACGT\n");
  EXPECT_CONTAINS(error_of([&] { names(fasta, {"chr1"}); }), "regions need alignments");
}

}  // namespace
}  // namespace strandwave
