#include "genomics/io/byte_reader.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/genomics_io/test_files.h"

namespace strandwave {
namespace {

using test::error_of;

std::string read_all(const std::string& path, int layers = 3) {
  ByteReader in(path, layers);
  std::string text;
  for (std::string_view bytes = in.chunk(); !bytes.empty(); bytes = in.chunk()) {
    text.append(bytes);
    in.consume(bytes.size());
  }
  return text;
}

class ByteReaderTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  std::mt19937_64 random_{7};
};

TEST_F(ByteReaderTest, ReadsEveryCompressionAlike) {
  const std::string text = test::random_letters(700001, random_);
  EXPECT_EQ(read_all(folder_.write("plain", text)), text);
  EXPECT_EQ(read_all(folder_.write("gzip", test::gzip(text))), text);
  EXPECT_EQ(read_all(folder_.write("bgzip", test::bgzip(text))), text);
  EXPECT_EQ(read_all(folder_.write("both", test::gzip(test::bgzip(text)))), text);
  EXPECT_EQ(read_all(folder_.write("raw", test::gzip(text)), 0), test::gzip(text));
}

TEST_F(ByteReaderTest, ReadsConcatenatedMembersAndZeroPadding) {
  EXPECT_EQ(read_all(folder_.write("two", test::gzip("AC") + test::gzip("GT"))), "ACGT");
  EXPECT_EQ(read_all(folder_.write("padded", test::gzip("AC") + std::string(512, '\0'))), "AC");
  EXPECT_EQ(read_all(folder_.write("blocks", test::bgzip("ACGTACGT", 3))), "ACGTACGT");
}

TEST_F(ByteReaderTest, HandsOutLines) {
  ByteReader in(
      folder_.write("lines", "one\r\n\ntwo three\n" + std::string(600000, 'A') + "\nlast"));
  std::string line;
  std::vector<size_t> sizes;
  while (in.line(line)) sizes.push_back(line.size());
  EXPECT_EQ(sizes, (std::vector<size_t>{3, 0, 9, 600000, 4}));
  EXPECT_EQ(in.line_number(), 5);
}

TEST_F(ByteReaderTest, PeeksWithoutReading) {
  ByteReader in(folder_.write("peek", test::gzip("ACGTACGT")));
  EXPECT_EQ(in.peek(3), "ACG");
  EXPECT_EQ(in.peek(100), "ACGTACGT");
  char bytes[4];
  EXPECT_EQ(in.read(bytes, 4), 4U);
  EXPECT_EQ(in.peek(100), "ACGT");
}

TEST_F(ByteReaderTest, HashIsThatOfTheFileOnDisk) {
  const std::string bytes = test::gzip(test::random_letters(300000, random_));
  ByteReader in(folder_.write("file", bytes));
  while (!in.chunk().empty()) in.consume(in.chunk().size());
  EXPECT_EQ(in.hash(), content_hash(bytes));
}

// Every length that leaves the gzip signature whole.
TEST_F(ByteReaderTest, NoticesTruncationAtEveryByte) {
  const std::string text = test::random_letters(300, random_);
  for (const std::string& whole :
       {test::gzip(text), test::bgzip(text, 100), test::gzip(test::bgzip(text))}) {
    for (size_t size = 3; size < whole.size(); ++size) {
      const std::string path = folder_.write("cut", std::string_view(whole).substr(0, size));
      const std::string message = error_of([&] { read_all(path); });
      EXPECT_CONTAINS(message, "truncated") << size;
      EXPECT_CONTAINS(message, path);
    }
  }
}

TEST_F(ByteReaderTest, NoticesTruncationOnTheStandardInput) {
  const std::string whole = test::bgzip("ACGTACGTACGT", 4);
  const test::StandardInput input(std::string_view(whole).substr(0, whole.size() - 28));
  EXPECT_CONTAINS(error_of([] { read_all("-"); }),
                  "standard input is truncated: the bgzip end-of-file marker");
}

TEST_F(ByteReaderTest, NoticesDamage) {
  std::string bytes = test::gzip(test::random_letters(5000, random_));
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 0x10);
  EXPECT_CONTAINS(error_of([&] { read_all(folder_.write("flipped", bytes)); }), "is damaged");
  EXPECT_CONTAINS(error_of([&] { read_all(folder_.write("tail", test::gzip("AC") + "garbage")); }),
                  "not gzip follow");
}

TEST_F(ByteReaderTest, ExplainsWhatCannotBeOpened) {
  EXPECT_CONTAINS(error_of([&] { read_all(folder_.path("none")); }),
                  "none: No such file or directory");
  EXPECT_CONTAINS(error_of([&] { read_all(folder_.path("")); }), "is a folder");
  EXPECT_CONTAINS(error_of([&] { read_all(folder_.write("empty", "")); }), "is empty");
  EXPECT_CONTAINS(error_of([&] { read_all(folder_.write("empty.gz", test::gzip(""))); }),
                  "is empty");
}

TEST(ContentHash, DependsOnBytesAndNotOnTheirDivision) {
  std::mt19937_64 random(3);
  const std::string text = test::random_letters(1000, random);
  const auto whole = content_hash(text);
  for (size_t cut = 0; cut <= text.size(); cut += 37) {
    ContentHash hash;
    hash.add(text.data(), cut);
    hash.add(text.data() + cut, text.size() - cut);
    EXPECT_EQ(hash.value(), whole);
  }
  for (size_t i = 0; i < text.size(); ++i) {
    std::string other = text;
    other[i] = static_cast<char>(other[i] ^ 1);
    EXPECT_NE(content_hash(other), whole) << i;
  }
  EXPECT_NE(content_hash(std::string(64, '\0')), content_hash(std::string(63, '\0')));
}

}  // namespace
}  // namespace strandwave
