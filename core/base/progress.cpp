#include "core/base/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <iterator>
#include <limits>

namespace strandwave {
namespace {

constexpr double kTerminalSeconds = 0.1;

double steady_seconds() {
  const auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(time).count();
}

// A line as wide as the terminal would wrap, and could then not be rewritten.
std::string fit_terminal(const std::string& text, std::FILE* stream) {
  winsize size{};
  if (::ioctl(::fileno(stream), TIOCGWINSZ, &size) != 0 || size.ws_col < 2) return text;
  return text.substr(0, size.ws_col - 1u);
}

template <typename... Numbers>
std::string formatted(const char* format, Numbers... numbers) {
  char text[64];
  std::snprintf(text, sizeof text, format, numbers...);
  return text;
}

}  // namespace

Progress::Progress(std::FILE* stream, bool quiet, double plain_seconds)
    : stream_(stream),
      quiet_(quiet),
      terminal_(!quiet && ::isatty(::fileno(stream)) == 1),
      plain_seconds_(plain_seconds) {}

Progress::~Progress() { finish(); }

void Progress::update(const std::string& text, bool always) {
  if (quiet_) return;
  const double time = steady_seconds();
  if (!always && time - last_ < (terminal_ ? kTerminalSeconds : plain_seconds_)) {
    if (!terminal_) held_back_ = text;
    return;
  }
  last_ = time;
  held_back_.clear();
  if (terminal_) {
    std::fprintf(stream_, "\r\033[K%s", fit_terminal(text, stream_).c_str());
    line_open_ = true;
  } else {
    std::fprintf(stream_, "%s\n", text.c_str());
  }
  std::fflush(stream_);
}

void Progress::message(const std::string& text) {
  if (quiet_) return;
  held_back_.clear();
  erase();
  std::fprintf(stream_, "%s\n", text.c_str());
  std::fflush(stream_);
}

void Progress::finish() {
  if (!held_back_.empty()) message(std::string(held_back_));
  if (!line_open_) return;
  std::fputc('\n', stream_);
  std::fflush(stream_);
  line_open_ = false;
}

void Progress::erase() {
  if (!line_open_) return;
  std::fputs("\r\033[K", stream_);
  line_open_ = false;
}

RateMeter::RateMeter(double done) { start(done); }

void RateMeter::start(double done) {
  start_done_ = done;
  start_time_ = steady_seconds();
}

double RateMeter::seconds() const { return steady_seconds() - start_time_; }

double RateMeter::rate(double done) const {
  const double time = seconds();
  return time > 0 ? (done - start_done_) / time : 0;
}

double RateMeter::seconds_left(double done, double total) const {
  const double units_per_second = rate(done);
  return units_per_second > 0 ? (total - done) / units_per_second
                              : std::numeric_limits<double>::infinity();
}

std::string counted(int64_t n, const std::string& thing) {
  return std::to_string(n) + " " + thing + (n == 1 ? "" : "s");
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "?";
  if (seconds < 59.95) return formatted("%.1f s", seconds);
  const auto whole = static_cast<long long>(seconds + 0.5);
  if (whole < 3600) return formatted("%lld:%02lld", whole / 60, whole % 60);
  return formatted("%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string format_count(double value) {
  const char* const units[] = {"", " k", " M", " G", " T"};
  size_t unit = 0;
  // 999.5 would print as 1000 of the smaller unit.
  while (value >= 999.5 && unit + 1 < std::size(units)) {
    value /= 1000;
    ++unit;
  }
  const int decimals = unit == 0 ? (value < 10 && value != std::floor(value) ? 1 : 0)
                                 : (value < 9.995   ? 2
                                    : value < 99.95 ? 1
                                                    : 0);
  return formatted("%.*f", decimals, value) + units[unit];
}

std::string format_bytes(int64_t bytes) {
  constexpr double kMebi = 1024.0 * 1024.0;
  const double mebi = static_cast<double>(bytes) / kMebi;
  if (mebi < 1023.5) return formatted("%.0f MiB", mebi);
  return formatted("%.1f GiB", mebi / 1024);
}

}  // namespace strandwave
