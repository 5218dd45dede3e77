// A log file that only grows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

namespace strandwave {

// Appends to a file without buffering: a killed process loses nothing that append() returned from.
// All members throw Error(kRuntime) with path and cause.
class AppendFile {
 public:
  // Opens or creates `path`; with `keep_bytes` it is first cut back to that size (never extended).
  explicit AppendFile(const std::filesystem::path& path, std::optional<int64_t> keep_bytes = {});
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  // All of `data` or, when that fails (disk full), none of it.
  void append(std::string_view data);
  void cut(int64_t bytes);
  void sync();  // returns once the data is on the disk
  int64_t size() const { return size_; }

 private:
  std::filesystem::path path_;
  int file_ = -1;
  int64_t size_ = 0;
};

}  // namespace strandwave
