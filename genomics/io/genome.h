// A genome of one or more FASTA files, packed and mapped into memory.
//
// Content: 2 bits per base, a run-length table of N and one of lower-case letters. The packed form
// of each input file is a file in a cache folder, never beside the input: built once, mapped
// afterwards, so that opening a genome again takes milliseconds and random windows cost no
// decompression.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "genomics/io/contigs.h"

namespace strandwave {

// One FASTA record. Counts are in bases.
struct Contig {
  std::string name;  // the header up to the first blank
  int64_t length = 0;
  int32_t file = 0;        // index into Genome::files()
  int64_t unknown = 0;     // tokens N: letters N and ambiguous letters
  int64_t ambiguous = 0;   // IUPAC codes other than A, C, G, T, U, N, mapped to N
  int64_t uracil = 0;      // U, converted to T
  int64_t lower_case = 0;  // soft-masked letters of any kind
};

// One input file.
struct GenomeFile {
  std::string path;  // as given; "-" is the standard input
  std::string hash;  // 32 hexadecimal digits: hash of the bytes of the file as it lies on disk
  std::string cache_path;  // empty for the standard input
  bool built = false;      // this call read the FASTA (false: an existing cache was used)
};

// Sums over all contigs.
struct GenomeCounts {
  int64_t contigs = 0;
  int64_t bases = 0;  // all letters
  int64_t unknown = 0;
  int64_t ambiguous = 0;
  int64_t uracil = 0;
  int64_t lower_case = 0;
  int64_t empty_contigs = 0;
};

struct GenomeOptions {
  bool rebuild = false;  // ignore existing caches
  bool allow_duplicate_names =
      false;  // else a name that occurs twice is an error; find() gives the first
  // Called about every 16 MiB of text while a file is packed: path, bytes of text so far. May throw
  // to stop.
  std::function<void(const std::string&, int64_t)> progress;
};

// $STRANDWAVE_CACHE, else $XDG_CACHE_HOME/strandwave, else $HOME/.cache/strandwave.
std::string default_cache_dir();

// Copies share the mapping. All const members may be called from any number of threads.
class Genome {
 public:
  // Reads or maps all files, in order. Each may be plain, gzip or bgzip (recognised by content), or
  // "-" for the standard input. An empty cache_dir means default_cache_dir().
  //
  // A cache is used when path, size, times and inode of the input are those it was built from, or
  // else when the hash of the content is; a stale, truncated or damaged cache is rebuilt. It is
  // written under a temporary name and renamed, so any number of processes may build the same one
  // at once.
  //
  // Throws Error (kInput) naming file, record and line: missing, unreadable or empty file,
  // truncated gzip or bgzip, not FASTA, duplicate contig, a letter that is no IUPAC code, no base
  // at all.
  static Genome open(const std::vector<std::string>& paths, const std::string& cache_dir = "",
                     const GenomeOptions& options = {});

  const std::vector<Contig>& contigs() const;
  const std::vector<GenomeFile>& files() const;
  GenomeCounts counts() const;
  // Facts a user should know, one line each: empty records, ambiguous letters per contig, U, all N.
  std::vector<std::string> warnings() const;
  // Hash of the hashes of all files in order: identifies the genome in outputs and checkpoints.
  std::string hash() const;

  // Index of a contig, or -1.
  int64_t find(std::string_view name) const;
  // The same; throws an Error that names the nearest contig or a missing or surplus "chr".
  // `where` begins the message, e.g. "splits.bed line 4".
  int64_t require(std::string_view name, const std::string& where) const;
  // Its contigs for region strings and BED lines.
  Contigs names() const;

  // Token ids (tokenizer.h) of the 0-based half-open range [start, end), end - start bytes. With
  // `reverse` the reverse complement: ids[0] is the complement of the base at end - 1.
  // Throws Error when the range is not inside the contig.
  void fetch(int64_t contig, int64_t start, int64_t end, uint8_t* ids, bool reverse = false) const;

  // mask[i] = 1 where the letter was lower case in the file, else 0; same order as fetch.
  void fetch_lower_case(int64_t contig, int64_t start, int64_t end, uint8_t* mask,
                        bool reverse = false) const;

  // Number of N in [start, end). O(log of the number of N runs).
  int64_t count_unknown(int64_t contig, int64_t start, int64_t end) const;

 private:
  struct Impl;
  explicit Genome(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

}  // namespace strandwave
