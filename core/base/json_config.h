// JSON configuration with errors a user can act on. No LibTorch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace strandwave {

// Parses text; throws Error(kInput) with `where`, line and column. A key given twice in one object
// and nesting deeper than 64 are errors.
nlohmann::json parse_json(std::string_view text, const std::string& where);
// Reads and parses a file of at most 64 MiB.
nlohmann::json read_json_file(const std::filesystem::path& path);

// Reads the keys of one JSON object. Each getter returns `fallback` when the key is absent, and
// throws Error(kUsage) naming `where`, key and value when type or range are wrong. finish() throws
// on keys that nobody asked for, naming the nearest known one.
//
//   JsonObject object(value, "config.json: head");
//   const int64_t n = object.integer("d_state", 16, 1, 256);
//   object.finish();
class JsonObject {
 public:
  JsonObject(const nlohmann::json& value, std::string where);

  bool has(const std::string& key) const;
  int64_t integer(const std::string& key, int64_t fallback, int64_t minimum, int64_t maximum);
  double number(const std::string& key, double fallback, double minimum, double maximum);
  bool boolean(const std::string& key, bool fallback);
  std::string string(const std::string& key, const std::string& fallback);
  // One of `choices`.
  std::string choice(const std::string& key, const std::string& fallback,
                     const std::vector<std::string>& choices);
  std::vector<std::string> strings(const std::string& key);
  // The value as it is, null when absent; counts as known.
  const nlohmann::json& value(const std::string& key);

  // Throws Error(kUsage) when one of these is absent.
  void require(std::initializer_list<const char*> keys) const;
  void finish() const;

  const std::string& where() const { return where_; }

 private:
  const nlohmann::json* find(const std::string& key);
  [[noreturn]] void fail(const std::string& key, const std::string& expected) const;

  const nlohmann::json& value_;
  std::string where_;
  std::vector<std::string> known_;
};

}  // namespace strandwave
