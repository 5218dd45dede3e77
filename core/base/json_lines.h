// A log of one JSON object per line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "core/base/append_file.h"

namespace strandwave {

// Appends objects to a file. Every line is handed to the system at once, so a killed process loses
// nothing that write() returned from. Throws Error(kRuntime) with path and cause.
class JsonLines {
 public:
  // Opens or creates `path`. With `keep_bytes` the file is first cut back to that many bytes (a
  // shorter one stays as it is); what remains of a line without an end is cut off as well.
  explicit JsonLines(const std::filesystem::path& path, std::optional<int64_t> keep_bytes = {});

  // Numbers keep all their bits; numbers that are not finite become null.
  void write(const nlohmann::json& object);
  void sync() { file_.sync(); }                  // returns once the lines are on the disk
  int64_t size() const { return file_.size(); }  // bytes so far

 private:
  AppendFile file_;
};

// All objects of such a file, in order; throws Error(kInput) naming the line that is not JSON.
std::vector<nlohmann::json> read_json_lines(const std::filesystem::path& path);

}  // namespace strandwave
