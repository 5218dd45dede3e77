#include "core/base/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>
#include <tuple>

#include "core/base/error.h"
#include "core/base/json_config.h"

namespace strandwave {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is little endian");

constexpr uint64_t kMaxHeader = 100'000'000;
constexpr size_t kAlignment = 64;
constexpr const char* kMetadata = "__metadata__";

struct DtypeSize {
  std::string_view name;
  size_t bytes;
};
constexpr std::array<DtypeSize, 14> kDtypes = {{{"BOOL", 1},
                                                {"U8", 1},
                                                {"I8", 1},
                                                {"I16", 2},
                                                {"U16", 2},
                                                {"F16", 2},
                                                {"BF16", 2},
                                                {"I32", 4},
                                                {"U32", 4},
                                                {"F32", 4},
                                                {"C64", 8},
                                                {"F64", 8},
                                                {"I64", 8},
                                                {"U64", 8}}};

Error bad(const std::string& where, const std::string& message) {
  return input_error(where + " is not a valid safetensors file: " + message);
}

// Not negative and at most 2^63 - 1.
int64_t natural(const nlohmann::json& value, const std::string& where, const std::string& what) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > uint64_t{INT64_MAX})
    throw bad(where, what + " must be a natural number, got " + value.dump().substr(0, 40));
  return value.get<int64_t>();
}

std::vector<int64_t> shape_of(const nlohmann::json& value, const std::string& where,
                              const std::string& what) {
  if (!value.is_array()) throw bad(where, what + ": \"shape\" must be a list");
  std::vector<int64_t> shape;
  for (const nlohmann::json& extent : value)
    shape.push_back(natural(extent, where, what + ": an extent of \"shape\""));
  return shape;
}

uint64_t byte_count(const std::vector<int64_t>& shape, size_t element, const std::string& where,
                    const std::string& what) {
  uint64_t bytes = element;
  for (const int64_t extent : shape)
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(extent), &bytes))
      throw bad(where, what + ": the product of \"shape\" overflows");
  return bytes;
}

struct Range {
  uint64_t begin, end;
  std::string_view name;
};

// One entry of the header; `data` is everything behind the header.
SafetensorsEntry entry_of(const nlohmann::json& value, std::span<const std::byte> data,
                          const std::string& where, const std::string& what) {
  if (!value.is_object() || value.size() != 3 || !value.contains("dtype") ||
      !value.contains("shape") || !value.contains("data_offsets"))
    throw bad(where, what + " must have exactly \"dtype\", \"shape\" and \"data_offsets\"");
  SafetensorsEntry entry;
  const nlohmann::json& dtype = value["dtype"];
  if (dtype.is_string()) entry.dtype = dtype.get<std::string>();
  const size_t element = safetensors_dtype_size(entry.dtype);
  if (element == 0) throw bad(where, what + ": unknown dtype " + dtype.dump().substr(0, 40));
  entry.shape = shape_of(value["shape"], where, what);
  const nlohmann::json& offsets = value["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2)
    throw bad(where, what + ": \"data_offsets\" must be [begin, end]");
  const auto begin = static_cast<uint64_t>(natural(offsets[0], where, what + ": begin"));
  const auto end = static_cast<uint64_t>(natural(offsets[1], where, what + ": end"));
  if (begin > end || end > data.size())
    throw bad(where, what + ": data_offsets [" + std::to_string(begin) + ", " +
                         std::to_string(end) + "] lie outside the " + std::to_string(data.size()) +
                         " bytes of data; the file may be truncated");
  const uint64_t expected = byte_count(entry.shape, element, where, what);
  if (expected != end - begin)
    throw bad(where, what + ": shape and dtype need " + std::to_string(expected) +
                         " bytes, data_offsets give " + std::to_string(end - begin));
  entry.bytes = data.subspan(begin, end - begin);
  return entry;
}

void read_metadata(const nlohmann::json& value, const std::string& where,
                   std::map<std::string, std::string>* metadata) {
  if (!value.is_object()) throw bad(where, "\"__metadata__\" must be an object of texts");
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) throw bad(where, "\"__metadata__\" must be an object of texts");
    metadata->emplace(key, text.get<std::string>());
  }
}

void check_cover(std::vector<Range> ranges, uint64_t size, const std::string& where) {
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  uint64_t covered = 0;
  for (const Range& range : ranges) {
    if (range.begin != covered)
      throw bad(where, "tensor \"" + std::string(range.name) + "\" begins at byte " +
                           std::to_string(range.begin) + " of the data, the one before ends at " +
                           std::to_string(covered));
    covered = range.end;
  }
  if (covered != size)
    throw bad(where, "the tensors cover " + std::to_string(covered) + " of " +
                         std::to_string(size) + " bytes of data");
}

}  // namespace

size_t safetensors_dtype_size(const std::string& dtype) {
  for (const DtypeSize& known : kDtypes)
    if (known.name == dtype) return known.bytes;
  return 0;
}

void parse_safetensors(std::span<const std::byte> bytes, const std::string& where,
                       std::map<std::string, SafetensorsEntry>* entries,
                       std::map<std::string, std::string>* metadata) {
  uint64_t header_length = 0;
  if (bytes.size() < sizeof header_length)
    throw bad(where, "it has " + std::to_string(bytes.size()) + " bytes, at least 8 are needed");
  std::memcpy(&header_length, bytes.data(), sizeof header_length);
  if (header_length > kMaxHeader || header_length > bytes.size() - sizeof header_length)
    throw bad(where, "its header claims " + std::to_string(header_length) +
                         " bytes, the file has " + std::to_string(bytes.size()) +
                         " (most allowed: " + std::to_string(kMaxHeader) + ")");
  const auto data = bytes.subspan(sizeof header_length + header_length);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + sizeof header_length,
                              header_length);
  const nlohmann::json header = parse_json(text, where + " (header)");
  if (!header.is_object()) throw bad(where, "the header must be an object");
  std::vector<Range> ranges;
  for (const auto& [name, value] : header.items()) {
    if (name == kMetadata) {
      read_metadata(value, where, metadata);
      continue;
    }
    const SafetensorsEntry entry = entry_of(value, data, where, "tensor \"" + name + "\"");
    const auto begin = static_cast<uint64_t>(entry.bytes.data() - data.data());
    const auto placed = entries->emplace(name, entry).first;
    ranges.push_back({begin, begin + entry.bytes.size(), placed->first});
  }
  check_cover(std::move(ranges), data.size(), where);
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path), file_(path) {
  parse_safetensors(file_.bytes(), path_.string(), &entries_, &metadata_);
}

const SafetensorsEntry& SafetensorsFile::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end())
    throw input_error(path_.string() + ": there is no tensor \"" + name + "\"");
  return found->second;
}

namespace {

using NamedEntry = std::pair<std::string, SafetensorsEntry>;

// What stands before the data, and the order in which the data follow.
struct Arrangement {
  std::string head;
  std::vector<const NamedEntry*> order;
};

Arrangement arrange(const std::vector<NamedEntry>& tensors,
                    const std::map<std::string, std::string>& metadata, const std::string& where) {
  Arrangement made;
  for (const NamedEntry& tensor : tensors) {
    const size_t element = safetensors_dtype_size(tensor.second.dtype);
    const std::string what = "tensor \"" + tensor.first + "\"";
    if (element == 0) throw usage_error(what + ": unknown dtype " + tensor.second.dtype);
    const uint64_t expected = byte_count(tensor.second.shape, element, where, what);
    if (expected != tensor.second.bytes.size())
      throw usage_error(what + ": shape and dtype need " + std::to_string(expected) +
                        " bytes, got " + std::to_string(tensor.second.bytes.size()));
    made.order.push_back(&tensor);
  }
  std::sort(made.order.begin(), made.order.end(), [](const auto* a, const auto* b) {
    const size_t a_size = safetensors_dtype_size(a->second.dtype);
    const size_t b_size = safetensors_dtype_size(b->second.dtype);
    return a_size != b_size ? a_size > b_size : a->first < b->first;
  });
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  uint64_t offset = 0;
  for (const NamedEntry* tensor : made.order) {
    const SafetensorsEntry& entry = tensor->second;
    if (tensor->first == kMetadata || header.contains(tensor->first))
      throw usage_error("tensor \"" + tensor->first + "\" is given twice");
    header[tensor->first] = {{"dtype", entry.dtype},
                             {"shape", entry.shape},
                             {"data_offsets", {offset, offset + entry.bytes.size()}}};
    offset += entry.bytes.size();
  }
  std::string text = header.dump();
  // Spaces behind the header are part of the format; they align the data.
  text.resize((text.size() + sizeof(uint64_t) + kAlignment - 1) / kAlignment * kAlignment -
                  sizeof(uint64_t),
              ' ');
  const uint64_t header_length = text.size();
  made.head.assign(reinterpret_cast<const char*>(&header_length), sizeof header_length);
  made.head += text;
  return made;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, const std::vector<NamedEntry>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const Arrangement made = arrange(tensors, metadata, path.string());
  AtomicFile file(path);
  file.write(made.head);
  for (const NamedEntry* tensor : made.order) file.write(tensor->second.bytes);
  file.commit();
}

std::string safetensors_bytes(const std::vector<NamedEntry>& tensors,
                              const std::map<std::string, std::string>& metadata) {
  const Arrangement made = arrange(tensors, metadata, "the file");
  std::string bytes = made.head;
  for (const NamedEntry* tensor : made.order) {
    const auto data = tensor->second.bytes;
    bytes.append(reinterpret_cast<const char*>(data.data()), data.size());
  }
  return bytes;
}

}  // namespace strandwave
