// Sequences one after the other, for whatever needs each of them once: reads, contigs, alignments.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "genomics/io/letter_spool.h"

struct bam1_t;     // htslib's record
struct sam_hdr_t;  // and header

namespace strandwave {

// The name that the mates of text files share: "read" of "read/1" and "read/2".
std::string_view pair_name(std::string_view name);

enum class SequenceFormat { kFasta, kFastq, kSam, kBam, kCram };
const char* to_string(SequenceFormat format);
inline bool is_alignment(SequenceFormat format) { return format >= SequenceFormat::kSam; }

// Bits of SequenceRecord::flags, as in SAM.
inline constexpr uint16_t kPairedFlag = 0x1, kUnmappedFlag = 0x4, kMateUnmappedFlag = 0x8,
                          kFirstMateFlag = 0x40, kLastMateFlag = 0x80, kSecondaryFlag = 0x100,
                          kSupplementaryFlag = 0x800;

// The flags that `text` says as samtools understands it: a number (decimal, hexadecimal 0x.., octal
// 0..) or names between commas, "SECONDARY,DUP"; nothing for another text.
std::optional<uint16_t> alignment_flags(const std::string& text);

// Why a record is not for the caller's work.
enum class RecordFate { kRead, kFilteredByFlags, kFilteredByQuality, kWithoutSequence };

struct SequenceRecord {
  std::string name;      // up to the first blank
  std::string comment;   // rest of the FASTA or FASTQ header
  std::string sequence;  // IUPAC letters as in the file (case kept), in the orientation of the read
  std::string qualities;  // Phred values (not + 33), one byte per base; empty when absent
  uint16_t flags = 0;     // SAM flags as in the file; 0 when has_alignment is false
  uint8_t mapping_quality = 255;
  bool has_alignment = false;  // from SAM, BAM or CRAM
  int64_t number = 0;          // 1-based number of the record in its file, filtered ones included
  RecordFate fate = RecordFate::kRead;       // another one only with deliver_all
  std::shared_ptr<const LetterSpool> spool;  // the letters instead of `sequence`; see spool_above
  std::shared_ptr<bam1_t> alignment;         // as in the file; with keep_alignments

  int64_t length() const { return spool ? spool->size() : static_cast<int64_t>(sequence.size()); }
};

struct SequenceReaderOptions {
  // As in samtools: -q, -F and -f. They apply to SAM, BAM and CRAM only. The default leaves out
  // secondary, failed, duplicate and supplementary records.
  int min_mapping_quality = 0;
  uint16_t exclude_flags = 0xF00;
  uint16_t require_flags = 0;
  // Alignments that overlap any of these ("chr1:1,000-2,000", 1-based; "*": those without a
  // position) and, where `bed` is a file, any of its intervals. Records elsewhere are not read, and
  // not counted; an index beside the file is used where there is one. A record in several regions
  // comes once, all in the order of the file. Intervals on contigs that the file lacks are passed
  // over with a note, unless it has none of them.
  std::vector<std::string> regions;
  std::string bed;
  std::string reference;  // FASTA that CRAM was compressed against
  // Without it only `reference` and files found through REF_CACHE and REF_PATH are used for CRAM;
  // with it also addresses in REF_PATH, htslib's own server and the path in the header (UR).
  bool allow_reference_download = false;

  bool deliver_all = false;  // records that are filtered or have no sequence too, with their fate
  bool keep_alignments = false;  // SequenceRecord::alignment
  // FASTA records longer than this go through a temporary file; 0: never.
  int64_t spool_above = 0;
  std::stop_token stop;  // ends waiting for a pipe that says nothing
};

struct SequenceReaderCounts {
  int64_t records = 0;    // read from the file
  int64_t delivered = 0;  // given to the caller to work on
  int64_t bases = 0;      // of delivered records
  int64_t filtered_flags = 0;
  int64_t filtered_quality = 0;
  int64_t without_sequence = 0;  // SEQ is '*', or an empty FASTA or FASTQ record: skipped
};

// Reads one file. The format is recognised by content: FASTA, FASTQ and SAM plain, gzip or bgzip;
// BAM; BAM inside gzip; CRAM. "-" is the standard input.
//
// Memory holds one record (of FASTA at most spool_above letters) and fixed buffers. Reverse-strand
// alignments (flag 0x10) are turned back to the orientation of the read, qualities too. '=' in SEQ
// becomes N.
//
// Throws Error (kInput) with path and record number: missing, unreadable or empty file, unknown
// format, truncated gzip, bgzip, BAM or CRAM (no end-of-file marker), truncated FASTQ, lengths of
// sequence and qualities differ, a letter that is no IUPAC code, CRAM whose reference is missing or
// another one (naming contig and M5), regions of FASTA or FASTQ or of contigs that the file has
// not.
class SequenceReader {
 public:
  explicit SequenceReader(const std::string& path, const SequenceReaderOptions& options = {});
  ~SequenceReader();
  SequenceReader(SequenceReader&&) noexcept;
  SequenceReader& operator=(SequenceReader&&) noexcept;

  // The next record that passes the filters and has a sequence (with deliver_all: the next record);
  // false at the end. Keeps the capacity of the record's strings.
  bool next(SequenceRecord& record);

  SequenceFormat format() const;
  const SequenceReaderCounts& counts() const;
  const std::string& path() const;
  // A copy of the header of SAM, BAM or CRAM; null for others.
  std::shared_ptr<sam_hdr_t> alignment_header() const;
  // Records of one name follow each other, by the header of SAM, BAM or CRAM.
  bool collated() const;
  // What the user should know, for instance that an index is not used.
  const std::vector<std::string>& notes() const;

  class Source;  // one per family of formats

 private:
  std::unique_ptr<Source> source_;
};

}  // namespace strandwave
