// Text for a file or the standard output. Used by the writers of this folder.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/base/files.h"

namespace strandwave {

// "-" is the standard output; a file takes its name in finish().
class TextOutput {
 public:
  explicit TextOutput(const std::string& path) {
    if (path != "-") file_ = std::make_unique<AtomicFile>(path);
  }

  void write(std::string_view text) {
    buffer_.append(text);
    constexpr size_t kBuffered = size_t{1} << 16;
    if (buffer_.size() >= kBuffered) pass_on();
  }
  void flush() {
    pass_on();
    if (!file_ && std::fflush(stdout) != 0) fail();
  }
  void finish() {
    flush();
    if (file_) file_->commit();
  }

 private:
  void pass_on() {
    if (file_)
      file_->write(buffer_);
    else if (std::fwrite(buffer_.data(), 1, buffer_.size(), stdout) != buffer_.size())
      fail();
    buffer_.clear();
  }
  [[noreturn]] static void fail() { throw runtime_failure("standard output cannot be written to"); }

  std::unique_ptr<AtomicFile> file_;
  std::string buffer_;
};

}  // namespace strandwave
