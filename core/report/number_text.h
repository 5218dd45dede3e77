// Numbers as a report writes them. No LibTorch. What is not finite is written "-".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace strandwave::report {

std::string fixed(double value, int decimals);      // "1.7412"
std::string with_sign(double value, int decimals);  // "+0.0121", "-0.0069"
std::string compact(double value);   // about four digits: "0.005", "1.2e-5", "41,200"
std::string grouped(int64_t value);  // "7,372,800"
std::string grouped(double value);   // of a whole number
std::string percent(double share, int decimals = 1);  // of 0.8425: "84.2 %"

// A number beside others that are `step` apart: "0.25", "1.5 M".
std::string tick_text(double value, double step);

// Round numbers in [low, high] for an axis, at most about `most` of them.
struct Tick {
  double value;
  std::string text;
};
std::vector<Tick> linear_ticks(double low, double high, int most);
// Powers of ten, or 1, 2, 5 times those where there are few; low > 0.
std::vector<Tick> log_ticks(double low, double high, int most);

}  // namespace strandwave::report
