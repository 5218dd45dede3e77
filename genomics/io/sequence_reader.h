// Sequences one after the other, for whatever needs each of them once: reads, contigs, alignments.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace strandwave {

enum class SequenceFormat { kFasta, kFastq, kSam, kBam, kCram };
const char* to_string(SequenceFormat format);

struct SequenceRecord {
  std::string name;      // up to the first blank
  std::string comment;   // rest of the FASTA or FASTQ header
  std::string sequence;  // IUPAC letters as in the file (case kept), in the orientation of the read
  std::string qualities;  // Phred values (not + 33), one byte per base; empty when absent
  uint16_t flags = 0;     // SAM flags as in the file; 0 when has_alignment is false
  uint8_t mapping_quality = 255;
  bool has_alignment = false;  // from SAM, BAM or CRAM
  int64_t number = 0;          // 1-based number of the record in its file, filtered ones included
};

struct SequenceReaderOptions {
  // As in samtools: -q, -F and -f. They apply to SAM, BAM and CRAM only. The default leaves out
  // secondary, failed, duplicate and supplementary records.
  int min_mapping_quality = 0;
  uint16_t exclude_flags = 0xF00;
  uint16_t require_flags = 0;
  std::string reference;  // FASTA for CRAM; nothing is ever fetched over the network
};

struct SequenceReaderCounts {
  int64_t records = 0;    // read from the file
  int64_t delivered = 0;  // given to the caller
  int64_t bases = 0;      // of delivered records
  int64_t filtered_flags = 0;
  int64_t filtered_quality = 0;
  int64_t without_sequence = 0;  // SEQ is '*', or an empty FASTA or FASTQ record: skipped
};

// Reads one file. The format is recognised by content: FASTA, FASTQ and SAM plain, gzip or bgzip;
// BAM; BAM inside gzip; CRAM. "-" is the standard input.
//
// Memory holds one record and fixed buffers. Reverse-strand alignments (flag 0x10) are turned back
// to the orientation of the read, qualities too. '=' in SEQ becomes N.
//
// Throws Error (kInput) with path and record number: missing, unreadable or empty file, unknown
// format, truncated gzip, bgzip, BAM or CRAM (no end-of-file marker), truncated FASTQ, lengths of
// sequence and qualities differ, a letter that is no IUPAC code, CRAM without its reference.
class SequenceReader {
 public:
  explicit SequenceReader(const std::string& path, const SequenceReaderOptions& options = {});
  ~SequenceReader();
  SequenceReader(SequenceReader&&) noexcept;
  SequenceReader& operator=(SequenceReader&&) noexcept;

  // The next record that passes the filters and has a sequence; false at the end. Keeps the
  // capacity of the record's strings.
  bool next(SequenceRecord& record);

  SequenceFormat format() const;
  const SequenceReaderCounts& counts() const;
  const std::string& path() const;

  class Source;  // one per family of formats

 private:
  std::unique_ptr<Source> source_;
};

}  // namespace strandwave
