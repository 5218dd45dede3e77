// What stands behind a SequenceReader. Used by sequence_reader.cpp and alignment_source.cpp only.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "genomics/io/byte_reader.h"
#include "genomics/io/sequence_reader.h"

namespace strandwave {

class SequenceReader::Source {
 public:
  Source(std::string path, SequenceFormat format) : path_(std::move(path)), format_(format) {}
  virtual ~Source() = default;

  virtual bool next(SequenceRecord& record) = 0;
  virtual std::shared_ptr<sam_hdr_t> alignment_header() const { return nullptr; }
  virtual bool collated() const { return false; }

  SequenceFormat format() const { return format_; }
  const SequenceReaderCounts& counts() const { return counts_; }
  const std::string& path() const { return path_; }
  const std::vector<std::string>& notes() const { return notes_; }

 protected:
  // "reads.bam, record 3", for messages.
  std::string where() const {
    return display_path(path_) + ", record " + std::to_string(counts_.records);
  }
  std::string where(const std::string& name) const { return where() + " \"" + name + "\""; }
  // Counts a record by its fate; true when it is to be delivered.
  bool deliver(SequenceRecord& record, RecordFate fate, bool deliver_all) {
    record.number = counts_.records;
    record.fate = fate;
    switch (fate) {
      case RecordFate::kRead:
        ++counts_.delivered;
        counts_.bases += record.length();
        return true;
      case RecordFate::kFilteredByFlags:
        ++counts_.filtered_flags;
        break;
      case RecordFate::kFilteredByQuality:
        ++counts_.filtered_quality;
        break;
      case RecordFate::kWithoutSequence:
        ++counts_.without_sequence;
        break;
    }
    return deliver_all;
  }

  std::string path_;
  SequenceFormat format_;
  SequenceReaderCounts counts_;
  std::vector<std::string> notes_;
};

// SAM, BAM and CRAM through htslib. `in` has been looked at, but nothing of it has been consumed.
std::unique_ptr<SequenceReader::Source> open_alignments(ByteReader in, SequenceFormat format,
                                                        const SequenceReaderOptions& options);

}  // namespace strandwave
