// Records of all input files, read by a thread of its own. Used by classify_reads.cpp.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "genomics/io/sequence_reader.h"

namespace strandwave {

struct RecordStreamOptions {
  std::vector<std::string> inputs;
  SequenceReaderOptions reader;
  // FASTA and FASTQ: records are mates two by two, of two files or of one; they get the SAM flags
  // of mates (77 and 141). Files are taken in twos, a single last one is interleaved.
  bool paired = false;
  int64_t most_bases = int64_t{1} << 20;  // waiting to be taken
};

// What the stream has for its reader: a file begins, a record, a file has ended.
struct StreamItem {
  enum class Kind { kFile, kRecord, kFileEnd };
  Kind kind = Kind::kRecord;
  SequenceRecord record;  // kRecord
  // kFile
  std::string path;
  SequenceFormat format = SequenceFormat::kFasta;
  std::shared_ptr<sam_hdr_t> header;
  bool collated = false;
  std::vector<std::string> notes;
  // kFileEnd: records read from it
  int64_t records = 0;
};

// The first file is opened by the constructor, which throws what that throws. Ends its thread when
// it is destroyed, even one that waits for a silent pipe.
class RecordStream {
 public:
  explicit RecordStream(RecordStreamOptions options);
  ~RecordStream();
  RecordStream(const RecordStream&) = delete;
  RecordStream& operator=(const RecordStream&) = delete;

  enum class Got { kItem, kTimeout, kEnd };
  // The next item; without a deadline waits for it. Throws what reading threw, after all that was
  // read before: also Error (kInput) for mates whose names or numbers differ.
  Got next(StreamItem& item, std::optional<std::chrono::steady_clock::time_point> deadline);

 private:
  void run();
  SequenceReader open(size_t input);
  void read_mates(SequenceReader& first, SequenceReader& second);
  bool push(StreamItem item);  // false: nobody wants more
  bool push_file(const SequenceReader& reader);
  bool push_record(SequenceRecord& record);
  bool push_end(const SequenceReader& reader);

  RecordStreamOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<StreamItem> items_;  // guarded by mutex_, as all below
  int64_t bases_ = 0;
  bool ended_ = false;
  bool stopped_ = false;
  std::exception_ptr failure_;
  std::stop_source stop_;
  std::optional<SequenceReader> first_;
  std::thread thread_;  // last: it uses the members above
};

}  // namespace strandwave
