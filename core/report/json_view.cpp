#include "core/report/json_view.h"

#include <cmath>

#include "core/report/number_text.h"

namespace strandwave::report {
namespace {

void collect(const nlohmann::json& value, const std::string& path,
             std::vector<std::pair<std::string, nlohmann::json>>& found) {
  if (!value.is_object() || value.empty()) {
    if (!path.empty()) found.emplace_back(path, value);
    return;
  }
  for (const auto& [key, inner] : value.items())
    collect(inner, path.empty() ? key : path + "." + key, found);
}

}  // namespace

const nlohmann::json& value_at(const nlohmann::json& object, const std::string& key) {
  static const nlohmann::json kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

double number_at(const nlohmann::json& object, const std::string& key) {
  return as_number(value_at(object, key));
}

std::string text_at(const nlohmann::json& object, const std::string& key) {
  const nlohmann::json& value = value_at(object, key);
  return value.is_string() ? value.get<std::string>() : "";
}

const std::vector<nlohmann::json>& list_at(const nlohmann::json& object, const std::string& key) {
  static const std::vector<nlohmann::json> kEmpty;
  const nlohmann::json& value = value_at(object, key);
  return value.is_array() ? value.get_ref<const nlohmann::json::array_t&>() : kEmpty;
}

double as_number(const nlohmann::json& value) {
  return value.is_number() ? value.get<double>() : NAN;
}

std::string as_text(const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_null()) return "-";
  if (value.is_number_integer()) return value.dump();
  if (value.is_number()) return compact(value.get<double>());
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  return value.dump();
}

std::vector<std::pair<std::string, nlohmann::json>> leaves(const nlohmann::json& value) {
  std::vector<std::pair<std::string, nlohmann::json>> found;
  collect(value, "", found);
  return found;
}

}  // namespace strandwave::report
