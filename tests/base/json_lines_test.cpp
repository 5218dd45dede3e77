#include "core/base/json_lines.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>

#include <sys/resource.h>

#include "core/base/error.h"

namespace strandwave {
namespace {

class JsonLinesTest : public testing::Test {
 protected:
  JsonLinesTest() { std::filesystem::create_directories(directory_); }
  ~JsonLinesTest() override { std::filesystem::remove_all(directory_); }

  std::string content() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void fill(const std::string& text) { std::ofstream(path_, std::ios::binary) << text; }

  std::filesystem::path directory_ =
      std::filesystem::temp_directory_path() / ("json_lines_test_" + std::to_string(getpid()));
  std::filesystem::path path_ = directory_ / "log.jsonl";
};

TEST_F(JsonLinesTest, NumbersKeepAllBits) {
  const double third = 1.0 / 3.0;
  const double tiny = std::numeric_limits<double>::denorm_min();
  {
    JsonLines log(path_);
    log.write({{"a", third}, {"b", tiny}, {"c", std::nan("")}, {"d", int64_t{1} << 62}});
    EXPECT_EQ(log.size(), static_cast<int64_t>(content().size()));
  }
  const auto objects = read_json_lines(path_);
  ASSERT_EQ(objects.size(), 1u);
  EXPECT_EQ(objects[0]["a"].get<double>(), third);
  EXPECT_EQ(objects[0]["b"].get<double>(), tiny);
  EXPECT_TRUE(objects[0]["c"].is_null());
  EXPECT_EQ(objects[0]["d"].get<int64_t>(), int64_t{1} << 62);
}

TEST_F(JsonLinesTest, CutsBackToWholeLines) {
  struct Case {
    std::string before;
    std::optional<int64_t> keep;
    std::string after;
  };
  const Case cases[] = {
      {"{}\n[1]\n", {}, "{}\n[1]\n"},    // as it is
      {"{}\n[1]\n[2", {}, "{}\n[1]\n"},  // a line cut off by a crash
      {"{}\n[1]\n", 3, "{}\n"},          // back to a checkpoint
      {"{}\n[1]\n", 5, "{}\n"},          // never into the middle of a line
      {"{}\n", 100, "{}\n"},             // shorter than the checkpoint says
      {"{}\n[1]\n", 0, ""},              // back to nothing
      {"[1", {}, ""},                    // no whole line
  };
  for (const Case& one : cases) {
    fill(one.before);
    JsonLines log(path_, one.keep);
    EXPECT_EQ(content(), one.after) << one.before;
    log.write(nlohmann::json::array());
    EXPECT_EQ(content(), one.after + "[]\n") << one.before;
    EXPECT_EQ(log.size(), static_cast<int64_t>(one.after.size()) + 3);
  }
}

TEST_F(JsonLinesTest, ReaderNamesTheBrokenLine) {
  fill("{}\n{\"a\":\n");
  try {
    read_json_lines(path_);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("line 2"), std::string::npos) << error.what();
  }
  EXPECT_THROW(read_json_lines(directory_ / "absent"), Error);
}

// A file-size limit stands for a full disk: the line that does not fit leaves nothing behind.
TEST_F(JsonLinesTest, FullDiskLeavesWholeLines) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit former{};
  getrlimit(RLIMIT_FSIZE, &former);
  JsonLines log(path_);
  log.write({{"a", 1}});
  const rlimit limit{20, former.rlim_max};
  setrlimit(RLIMIT_FSIZE, &limit);
  std::string message;
  try {
    log.write({{"text", std::string(100, 'x')}});
  } catch (const Error& error) {
    message = error.what();
  }
  setrlimit(RLIMIT_FSIZE, &former);
  EXPECT_NE(message.find("free some space"), std::string::npos) << message;
  EXPECT_EQ(content(), "{\"a\":1}\n");
  log.write({{"b", 2}});
  EXPECT_EQ(content(), "{\"a\":1}\n{\"b\":2}\n");
}

}  // namespace
}  // namespace strandwave
