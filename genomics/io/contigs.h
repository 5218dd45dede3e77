// Reference sequences as region strings and BED lines name them: those of a genome, or those of the
// header of an alignment file.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace strandwave {

// Names and lengths, whoever holds them.
struct Contigs {
  std::string owner;  // for messages: "the genome", "reads.bam"
  int64_t count = 0;
  std::function<int64_t(std::string_view)> find;  // -1: there is none of that name
  std::function<std::string(int64_t)> name;
  std::function<int64_t(int64_t)> length;
};

// 0-based, half-open.
struct ContigRange {
  int64_t contig = 0;
  int64_t start = 0;
  int64_t end = 0;
};

// The number of the contig; throws Error (kInput) that begins with `where` and names the nearest
// contig (chr1 for 1, 1 for chr1, else by spelling).
int64_t require_contig(const Contigs& contigs, std::string_view name, const std::string& where);

// "chr1", "chr1:1,000-2,000", "chr1:1000" (to the end of the contig), "chr1:-500", "chr1:500-".
// Contigs whose name holds a colon are tried whole first; "{name}:1-2" is understood too. Throws
// Error: unknown contig, start > end, position 0, start past the end. An end past the contig's is
// cut to it.
ContigRange parse_region(const std::string& text, const Contigs& contigs);

// True for lines that BED files may hold besides intervals: empty, "#", "track", "browser".
bool is_bed_comment(std::string_view line);
// The 3 to 12 columns of a BED line, and its first three as a range. Throws Error (kInput) that
// begins with `where`: number of columns, unknown contig, start >= end, past the end, no number.
std::vector<std::string_view> bed_fields(std::string_view line, const std::string& where);
ContigRange bed_range(const std::vector<std::string_view>& fields, const Contigs& contigs,
                      const std::string& where);

}  // namespace strandwave
