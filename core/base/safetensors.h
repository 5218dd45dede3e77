// The safetensors format: named tensors in one file. No LibTorch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/base/files.h"

namespace strandwave {

// File: 8 bytes header length (little endian), a JSON header {name: {"dtype", "shape",
// "data_offsets": [begin, end]}, "__metadata__": {text: text}}, then the data.
struct SafetensorsEntry {
  std::string dtype;  // BOOL, U8, I8, I16, U16, F16, BF16, I32, U32, F32, C64, F64, I64, U64
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // little endian, row-major
};

// Bytes of one element; 0 for an unknown dtype.
size_t safetensors_dtype_size(const std::string& dtype);

// A file mapped for reading. The constructor checks everything: header length <= min(100 MB, file),
// every dtype known, shape x dtype = bytes without overflow, tensors cover the data without holes
// or overlaps, no name twice. Throws Error(kInput) with path, tensor and both values; a hostile
// header makes it allocate no more than a small multiple of the header's own size.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::map<std::string, SafetensorsEntry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // Throws Error(kInput) when there is no such tensor.
  const SafetensorsEntry& entry(const std::string& name) const;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  MappedFile file_;
  std::map<std::string, SafetensorsEntry> entries_;
  std::map<std::string, std::string> metadata_;
};

// Checks one header against `bytes` (the whole file's contents); what the reader does, for fuzzing.
void parse_safetensors(std::span<const std::byte> bytes, const std::string& where,
                       std::map<std::string, SafetensorsEntry>* entries,
                       std::map<std::string, std::string>* metadata);

// Writes atomically (temporary name, fsync, rename). Data starts at a multiple of 64 bytes; tensors
// are ordered by element size, largest first, then by name, so that each is aligned and equal
// contents give equal bytes. Throws Error(kRuntime) when the disk is full, Error(kUsage) for a
// wrong size.
void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, SafetensorsEntry>>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

// The same in memory.
std::string safetensors_bytes(const std::vector<std::pair<std::string, SafetensorsEntry>>& tensors,
                              const std::map<std::string, std::string>& metadata = {});

}  // namespace strandwave
