// Letters of a sequence that is too long to be held in memory.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace strandwave {

// A nameless temporary file in $TMPDIR (or /tmp), written once from front to back and then read
// anywhere: the reverse complement of a record begins at its end. Memory: one buffer until
// finish(). Throws Error (kRuntime) when the folder is full or cannot be written to.
class LetterSpool {
 public:
  LetterSpool();
  ~LetterSpool();
  LetterSpool(const LetterSpool&) = delete;
  LetterSpool& operator=(const LetterSpool&) = delete;

  void append(std::string_view letters);
  void finish();  // after the last append, before the first read

  int64_t size() const { return size_; }
  // The letters [start, start + letters.size()).
  void read(int64_t start, std::span<char> letters) const;

 private:
  void flush();

  std::string folder_;
  int descriptor_ = -1;
  int64_t size_ = 0;
  std::string buffer_;
};

}  // namespace strandwave
