#include <zlib.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "genomics/io/read_writer.h"

namespace strandwave {
namespace {

std::string file_stem(const std::string& label) {
  std::string stem = label;
  for (char& c : stem) {
    const bool kept = std::isalnum(static_cast<unsigned char>(c)) != 0 ||
                      std::string_view("._+-").find(c) != std::string_view::npos;
    if (!kept) c = '_';
  }
  return stem.empty() || stem[0] == '.' ? "_" + stem : stem;
}

// One stem per label and, last, that of the reads without one; all different.
std::vector<std::string> file_stems(const std::vector<std::string>& labels) {
  std::set<std::string> used = {kUnclassified};
  std::vector<std::string> stems;
  for (const std::string& label : labels) {
    std::string stem = file_stem(label);
    for (int n = 2; !used.insert(stem).second; ++n)
      stem = file_stem(label) + "_" + std::to_string(n);
    stems.push_back(stem);
  }
  stems.emplace_back(kUnclassified);
  return stems;
}

// A file that is opened only while a buffer is written to it: there may be thousands of classes.
// Compressed, each buffer is a gzip member of its own.
class AppendedFile {
 public:
  AppendedFile(std::filesystem::path path, bool gzip) : path_(std::move(path)), gzip_(gzip) {}

  void add(std::string_view text) {
    buffer_.append(text);
    constexpr size_t kBuffered = size_t{256} << 10;
    if (buffer_.size() >= kBuffered) flush();
  }
  size_t buffered() const { return buffer_.size(); }
  void flush() {
    if (buffer_.empty()) return;
    gzFile file = gzopen(path_.c_str(), gzip_ ? "ab" : "abT");
    const auto size = static_cast<int>(buffer_.size());
    const bool written =
        file != nullptr && gzwrite(file, buffer_.data(), static_cast<unsigned>(size)) == size;
    const bool closed = file != nullptr && gzclose(file) == Z_OK;
    if (!written || !closed)
      throw runtime_failure("cannot write " + path_.filename().string() +
                            " of the output folder: is the disk full?");
    buffer_.clear();
  }

 private:
  std::filesystem::path path_;
  bool gzip_;
  std::string buffer_;
};

class FastqSplitWriter : public ReadWriter {
 public:
  explicit FastqSplitWriter(const ReadWriterOptions& options)
      : options_(options), stems_(file_stems(options.labels)), folder_(options.path) {}

  void write(const SequenceRecord& record, const ReadCall& call) override {
    if (!call.has_prediction() && call.status != ReadStatus::kShort) return;
    const size_t stem = call.status == ReadStatus::kClassified ? static_cast<size_t>(call.label)
                                                               : stems_.size() - 1;
    const bool qualities = !record.qualities.empty();
    AppendedFile& file = open(stem, qualities);
    file.add((qualities ? "@" : ">") + record.name + mate(record) +
             (record.comment.empty() ? "" : " " + record.comment) + "\n");
    if (qualities) {
      file.add(record.sequence + "\n+\n");
      std::string shown = record.qualities;
      for (char& c : shown) c = static_cast<char>(c + 33);
      file.add(shown + "\n");
    } else {
      add_fasta(record, file);
    }
    limit_memory();
  }

  void flush() override {
    for (auto& [key, file] : files_) file->flush();
  }

  void finish() override {
    flush();
    folder_.commit(options_.force);
  }

 private:
  static const char* mate(const SequenceRecord& record) {
    const bool first = (record.flags & kFirstMateFlag) != 0;
    const bool last = (record.flags & kLastMateFlag) != 0;
    if (!record.has_alignment || first == last) return "";
    return first ? "/1" : "/2";
  }

  static void add_fasta(const SequenceRecord& record, AppendedFile& file) {
    constexpr int64_t kWidth = 80;
    const int64_t length = record.length();
    std::string line;
    for (int64_t at = 0; at < length; at += kWidth) {
      const auto size = static_cast<size_t>(std::min(kWidth, length - at));
      line.resize(size);
      if (record.spool)
        record.spool->read(at, line);
      else
        line.assign(record.sequence, static_cast<size_t>(at), size);
      file.add(line + "\n");
    }
  }

  AppendedFile& open(size_t stem, bool qualities) {
    std::unique_ptr<AppendedFile>& file = files_[{stem, qualities}];
    if (!file) {
      const std::string name =
          stems_[stem] + (qualities ? ".fastq" : ".fa") + (options_.gzip ? ".gz" : "");
      file = std::make_unique<AppendedFile>(folder_.path() / name, options_.gzip);
    }
    return *file;
  }

  // Many classes with a little each must not add up.
  void limit_memory() {
    constexpr int kEvery = 4096;
    constexpr size_t kMost = size_t{32} << 20;
    if (++since_check_ < kEvery) return;
    since_check_ = 0;
    size_t sum = 0;
    for (const auto& [key, file] : files_) sum += file->buffered();
    if (sum > kMost) flush();
  }

  ReadWriterOptions options_;
  std::vector<std::string> stems_;
  AtomicDirectory folder_;
  std::map<std::pair<size_t, bool>, std::unique_ptr<AppendedFile>> files_;
  int since_check_ = 0;
};

}  // namespace

std::unique_ptr<ReadWriter> open_fastq_split_writer(const ReadWriterOptions& options) {
  return std::make_unique<FastqSplitWriter>(options);
}

}  // namespace strandwave
