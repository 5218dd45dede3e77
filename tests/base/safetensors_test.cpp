#include "core/base/safetensors.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <limits>
#include <string>

#include "core/base/error.h"

namespace strandwave {
namespace {

namespace fs = std::filesystem;

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::string file_of(const std::string& header, const std::string& data,
                    uint64_t claimed = std::numeric_limits<uint64_t>::max()) {
  const uint64_t length = claimed == std::numeric_limits<uint64_t>::max() ? header.size() : claimed;
  std::string file(sizeof length, '\0');
  std::memcpy(file.data(), &length, sizeof length);
  return file + header + data;
}

std::string parse(const std::string& file) {
  std::map<std::string, SafetensorsEntry> entries;
  std::map<std::string, std::string> metadata;
  return message_of(
      [&] { parse_safetensors(std::as_bytes(std::span(file)), "f", &entries, &metadata); });
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" +
         offsets + "}";
}

TEST(Safetensors, HostileHeaders) {
  const std::string eight(8, 'x');
  const auto one = [](const std::string& dtype, const std::string& shape,
                      const std::string& offsets) {
    return "{" + tensor("t", dtype, shape, offsets) + "}";
  };
  struct Row {
    std::string file;
    const char* expected;  // "" = valid
  };
  const Row rows[] = {
      {file_of(one("F32", "[2]", "[0,8]"), eight), ""},
      {file_of(one("F32", "[2,1]", "[0,8]") + "   ", eight), ""},
      {file_of("{}", ""), ""},
      {file_of(R"({"__metadata__":{"format":"pt"}})", ""), ""},
      {file_of("{" + tensor("a", "F32", "[0]", "[0,0]") + "," + tensor("b", "F32", "[2]", "[0,8]") +
                   "," + tensor("c", "F32", "[3,0]", "[8,8]") + "}",
               eight),
       ""},
      {"", "at least 8"},
      {"1234567", "at least 8"},
      {file_of("{}", "", 3), "header claims 3 bytes"},
      {file_of("{}", "", 1ULL << 40), "header claims"},
      {file_of("{}", "", ~0ULL - 1), "header claims"},
      {file_of("", ""), "not valid JSON"},
      {file_of("[]", ""), "must be an object"},
      {file_of("{", ""), "not valid JSON"},
      {file_of(std::string(1000, '['), ""), "deeper"},
      {file_of(one("F33", "[2]", "[0,8]"), eight), "unknown dtype"},
      {file_of(R"({"t":{"dtype":7,"shape":[2],"data_offsets":[0,8]}})", eight), "unknown dtype"},
      {file_of(one("F32", "[3]", "[0,8]"), eight), "need 12 bytes, data_offsets give 8"},
      {file_of(one("F32", "[-2]", "[0,8]"), eight), "natural number"},
      {file_of(one("F32", "[2.0]", "[0,8]"), eight), "natural number"},
      {file_of(one("F32", "7", "[0,8]"), eight), "must be a list"},
      {file_of(one("F32", "[4611686018427387904,4]", "[0,8]"), eight), "overflows"},
      {file_of(one("F32", "[9223372036854775807,2]", "[0,8]"), eight), "overflows"},
      {file_of(one("F32", "[18446744073709551615]", "[0,8]"), eight), "natural number"},
      {file_of(one("F32", "[2]", "[0,9]"), eight), "outside the 8 bytes"},
      {file_of(one("F32", "[2]", "[8,0]"), eight), "outside"},
      {file_of(one("F32", "[2]", "[-8,0]"), eight), "natural number"},
      {file_of(one("F32", "[2]", "[0]"), eight), "[begin, end]"},
      {file_of(one("F32", "[1]", "[4,8]"), eight), "begins at byte 4"},
      {file_of(one("F32", "[1]", "[0,4]"), eight), "cover 4 of 8"},
      {file_of("{" + tensor("a", "F32", "[2]", "[0,8]") + "," + tensor("b", "F32", "[1]", "[4,8]") +
                   "}",
               eight),
       "begins at byte 4"},
      {file_of("{" + tensor("a", "F32", "[1]", "[0,4]") + "," + tensor("a", "F32", "[1]", "[4,8]") +
                   "}",
               eight),
       "twice"},
      {file_of(R"({"t":{"dtype":"F32","shape":[2]}})", eight), "must have exactly"},
      {file_of(R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", eight),
       "must have exactly"},
      {file_of(R"({"t":[]})", ""), "must have exactly"},
      {file_of(R"({"__metadata__":{"a":1}})", ""), "__metadata__"},
      {file_of(R"({"__metadata__":[]})", ""), "__metadata__"},
      {file_of("{\"\xff\":1}", ""), "not valid JSON"},
  };
  for (const Row& row : rows) {
    const std::string message = parse(row.file);
    if (std::string(row.expected).empty())
      EXPECT_EQ(message, "");
    else
      EXPECT_NE(message.find(row.expected), std::string::npos)
          << "expected: " << row.expected << "\ngot: " << message;
  }
}

TEST(Safetensors, EveryTruncationIsAnError) {
  const std::string file = file_of("{" + tensor("t", "F32", "[2]", "[0,8]") + "}", "12345678");
  for (size_t size = 0; size < file.size(); ++size)
    EXPECT_NE(parse(file.substr(0, size)), "") << "first " << size << " bytes";
}

class SafetensorsFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "strandwave-st-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { fs::remove_all(directory_); }
  fs::path directory_;
};

TEST_F(SafetensorsFileTest, RoundTripIsAlignedAndCanonical) {
  const float floats[] = {1.5F, -2.0F, 3.25F};
  const double doubles[] = {0.5};
  const uint8_t bytes[] = {1, 2, 3};
  using Tensors = std::vector<std::pair<std::string, SafetensorsEntry>>;
  const Tensors tensors = {{"bytes", {"U8", {3}, std::as_bytes(std::span(bytes))}},
                           {"b", {"F32", {3, 1}, std::as_bytes(std::span(floats))}},
                           {"scalar", {"F64", {}, std::as_bytes(std::span(doubles))}},
                           {"empty \"quoted\"", {"BF16", {0, 4}, {}}}};
  write_safetensors(directory_ / "a", tensors, {{"format", "pt"}});
  write_safetensors(directory_ / "b", Tensors(tensors.rbegin(), tensors.rend()),
                    {{"format", "pt"}});
  EXPECT_EQ(read_file(directory_ / "a"), read_file(directory_ / "b"));

  const SafetensorsFile file(directory_ / "a");
  EXPECT_EQ(file.metadata().at("format"), "pt");
  ASSERT_EQ(file.entries().size(), 4U);
  for (const auto& [name, expected] : tensors) {
    const SafetensorsEntry& entry = file.entry(name);
    EXPECT_EQ(entry.dtype, expected.dtype);
    EXPECT_EQ(entry.shape, expected.shape);
    ASSERT_EQ(entry.bytes.size(), expected.bytes.size());
    EXPECT_TRUE(std::equal(entry.bytes.begin(), entry.bytes.end(), expected.bytes.begin()));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(entry.bytes.data()) % safetensors_dtype_size(entry.dtype),
              0U);
  }
  EXPECT_NE(message_of([&] { file.entry("nothing"); }).find("\"nothing\""), std::string::npos);
}

TEST_F(SafetensorsFileTest, WritingRefusesWhatDoesNotFit) {
  const float floats[] = {1, 2};
  const auto data = std::as_bytes(std::span(floats));
  const fs::path path = directory_ / "a";
  EXPECT_NE(message_of([&] { write_safetensors(path, {{"t", {"F32", {3}, data}}}); }).find("12"),
            std::string::npos);
  EXPECT_NE(message_of([&] { write_safetensors(path, {{"t", {"X", {2}, data}}}); }).find("dtype"),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              write_safetensors(path, {{"t", {"F32", {2}, data}}, {"t", {"F32", {2}, data}}});
            }).find("twice"),
            std::string::npos);
  EXPECT_FALSE(fs::exists(path));
}

}  // namespace
}  // namespace strandwave
