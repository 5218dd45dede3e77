#include "core/base/tensorboard.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/base/crc32c.h"
#include "core/base/error.h"

namespace strandwave {
namespace {

std::string bytes(std::initializer_list<int> values) {
  std::string text;
  for (const int value : values) text += static_cast<char>(value);
  return text;
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class TensorBoardTest : public testing::Test {
 protected:
  TensorBoardTest() { std::filesystem::create_directories(directory_); }
  ~TensorBoardTest() override { std::filesystem::remove_all(directory_); }

  std::filesystem::path directory_ =
      std::filesystem::temp_directory_path() / ("tensorboard_test_" + std::to_string(getpid()));
  std::filesystem::path path_ = directory_ / "events.out.tfevents.test";
};

// Check values: RFC 3720 appendix B.4 and the catalogue's "123456789".
TEST(Crc32c, KnownValues) {
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
}

// Every event file of TensorFlow begins with these bytes: a record of 24 bytes, its masked CRC.
TEST(TfRecord, LengthAndItsChecksumLeadTheData) {
  const std::string data(24, 'x');
  const std::string record = tfrecord(data);
  EXPECT_EQ(record.substr(0, 12), bytes({0x18, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22}));
  EXPECT_EQ(record.substr(12, 24), data);
  EXPECT_EQ(record.size(), 12u + 24u + 4u);
}

TEST(TfRecord, DataChecksumIsMasked) {
  // crc32c("123456789") = e3069283; rotated right by 15: 2507c60d; plus a282ead8: c78ab0e5.
  const std::string record = tfrecord("123456789");
  EXPECT_EQ(record.substr(record.size() - 4), bytes({0xe5, 0xb0, 0x8a, 0xc7}));
}

TEST(Event, ScalarBytes) {
  const std::string expected = bytes({
      0x09, 0,    0,    0, 0,    0, 0, 0xf0, 0x3f,  // wall_time = 1.0
      0x10, 0xac, 0x02,                             // step = 300
      0x2a, 0x0a,                                   // summary, 10 bytes
      0x0a, 0x08,                                   //   value, 8 bytes
      0x0a, 0x01, 'a',                              //     tag = "a"
      0x15, 0,    0,    0, 0x3f,                    //     simple_value = 0.5
  });
  EXPECT_EQ(scalar_event(1.0, 300, "a", 0.5f), expected);
}

TEST(Event, VersionBytes) {
  const std::string expected =
      bytes({0x09, 0, 0, 0, 0, 0, 0, 0x00, 0x40, 0x1a, 0x0d}) + "brain.Event:2";
  EXPECT_EQ(version_event(2.0), expected);
}

TEST(Event, TextBytes) {
  const std::string expected = bytes({
      0x09, 0,    0,    0,    0,    0,    0,   0xf0, 0x3f,       // wall_time = 1.0
      0x10, 0x00,                                                // step = 0
      0x2a, 0x1c,                                                // summary, 28 bytes
      0x0a, 0x1a,                                                //   value, 26 bytes
      0x0a, 0x01, 't',                                           //     tag = "t"
      0x42, 0x0b,                                                //     tensor, 11 bytes
      0x08, 0x07,                                                //       dtype = DT_STRING
      0x12, 0x04, 0x12, 0x02, 0x08, 0x01,                        //       shape = [1]
      0x42, 0x01, 'x',                                           //       string_val = "x"
      0x4a, 0x08, 0x0a, 0x06, 0x0a, 0x04, 't', 'e',  'x',  't',  // metadata: plug-in "text"
  });
  EXPECT_EQ(text_event(1.0, 0, "t", "x"), expected);
}

TEST_F(TensorBoardTest, AppendsAndCutsBack) {
  int64_t size = 0;
  {
    TensorBoardWriter writer(path_);
    writer.scalar("loss", 1, 2.0);
    size = writer.size();
    writer.scalar("loss", 2, 1.0);
  }
  const std::string first = read_file(path_);
  EXPECT_EQ(first.substr(0, 12), bytes({0x18, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22}));
  EXPECT_EQ(first.substr(21, 15), bytes({0x1a, 0x0d}) + "brain.Event:2");
  {
    TensorBoardWriter writer(path_, size);
    EXPECT_EQ(writer.size(), size);
    writer.scalar("loss", 3, 0.5);
  }
  const std::string second = read_file(path_);
  EXPECT_EQ(second.substr(0, size), first.substr(0, size));
  EXPECT_EQ(second.size(), first.size());
  EXPECT_NE(second, first);
}

TEST_F(TensorBoardTest, UnwritablePathIsNamed) {
  try {
    TensorBoardWriter writer(directory_ / "missing" / "events.out.tfevents.test");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kRuntime);
    EXPECT_NE(std::string(error.what()).find("missing/events.out.tfevents.test"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace strandwave
