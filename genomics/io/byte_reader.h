// Bytes of a file or of the standard input, decompressed as needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "genomics/io/content_hash.h"

namespace strandwave {

// Opens a file ("-" is the standard input) and takes off its layers of gzip or bgzip, recognised by
// content. Memory: one buffer per layer.
//
// Throws Error (kInput) with the path: missing, unreadable, a folder, empty, truncated or damaged
// gzip, bgzip without its end-of-file marker (looked for when the file is opened, if it can be
// sought).
class ByteReader {
 public:
  // max_layers = 0 hands out the bytes as they are. A pipe or terminal that says nothing is waited
  // for until `stop` is requested: then Error (kInterrupted) is thrown.
  explicit ByteReader(const std::string& path, int max_layers = 3, std::stop_token stop = {});
  ~ByteReader();
  ByteReader(ByteReader&&) noexcept;
  ByteReader& operator=(ByteReader&&) noexcept;

  // Unread bytes, at least one; empty at the end.
  std::string_view chunk();
  // Marks the first n bytes of chunk() as read.
  void consume(size_t n);
  // The next n bytes (n <= 65536) without reading them; fewer at the end.
  std::string_view peek(size_t n);
  // Up to n bytes into `bytes`; 0 at the end.
  size_t read(char* bytes, size_t n);

  // The next line without its line feed (or carriage return and line feed); false at the end.
  bool line(std::string& text);
  // The same in pieces as they lie in the buffer, for lines of any length: false at the end, `ends`
  // tells whether the line ends with this piece. A carriage return before the line feed stays.
  bool line_piece(std::string_view& piece, bool& ends);
  // Number of lines that line() or line_piece() has returned, the one begun included.
  int64_t line_number() const { return lines_; }

  const std::string& path() const { return path_; }
  // path(), or "standard input".
  std::string name() const;
  int layers() const { return layers_; }
  bool regular_file() const;
  // Hash of the bytes on disk read so far; of the whole file once chunk() was empty.
  std::array<uint64_t, 2> hash() const;
  // Descriptor of the open file, for fstat.
  int descriptor() const;

  class Source;
  class FileSource;
  class GzipSource;

 private:
  bool fill();

  std::string path_;
  FileSource* file_ = nullptr;
  std::unique_ptr<Source> source_;
  std::string buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  int layers_ = 0;
  int64_t lines_ = 0;
  bool in_line_ = false;  // line_piece() has returned the beginning of a line, not its end
};

// "standard input" for "-", else the path: for messages.
std::string display_path(const std::string& path);

// The first bytes of a file for a message: printable, quoted, with a guess of what it is.
std::string describe_start(std::string_view bytes);

}  // namespace strandwave
