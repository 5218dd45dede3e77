// Writes event files that TensorBoard reads: TFRecords that hold Event messages of scalars and
// texts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/append_file.h"

namespace strandwave {

// A TFRecord: length (uint64, little endian), masked CRC32C of the length, data, masked CRC32C of
// the data (TensorFlow, tensorflow/core/lib/io/record_writer.h).
std::string tfrecord(std::string_view data);

// Event messages (tensorflow/core/util/event.proto): version header, one scalar (simple_value), one
// text.
std::string version_event(double wall_time);
std::string scalar_event(double wall_time, int64_t step, std::string_view tag, float value);
std::string text_event(double wall_time, int64_t step, std::string_view tag, std::string_view text);

// Appends to one event file. Throws Error(kRuntime) with path and cause.
class TensorBoardWriter {
 public:
  // Opens or creates `path`, whose name must contain "tfevents" for TensorBoard to find it; a new
  // file begins with the version header. With `keep_bytes` the file is first cut back to that size.
  explicit TensorBoardWriter(const std::filesystem::path& path,
                             std::optional<int64_t> keep_bytes = {});

  void scalar(std::string_view tag, int64_t step, double value);
  void text(std::string_view tag, int64_t step, std::string_view text);
  void sync() { file_.sync(); }
  int64_t size() const { return file_.size(); }

 private:
  AppendFile file_;
};

}  // namespace strandwave
