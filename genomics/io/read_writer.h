// What becomes of classified reads: tables, alignments, Kraken's lines, files per class.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "genomics/io/sequence_reader.h"

namespace strandwave {

inline constexpr const char* kUnclassified = "unclassified";

enum class ReadStatus { kClassified, kUnclassified, kShort, kFiltered, kWithoutSequence };
const char* to_string(ReadStatus status);

// What a model answers for a read: one class, any number of labels, or values.
enum class AnswerKind { kClass, kLabels, kValues };

// What both mates of a pair that were classified together are, in one: for what has one line, or
// counts one, per pair.
struct PairCall {
  bool first = false;  // of the two in the file
  ReadStatus status = ReadStatus::kFiltered;
  int32_t label = -1;
  int64_t lengths[2] = {0, 0};  // of the first and of the last read of the molecule
};

// What the classifier said of one read.
struct ReadCall {
  ReadStatus status = ReadStatus::kFiltered;
  // Where both mates are classified, unclassified or short.
  std::optional<PairCall> pair;
  // The rest is set for classified and unclassified reads only.
  int32_t label = -1;                // most probable class, also of unclassified reads; values: -1
  std::vector<int32_t> labels;       // AnswerKind::kLabels: those decided for, ascending
  std::vector<float> probabilities;  // or values
  float out_of_distribution = std::numeric_limits<float>::quiet_NaN();
  int64_t bases_read = 0;  // of the read's beginning, where it was decided early; else its length

  bool has_prediction() const {
    return status == ReadStatus::kClassified || status == ReadStatus::kUnclassified;
  }
  float probability() const { return probabilities[static_cast<size_t>(label)]; }
};

struct ReadWriterOptions {
  std::string path = "-";  // "-" is the standard output
  bool force = false;      // replace a folder that exists
  AnswerKind answers = AnswerKind::kClass;
  std::vector<std::string> labels;  // or names of the values
  // Where the output comes from; without, equal input gives equal bytes.
  bool provenance = true;
  std::string version, command, model_hash;
  bool bases_read = false;      // tsv, alignment: how much of a read was looked at
  std::vector<int64_t> taxids;  // kraken: of the labels
  bool cram = false;            // alignment
  std::string reference;        // alignment: FASTA to write CRAM against
  bool gzip = false;            // fastq-split
};

// Reads come in the order of the input. A file takes its name in finish(); without it nothing is
// left. Errors: Error (kRuntime) with the path when writing fails.
class ReadWriter {
 public:
  virtual ~ReadWriter() = default;
  // Before the first read of an input file. `header` is null unless it holds alignments.
  virtual void begin(const std::string& path, SequenceFormat format, sam_hdr_t* header) {
    (void)path, (void)format, (void)header;
  }
  virtual void write(const SequenceRecord& record, const ReadCall& call) = 0;
  // What was written so far shall be seen by who reads the output.
  virtual void flush() {}
  virtual void finish() = 0;
};

// The label of a read as it is written: the class, the labels as "a;b" ("." for none), or
// "unclassified".
std::string label_text(const ReadCall& call, const ReadWriterOptions& options);

// One row per read that was classified, unclassified or short:
//   #name length label probability p:LABEL... ood status [bases_read]
// and of values, where status is "predicted", "rejected" or "short":
//   #name length VALUE... ood status
std::unique_ptr<ReadWriter> open_tsv_writer(const ReadWriterOptions& options);

// Kraken 2's line per read that was classified, unclassified or short:
//   C|U name taxid length label:length
// and per pair, where its first mate stands:
//   C|U name taxid length|length label:length |:| label:length
std::unique_ptr<ReadWriter> open_kraken_writer(const ReadWriterOptions& options);

// BAM or CRAM: every record of the input, filtered ones too, in its order and unchanged but for the
// tags sl:Z (label), sp:f (probability), so:f (out-of-distribution score) and, with bases_read,
// sb:i (bases that were looked at) of reads with a prediction, and one more @PG. FASTA and FASTQ
// become unaligned records. begin() throws Error (kUsage) for a second file unless all are FASTA or
// FASTQ.
std::unique_ptr<ReadWriter> open_alignment_writer(const ReadWriterOptions& options);

// A folder with LABEL.fastq (LABEL.fa of reads without qualities) per class and unclassified, which
// takes short reads too; reads in their own orientation, /1 and /2 at the names of mates from
// alignments. Letters of labels other than A-Z a-z 0-9 . _ + - become "_" in the file names.
std::unique_ptr<ReadWriter> open_fastq_split_writer(const ReadWriterOptions& options);

}  // namespace strandwave
