#include "genomics/io/sequence_reader.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "core/base/error.h"
#include "genomics/io/byte_reader.h"
#include "genomics/io/sequence_source.h"
#include "genomics/io/text_fields.h"
#include "genomics/io/tokenizer.h"

namespace strandwave {
namespace {

void set_header(std::string_view header, SequenceRecord& record) {
  const size_t blank = header.find_first_of(" \t");
  record.name = header.substr(0, blank);
  record.comment.clear();
  if (blank != std::string_view::npos) {
    const size_t text = header.find_first_not_of(" \t", blank);
    if (text != std::string_view::npos) record.comment = header.substr(text);
  }
  record.flags = 0;
  record.mapping_quality = 255;
  record.has_alignment = false;
}

// Reads with the record's own strings; text formats know lines.
class TextSource : public SequenceReader::Source {
 public:
  TextSource(ByteReader in, SequenceFormat format)
      : Source(in.path(), format), in_(std::move(in)) {}

 protected:
  std::string at_line(const std::string& name) const {
    return where(name) + ", line " + std::to_string(in_.line_number());
  }

  // Throws Error on the first letter that is no nucleotide; `offset` bases came before these.
  void check_letters(std::string_view letters, size_t offset, const std::string& name) const {
    const auto bad = std::find_if_not(letters.begin(), letters.end(), dna::is_iupac);
    if (bad == letters.end()) return;
    const size_t position = offset + static_cast<size_t>(bad - letters.begin()) + 1;
    throw input_error(at_line(name) + ", position " + std::to_string(position) + ": " +
                      describe_start({&*bad, 1}).substr(0, 3) + " is no IUPAC nucleotide code.");
  }

  ByteReader in_;
};

class FastaSource : public TextSource {
 public:
  explicit FastaSource(ByteReader in) : TextSource(std::move(in), SequenceFormat::kFasta) {
    while (in_.line(line_) && line_.empty()) {
    }
    have_header_ = true;
  }

  bool next(SequenceRecord& record) override {
    while (have_header_) {
      read_record(record);
      if (!record.sequence.empty()) {
        deliver(record);
        return true;
      }
      ++counts_.without_sequence;
    }
    return false;
  }

 private:
  void read_record(SequenceRecord& record) {
    ++counts_.records;
    set_header(std::string_view(line_).substr(1), record);
    if (record.name.empty()) {
      throw input_error(where() + ", line " + std::to_string(in_.line_number()) +
                        " has no name after \">\".");
    }
    record.sequence.clear();
    record.qualities.clear();
    have_header_ = false;
    while (in_.line(line_)) {
      if (!line_.empty() && line_[0] == '>') {
        have_header_ = true;
        return;
      }
      const size_t last = line_.find_last_not_of(" \t");
      const std::string_view letters = std::string_view(line_).substr(0, last + 1);
      check_letters(letters, record.sequence.size(), record.name);
      record.sequence.append(letters);
    }
  }

  std::string line_;
  bool have_header_ = false;
};

class FastqSource : public TextSource {
 public:
  explicit FastqSource(ByteReader in) : TextSource(std::move(in), SequenceFormat::kFastq) {}

  bool next(SequenceRecord& record) override {
    while (read_record(record)) {
      if (!record.sequence.empty()) {
        deliver(record);
        return true;
      }
      ++counts_.without_sequence;
    }
    return false;
  }

 private:
  bool read_record(SequenceRecord& record) {
    do {
      if (!in_.line(line_)) return false;
    } while (line_.empty());
    ++counts_.records;
    if (line_[0] != '@') {
      throw input_error(where() + ", line " + std::to_string(in_.line_number()) +
                        ": FASTQ needs \"@\" here, found " + describe_start(line_) +
                        ". Each record has four lines.");
    }
    set_header(std::string_view(line_).substr(1), record);
    require_line(record.sequence, record.name);
    check_letters(record.sequence, 0, record.name);
    require_line(line_, record.name);
    if (line_.empty() || line_[0] != '+') {
      throw input_error(at_line(record.name) + ": FASTQ needs \"+\" here, found " +
                        describe_start(line_) + ". Each record has four lines.");
    }
    require_line(record.qualities, record.name);
    convert_qualities(record);
    return true;
  }

  void require_line(std::string& line, const std::string& name) {
    if (in_.line(line)) return;
    throw input_error(where(name) +
                      ": the FASTQ file ends in the middle of the record, after line " +
                      std::to_string(in_.line_number()) + ". It is truncated.");
  }

  void convert_qualities(SequenceRecord& record) const {
    if (record.qualities.size() != record.sequence.size()) {
      throw input_error(at_line(record.name) + ": " + std::to_string(record.qualities.size()) +
                        " qualities for " + std::to_string(record.sequence.size()) +
                        " bases. The file is truncated or damaged.");
    }
    for (char& quality : record.qualities) {
      if (quality < '!' || quality > '~') {
        throw input_error(at_line(record.name) + ": a quality is not a character from ! to ~.");
      }
      quality = static_cast<char>(quality - '!');
    }
  }

  std::string line_;
};

// A line of SAM: eleven columns, the second and the fourth of which are numbers.
bool is_sam_line(std::string_view line) {
  const auto fields = split_fields(line, '\t');
  return fields.size() >= 11 && parse_number<int>(fields[1]) && parse_number<int64_t>(fields[3]);
}

bool is_sam_header(std::string_view start) {
  const std::string_view tag = start.substr(0, 4);
  return tag == "@HD\t" || tag == "@SQ\t" || tag == "@RG\t" || tag == "@PG\t" || tag == "@CO\t";
}

SequenceFormat recognise(ByteReader& in) {
  const std::string_view start = in.peek(65536);
  if (start.substr(0, 4) == "CRAM") return SequenceFormat::kCram;
  if (start.substr(0, 4) == "BAM\1") return SequenceFormat::kBam;
  if (is_sam_header(start)) return SequenceFormat::kSam;
  const size_t first = start.find_first_not_of("\r\n");
  const std::string_view text = first == std::string_view::npos ? "" : start.substr(first);
  if (text.substr(0, 1) == ">") return SequenceFormat::kFasta;
  if (text.substr(0, 1) == "@") return SequenceFormat::kFastq;
  if (is_sam_line(text.substr(0, text.find('\n')))) return SequenceFormat::kSam;
  throw input_error(in.name() + " is none of FASTA, FASTQ, SAM, BAM and CRAM: it starts with " +
                    describe_start(start) + ".");
}

std::unique_ptr<SequenceReader::Source> open_source(const std::string& path,
                                                    const SequenceReaderOptions& options) {
  ByteReader in(path);
  const SequenceFormat format = recognise(in);
  if (format == SequenceFormat::kFasta) return std::make_unique<FastaSource>(std::move(in));
  if (format == SequenceFormat::kFastq) return std::make_unique<FastqSource>(std::move(in));
  return open_alignments(std::move(in), format, options);
}

}  // namespace

const char* to_string(SequenceFormat format) {
  switch (format) {
    case SequenceFormat::kFasta:
      return "FASTA";
    case SequenceFormat::kFastq:
      return "FASTQ";
    case SequenceFormat::kSam:
      return "SAM";
    case SequenceFormat::kBam:
      return "BAM";
    case SequenceFormat::kCram:
      return "CRAM";
  }
  return "unknown";
}

SequenceReader::SequenceReader(const std::string& path, const SequenceReaderOptions& options)
    : source_(open_source(path, options)) {}
SequenceReader::~SequenceReader() = default;
SequenceReader::SequenceReader(SequenceReader&&) noexcept = default;
SequenceReader& SequenceReader::operator=(SequenceReader&&) noexcept = default;

bool SequenceReader::next(SequenceRecord& record) { return source_->next(record); }
SequenceFormat SequenceReader::format() const { return source_->format(); }
const SequenceReaderCounts& SequenceReader::counts() const { return source_->counts(); }
const std::string& SequenceReader::path() const { return source_->path(); }

}  // namespace strandwave
