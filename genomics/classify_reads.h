// From files of reads to labelled reads: read, classify in batches, write in order.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "genomics/io/read_writer.h"
#include "genomics/io/sequence_reader.h"
#include "genomics/prefix_classifier.h"
#include "genomics/sequence_classifier.h"

namespace strandwave {

struct ClassifyReadsOptions {
  std::vector<std::string> inputs;  // "-": standard input
  SequenceReaderOptions reader;
  int min_base_quality = 0;  // bases below become N for the model (not in the output)
  int64_t min_length = 1;    // shorter reads are not classified
  // Mates are classified together (SequenceClassifier::pair) and get one label. Those of BAM, SAM
  // and CRAM are found by name; records between them are held, at most pair_window.
  bool paired = false;
  int64_t pair_window = 100000;
  // A read is classified when all of these hold; otherwise its label is "unclassified". Of a
  // multi-label model the labels more probable than min_probability are taken, none of them too.
  double min_probability = 0;
  double max_out_of_distribution = std::numeric_limits<double>::infinity();
  std::optional<double> target_false_positive_rate;  // Calibration::threshold of the read's length
  // A batch that is not full is run this long after its first read; 0: when it is full.
  double flush_seconds = 0;
};

// Every record is in exactly one of classified ... without_sequence.
struct ClassifyReadsCounts {
  int64_t records = 0;  // as the readers counted them
  int64_t classified = 0;
  int64_t unclassified = 0;
  int64_t too_short = 0;
  int64_t filtered = 0;
  int64_t without_sequence = 0;
  int64_t bases = 0;  // of reads that were classified or unclassified
  int64_t pairs = 0;  // with --paired: predicted together
  // Classes only: a pair counts once.
  std::vector<int64_t> per_label;  // classified
  int64_t without_label = 0;       // unclassified or short
  // With a PrefixClassifier: reads decided at each of its lengths, those never decided, bases that
  // were looked at, and the time that all of it took.
  std::vector<int64_t> decided_at;
  int64_t undecided = 0;
  int64_t bases_read = 0;
  double decision_seconds = 0;

  int64_t sum() const {
    return classified + unclassified + too_short + filtered + without_sequence;
  }
};

// Reads the inputs in their order and hands every record to `writer`, in order. Results do not
// depend on batches, threads or the time of arrival within 1e-5. Memory does not grow with the
// input: a batch of reads, one block of a long sequence, and with `paired` the window.
// `prefix`: decide early; null: whole reads. `progress` is called after every batch, `note` with
// what the user should know of an input. Of a regression, values that are not rejected count as
// classified.
// Throws Error: what the readers, the writer and the classifier throw; kInput when a mate does not
// come within pair_window records; kInterrupted.
ClassifyReadsCounts classify_reads(
    const ClassifyReadsOptions& options, const SequenceClassifier& classifier,
    const PrefixClassifier* prefix, ReadWriter& writer,
    const std::function<void(const ClassifyReadsCounts&)>& progress = {},
    const std::function<void(const std::string&)>& note = {});

}  // namespace strandwave
