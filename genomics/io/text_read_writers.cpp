#include <cmath>
#include <cstdio>

#include "genomics/io/read_writer.h"
#include "genomics/io/text_output.h"

namespace strandwave {
namespace {

void append_number(std::string& line, float value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6f", static_cast<double>(value));
  line += std::isnan(value) ? "NA" : text;
}

const char* status_text(ReadStatus status, AnswerKind answers) {
  if (answers != AnswerKind::kValues) return to_string(status);
  if (status == ReadStatus::kClassified) return "predicted";
  return status == ReadStatus::kUnclassified ? "rejected" : to_string(status);
}

class TsvWriter : public ReadWriter {
 public:
  explicit TsvWriter(const ReadWriterOptions& options) : options_(options), out_(options.path) {
    std::string text;
    if (options.provenance)
      text = "##strandwave=" + options.version + "\n##command=" + options.command +
             "\n##model=" + options.model_hash + "\n";
    text += "#name\tlength";
    if (!values()) text += "\tlabel\tprobability";
    for (const std::string& label : options.labels) text += (values() ? "\t" : "\tp:") + label;
    text += "\tood\tstatus";
    if (options.bases_read) text += "\tbases_read";
    out_.write(text + "\n");
  }

  void write(const SequenceRecord& record, const ReadCall& call) override {
    if (!call.has_prediction() && call.status != ReadStatus::kShort) return;
    line_ = record.name;
    line_ += '\t' + std::to_string(record.length());
    if (!values()) {
      line_ += '\t' + label_text(call, options_) + '\t';
      append_number(line_, call.has_prediction() ? call.probability() : NAN);
    }
    for (size_t i = 0; i < options_.labels.size(); ++i) {
      line_ += '\t';
      append_number(line_, call.has_prediction() ? call.probabilities[i] : NAN);
    }
    line_ += '\t';
    append_number(line_, call.out_of_distribution);
    line_ += '\t';
    line_ += status_text(call.status, options_.answers);
    if (options_.bases_read) line_ += '\t' + std::to_string(call.bases_read);
    line_ += '\n';
    out_.write(line_);
  }
  void flush() override { out_.flush(); }
  void finish() override { out_.finish(); }

 private:
  bool values() const { return options_.answers == AnswerKind::kValues; }

  ReadWriterOptions options_;
  TextOutput out_;
  std::string line_;
};

class KrakenWriter : public ReadWriter {
 public:
  explicit KrakenWriter(const ReadWriterOptions& options) : options_(options), out_(options.path) {}

  void write(const SequenceRecord& record, const ReadCall& call) override {
    if (!call.has_prediction() && call.status != ReadStatus::kShort) return;
    if (!call.pair) {
      const std::string length = std::to_string(record.length());
      write_line(record.name, call.status, call.label, length,
                 text_of(call.status, call.label) + ':' + length);
    } else if (call.pair->first) {
      const PairCall& pair = *call.pair;
      const std::string text = text_of(pair.status, pair.label) + ':';
      const std::string one = std::to_string(pair.lengths[0]),
                        other = std::to_string(pair.lengths[1]);
      write_line(record.has_alignment ? record.name : pair_name(record.name), pair.status,
                 pair.label, one + '|' + other, text + one + " |:| " + text + other);
    }
  }
  void flush() override { out_.flush(); }
  void finish() override { out_.finish(); }

 private:
  std::string text_of(ReadStatus status, int32_t label) const {
    return status == ReadStatus::kClassified ? options_.labels[static_cast<size_t>(label)]
                                             : kUnclassified;
  }

  void write_line(std::string_view name, ReadStatus status, int32_t label,
                  const std::string& lengths, const std::string& labels) {
    const bool classified = status == ReadStatus::kClassified;
    line_ = classified ? "C\t" : "U\t";
    line_.append(name) += '\t';
    line_ += std::to_string(classified ? options_.taxids[static_cast<size_t>(label)] : 0);
    line_ += '\t' + lengths + '\t' + labels + '\n';
    out_.write(line_);
  }

  ReadWriterOptions options_;
  TextOutput out_;
  std::string line_;
};

}  // namespace

std::string label_text(const ReadCall& call, const ReadWriterOptions& options) {
  if (call.status != ReadStatus::kClassified) return kUnclassified;
  if (options.answers == AnswerKind::kClass) return options.labels[static_cast<size_t>(call.label)];
  std::string text;
  for (const int32_t label : call.labels)
    text += (text.empty() ? "" : ";") + options.labels[static_cast<size_t>(label)];
  return text.empty() ? "." : text;
}

const char* to_string(ReadStatus status) {
  switch (status) {
    case ReadStatus::kClassified:
      return "classified";
    case ReadStatus::kUnclassified:
      return kUnclassified;
    case ReadStatus::kShort:
      return "short";
    case ReadStatus::kFiltered:
      return "filtered";
    case ReadStatus::kWithoutSequence:
      return "without sequence";
  }
  return "unknown";
}

std::unique_ptr<ReadWriter> open_tsv_writer(const ReadWriterOptions& options) {
  return std::make_unique<TsvWriter>(options);
}

std::unique_ptr<ReadWriter> open_kraken_writer(const ReadWriterOptions& options) {
  return std::make_unique<KrakenWriter>(options);
}

}  // namespace strandwave
