#include "genomics/io/byte_reader.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/base/error.h"
#include "core/base/signals.h"

namespace strandwave {
namespace {

constexpr size_t kBufferSize = size_t{256} << 10;

bool is_gzip(std::string_view bytes) {
  return bytes.size() >= 3 && bytes.substr(0, 3) == std::string_view("\x1f\x8b\x08", 3);
}

// bgzip writes gzip members whose extra field begins with the subfield BC.
bool is_bgzf(std::string_view bytes) {
  return is_gzip(bytes) && bytes.size() >= 14 && (bytes[3] & 4) != 0 && bytes.substr(12, 2) == "BC";
}

Error no_end_marker(const std::string& name) {
  return input_error(
      name + " is truncated: the bgzip end-of-file marker is missing. Copy or download it again.");
}

}  // namespace

std::string display_path(const std::string& path) { return path == "-" ? "standard input" : path; }

std::string describe_start(std::string_view bytes) {
  constexpr size_t kShown = 24;
  std::string text = "\"";
  bool binary = false;
  for (const char byte : bytes.substr(0, kShown)) {
    if (byte == '\n' || byte == '\r') break;
    const bool printable = byte >= 0x20 && byte < 0x7f;
    binary = binary || (!printable && byte != '\t');
    text += printable ? byte : byte == '\t' ? ' ' : '?';
  }
  text += '"';
  const auto starts = [&](std::string_view prefix) {
    return bytes.substr(0, prefix.size()) == prefix;
  };
  if (starts("##fileformat=VCF")) return text + " (a VCF file)";
  if (starts("BCF\2")) return text + " (a BCF file)";
  if (starts("BAM\1")) return text + " (a BAM file)";
  if (starts("CRAM")) return text + " (a CRAM file)";
  if (starts("##gff")) return text + " (a GFF file)";
  if (starts("LOCUS ")) return text + " (a GenBank file)";
  if (starts("@")) return text + " (perhaps FASTQ or SAM)";
  if (starts("{")) return text + " (perhaps JSON)";
  if (starts("PK\3\4")) return text + " (a ZIP archive)";
  if (starts("BZh")) return text + " (compressed with bzip2; use gzip or bgzip)";
  if (starts("\xfd"
             "7zXZ"))
    return text + " (compressed with xz; use gzip or bgzip)";
  if (starts("\x28\xb5\x2f\xfd")) return text + " (compressed with zstd; use gzip or bgzip)";
  if (binary) return text + " (a binary file)";
  return text;
}

class ByteReader::Source {
 public:
  virtual ~Source() = default;
  virtual size_t read(char* bytes, size_t n) = 0;  // 0 at the end
};

class ByteReader::FileSource : public Source {
 public:
  FileSource(const std::string& path, std::stop_token stop)
      : name_(display_path(path)), stop_(std::move(stop)) {
    descriptor_ = path == "-" ? ::dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor_ < 0) fail("cannot open ");
    struct stat info {};
    const bool known = ::fstat(descriptor_, &info) == 0;
    regular_ = known && S_ISREG(info.st_mode);
    if (known && S_ISDIR(info.st_mode)) {
      ::close(descriptor_);
      throw input_error(name_ + " is a folder, not a file: name the files in it.");
    }
  }
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;
  ~FileSource() override { ::close(descriptor_); }

  size_t read(char* bytes, size_t n) override {
    ssize_t got;
    wait_for_input();
    do {
      got = ::read(descriptor_, bytes, n);
    } while (got < 0 && errno == EINTR);
    if (got < 0) fail("cannot read ");
    hash_.add(bytes, static_cast<size_t>(got));
    return static_cast<size_t>(got);
  }

  // The last four bytes of a gzip member are the size of its content; bgzip's last member is empty.
  void require_bgzf_end() const {
    const off_t end = regular_ ? ::lseek(descriptor_, 0, SEEK_CUR) : -1;
    struct stat info {};
    if (end < 0 || ::fstat(descriptor_, &info) != 0) return;
    std::array<char, 4> size{};
    const bool read_all =
        info.st_size >= 28 && ::pread(descriptor_, size.data(), 4, info.st_size - 4) == 4;
    if (!read_all || size != std::array<char, 4>{}) throw no_end_marker(name_);
  }

  bool regular() const { return regular_; }
  int descriptor() const { return descriptor_; }
  std::array<uint64_t, 2> hash() const { return hash_.value(); }

 private:
  // A pipe or a terminal may never say anything more: waits so that a SignalGuard's signal counts.
  void wait_for_input() const {
    if (regular_) return;
    constexpr int kMilliseconds = 100;
    pollfd waiting{descriptor_, POLLIN, 0};
    do {
      throw_if_interrupted();
      if (stop_.stop_requested())
        throw Error(ErrorKind::kInterrupted, "reading " + name_ + " was given up");
    } while (::poll(&waiting, 1, kMilliseconds) <= 0);
  }

  [[noreturn]] void fail(const char* what) const {
    throw input_error(what + name_ + ": " + std::strerror(errno) + ".");
  }

  std::string name_;
  std::stop_token stop_;
  int descriptor_ = -1;
  bool regular_ = false;
  ContentHash hash_;
};

// A chain of gzip members; bgzip is one with an empty member at the end.
class ByteReader::GzipSource : public Source {
 public:
  GzipSource(std::unique_ptr<Source> inner, std::string_view first, std::string name)
      : inner_(std::move(inner)), name_(std::move(name)), bgzf_(is_bgzf(first)) {
    input_.resize(std::max(kBufferSize, first.size()));
    std::memcpy(input_.data(), first.data(), first.size());
    stream_.next_in = reinterpret_cast<Bytef*>(input_.data());
    stream_.avail_in = static_cast<uInt>(first.size());
    if (inflateInit2(&stream_, 15 + 16) != Z_OK)
      throw runtime_failure("out of memory for decompression.");
  }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;
  ~GzipSource() override { inflateEnd(&stream_); }

  size_t read(char* bytes, size_t n) override {
    stream_.next_out = reinterpret_cast<Bytef*>(bytes);
    stream_.avail_out = static_cast<uInt>(std::min<size_t>(n, size_t{1} << 30));
    const uInt wanted = stream_.avail_out;
    while (!ended_ && stream_.avail_out > 0) {
      if (between_members_) {
        next_member();
        continue;
      }
      // What a slow pipe has brought so far is handed out before it is waited for again.
      if (stream_.avail_in == 0 && stream_.avail_out < wanted) break;
      if (stream_.avail_in == 0 && !refill()) {
        throw input_error(
            name_ +
            " is truncated: the compressed data end in the middle. Copy or download it again.");
      }
      inflate_some();
    }
    return wanted - stream_.avail_out;
  }

 private:
  bool refill() {
    stream_.next_in = reinterpret_cast<Bytef*>(input_.data());
    stream_.avail_in = static_cast<uInt>(inner_->read(input_.data(), input_.size()));
    return stream_.avail_in > 0;
  }

  void inflate_some() {
    const uInt before = stream_.avail_out;
    const int status = inflate(&stream_, Z_NO_FLUSH);
    member_size_ += before - stream_.avail_out;
    if (status == Z_STREAM_END) {
      between_members_ = true;
    } else if (status == Z_MEM_ERROR) {
      throw runtime_failure("out of memory while " + name_ + " was decompressed.");
    } else if (status != Z_OK && status != Z_BUF_ERROR) {
      throw input_error(name_ +
                        " is damaged: " + (stream_.msg ? stream_.msg : "invalid compressed data") +
                        ". Copy or download it again.");
    }
  }

  void next_member() {
    while (stream_.avail_in > 0 || refill()) {
      if (*stream_.next_in != 0) break;  // zero bytes may pad the end
      padded_ = true;
      ++stream_.next_in;
      --stream_.avail_in;
    }
    if (stream_.avail_in == 0) {
      if (bgzf_ && member_size_ != 0) throw no_end_marker(name_);
      ended_ = true;
      return;
    }
    if (padded_ || *stream_.next_in != 0x1f) {
      throw input_error(name_ + " is damaged: bytes that are not gzip follow the compressed data.");
    }
    inflateReset(&stream_);
    member_size_ = 0;
    between_members_ = false;
  }

  std::unique_ptr<Source> inner_;
  std::string name_;
  bool bgzf_;
  std::string input_;
  z_stream stream_{};
  uint64_t member_size_ = 0;
  bool between_members_ = false;
  bool padded_ = false;
  bool ended_ = false;
};

ByteReader::ByteReader(const std::string& path, int max_layers, std::stop_token stop)
    : path_(path) {
  auto file = std::make_unique<FileSource>(path, std::move(stop));
  file_ = file.get();
  source_ = std::move(file);
  buffer_.resize(kBufferSize);
  if (peek(1).empty()) throw input_error(name() + " is empty: check what should have written it.");
  while (layers_ < max_layers && is_gzip(peek(14))) {
    if (layers_ == 0 && is_bgzf(peek(14))) file_->require_bgzf_end();
    const std::string_view first(buffer_.data() + begin_, end_ - begin_);
    source_ = std::make_unique<GzipSource>(std::move(source_), first, name());
    begin_ = end_ = 0;
    ++layers_;
  }
  if (layers_ > 0 && peek(1).empty()) {
    throw input_error(name() + " is empty: it holds compressed data of no bytes.");
  }
}

ByteReader::~ByteReader() = default;
ByteReader::ByteReader(ByteReader&&) noexcept = default;
ByteReader& ByteReader::operator=(ByteReader&&) noexcept = default;

bool ByteReader::fill() {
  if (begin_ == end_) begin_ = end_ = 0;
  if (end_ == buffer_.size()) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  const size_t got = source_->read(buffer_.data() + end_, buffer_.size() - end_);
  end_ += got;
  return got > 0;
}

std::string_view ByteReader::chunk() {
  if (begin_ == end_) fill();
  return {buffer_.data() + begin_, end_ - begin_};
}

void ByteReader::consume(size_t n) { begin_ += n; }

std::string_view ByteReader::peek(size_t n) {
  while (end_ - begin_ < n && fill()) {
  }
  return {buffer_.data() + begin_, std::min(n, end_ - begin_)};
}

size_t ByteReader::read(char* bytes, size_t n) {
  const std::string_view next = chunk();
  const size_t take = std::min(n, next.size());
  std::memcpy(bytes, next.data(), take);
  consume(take);
  return take;
}

bool ByteReader::line(std::string& text) {
  text.clear();
  bool any = false;
  for (std::string_view next = chunk(); !next.empty(); next = chunk()) {
    any = true;
    const size_t feed = next.find('\n');
    text.append(next.substr(0, feed));
    consume(feed == std::string_view::npos ? next.size() : feed + 1);
    if (feed != std::string_view::npos) break;
  }
  if (!any) return false;
  if (!text.empty() && text.back() == '\r') text.pop_back();
  ++lines_;
  return true;
}

bool ByteReader::line_piece(std::string_view& piece, bool& ends) {
  const std::string_view next = chunk();
  if (next.empty()) return in_line_ = false;
  if (!in_line_) ++lines_;
  const size_t feed = next.find('\n');
  ends = feed != std::string_view::npos;
  in_line_ = !ends;
  piece = next.substr(0, feed);
  consume(ends ? feed + 1 : next.size());
  return true;
}

std::string ByteReader::name() const { return display_path(path_); }
bool ByteReader::regular_file() const { return file_->regular(); }
std::array<uint64_t, 2> ByteReader::hash() const { return file_->hash(); }
int ByteReader::descriptor() const { return file_->descriptor(); }

}  // namespace strandwave
