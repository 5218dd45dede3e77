#include "genomics/io/sequence_reader.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "core/base/error.h"
#include "core/base/text_fields.h"
#include "genomics/io/byte_reader.h"
#include "genomics/io/sequence_source.h"
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
  record.alignment.reset();
}

// Reads with the record's own strings; text formats know lines.
class TextSource : public SequenceReader::Source {
 public:
  TextSource(ByteReader in, SequenceFormat format, const SequenceReaderOptions& options)
      : Source(in.path(), format), in_(std::move(in)), options_(options) {
    if (!options.regions.empty() || !options.bed.empty()) {
      throw input_error(display_path(path_) + " is " + to_string(format) +
                        ": regions need alignments (SAM, BAM or CRAM). Leave -r and -L out.");
    }
  }

  bool next(SequenceRecord& record) override {
    while (read_record(record)) {
      const RecordFate fate =
          record.length() > 0 ? RecordFate::kRead : RecordFate::kWithoutSequence;
      if (deliver(record, fate, options_.deliver_all)) return true;
    }
    return false;
  }

 protected:
  virtual bool read_record(SequenceRecord& record) = 0;

  std::string at_line(const std::string& name) const {
    return where(name) + ", line " + std::to_string(in_.line_number());
  }

  // Throws Error on the first letter that is no nucleotide; `offset` bases came before these.
  void check_letters(std::string_view letters, size_t offset, const std::string& name) const {
    const auto bad = std::find_if_not(letters.begin(), letters.end(), dna::is_iupac);
    if (bad == letters.end()) return;
    refuse(offset + static_cast<size_t>(bad - letters.begin()), *bad, name);
  }

  [[noreturn]] void refuse(size_t offset, char letter, const std::string& name) const {
    throw input_error(at_line(name) + ", position " + std::to_string(offset + 1) + ": " +
                      describe_start({&letter, 1}).substr(0, 3) +
                      " is no IUPAC nucleotide code; correct it, or write N.");
  }

  ByteReader in_;
  SequenceReaderOptions options_;
};

class FastaSource : public TextSource {
 public:
  FastaSource(ByteReader in, const SequenceReaderOptions& options)
      : TextSource(std::move(in), SequenceFormat::kFasta, options) {
    while (in_.line(line_) && line_.empty()) {
    }
    have_header_ = true;
  }

 private:
  bool read_record(SequenceRecord& record) override {
    if (!have_header_) return false;
    ++counts_.records;
    set_header(std::string_view(line_).substr(1), record);
    if (record.name.empty()) {
      throw input_error(where() + ", line " + std::to_string(in_.line_number()) +
                        " has no name after \">\".");
    }
    record.sequence.clear();
    record.qualities.clear();
    record.spool.reset();
    spool_.reset();
    have_header_ = false;
    std::string_view piece;
    bool ends = true;
    blank_at_ = {};
    while (!(ends && in_.peek(1) == ">") && in_.line_piece(piece, ends)) {
      add(piece, record);
      if (ends) blank_at_ = {};
    }
    have_header_ = in_.line(line_);
    if (spool_) spool_->finish();
    record.spool = std::move(spool_);
    return true;
  }

  // Blanks may only end a line (so does the carriage return); what ends it may be in the next
  // piece.
  void add(std::string_view piece, SequenceRecord& record) {
    const size_t blank = piece.find_first_of(" \t\r");
    const std::string_view letters = piece.substr(0, blank);
    const auto offset = static_cast<size_t>(spool_ ? spool_->size() : record.length());
    if (!letters.empty() && blank_at_) refuse(offset, *blank_at_, record.name);
    check_letters(letters, offset, record.name);
    if (blank != std::string_view::npos) {
      const size_t after = piece.find_first_not_of(" \t\r", blank);
      if (after != std::string_view::npos)
        refuse(offset + letters.size(), piece[blank], record.name);
      blank_at_ = piece[blank];
    }
    keep(letters, record);
  }

  void keep(std::string_view letters, SequenceRecord& record) {
    if (spool_) {
      spool_->append(letters);
      return;
    }
    record.sequence.append(letters);
    if (options_.spool_above == 0 || record.length() <= options_.spool_above) return;
    spool_ = std::make_shared<LetterSpool>();
    spool_->append(record.sequence);
    record.sequence.clear();
  }

  std::string line_;
  bool have_header_ = false;
  std::optional<char> blank_at_;  // seen in the line in work
  std::shared_ptr<LetterSpool> spool_;
};

class FastqSource : public TextSource {
 public:
  FastqSource(ByteReader in, const SequenceReaderOptions& options)
      : TextSource(std::move(in), SequenceFormat::kFastq, options) {}

 private:
  bool read_record(SequenceRecord& record) override {
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

constexpr size_t kRecognised = 65536;

// The first bytes after empty lines, at least `n` where there are so many. A pipe is not waited for
// longer than needed.
std::string_view first_text(ByteReader& in, size_t n) {
  for (size_t looked_at = n;; looked_at *= 2) {
    const std::string_view start = in.peek(std::min(looked_at, kRecognised));
    const size_t first = std::min(start.find_first_not_of("\r\n"), start.size());
    const bool all = start.size() < looked_at || looked_at >= kRecognised;
    if (all || start.size() - first >= n) return start.substr(first);
  }
}

std::string_view first_line(ByteReader& in) {
  for (size_t n = 64;; n *= 2) {
    const std::string_view text = first_text(in, n);
    const size_t feed = text.find('\n');
    if (feed != std::string_view::npos || text.size() < n || n >= kRecognised)
      return text.substr(0, feed);
  }
}

SequenceFormat recognise(ByteReader& in) {
  const std::string_view start = in.peek(4);
  if (start == "CRAM") return SequenceFormat::kCram;
  if (start == "BAM\1") return SequenceFormat::kBam;
  if (is_sam_header(start)) return SequenceFormat::kSam;
  const std::string_view text = first_text(in, 1);
  if (text.substr(0, 1) == ">") return SequenceFormat::kFasta;
  if (text.substr(0, 1) == "@") return SequenceFormat::kFastq;
  if (is_sam_line(first_line(in))) return SequenceFormat::kSam;
  throw input_error(in.name() + " is none of FASTA, FASTQ, SAM, BAM and CRAM: it starts with " +
                    describe_start(in.peek(kRecognised)) + "; give reads in one of these formats.");
}

std::unique_ptr<SequenceReader::Source> open_source(const std::string& path,
                                                    const SequenceReaderOptions& options) {
  constexpr int kLayers = 3;
  ByteReader in(path, kLayers, options.stop);
  const SequenceFormat format = recognise(in);
  if (format == SequenceFormat::kFasta)
    return std::make_unique<FastaSource>(std::move(in), options);
  if (format == SequenceFormat::kFastq)
    return std::make_unique<FastqSource>(std::move(in), options);
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

std::string_view pair_name(std::string_view name) {
  const bool numbered =
      name.size() > 2 && name[name.size() - 2] == '/' && (name.back() == '1' || name.back() == '2');
  return numbered ? name.substr(0, name.size() - 2) : name;
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
bool SequenceReader::collated() const { return source_->collated(); }
const std::vector<std::string>& SequenceReader::notes() const { return source_->notes(); }
std::shared_ptr<sam_hdr_t> SequenceReader::alignment_header() const {
  return source_->alignment_header();
}

}  // namespace strandwave
