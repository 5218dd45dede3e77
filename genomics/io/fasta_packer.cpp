#include "genomics/io/fasta_packer.h"

#include <array>
#include <utility>

#include "core/base/error.h"
#include "genomics/io/tokenizer.h"

namespace strandwave::genome_cache {
namespace {

// A class per byte: two bits of base code and flags.
constexpr uint8_t kCode = 0x03;
constexpr uint8_t kUnknown = 0x04;
constexpr uint8_t kLower = 0x08;
constexpr uint8_t kUracil = 0x10;
constexpr uint8_t kAmbiguous = 0x20;
constexpr uint8_t kBlank = 0x40;
constexpr uint8_t kInvalid = 0x80;
constexpr size_t kPackedBuffer = size_t{4} << 20;
constexpr size_t kLongestHeader = size_t{1} << 20;

std::array<uint8_t, 256> make_classes() {
  std::array<uint8_t, 256> classes{};
  for (size_t byte = 0; byte < 256; ++byte) {
    const uint8_t id = dna::byte_to_id()[byte];
    const char letter = static_cast<char>(byte);
    if (dna::is_base(id)) {
      classes[byte] = static_cast<uint8_t>(dna::base_code(id));
    } else if (id == dna::kN) {
      classes[byte] = kUnknown | (letter == 'N' || letter == 'n' ? 0 : kAmbiguous);
    } else {
      classes[byte] = letter == ' ' || letter == '\t' || letter == '\r' ? kBlank : kInvalid;
    }
    if (letter == 'U' || letter == 'u') classes[byte] |= kUracil;
    if (dna::is_iupac(letter) && letter >= 'a') classes[byte] |= kLower;
  }
  return classes;
}
const std::array<uint8_t, 256> kClasses = make_classes();

void append_run(std::vector<Run>& runs, uint64_t first, int64_t start, int64_t end) {
  if (runs.size() > first && runs.back().end == start) {
    runs.back().end = end;
  } else {
    runs.push_back({start, end});
  }
}

}  // namespace

FastaPacker::FastaPacker(std::string name, Write write)
    : name_(std::move(name)), write_(std::move(write)) {
  packed_.reserve(kPackedBuffer + 1);
}

std::string FastaPacker::where() const {
  const ContigEntry& contig = tables_.contigs.back();
  return name_ + ", record " + std::to_string(tables_.contigs.size()) + " \"" +
         tables_.names.substr(contig.name_offset) + "\", line " + std::to_string(line_);
}

void FastaPacker::add(std::string_view text) {
  while (!text.empty()) {
    size_t used = 0;
    switch (state_) {
      case State::kLineStart:
        if (text[0] == '>') {
          end_contig();
          header_.clear();
          state_ = State::kHeader;
          used = 1;
        } else if (open_) {
          blank_ = false;
          state_ = State::kSequence;
        } else {
          used = skip_before_first(text);
        }
        break;
      case State::kHeader:
        used = add_header(text);
        break;
      case State::kSequence:
        used = add_sequence(text);
        break;
    }
    text.remove_prefix(used);
  }
}

size_t FastaPacker::skip_before_first(std::string_view text) {
  if (text[0] == '\n') {
    ++line_;
  } else if (text[0] != '\r') {
    throw input_error(name_ + " is not FASTA: line " + std::to_string(line_) + " starts with " +
                      describe_start(text) + " where a \">\" must stand.");
  }
  return 1;
}

size_t FastaPacker::add_header(std::string_view text) {
  const size_t feed = text.find('\n');
  header_.append(text.substr(0, feed));
  if (header_.size() > kLongestHeader) {
    throw input_error(name_ + ", line " + std::to_string(line_) +
                      ": a header of more than 1 MiB is not FASTA.");
  }
  if (feed == std::string_view::npos) return text.size();
  begin_contig();
  ++line_;
  state_ = State::kLineStart;
  return feed + 1;
}

void FastaPacker::begin_contig() {
  const size_t end = header_.find_first_of(" \t\r\v\f");
  const std::string_view name = std::string_view(header_).substr(0, end);
  if (name.empty()) {
    throw input_error(name_ + ", line " + std::to_string(line_) + ": record " +
                      std::to_string(tables_.contigs.size() + 1) + " has no name after \">\".");
  }
  ContigEntry contig{};
  contig.name_offset = tables_.names.size();
  contig.name_size = name.size();
  contig.line = line_;
  contig.packed_offset = packed_written_ + packed_.size();
  contig.unknown_first = tables_.unknown.size();
  contig.lower_first = tables_.lower.size();
  tables_.names.append(name);
  tables_.contigs.push_back(contig);
  open_ = true;
  position_ = 0;
  partial_ = 0;
  flags_ = 0;
  flags_start_ = 0;
}

size_t FastaPacker::add_sequence(std::string_view text) {
  const size_t feed = text.find('\n');
  const size_t size = feed == std::string_view::npos ? text.size() : feed;
  // Locals and a raw pointer: a store of bytes could alias any member.
  const size_t packed_before = packed_.size();
  packed_.resize(packed_before + size / 4 + 1);
  uint8_t* const packed_start = packed_.data() + packed_before;
  uint8_t* out = packed_start;
  int64_t position = position_;
  uint32_t partial = partial_;
  uint8_t flags = flags_;
  for (size_t i = 0; i < size; ++i) {
    const uint8_t kind = kClasses[static_cast<unsigned char>(text[i])];
    if ((kind & ~kCode) != flags || blank_) {
      if (kind & kBlank) {
        blank_ = true;
        continue;
      }
      if (blank_) refuse(' ', position);
      if (kind & kInvalid) refuse(text[i], position);
      flags = kind & ~kCode;
      change_flags(flags, position);
    }
    partial |= static_cast<uint32_t>(kind & kCode) << (2 * (position & 3));
    if ((++position & 3) == 0) {
      *out++ = static_cast<uint8_t>(partial);
      partial = 0;
    }
  }
  position_ = position;
  partial_ = partial;
  packed_.resize(packed_before + static_cast<size_t>(out - packed_start));
  flush(false);
  if (feed == std::string_view::npos) return size;
  ++line_;
  state_ = State::kLineStart;
  return size + 1;
}

void FastaPacker::change_flags(uint8_t flags, int64_t position) {
  ContigEntry& contig = tables_.contigs.back();
  const int64_t length = position - flags_start_;
  if (length > 0) {
    if (flags_ & kUnknown) {
      append_run(tables_.unknown, contig.unknown_first, flags_start_, position);
      contig.unknown += length;
    }
    if (flags_ & kLower) {
      append_run(tables_.lower, contig.lower_first, flags_start_, position);
      contig.lower_case += length;
    }
    if (flags_ & kAmbiguous) contig.ambiguous += length;
    if (flags_ & kUracil) contig.uracil += length;
  }
  flags_ = flags;
  flags_start_ = position;
}

void FastaPacker::refuse(char letter, int64_t position) const {
  std::string what;
  if (letter == ' ') {
    what = "a blank inside the sequence; remove it";
  } else if (letter == '-' || letter == '*' || letter == '.') {
    what = std::string("a gap or stop \"") + letter +
           "\"; remove it (alignments and proteins are no genome)";
  } else if (letter > 0x20 && letter < 0x7f) {
    what = std::string("the letter \"") + letter +
           "\" is no IUPAC nucleotide code; correct it, or write N";
  } else {
    what = "the byte " + std::to_string(static_cast<unsigned char>(letter)) +
           " is no IUPAC nucleotide code; correct it, or write N";
  }
  throw input_error(where() + ", position " + std::to_string(position + 1) + ": " + what + ".");
}

void FastaPacker::end_contig() {
  if (!open_) return;
  change_flags(0, position_);
  ContigEntry& contig = tables_.contigs.back();
  contig.length = position_;
  contig.unknown_runs = tables_.unknown.size() - contig.unknown_first;
  contig.lower_runs = tables_.lower.size() - contig.lower_first;
  if (position_ & 3) packed_.push_back(static_cast<uint8_t>(partial_));
  bases_ += position_;
  open_ = false;
}

void FastaPacker::flush(bool all) {
  if (packed_.size() < kPackedBuffer && !all) return;
  write_(packed_);
  packed_written_ += packed_.size();
  packed_.clear();
}

PackedTables FastaPacker::finish() {
  if (state_ == State::kHeader) begin_contig();
  end_contig();
  if (tables_.contigs.empty()) throw input_error(name_ + " holds no FASTA record.");
  if (bases_ == 0) {
    throw input_error(name_ + " holds no base: all of its " +
                      std::to_string(tables_.contigs.size()) + " records are empty.");
  }
  flush(true);
  return std::move(tables_);
}

}  // namespace strandwave::genome_cache
