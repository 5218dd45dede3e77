// Turns FASTA text into packed bases and run-length tables. Used by genome_cache.cpp only.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "genomics/io/genome_cache.h"

namespace strandwave::genome_cache {

struct PackedTables {
  std::vector<ContigEntry> contigs;
  std::string names;
  std::vector<Run> unknown;
  std::vector<Run> lower;
};

// Feed the text in pieces of any size. Memory: the tables and one buffer of packed bytes, which
// goes to `write` whenever it is full.
class FastaPacker {
 public:
  using Write = std::function<void(const std::vector<uint8_t>&)>;
  FastaPacker(std::string name, Write write);

  // Throws Error with file, record, line and position.
  void add(std::string_view text);
  // After the last piece. Throws Error when there was no base.
  PackedTables finish();
  int64_t bases() const { return bases_; }

 private:
  enum class State { kLineStart, kHeader, kSequence };

  size_t skip_before_first(std::string_view text);
  size_t add_header(std::string_view text);
  size_t add_sequence(std::string_view text);
  void begin_contig();
  void end_contig();
  void change_flags(uint8_t flags, int64_t position);
  void refuse(char letter, int64_t position) const;
  void flush(bool all);
  std::string where() const;

  std::string name_;
  Write write_;
  PackedTables tables_;
  std::vector<uint8_t> packed_;
  uint64_t packed_written_ = 0;
  State state_ = State::kLineStart;
  std::string header_;
  int64_t line_ = 1;
  int64_t bases_ = 0;
  // The contig in work.
  bool open_ = false;
  int64_t position_ = 0;
  uint32_t partial_ = 0;  // the packed bases of the byte in work
  uint8_t flags_ = 0;     // of the letters since flags_start_
  int64_t flags_start_ = 0;
  bool blank_ = false;  // a blank was seen in this line
};

}  // namespace strandwave::genome_cache
