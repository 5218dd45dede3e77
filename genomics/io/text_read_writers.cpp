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

class TsvWriter : public ReadWriter {
 public:
  explicit TsvWriter(const ReadWriterOptions& options) : options_(options), out_(options.path) {
    std::string text;
    if (options.provenance)
      text = "##strandwave=" + options.version + "\n##command=" + options.command +
             "\n##model=" + options.model_hash + "\n";
    text += "#name\tlength\tlabel\tprobability";
    for (const std::string& label : options.labels) text += "\tp:" + label;
    text += "\tood\tstatus";
    if (options.bases_read_column) text += "\tbases_read";
    out_.write(text + "\n");
  }

  void write(const SequenceRecord& record, const ReadCall& call) override {
    if (!call.has_prediction() && call.status != ReadStatus::kShort) return;
    line_ = record.name;
    line_ += '\t' + std::to_string(record.length()) + '\t';
    line_ += call.status == ReadStatus::kClassified
                 ? options_.labels[static_cast<size_t>(call.label)]
                 : kUnclassified;
    line_ += '\t';
    append_number(line_, call.has_prediction() ? call.probability() : NAN);
    for (size_t i = 0; i < options_.labels.size(); ++i) {
      line_ += '\t';
      append_number(line_, call.has_prediction() ? call.probabilities[i] : NAN);
    }
    line_ += '\t';
    append_number(line_, call.out_of_distribution);
    line_ += '\t';
    line_ += to_string(call.status);
    if (options_.bases_read_column) line_ += '\t' + std::to_string(call.bases_read);
    line_ += '\n';
    out_.write(line_);
  }
  void flush() override { out_.flush(); }
  void finish() override { out_.finish(); }

 private:
  ReadWriterOptions options_;
  TextOutput out_;
  std::string line_;
};

class KrakenWriter : public ReadWriter {
 public:
  explicit KrakenWriter(const ReadWriterOptions& options) : options_(options), out_(options.path) {}

  void write(const SequenceRecord& record, const ReadCall& call) override {
    if (!call.has_prediction() && call.status != ReadStatus::kShort) return;
    const bool classified = call.status == ReadStatus::kClassified;
    const std::string length = std::to_string(record.length());
    line_ = classified ? "C\t" : "U\t";
    line_ += record.name + '\t';
    line_ += std::to_string(classified ? options_.taxids[static_cast<size_t>(call.label)] : 0);
    line_ += '\t' + length + '\t';
    line_ += classified ? options_.labels[static_cast<size_t>(call.label)] : kUnclassified;
    line_ += ':' + length + '\n';
    out_.write(line_);
  }
  void flush() override { out_.flush(); }
  void finish() override { out_.finish(); }

 private:
  ReadWriterOptions options_;
  TextOutput out_;
  std::string line_;
};

}  // namespace

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
