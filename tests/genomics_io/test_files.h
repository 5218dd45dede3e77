// Small files that the tests write for themselves.
#pragma once

#include <gtest/gtest.h>
#include <htslib/bgzf.h>
#include <htslib/sam.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/error_testing.h"

namespace strandwave::test {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "strandwave_test_XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = name;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }

  std::string path(const std::string& name) const { return (path_ / name).string(); }
  std::string write(const std::string& name, std::string_view bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
    return path(name);
  }
  size_t file_count(const std::string& folder) const {
    const auto files = std::filesystem::directory_iterator(path_ / folder);
    return static_cast<size_t>(std::distance(begin(files), end(files)));
  }

 private:
  std::filesystem::path path_;
};

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::string gzip(std::string_view bytes) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string in(bytes);
  std::string out(deflateBound(&stream, bytes.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// Through htslib, in blocks of about `block` bytes.
inline std::string bgzip(std::string_view bytes, size_t block = 60000) {
  const TemporaryFolder folder;
  const std::string path = folder.path("out.gz");
  BGZF* file = bgzf_open(path.c_str(), "w");
  for (size_t at = 0; at < bytes.size(); at += block) {
    const std::string_view part = bytes.substr(at, block);
    EXPECT_EQ(bgzf_write(file, part.data(), part.size()), static_cast<ssize_t>(part.size()));
    EXPECT_EQ(bgzf_flush(file), 0);
  }
  EXPECT_EQ(bgzf_close(file), 0);
  return read_file(path);
}

// The records of a SAM text through htslib's writer: mode "wb" is BAM, "wc" CRAM against a FASTA.
inline std::string convert_sam(const TemporaryFolder& folder, std::string_view sam,
                               const std::string& name, const char* mode,
                               const std::string& reference = "") {
  const std::string from = folder.write("from.sam", sam);
  const std::string to = folder.path(name);
  htsFile* in = hts_open(from.c_str(), "r");
  htsFile* out = hts_open(to.c_str(), mode);
  if (mode[1] == 'c') hts_set_opt(out, CRAM_OPT_REFERENCE, reference.c_str());
  sam_hdr_t* header = sam_hdr_read(in);
  EXPECT_EQ(sam_hdr_write(out, header), 0);
  bam1_t* record = bam_init1();
  while (sam_read1(in, header, record) >= 0) EXPECT_GE(sam_write1(out, header, record), 0);
  bam_destroy1(record);
  sam_hdr_destroy(header);
  hts_close(in);
  EXPECT_EQ(hts_close(out), 0);
  return to;
}

// All records of a SAM, BAM or CRAM file as SAM lines.
inline std::vector<std::string> sam_lines(const std::string& path,
                                          std::string* header_text = nullptr,
                                          const std::string& reference = "") {
  std::vector<std::string> lines;
  htsFile* in = hts_open(path.c_str(), "r");
  if (in == nullptr) return lines;
  if (!reference.empty()) hts_set_opt(in, CRAM_OPT_REFERENCE, reference.c_str());
  sam_hdr_t* header = sam_hdr_read(in);
  if (header_text != nullptr) *header_text = sam_hdr_str(header);
  bam1_t* record = bam_init1();
  kstring_t line = KS_INITIALIZE;
  while (sam_read1(in, header, record) >= 0) {
    EXPECT_GE(sam_format1(header, record, &line), 0);
    lines.emplace_back(ks_c_str(&line));
  }
  ks_free(&line);
  bam_destroy1(record);
  sam_hdr_destroy(header);
  hts_close(in);
  return lines;
}

// The standard input comes from these bytes, through a pipe (at most 64 KiB) or a file.
class StandardInput {
 public:
  explicit StandardInput(std::string_view bytes) : saved_(::dup(STDIN_FILENO)) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    EXPECT_EQ(::write(ends[1], bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    ::close(ends[1]);
    ::dup2(ends[0], STDIN_FILENO);
    ::close(ends[0]);
  }
  StandardInput(const StandardInput&) = delete;
  StandardInput& operator=(const StandardInput&) = delete;
  ~StandardInput() {
    ::dup2(saved_, STDIN_FILENO);
    ::close(saved_);
  }

 private:
  int saved_;
};

inline std::string random_letters(size_t size, std::mt19937_64& random,
                                  std::string_view alphabet = "ACGT") {
  std::string text(size, ' ');
  for (char& letter : text) letter = alphabet[random() % alphabet.size()];
  return text;
}

// Lines of `width` letters.
inline std::string wrap(std::string_view letters, size_t width,
                        std::string_view end_of_line = "\n") {
  std::string text;
  for (size_t at = 0; at < letters.size(); at += width) {
    text.append(letters.substr(at, width)).append(end_of_line);
  }
  return text;
}

}  // namespace strandwave::test
