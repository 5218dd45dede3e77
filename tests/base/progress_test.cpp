#include "core/base/progress.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <limits>
#include <stdexcept>

#include "core/base/error.h"
#include "core/base/signals.h"

namespace strandwave {
namespace {

std::string written(std::FILE* file) {
  std::fflush(file);
  std::rewind(file);
  std::string text;
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) text += static_cast<char>(c);
  return text;
}

TEST(Progress, PlainLinesWhereThereIsNoTerminal) {
  std::FILE* file = std::tmpfile();
  {
    Progress progress(file, false, 3600);
    progress.update("one");
    progress.update("two");  // too soon
    progress.update("three", true);
    progress.message("note");
    progress.finish();
  }
  EXPECT_EQ(written(file), "one\nthree\nnote\n");
  std::fclose(file);
}

TEST(Progress, TheLastPlainLineIsNotLost) {
  std::FILE* file = std::tmpfile();
  {
    Progress progress(file, false, 3600);
    progress.update("1 %");
    progress.update("50 %");
    progress.update("100 %");
    progress.finish();
    progress.finish();  // once is enough
    progress.update("stale");
    progress.message("done");
  }
  EXPECT_EQ(written(file), "1 %\n100 %\ndone\n");
  std::fclose(file);
}

TEST(Progress, QuietPrintsNothing) {
  std::FILE* file = std::tmpfile();
  {
    Progress progress(file, true, 0);
    progress.update("one", true);
    progress.update("two");
    progress.message("note");
    progress.update("three");
  }
  EXPECT_EQ(written(file), "");
  std::fclose(file);
}

// A pseudo-terminal: the line is rewritten, a message goes above it, the end leaves it standing.
TEST(Progress, TerminalRewritesOneLine) {
  const int master = posix_openpt(O_RDWR | O_NOCTTY);
  if (master < 0) GTEST_SKIP() << "this system has no pseudo-terminals (/dev/ptmx)";
  ASSERT_EQ(grantpt(master), 0);
  ASSERT_EQ(unlockpt(master), 0);
  std::FILE* terminal = std::fopen(ptsname(master), "w");
  ASSERT_NE(terminal, nullptr);
  {
    Progress progress(terminal, false);
    progress.update("one", true);
    progress.update("two", true);
    progress.update("never");  // too soon
    progress.message("note");
    progress.update("three", true);
  }
  std::fclose(terminal);
  // What was written comes in pieces, then an error, since nobody has the terminal open.
  std::string shown;
  char buffer[256];
  for (ssize_t size; (size = ::read(master, buffer, sizeof buffer)) > 0;)
    shown.append(buffer, static_cast<size_t>(size));
  EXPECT_EQ(shown, "\r\033[Kone\r\033[Ktwo\r\033[Knote\r\n\r\033[Kthree\r\n");
  ::close(master);
}

TEST(Format, CountedThings) {
  EXPECT_EQ(counted(1, "contig"), "1 contig");
  EXPECT_EQ(counted(0, "contig"), "0 contigs");
  EXPECT_EQ(counted(2, "contig"), "2 contigs");
}

TEST(Format, Durations) {
  EXPECT_EQ(format_duration(4.21), "4.2 s");
  EXPECT_EQ(format_duration(59.96), "1:00");
  EXPECT_EQ(format_duration(754), "12:34");
  EXPECT_EQ(format_duration(3599.6), "1:00:00");
  EXPECT_EQ(format_duration(11045), "3:04:05");
  EXPECT_EQ(format_duration(std::numeric_limits<double>::infinity()), "?");
}

TEST(Format, Counts) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(2.5), "2.5");
  EXPECT_EQ(format_count(950), "950");
  EXPECT_EQ(format_count(999.6), "1.00 k");
  EXPECT_EQ(format_count(12345), "12.3 k");
  EXPECT_EQ(format_count(1.314e6), "1.31 M");
  EXPECT_EQ(format_count(2.05e9), "2.05 G");
}

TEST(Format, Bytes) {
  EXPECT_EQ(format_bytes(int64_t{512} << 20), "512 MiB");
  EXPECT_EQ(format_bytes(int64_t{3174} << 20), "3.1 GiB");
}

TEST(RateMeter, CountsFromItsStart) {
  RateMeter meter(100);
  EXPECT_EQ(meter.seconds_left(100, 200), std::numeric_limits<double>::infinity());
  ::usleep(20000);
  const double rate = meter.rate(110);
  EXPECT_GT(rate, 0);
  EXPECT_LE(rate, 10 / 0.02);
  EXPECT_NEAR(meter.seconds_left(110, 120), meter.seconds(), 0.5);
}

TEST(Signals, FlagAndError) {
  SignalGuard guard;
  EXPECT_EQ(interrupted(), 0);
  EXPECT_NO_THROW(throw_if_interrupted());
  std::raise(SIGTERM);
  EXPECT_EQ(interrupted(), SIGTERM);
  try {
    throw_if_interrupted();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInterrupted);
    EXPECT_NE(std::string(error.what()).find("SIGTERM"), std::string::npos);
  }
  EXPECT_THROW(SignalGuard(), std::logic_error);
}

// Runs `body` in a child process and returns its wait status.
template <typename Body>
int child_status(Body body) {
  const pid_t child = fork();
  if (child == 0) {
    body();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

TEST(Signals, SecondSignalEndsTheProcess) {
  const int status = child_status([] {
    SignalGuard guard;
    std::raise(SIGINT);
    std::raise(SIGINT);
  });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 128 + SIGINT);
}

TEST(Signals, FormerHandlersReturn) {
  const int status = child_status([] {
    { SignalGuard guard; }
    std::raise(SIGTERM);
  });
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
}

}  // namespace
}  // namespace strandwave
