#include "genomics/io/letter_spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "core/base/error.h"

namespace strandwave {
namespace {

constexpr size_t kBufferSize = size_t{256} << 10;

int open_nameless(const std::string& folder) {
  const int descriptor = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (descriptor >= 0) return descriptor;
  std::string name = folder + "/strandwave-XXXXXX";  // a file system that knows no nameless files
  const int named = ::mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) ::unlink(name.c_str());
  return named;
}

}  // namespace

LetterSpool::LetterSpool() {
  const char* chosen = std::getenv("TMPDIR");
  folder_ = chosen != nullptr && *chosen != '\0' ? chosen : "/tmp";
  descriptor_ = open_nameless(folder_);
  if (descriptor_ < 0) {
    throw runtime_failure("cannot make a temporary file in " + folder_ + ": " +
                          std::strerror(errno) + "; set TMPDIR to a folder that can be written to");
  }
}

LetterSpool::~LetterSpool() { ::close(descriptor_); }

void LetterSpool::append(std::string_view letters) {
  size_ += static_cast<int64_t>(letters.size());
  buffer_.append(letters);
  if (buffer_.size() >= kBufferSize) flush();
}

void LetterSpool::finish() {
  flush();
  buffer_ = {};
}

void LetterSpool::flush() {
  std::string_view rest = buffer_;
  while (!rest.empty()) {
    const ssize_t written = ::write(descriptor_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      throw runtime_failure("cannot write a temporary file in " + folder_ + ": " +
                            std::strerror(errno) + "; set TMPDIR to a folder with more room");
    }
    rest.remove_prefix(static_cast<size_t>(written));
  }
  buffer_.clear();
}

void LetterSpool::read(int64_t start, std::span<char> letters) const {
  while (!letters.empty()) {
    const ssize_t got = ::pread(descriptor_, letters.data(), letters.size(), start);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      throw runtime_failure("cannot read a temporary file in " + folder_ + ": " +
                            (got < 0 ? std::strerror(errno) : "it has become shorter"));
    }
    start += got;
    letters = letters.subspan(static_cast<size_t>(got));
  }
}

}  // namespace strandwave
