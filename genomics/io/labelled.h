// Labelled sequences for fine-tuning a classifier or a regressor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace strandwave {

// What a label is: one class, any number of classes ("a;b", none is empty or "."), or a number.
enum class LabelKind { kClass, kMultiLabel, kRegression };

enum class LabelledFormat { kManifest, kCsv, kFasta };

// Recognises by content: FASTA by '>' (FASTQ by '@'), a manifest by its header line (columns path
// and label), a table by its header line (columns sequence and label). Throws Error naming the
// columns found.
LabelledFormat labelled_format(const std::string& path);

// A row of a manifest: one sequence file of one class.
struct ManifestRow {
  std::string path;   // resolved: relative paths count from the folder of the manifest
  int32_t label = 0;  // index into Manifest::labels; -1 for regression
  double value = 0;   // regression only
  std::string group;  // what must not be divided between splits (strain, patient); may be empty
  std::string split;  // train, validation (also written valid, val or dev), test, or empty
  int64_t line = 0;   // in the manifest, for messages
};

struct Manifest {
  std::vector<std::string> labels;  // sorted; numbers by value
  std::vector<ManifestRow> rows;
};

struct LabelledSequence {
  std::string name;
  std::string sequence;  // IUPAC letters
  int32_t label = 0;     // index into LabelledData::labels; -1 for regression
  double value = 0;      // regression only
  std::string group;
  std::string split;
};

struct LabelledData {
  std::vector<std::string> labels;  // sorted; numbers by value
  std::vector<LabelledSequence> sequences;
};

struct LabelledOptions {
  bool regression = false;  // labels are numbers: `value` is set, `labels` stays empty
  // When not empty the classes are these, in this order, and any other is an error. Use it for a
  // test file, or to continue a run. Otherwise two classes at least are required.
  std::vector<std::string> labels;
};

// Tab-separated (or, if the header has no tab, separated by commas or blanks) with a header line
// that names the columns path, label and, where given, group and split, in any order; "# comment"
// lines are skipped. A file without header line whose first column is a readable file is accepted
// as path, label[, group[, split]]. Throws Error with line: missing column, missing or unreadable
// file, empty label, one class only, a path given twice, a group in two splits.
Manifest read_manifest(const std::string& path, const LabelledOptions& options = {});

// CSV or TSV with a header line; the columns sequence and label (group, split, name where given)
// are found by name; quotes as in RFC 4180, within a line. Plain or compressed. Throws Error with
// line: missing column, empty or non-IUPAC sequence, wrong number of fields, empty label, one class
// only.
LabelledData read_labelled_csv(const std::string& path, const LabelledOptions& options = {});

// FASTA or FASTQ whose header carries the label as "label=NAME" (group=, split= likewise) or, where
// no record has that, as its second word.
LabelledData read_labelled_fasta(const std::string& path, const LabelledOptions& options = {});

// Either of the two, by content; a manifest is an error here (it names files: read_manifest).
LabelledData read_labelled(const std::string& path, const LabelledOptions& options = {});

// Throws Error unless every class has a count > 0: "class X has no sequences in the training data".
// `what` names the set, e.g. "the training split of DATA".
void require_every_class(const std::vector<std::string>& labels, const std::vector<int64_t>& counts,
                         const std::string& what);

}  // namespace strandwave
