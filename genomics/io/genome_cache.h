// The packed form of one FASTA file: layout, building and mapping. Used by genome.cpp only.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "genomics/io/byte_reader.h"

namespace strandwave::genome_cache {

// Half-open range of positions in a contig.
struct Run {
  int64_t start;
  int64_t end;
};

// A contig in the file. Its first base lies in the two low bits of its first byte.
struct ContigEntry {
  uint64_t name_offset;  // in the name section
  uint64_t name_size;
  int64_t line;  // of the header in the FASTA, from 1
  int64_t length;
  uint64_t packed_offset;  // in the packed section
  uint64_t unknown_first;  // in the section of N runs
  uint64_t unknown_runs;
  uint64_t lower_first;  // in the section of lower-case runs
  uint64_t lower_runs;
  int64_t unknown;
  int64_t ambiguous;
  int64_t uracil;
  int64_t lower_case;
};

// What tells whether a file is still the one that was packed. The time of the last status change
// cannot be set by a user, so equal stamps mean equal content.
struct Stamp {
  int64_t size = -1;
  int64_t modified_ns = 0;
  int64_t changed_ns = 0;
  uint64_t inode = 0;
  uint64_t device = 0;
  friend bool operator==(const Stamp&, const Stamp&) = default;
};

// One cache file, mapped.
class PackedFile {
 public:
  std::span<const ContigEntry> contigs() const { return contigs_; }
  std::string_view name(const ContigEntry& contig) const {
    return names_.substr(contig.name_offset, contig.name_size);
  }
  std::span<const Run> unknown_runs(const ContigEntry& contig) const {
    return unknown_.subspan(contig.unknown_first, contig.unknown_runs);
  }
  std::span<const Run> lower_runs(const ContigEntry& contig) const {
    return lower_.subspan(contig.lower_first, contig.lower_runs);
  }
  const uint8_t* packed(const ContigEntry& contig) const {
    return packed_.data() + contig.packed_offset;
  }
  std::array<uint64_t, 2> hash() const { return hash_; }

  ~PackedFile();
  PackedFile(const PackedFile&) = delete;
  PackedFile& operator=(const PackedFile&) = delete;

  // Maps a complete, undamaged cache; nullptr otherwise. `stamp` is that of the file packed.
  static std::shared_ptr<const PackedFile> map(int descriptor, Stamp& stamp);

 private:
  PackedFile() = default;
  bool check(Stamp& stamp);

  void* address_ = nullptr;
  size_t size_ = 0;
  std::array<uint64_t, 2> hash_{};
  std::span<const ContigEntry> contigs_;
  std::string_view names_;
  std::span<const Run> unknown_;
  std::span<const Run> lower_;
  std::span<const uint8_t> packed_;
};

struct Opened {
  std::shared_ptr<const PackedFile> file;
  std::string cache_path;  // empty for the standard input
  bool built = false;
};

// Maps the cache of `path` in `cache_dir`, building it where needed (genome.h says when).
Opened open(const std::string& path, const std::string& cache_dir, bool rebuild,
            const std::function<void(const std::string&, int64_t)>& progress);

}  // namespace strandwave::genome_cache
