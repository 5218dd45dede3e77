#include "core/base/files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <string>

#include "core/base/error.h"
#include "core/base/hash.h"

namespace strandwave {
namespace {

namespace fs = std::filesystem;

class FilesTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "strandwave-files-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { fs::remove_all(directory_); }

  size_t entries() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(directory_), fs::directory_iterator()));
  }

  fs::path directory_;
};

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// Files of this process may not grow beyond a limit while one of these lives: a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{bytes, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() { ::setrlimit(RLIMIT_FSIZE, &old_); }

 private:
  rlimit old_ = {};
};

TEST_F(FilesTest, WritesAndReads) {
  write_file_atomically(directory_ / "a", "hello");
  EXPECT_EQ(read_file(directory_ / "a"), "hello");
  write_file_atomically(directory_ / "a", "");
  EXPECT_EQ(read_file(directory_ / "a"), "");
  EXPECT_TRUE(MappedFile(directory_ / "a").bytes().empty());
  EXPECT_EQ(entries(), 1U);
}

TEST_F(FilesTest, ReadingErrorsNamePathAndReason) {
  EXPECT_NE(message_of([&] { read_file(directory_ / "none"); }).find("no such file"),
            std::string::npos);
  EXPECT_NE(message_of([&] { read_file(directory_); }).find("a directory"), std::string::npos);
  EXPECT_NE(message_of([&] { MappedFile(directory_ / "none"); }).find("none"), std::string::npos);
  write_file_atomically(directory_ / "big", std::string(100, 'x'));
  EXPECT_NE(message_of([&] { read_file(directory_ / "big", 99); }).find("100 bytes, at most 99"),
            std::string::npos);
  EXPECT_NE(message_of([&] { require_directory(directory_ / "big"); }).find("not a directory"),
            std::string::npos);
}

TEST_F(FilesTest, WithoutCommitNothingRemains) {
  write_file_atomically(directory_ / "a", "old");
  {
    AtomicFile file(directory_ / "a");
    file.write("new");
    EXPECT_EQ(read_file(directory_ / "a"), "old");
    for (const auto& entry : fs::directory_iterator(directory_))
      EXPECT_EQ(is_temporary_name(entry.path()), entry.path().filename() != "a");
  }
  EXPECT_EQ(read_file(directory_ / "a"), "old");
  EXPECT_EQ(entries(), 1U);
}

// The child ends as if killed: no destructor runs.
TEST_F(FilesTest, AProcessThatDiesLeavesNothing) {
  if (::access("/proc/self/fd", F_OK) != 0 || ::open(directory_.c_str(), O_TMPFILE | O_RDWR) < 0)
    GTEST_SKIP() << "files without a name are unknown to the file system of " << directory_;
  const pid_t child = ::fork();
  if (child == 0) {
    AtomicFile file(directory_ / "a");
    file.write("new");
    ::_exit(0);
  }
  ASSERT_GT(child, 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_EQ(entries(), 0U);
}

TEST_F(FilesTest, WritesOverWhatWasWritten) {
  AtomicFile file(directory_ / "a");
  file.write("....tail");
  file.write_at(0, std::as_bytes(std::span(std::string_view("head"))));
  char bytes[4];
  ASSERT_EQ(::pread(file.descriptor(), bytes, 4, 2), 4);
  EXPECT_EQ(std::string_view(bytes, 4), "adta");
  file.commit();
  EXPECT_EQ(read_file(directory_ / "a"), "headtail");
  EXPECT_EQ(file.descriptor(), -1);
  EXPECT_EQ(entries(), 1U);
}

TEST_F(FilesTest, AFullDiskIsAnErrorAndKeepsTheOldFile) {
  write_file_atomically(directory_ / "a", "old");
  std::string message;
  {
    const FileSizeLimit limit(1000);
    message = message_of([&] { write_file_atomically(directory_ / "a", std::string(5000, 'x')); });
  }
  EXPECT_NE(message.find("cannot write"), std::string::npos) << message;
  EXPECT_EQ(read_file(directory_ / "a"), "old");
  EXPECT_EQ(entries(), 1U);
}

TEST_F(FilesTest, WritingIntoAMissingDirectorySaysSo) {
  const std::string message =
      message_of([&] { write_file_atomically(directory_ / "none" / "a", "x"); });
  EXPECT_NE(message.find("directory does not exist"), std::string::npos) << message;
}

TEST_F(FilesTest, DirectoriesAppearWhole) {
  {
    AtomicDirectory abandoned(directory_ / "d");
    write_file_atomically(abandoned.path() / "f", "1");
  }
  EXPECT_EQ(entries(), 0U);
  {
    AtomicDirectory made(directory_ / "d" / "");
    write_file_atomically(made.path() / "f", "1");
    EXPECT_FALSE(fs::exists(directory_ / "d"));
    made.commit();
  }
  EXPECT_EQ(read_file(directory_ / "d" / "f"), "1");
  {
    AtomicDirectory again(directory_ / "d");
    write_file_atomically(again.path() / "g", "2");
    EXPECT_NE(message_of([&] { again.commit(); }).find("exists already"), std::string::npos);
    again.commit(true);
  }
  EXPECT_FALSE(fs::exists(directory_ / "d" / "f"));
  EXPECT_EQ(read_file(directory_ / "d" / "g"), "2");
  EXPECT_EQ(entries(), 1U);
}

TEST(Sha256, KnownAnswers) {  // FIPS 180-4 examples and lengths around the padding's borders
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesDoNotMatter) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += static_cast<char>(i * 7);
  for (size_t length : {55U, 56U, 63U, 64U, 65U, 119U, 120U, 128U, 300U}) {
    const std::string_view part = std::string_view(text).substr(0, length);
    for (size_t cut : {0U, 1U, 17U, 55U}) {
      Sha256 hash;
      hash.update(std::as_bytes(std::span(part.substr(0, cut))));
      hash.update(std::as_bytes(std::span(part.substr(cut))));
      EXPECT_EQ(hash.hex_digest(), sha256_hex(part)) << length << " cut at " << cut;
    }
  }
}

TEST_F(FilesTest, WhatIsNoRegularFileIsWrittenIntoAndStays) {
  write_file_atomically("/dev/null", "x");
  EXPECT_TRUE(fs::is_character_file("/dev/null"));

  const fs::path pipe = directory_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  write_file_atomically(pipe, "through");
  std::string text(16, ' ');
  EXPECT_EQ(::read(reader, text.data(), text.size()), 7);
  EXPECT_EQ(text.substr(0, 7), "through");
  ::close(reader);
  EXPECT_TRUE(fs::is_fifo(pipe));
  EXPECT_EQ(entries(), 1U);

  EXPECT_NE(message_of([&] { write_file_atomically(directory_, "x"); }).find("directory"),
            std::string::npos);
}

}  // namespace
}  // namespace strandwave
