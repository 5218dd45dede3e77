#include "genomics/io/genome.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <csignal>
#include <cstdlib>
#include <thread>
#include <vector>

#include "genomics/io/tokenizer.h"
#include "tests/genomics_io/test_files.h"

namespace strandwave {
namespace {

using test::error_of;

class GenomeTest : public testing::Test {
 protected:
  Genome open(const std::string& path, const GenomeOptions& options = {}) const {
    return Genome::open({path}, folder_.path("cache"), options);
  }
  Genome parse(const std::string& text) {
    return open(folder_.write("g" + std::to_string(++files_) + ".fa", text));
  }
  std::string refusal(const std::string& text) {
    return error_of([&] { parse(text); });
  }
  static std::string letters(const Genome& genome, int64_t contig, bool reverse = false) {
    const int64_t length = genome.contigs()[static_cast<size_t>(contig)].length;
    std::vector<uint8_t> ids(static_cast<size_t>(length));
    genome.fetch(contig, 0, length, ids.data(), reverse);
    return dna::decode(ids);
  }

  test::TemporaryFolder folder_;
  int files_ = 0;
};

// The obvious reading of a sequence, to compare with.
std::string tokens_of(std::string text) {
  for (char& c : text) {
    c = static_cast<char>(std::toupper(c));
    if (c == 'U') c = 'T';
    if (std::string_view("ACGT").find(c) == std::string_view::npos) c = 'N';
  }
  return text;
}

TEST_F(GenomeTest, ReadsRecordsAndCountsLetters) {
  const Genome genome = parse(">one first record\nACGTN\nacgun\n\n>two\nRYK\n>three\tx\nT");
  ASSERT_EQ(genome.contigs().size(), 3U);
  EXPECT_EQ(genome.contigs()[0].name, "one");
  EXPECT_EQ(genome.contigs()[2].name, "three");
  EXPECT_EQ(letters(genome, 0), "ACGTNACGTN");
  EXPECT_EQ(letters(genome, 0, true), "NACGTNACGT");
  EXPECT_EQ(letters(genome, 1), "NNN");
  EXPECT_EQ(letters(genome, 2), "T");
  const Contig& one = genome.contigs()[0];
  EXPECT_EQ(one.length, 10);
  EXPECT_EQ(one.unknown, 2);
  EXPECT_EQ(one.uracil, 1);
  EXPECT_EQ(one.lower_case, 5);
  EXPECT_EQ(genome.contigs()[1].ambiguous, 3);
  const GenomeCounts counts = genome.counts();
  EXPECT_EQ(counts.bases, 14);
  EXPECT_EQ(counts.unknown, 5);
  EXPECT_EQ(counts.contigs, 3);
  EXPECT_EQ(genome.find("two"), 1);
  EXPECT_EQ(genome.find("four"), -1);
}

TEST_F(GenomeTest, AcceptsLineEndsAndBlankLines) {
  for (const char* text : {">a x\r\nAC\r\nGT\r\n", ">a\nACGT", "\n\n>a\nACGT\n\n\n",
                           ">a\nAC \nGT\t\n", "\r\n>a\r\nACGT"}) {
    EXPECT_EQ(letters(parse(text), 0), "ACGT") << text;
  }
}

TEST_F(GenomeTest, EveryCompressionGivesTheSame) {
  std::mt19937_64 random(1);
  const std::string sequence = test::random_letters(400003, random, "ACGTacgtNn");
  const std::string text = ">c\n" + test::wrap(sequence, 60);
  for (const std::string& bytes : {text, test::gzip(text), test::bgzip(text)}) {
    EXPECT_EQ(letters(open(folder_.write("same.fa", bytes)), 0), tokens_of(sequence));
  }
}

TEST_F(GenomeTest, ReadsTheStandardInputWithoutLeavingACache) {
  const test::StandardInput input(test::gzip(">a\nACGT\n"));
  const Genome genome = open("-");
  EXPECT_EQ(letters(genome, 0), "ACGT");
  EXPECT_EQ(genome.files()[0].cache_path, "");
  EXPECT_EQ(folder_.file_count("cache"), 0U);
}

// Letters in runs, as in real genomes, against the plain string on both strands.
TEST_F(GenomeTest, FetchEqualsTheTextOnRandomWindows) {
  std::mt19937_64 random(2);
  std::string sequence;
  const std::vector<std::string> alphabets = {"ACGT", "acgt", "N", "n", "ACGTacgtNnUuRyKm"};
  while (sequence.size() < 20000) {
    sequence +=
        test::random_letters(1 + random() % 60, random, alphabets[random() % alphabets.size()]);
  }
  const std::string other = test::random_letters(1001, random);
  const Genome genome =
      parse(">x\n" + test::wrap(other, 50) + ">c\n" + test::wrap(sequence, 61, "\r\n"));
  const auto size = static_cast<int64_t>(sequence.size());
  const std::string expected = tokens_of(sequence);
  std::vector<uint8_t> ids(sequence.size());
  std::vector<uint8_t> mask(sequence.size());
  for (int round = 0; round < 3000; ++round) {
    const auto start = static_cast<int64_t>(random() % sequence.size());
    const int64_t end =
        start + static_cast<int64_t>(
                    random() % static_cast<uint64_t>(std::min<int64_t>(size - start, 200) + 1));
    const bool reverse = (round & 1) != 0;
    const auto length = static_cast<size_t>(end - start);
    genome.fetch(1, start, end, ids.data(), reverse);
    genome.fetch_lower_case(1, start, end, mask.data(), reverse);
    std::string window = expected.substr(static_cast<size_t>(start), length);
    std::string lower(length, 0);
    for (size_t i = 0; i < length; ++i) {
      lower[i] = std::islower(sequence[static_cast<size_t>(start) + i]) != 0 ? 1 : 0;
    }
    EXPECT_EQ(genome.count_unknown(1, start, end), std::count(window.begin(), window.end(), 'N'));
    if (reverse) {
      dna::reverse_complement_letters(window);
      std::reverse(lower.begin(), lower.end());
    }
    ASSERT_EQ(dna::decode({ids.data(), length}), window) << start << "-" << end;
    ASSERT_EQ(std::string(mask.begin(), mask.begin() + static_cast<std::ptrdiff_t>(length)), lower);
  }
}

TEST_F(GenomeTest, RefusesRangesOutsideTheContig) {
  const Genome genome = parse(">a\nACGT\n");
  std::vector<uint8_t> ids(8);
  for (const auto& [start, end] : {std::pair{-1, 2}, std::pair{0, 5}, std::pair{3, 2}}) {
    const std::string message =
        error_of([&] { genome.fetch(0, start, end, ids.data()); }, ErrorKind::kUsage);
    EXPECT_CONTAINS(message, "contig a of length 4");
  }
  EXPECT_CONTAINS(error_of([&] { genome.fetch(1, 0, 1, ids.data()); }, ErrorKind::kUsage),
                  "contig number 1");
}

TEST_F(GenomeTest, SaysWhereALetterIsWrong) {
  const std::string message = refusal(">one\nACGT\n>two\nACG\nAE\n");
  EXPECT_CONTAINS(message, "g1.fa, record 2 \"two\", line 5, position 5: the letter \"E\"");
  EXPECT_CONTAINS(refusal(">a\nAC-GT\n"), "position 3: a gap or stop \"-\"");
  EXPECT_CONTAINS(refusal(">a\nAC GT\n"), "line 2, position 3: a blank inside the sequence");
  EXPECT_CONTAINS(refusal(">a\nAC1GT\n"), "\"1\"");
  EXPECT_CONTAINS(refusal(std::string(">a\nAC\0GT\n", 9)), "the byte 0");
}

TEST_F(GenomeTest, SaysWhatIsNoFasta) {
  EXPECT_CONTAINS(refusal("@r1\nACGT\n+\nIIII\n"),
                  "is not FASTA: line 1 starts with \"@r1\" (perhaps FASTQ or SAM)");
  EXPECT_CONTAINS(refusal("\nACGT\n"), "line 2 starts with \"ACGT\"");
  EXPECT_CONTAINS(refusal("##fileformat=VCFv4.2\n"), "a VCF file");
  EXPECT_CONTAINS(refusal(""), "is empty");
  EXPECT_CONTAINS(refusal("\n\n"), "holds no FASTA record");
  EXPECT_CONTAINS(refusal(">a\n>b\n"), "holds no base: all of its 2 records are empty");
  EXPECT_CONTAINS(refusal(">a\nAC\n> x\nAC\n"), "line 3: record 2 has no name");
}

TEST_F(GenomeTest, NoticesTruncatedFilesAndLeavesNoCache) {
  std::mt19937_64 random(5);
  const std::string text = ">c\n" + test::wrap(test::random_letters(2000, random), 60);
  for (const std::string& whole : {test::gzip(text), test::bgzip(text, 500)}) {
    for (size_t size = 20; size < whole.size(); size += 41) {
      const std::string path = folder_.write("cut.fa.gz", std::string_view(whole).substr(0, size));
      EXPECT_CONTAINS(error_of([&] { open(path); }), "truncated") << size;
    }
  }
  EXPECT_TRUE(!std::filesystem::exists(folder_.path("cache")) || folder_.file_count("cache") == 0);
}

TEST_F(GenomeTest, RefusesDuplicateNamesWithinAndAcrossFiles) {
  EXPECT_CONTAINS(refusal(">a\nAC\n>b\nAC\n>a\nGT\n"),
                  "record 3, line 5: the contig name \"a\" occurs twice");
  const std::string one = folder_.write("one.fa", ">a\nAC\n");
  const std::string two = folder_.write("two.fa", ">b\nAC\n>a\nGT\n");
  const std::string cache = folder_.path("cache");
  EXPECT_CONTAINS(error_of([&] { Genome::open({one, two}, cache); }), "two.fa, record 2, line 3");
  GenomeOptions options;
  options.allow_duplicate_names = true;
  const Genome genome = Genome::open({one, two}, cache, options);
  EXPECT_EQ(genome.find("a"), 0);
  EXPECT_EQ(letters(genome, 2), "GT");
  EXPECT_EQ(genome.contigs()[2].file, 1);
}

TEST_F(GenomeTest, WarnsOfWhatItChanged) {
  const Genome genome = parse(">a\nACGTRU\n>b\n>c\nNNN\n");
  const std::vector<std::string> warnings = genome.warnings();
  ASSERT_EQ(warnings.size(), 4U);
  EXPECT_CONTAINS(warnings[0], "contig a: 1 ambiguous IUPAC letters are read as N");
  EXPECT_CONTAINS(warnings[1], "contig a: 1 letters U are read as T");
  EXPECT_CONTAINS(warnings[2], "contig b: the record is empty");
  EXPECT_CONTAINS(warnings[3], "contig c: all 3 bases are unknown");
  EXPECT_EQ(genome.counts().empty_contigs, 1);
}

TEST_F(GenomeTest, NamesTheContigThatWasMeant) {
  const Genome genome = parse(">chr1\nAC\n>MT\nAC\n>HLA-A*01:01\nAC\n");
  EXPECT_EQ(genome.require("MT", "x"), 1);
  EXPECT_CONTAINS(error_of([&] { genome.require("1", "f.bed, line 2"); }),
                  "f.bed, line 2: the genome has no contig \"1\"");
  EXPECT_CONTAINS(error_of([&] { genome.require("1", "x"); }),
                  "calls it \"chr1\": add the prefix chr");
  EXPECT_CONTAINS(error_of([&] { genome.require("chrMT", "x"); }),
                  "calls it \"MT\": remove the prefix chr");
  EXPECT_CONTAINS(error_of([&] { genome.require("chr11", "x"); }),
                  "nearest of its 3 contigs is \"chr1\"");
}

TEST_F(GenomeTest, UsesTheCacheAndSeesEveryChange) {
  const std::string path = folder_.write("g.fa", ">a\nACGT\n");
  EXPECT_TRUE(open(path).files()[0].built);
  EXPECT_FALSE(open(path).files()[0].built);
  EXPECT_EQ(folder_.file_count("cache"), 1U);
  EXPECT_EQ(folder_.file_count("."),
            2U);  // the input and the cache folder: nothing beside the input

  // Same size, same time of modification.
  struct stat before {};
  ASSERT_EQ(::stat(path.c_str(), &before), 0);
  folder_.write("g.fa", ">a\nTTTT\n");
  const timespec times[2] = {before.st_atim, before.st_mtim};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  EXPECT_EQ(letters(open(path), 0), "TTTT");
  // Touched but equal: still valid.
  folder_.write("g.fa", ">a\nTTTT\n");
  EXPECT_FALSE(open(path).files()[0].built);
  // Other content.
  folder_.write("g.fa", ">b\nACGTACGT\n");
  const Genome changed = open(path);
  EXPECT_TRUE(changed.files()[0].built);
  EXPECT_EQ(letters(changed, 0), "ACGTACGT");
  EXPECT_EQ(folder_.file_count("cache"), 1U);
  // Forced.
  GenomeOptions options;
  options.rebuild = true;
  EXPECT_TRUE(open(path, options).files()[0].built);
  // Gone.
  std::filesystem::remove(path);
  EXPECT_CONTAINS(error_of([&] { open(path); }), "No such file");
}

TEST_F(GenomeTest, RebuildsADamagedCache) {
  std::mt19937_64 random(8);
  const std::string sequence = test::random_letters(5000, random, "ACGTacgtN");
  const std::string path = folder_.write("g.fa", ">a\n" + sequence + "\n");
  const std::string cache = open(path).files()[0].cache_path;
  const std::string whole = test::read_file(cache);
  for (const size_t size :
       {size_t{0}, size_t{100}, size_t{4096}, whole.size() / 2, whole.size() - 1}) {
    std::filesystem::resize_file(cache, size);
    const Genome genome = open(path);
    EXPECT_TRUE(genome.files()[0].built) << size;
    EXPECT_EQ(letters(genome, 0), tokens_of(sequence));
  }
  for (const size_t position : {size_t{3}, size_t{30}, size_t{100}, whole.size() - 9}) {
    std::string bytes = whole;
    bytes[position] = static_cast<char>(bytes[position] ^ 0x40);
    std::ofstream(cache, std::ios::binary) << bytes;
    EXPECT_TRUE(open(path).files()[0].built) << position;
  }
}

TEST_F(GenomeTest, KeepsItsMappingWhenTheCacheIsReplaced) {
  const std::string path = folder_.write("g.fa", ">a\nACGT\n");
  const Genome old = open(path);
  folder_.write("g.fa", ">a\nTTTTT\n");
  const Genome renewed = open(path);
  EXPECT_EQ(letters(old, 0), "ACGT");
  EXPECT_EQ(letters(renewed, 0), "TTTTT");
  EXPECT_NE(old.hash(), renewed.hash());
}

TEST_F(GenomeTest, ManyMayBuildAtOnce) {
  std::mt19937_64 random(9);
  const std::string sequence = test::random_letters(200000, random);
  const std::string path = folder_.write("g.fa", ">a\n" + test::wrap(sequence, 70));
  std::vector<std::string> results(8);
  std::vector<std::thread> threads;
  for (std::string& result : results)
    threads.emplace_back([&] { result = letters(open(path), 0); });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& result : results) EXPECT_EQ(result, sequence);
  EXPECT_EQ(folder_.file_count("cache"), 1U);
}

TEST_F(GenomeTest, ExplainsACacheFolderThatCannotBeWritten) {
  const std::string path = folder_.write("g.fa", ">a\nACGT\n");
  const std::string file = folder_.write("file", "x");
  const std::string message =
      error_of([&] { Genome::open({path}, file + "/cache"); }, ErrorKind::kRuntime);
  EXPECT_CONTAINS(message, "cannot write " + file + "/cache");
  EXPECT_CONTAINS(message, "STRANDWAVE_CACHE");
}

// The limit on the size of files stands for a full disk.
TEST_F(GenomeTest, LeavesNothingWhenTheDiskIsFull) {
  std::mt19937_64 random(10);
  const std::string text = ">a\n" + test::wrap(test::random_letters(200000, random), 60);
  const std::string path = folder_.write("g.fa", text);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {20000, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string message = error_of([&] { open(path); }, ErrorKind::kRuntime);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, SIG_DFL);
  EXPECT_CONTAINS(message, "cannot write " + folder_.path("cache"));
  EXPECT_EQ(folder_.file_count("cache"), 0U);
  EXPECT_TRUE(open(path).files()[0].built);
}

TEST(DefaultCacheDir, FollowsTheEnvironment) {
  const auto saved = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value != nullptr ? value : "");
  };
  const std::vector<std::string> names = {"STRANDWAVE_CACHE", "XDG_CACHE_HOME", "HOME"};
  std::vector<std::string> values;
  for (const std::string& name : names) values.push_back(saved(name.c_str()));
  ::setenv("STRANDWAVE_CACHE", "/a", 1);
  ::setenv("XDG_CACHE_HOME", "/b", 1);
  ::setenv("HOME", "/c", 1);
  EXPECT_EQ(default_cache_dir(), "/a");
  ::unsetenv("STRANDWAVE_CACHE");
  EXPECT_EQ(default_cache_dir(), "/b/strandwave");
  ::unsetenv("XDG_CACHE_HOME");
  EXPECT_EQ(default_cache_dir(), "/c/.cache/strandwave");
  ::unsetenv("HOME");
  error_of([] { default_cache_dir(); }, ErrorKind::kUsage);
  for (size_t i = 0; i < names.size(); ++i) {
    if (!values[i].empty()) ::setenv(names[i].c_str(), values[i].c_str(), 1);
  }
}

TEST_F(GenomeTest, ReportsProgressAndLetsItStop) {
  const std::string path = folder_.write("g.fa", ">a\n" + std::string(20 << 20, 'A') + "\n");
  GenomeOptions options;
  options.progress = [](const std::string&, int64_t bytes) {
    EXPECT_GE(bytes, 16 << 20);
    throw Error(ErrorKind::kInterrupted, "stopped");
  };
  error_of([&] { open(path, options); }, ErrorKind::kInterrupted);
  EXPECT_EQ(folder_.file_count("cache"), 0U);
}

}  // namespace
}  // namespace strandwave
