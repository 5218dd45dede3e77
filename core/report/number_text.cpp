#include "core/report/number_text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/base/progress.h"

namespace strandwave::report {
namespace {

std::string printed(const char* format, int decimals, double value) {
  if (!std::isfinite(value)) return "-";
  char text[400];  // the largest double has 309 digits before the point
  std::snprintf(text, sizeof text, format, std::clamp(decimals, 0, 17), value);
  return text;
}

// "1e-05" -> "1e-5"
std::string short_exponent(std::string text) {
  const size_t e = text.find('e');
  if (e == std::string::npos) return text;
  size_t digits = e + 2;
  if (text[e + 1] == '+') text.erase(e + 1, 1), --digits;
  while (digits + 1 < text.size() && text[digits] == '0') text.erase(digits, 1);
  return text;
}

}  // namespace

std::string fixed(double value, int decimals) { return printed("%.*f", decimals, value); }

std::string with_sign(double value, int decimals) { return printed("%+.*f", decimals, value); }

std::string compact(double value) {
  if (std::fabs(value) >= 1e4 && std::fabs(value) < 1e12) return grouped(value);
  return short_exponent(printed("%.*g", 4, value));
}

std::string grouped(int64_t value) {
  std::string digits = std::to_string(value);
  const std::ptrdiff_t sign = value < 0 ? 1 : 0;
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > sign; at -= 3)
    digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

std::string grouped(double value) {
  if (!(std::fabs(value) < 9e18)) return compact(value);
  return grouped(static_cast<int64_t>(std::llround(value)));
}

std::string percent(double share, int decimals) {
  return std::isfinite(share) ? fixed(100 * share, decimals) + " %" : "-";
}

std::string tick_text(double value, double step) {
  if (std::fabs(value) >= 1e4 && std::fabs(value) < 1e15) {
    const std::string text = format_count(std::fabs(value));
    std::string number = text.substr(0, text.find(' '));
    if (number.find('.') != std::string::npos) {
      while (number.back() == '0') number.pop_back();
      if (number.back() == '.') number.pop_back();
    }
    return (value < 0 ? "-" : "") + number + text.substr(std::min(text.find(' '), text.size()));
  }
  const int decimals = static_cast<int>(std::ceil(-std::log10(step) - 1e-9));
  if (value == 0) return "0";
  if (decimals > 4 || std::fabs(value) >= 1e15) return compact(value);
  return fixed(value, decimals);
}

std::vector<Tick> linear_ticks(double low, double high, int most) {
  const double span = high - low;
  if (!(span > 0) || !std::isfinite(span)) return {};
  const double rough = span / most;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  const double mantissa = rough / power;
  const double step = power * (mantissa <= 1 ? 1 : mantissa <= 2 ? 2 : mantissa <= 5 ? 5 : 10);
  std::vector<Tick> ticks;
  const double first = std::ceil(low / step - 1e-9);
  for (int i = 0; i <= 4 * most; ++i) {
    double value = (first + i) * step;
    if (value > high + 1e-9 * step) break;
    if (std::fabs(value) < 1e-9 * step) value = 0;
    ticks.push_back({value, tick_text(value, step)});
  }
  return ticks;
}

std::vector<Tick> log_ticks(double low, double high, int most) {
  if (!(low > 0) || !(high > low) || !std::isfinite(high)) return {};
  const int first = static_cast<int>(std::floor(std::log10(low) + 1e-9));
  const int last = static_cast<int>(std::floor(std::log10(high) + 1e-9));
  const int stride = std::max(1, (last - first + most - 1) / most);
  std::vector<Tick> ticks;
  for (int decade = first; decade <= last; decade += stride)
    for (const double digit : {1.0, 2.0, 5.0}) {
      const double value = digit * std::pow(10, decade);
      const bool wanted = digit == 1.0 || high / low < 300;
      if (wanted && value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9))
        ticks.push_back({value, value < 1e-3 ? compact(value) : tick_text(value, value / digit)});
    }
  return ticks;
}

}  // namespace strandwave::report
