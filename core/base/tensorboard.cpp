#include "core/base/tensorboard.h"

#include <bit>
#include <chrono>
#include <concepts>

#include "core/base/crc32c.h"

namespace strandwave {
namespace {

template <std::unsigned_integral Number>
std::string little_endian(Number number) {
  std::string bytes;
  for (size_t i = 0; i < sizeof(Number); ++i)
    bytes += static_cast<char>(static_cast<unsigned char>(number >> (8 * i)));
  return bytes;
}

// The few forms of Protocol Buffers' encoding that an Event needs. Wire types: 0 varint, 1 eight
// bytes, 2 length and bytes, 5 four bytes.
std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7f) | 0x80);
  return bytes + static_cast<char>(value);
}

std::string tag(int field, int wire_type) {
  return varint(static_cast<uint64_t>(field) << 3 | static_cast<uint64_t>(wire_type));
}

std::string integer_field(int field, int64_t value) {
  return tag(field, 0) + varint(static_cast<uint64_t>(value));
}

std::string double_field(int field, double value) {
  return tag(field, 1) + little_endian(std::bit_cast<uint64_t>(value));
}

std::string float_field(int field, float value) {
  return tag(field, 5) + little_endian(std::bit_cast<uint32_t>(value));
}

std::string bytes_field(int field, std::string_view bytes) {
  return tag(field, 2) + varint(bytes.size()) + std::string(bytes);
}

// Field numbers of event.proto, summary.proto, tensor.proto and tensor_shape.proto.
std::string summary_event(double wall_time, int64_t step, const std::string& value) {
  const std::string summary = bytes_field(1, value);  // Summary.value
  return double_field(1, wall_time) + integer_field(2, step) + bytes_field(5, summary);
}

double now() {
  const auto time = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration<double>(time).count();
}

}  // namespace

std::string tfrecord(std::string_view data) {
  const std::string length = little_endian(static_cast<uint64_t>(data.size()));
  return length + little_endian(masked_crc32c(length)) + std::string(data) +
         little_endian(masked_crc32c(data));
}

std::string version_event(double wall_time) {
  return double_field(1, wall_time) + bytes_field(3, "brain.Event:2");
}

std::string scalar_event(double wall_time, int64_t step, std::string_view tag, float value) {
  return summary_event(wall_time, step, bytes_field(1, tag) + float_field(2, value));
}

std::string text_event(double wall_time, int64_t step, std::string_view tag,
                       std::string_view text) {
  constexpr int64_t kStringType = 7;                              // DT_STRING
  const std::string shape = bytes_field(2, integer_field(1, 1));  // one dimension of size 1
  const std::string tensor =
      integer_field(1, kStringType) + bytes_field(2, shape) + bytes_field(8, text);
  const std::string plugin = bytes_field(1, "text");  // PluginData.plugin_name
  const std::string metadata = bytes_field(1, plugin);
  return summary_event(wall_time, step,
                       bytes_field(1, tag) + bytes_field(8, tensor) + bytes_field(9, metadata));
}

TensorBoardWriter::TensorBoardWriter(const std::filesystem::path& path,
                                     std::optional<int64_t> keep_bytes)
    : file_(path, keep_bytes) {
  if (file_.size() == 0) file_.append(tfrecord(version_event(now())));
}

void TensorBoardWriter::scalar(std::string_view tag, int64_t step, double value) {
  file_.append(tfrecord(scalar_event(now(), step, tag, static_cast<float>(value))));
}

void TensorBoardWriter::text(std::string_view tag, int64_t step, std::string_view text) {
  file_.append(tfrecord(text_event(now(), step, tag, text)));
}

}  // namespace strandwave
