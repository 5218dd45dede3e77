#include "core/base/json_lines.h"

#include <fstream>
#include <string>

#include "core/base/error.h"

namespace strandwave {
namespace {

// Bytes up to and with the last line end of the first `limit` bytes.
int64_t whole_lines(const std::filesystem::path& path, std::optional<int64_t> limit) {
  std::ifstream file(path, std::ios::binary);
  int64_t whole = 0;
  int64_t position = 0;
  for (std::string line; std::getline(file, line);) {
    position += static_cast<int64_t>(line.size()) + 1;
    if (file.eof() || (limit && position > *limit)) break;
    whole = position;
  }
  return whole;
}

}  // namespace

JsonLines::JsonLines(const std::filesystem::path& path, std::optional<int64_t> keep_bytes)
    : file_(path, whole_lines(path, keep_bytes)) {}

void JsonLines::write(const nlohmann::json& object) { file_.append(object.dump() + "\n"); }

std::vector<nlohmann::json> read_json_lines(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw input_error("cannot open " + path.string());
  std::vector<nlohmann::json> objects;
  for (std::string line; std::getline(file, line);) {
    nlohmann::json object = nlohmann::json::parse(line, nullptr, false);
    if (object.is_discarded())
      throw input_error(path.string() + ", line " + std::to_string(objects.size() + 1) +
                        ": not a JSON value");
    objects.push_back(std::move(object));
  }
  return objects;
}

}  // namespace strandwave
