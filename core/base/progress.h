// The progress line: one line that is rewritten on a terminal, plain lines elsewhere.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace strandwave {

// Shows how far a command is. On a terminal update() rewrites one line, at most ten times a second;
// elsewhere it prints a whole line, at most every `plain_seconds` seconds. Not for several threads.
class Progress {
 public:
  // quiet: prints nothing at all. The stream stays the caller's.
  Progress(std::FILE* stream, bool quiet, double plain_seconds = 10);
  ~Progress();  // finish()
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `always`: print it even if the last one was a moment ago.
  void update(const std::string& text, bool always = false);
  // A line that stays; the progress line goes on below it.
  void message(const std::string& text);
  // Ends the rewritten line, so that other output begins on a line of its own. Elsewhere it prints
  // the last line that came too soon after the one before, unless a message came after it.
  void finish();

 private:
  void erase();

  std::FILE* stream_;
  bool quiet_;
  bool terminal_;
  double plain_seconds_;
  double last_ = -1e30;  // seconds of the steady clock
  std::string held_back_;
  bool line_open_ = false;
};

// Estimates the time left from the work done since the start of this process (not of a resumed
// run).
class RateMeter {
 public:
  explicit RateMeter(double done = 0);
  void start(double done);
  double rate(double done) const;                        // units per second
  double seconds_left(double done, double total) const;  // infinity before the first unit
  double seconds() const;

 private:
  double start_done_ = 0;
  double start_time_ = 0;
};

std::string counted(int64_t n, const std::string& thing);  // "1 contig", "2 contigs"
std::string format_duration(double seconds);  // "4.2 s", "12:34", "3:04:05"; "?" if unknown
std::string format_count(double value);       // "950", "12.3 k", "1.31 M", "2.05 G"
std::string format_bytes(int64_t bytes);      // "512 MiB", "3.1 GiB"

}  // namespace strandwave
