// Labelled sequences for fine-tuning a classifier or a regressor.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace strandwave {

// What a label is: one class, any number of classes ("a;b", none is empty or "."), or a number.
enum class LabelKind { kClass, kMultiLabel, kRegression };

enum class LabelledFormat { kManifest, kCsv, kFasta };

// One file of labelled data, and the split that all of it belongs to; empty: it says itself.
struct LabelledFile {
  std::string path;
  std::string split;  // train, validation, test or empty
};

// The files that `data` names: a folder with the files train and, where given, validation (or
// valid, val, dev) and test, each with any ending (train.csv, dev.csv.gz); a list of split=PATH
// such as "train=a.csv,test=b.csv"; else one file. Throws Error: a folder without a file of that
// name or with two for one split, a list that names a split twice or has no train.
std::vector<LabelledFile> labelled_files(const std::string& data);

// Recognises by content: FASTA by '>' (FASTQ by '@'), a manifest by its header line (columns path
// and label), a table by its header line (columns sequence and label); of several files the first
// counts. Throws Error naming the columns found.
LabelledFormat labelled_format(const std::string& data);

// The label of a row, and what else decides where the row may go.
struct LabelledRow {
  std::string text;            // the label as written
  int32_t label = -1;          // index into the labels; -1 for multi-label data and regression
  std::vector<float> targets;  // multi-label: 0 or 1 for each label; regression: the value
  std::string group;  // what must not be divided between splits (strain, patient), or empty
  std::string split;  // train, validation, test, or empty
};

// A row of a manifest: one sequence file of one class.
struct ManifestRow : LabelledRow {
  std::string path;   // resolved: relative paths count from the folder of the manifest
  int64_t taxid = 0;  // NCBI taxonomy; 0: not given
  int64_t line = 0;   // in the manifest, for messages
};

struct Manifest {
  std::vector<std::string> labels;  // sorted; numbers by value
  std::vector<ManifestRow> rows;
};

struct LabelledSequence : LabelledRow {
  std::string name;
  std::string sequence;  // IUPAC letters
};

struct LabelledData {
  std::vector<std::string> labels;  // sorted; numbers by value; regression: {"value"}
  std::vector<LabelledSequence> sequences;
};

struct LabelledOptions {
  LabelKind kind = LabelKind::kClass;
  // When not empty the classes are these, in this order, and any other is an error. Use it for a
  // test file, or to continue a run. Otherwise two classes at least are required (one if a sequence
  // may have several). Of no effect on regression.
  std::vector<std::string> labels;
};

// A table (column_table.h) with the columns path, label and, where given, group, split (also
// written valid, val or dev for validation) and taxid, in any order. A file without header line
// whose first column is a readable file is accepted as path, label[, group[, split[, taxid]]].
// Throws Error with line: missing or misspelt column, missing or unreadable file, empty label, a
// label "unclassified", one class only, a path given twice, a group in two splits (both lines), a
// taxid that is no number.
Manifest read_manifest(const std::string& path, const LabelledOptions& options = {});

// A table with the columns sequence and label (group, split, name where given). Throws Error with
// line: missing or misspelt column, empty or non-IUPAC sequence, wrong number of fields, empty
// label or "unclassified", unknown split, one class only, classes that are numbers and hardly ever
// occur twice, a group in two splits.
LabelledData read_labelled_csv(const std::string& path, const LabelledOptions& options = {});

// FASTA or FASTQ whose header carries the label as "label=NAME" (group=, split= likewise) or, where
// no record has that, as its second word.
LabelledData read_labelled_fasta(const std::string& path, const LabelledOptions& options = {});

// Tables and FASTA, by content, of all labelled_files(data): rows of a file given for a split are
// of that split, and a column that says otherwise is an error. A manifest is an error here (it
// names files: read_manifest).
LabelledData read_labelled(const std::string& data, const LabelledOptions& options = {});

// Throws Error unless every class has a count > 0: "class X has no sequences in the training data".
// `what` names the set, e.g. "the training split of DATA".
void require_every_class(const std::vector<std::string>& labels, const std::vector<int64_t>& counts,
                         const std::string& what);

}  // namespace strandwave
