// Reading of JSON that others wrote, where anything may be missing or of another type. No LibTorch.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace strandwave::report {

// The value of `key`, or null when `object` is no object or has no such key.
const nlohmann::json& value_at(const nlohmann::json& object, const std::string& key);
double number_at(const nlohmann::json& object, const std::string& key);     // NaN if no number
std::string text_at(const nlohmann::json& object, const std::string& key);  // "" if no string
// Empty when it is no array.
const std::vector<nlohmann::json>& list_at(const nlohmann::json& object, const std::string& key);

// A number, or NaN.
double as_number(const nlohmann::json& value);
// A value as people read it: strings without quotes, numbers short, the rest as JSON.
std::string as_text(const nlohmann::json& value);

// The leaves of nested objects as ("trainer.lr", value); arrays count as leaves.
std::vector<std::pair<std::string, nlohmann::json>> leaves(const nlohmann::json& value);

}  // namespace strandwave::report
