// What stands behind a SequenceReader. Used by sequence_reader.cpp and alignment_source.cpp only.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "genomics/io/byte_reader.h"
#include "genomics/io/sequence_reader.h"

namespace strandwave {

class SequenceReader::Source {
 public:
  Source(std::string path, SequenceFormat format) : path_(std::move(path)), format_(format) {}
  virtual ~Source() = default;

  // The next record that passes the filters and has a sequence.
  virtual bool next(SequenceRecord& record) = 0;

  SequenceFormat format() const { return format_; }
  const SequenceReaderCounts& counts() const { return counts_; }
  const std::string& path() const { return path_; }

 protected:
  // "reads.bam, record 3", for messages.
  std::string where() const {
    return display_path(path_) + ", record " + std::to_string(counts_.records);
  }
  std::string where(const std::string& name) const { return where() + " \"" + name + "\""; }
  // Counts a record that is about to be delivered.
  void deliver(SequenceRecord& record) {
    record.number = counts_.records;
    ++counts_.delivered;
    counts_.bases += static_cast<int64_t>(record.sequence.size());
  }

  std::string path_;
  SequenceFormat format_;
  SequenceReaderCounts counts_;
};

// SAM, BAM and CRAM through htslib. `in` has been looked at, but nothing of it has been consumed.
std::unique_ptr<SequenceReader::Source> open_alignments(ByteReader in, SequenceFormat format,
                                                        const SequenceReaderOptions& options);

}  // namespace strandwave
