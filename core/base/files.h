// Files: whole reads with limits, writes that are complete or absent. No LibTorch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace strandwave {

// All errors are Error(kInput) for reading and Error(kRuntime) for writing, with the path, the
// system's reason and what to do.

// The whole file. Throws when it is missing, unreadable, a directory, or larger than max_bytes.
std::string read_file(const std::filesystem::path& path, uint64_t max_bytes = uint64_t{1} << 30);

// Throws unless `path` is an existing directory.
void require_directory(const std::filesystem::path& path);

// A regular file mapped for reading; empty files have no bytes.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  std::span<const std::byte> bytes() const { return {data_.get(), size_}; }

 private:
  struct Unmap {
    size_t size;
    void operator()(const std::byte* data) const;
  };
  std::unique_ptr<const std::byte[], Unmap> data_;
  size_t size_ = 0;
};

// Writes into a file that has no name until commit(), which syncs it and gives it the final one: a
// process that dies leaves nothing behind. Where the file system knows no such files, they are
// called "name.tmp-<pid>-<n>" until then and the destructor removes them. Replaces an existing
// file; but what is no regular file (/dev/null, a pipe) is written straight into and stays what it
// is.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  // Overwrites bytes that have been written already.
  void write_at(uint64_t offset, std::span<const std::byte> bytes);
  void commit();

  // Open for reading too (unless written straight into); -1 after commit().
  int descriptor() const { return descriptor_; }

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;  // empty: the file has no name yet
  bool straight_ = false;            // the file is path_ itself
  int descriptor_ = -1;
};

void write_file_atomically(const std::filesystem::path& path, std::string_view contents);

// The same for a directory: fill path(), then commit(). With replace, an existing directory of that
// name is replaced (renamed away, then removed); else it is an error.
class AtomicDirectory {
 public:
  explicit AtomicDirectory(std::filesystem::path final_path);
  ~AtomicDirectory();
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;

  const std::filesystem::path& path() const { return temporary_; }
  void commit(bool replace = false);

 private:
  std::filesystem::path final_;
  std::filesystem::path temporary_;
  bool committed_ = false;
};

// Makes names created, renamed or removed in a directory durable.
void sync_directory(const std::filesystem::path& directory);

// Whether a file or directory name is one that AtomicFile or AtomicDirectory leaves after a crash.
bool is_temporary_name(const std::filesystem::path& path);

}  // namespace strandwave
