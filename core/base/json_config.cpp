#include "core/base/json_config.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/spelling.h"

namespace strandwave {
namespace {

constexpr int kMaxDepth = 64;
constexpr uint64_t kMaxConfigBytes = uint64_t{64} << 20;

std::string shortened(const nlohmann::json& value) {
  std::string text = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  return text;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string number_text(double value) { return nlohmann::json(value).dump(); }

}  // namespace

nlohmann::json parse_json(std::string_view text, const std::string& where) {
  // The library keeps the last of two equal keys and recurses without limit: both are watched here.
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    using Event = nlohmann::json::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) {
      if (depth >= kMaxDepth)
        throw input_error(where + ": JSON is nested deeper than " + std::to_string(kMaxDepth) +
                          " levels");
    }
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(parsed.get<std::string>()).second)
      throw input_error(where + ": key \"" + parsed.get<std::string>() +
                        "\" is given twice in one object");
    return true;
  };
  try {
    return nlohmann::json::parse(text.begin(), text.end(), watch);
  } catch (const nlohmann::json::exception& error) {
    std::string reason = error.what();
    const size_t end = reason.find("] ");
    if (end != std::string::npos) reason = reason.substr(end + 2);
    throw input_error(where + " is not valid JSON: " + reason);
  }
}

nlohmann::json read_json_file(const std::filesystem::path& path) {
  return parse_json(read_file(path, kMaxConfigBytes), path.string());
}

JsonObject::JsonObject(const nlohmann::json& value, std::string where)
    : value_(value), where_(std::move(where)) {
  if (!value_.is_object())
    throw usage_error(where_ + ": expected an object {...}, got " + shortened(value_));
}

bool JsonObject::has(const std::string& key) const { return value_.contains(key); }

const nlohmann::json* JsonObject::find(const std::string& key) {
  known_.push_back(key);
  const auto found = value_.find(key);
  return found == value_.end() ? nullptr : &*found;
}

void JsonObject::fail(const std::string& key, const std::string& expected) const {
  throw usage_error(where_ + ": \"" + key + "\" must be " + expected + ", got " +
                    shortened(value_.at(key)));
}

int64_t JsonObject::integer(const std::string& key, int64_t fallback, int64_t minimum,
                            int64_t maximum) {
  const nlohmann::json* found = find(key);
  if (found == nullptr) return fallback;
  const auto bad = [&] {
    fail(key, "an integer from " + std::to_string(minimum) + " to " + std::to_string(maximum));
  };
  if (!found->is_number_integer()) bad();
  if (found->is_number_unsigned() && found->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
    bad();
  const int64_t value = found->get<int64_t>();
  if (value < minimum || value > maximum) bad();
  return value;
}

double JsonObject::number(const std::string& key, double fallback, double minimum, double maximum) {
  const nlohmann::json* found = find(key);
  if (found == nullptr) return fallback;
  const double value = found->is_number() ? found->get<double>() : NAN;
  if (!(value >= minimum && value <= maximum))
    fail(key, "a number from " + number_text(minimum) + " to " + number_text(maximum));
  return value;
}

bool JsonObject::boolean(const std::string& key, bool fallback) {
  const nlohmann::json* found = find(key);
  if (found == nullptr) return fallback;
  if (!found->is_boolean()) fail(key, "true or false");
  return found->get<bool>();
}

std::string JsonObject::string(const std::string& key, const std::string& fallback) {
  const nlohmann::json* found = find(key);
  if (found == nullptr) return fallback;
  if (!found->is_string()) fail(key, "a text");
  return found->get<std::string>();
}

std::string JsonObject::choice(const std::string& key, const std::string& fallback,
                               const std::vector<std::string>& choices) {
  const std::string value = string(key, fallback);
  if (std::find(choices.begin(), choices.end(), value) == choices.end())
    throw usage_error(where_ + ": \"" + key + "\" must be one of " + joined(choices) + ", got \"" +
                      value + "\"");
  return value;
}

std::vector<std::string> JsonObject::strings(const std::string& key) {
  const nlohmann::json* found = find(key);
  if (found == nullptr) return {};
  std::vector<std::string> words;
  if (!found->is_array()) fail(key, "a list of texts");
  for (const nlohmann::json& entry : *found) {
    if (!entry.is_string()) fail(key, "a list of texts");
    words.push_back(entry.get<std::string>());
  }
  return words;
}

const nlohmann::json& JsonObject::value(const std::string& key) {
  static const nlohmann::json kNull;
  const nlohmann::json* found = find(key);
  return found == nullptr ? kNull : *found;
}

void JsonObject::require(std::initializer_list<const char*> keys) const {
  for (const char* key : keys)
    if (!has(key)) throw usage_error(where_ + ": key \"" + key + "\" is missing");
}

void JsonObject::finish() const {
  for (const auto& [key, value] : value_.items()) {
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
    const std::string near = nearest_word(key, known_);
    throw usage_error(
        where_ + ": unknown key \"" + key + "\"" +
        (near.empty() ? "; known keys: " + joined(known_) : "; did you mean \"" + near + "\"?"));
  }
}

}  // namespace strandwave
