// Which records of an alignment file lie in the regions asked for. Used by alignment_source.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "genomics/io/contigs.h"
#include "genomics/io/sequence_reader.h"

struct hts_idx_t;  // htslib's index
struct hts_itr_t;  // and iterator

namespace strandwave {

class AlignmentRegions {
 public:
  // Reads SequenceReaderOptions::regions and bed against the header. Throws Error: an unknown
  // contig (naming the nearest; of a BED file when it shares no contig), no range, what is wrong
  // with the BED file.
  AlignmentRegions(const SequenceReaderOptions& options, sam_hdr_t* header,
                   const std::string& file_name);

  bool any() const { return !sets_.empty(); }
  // Which lines of the BED file were passed over.
  const std::optional<std::string>& note() const { return note_; }
  bool contain(const bam1_t& record) const;

  struct DestroyIterator {
    void operator()(hts_itr_t* iterator) const;
  };
  using Iterator = std::unique_ptr<hts_itr_t, DestroyIterator>;
  // Over what the first set covers, each record once, in the order of the file.
  Iterator iterate(const hts_idx_t* index, sam_hdr_t* header) const;

 private:
  struct Range {
    int64_t start = 0;
    int64_t end = 0;
  };
  // The union of regions: per contig sorted and disjoint.
  struct Set {
    std::vector<std::vector<Range>> contigs;  // by number in the header
    bool without_position = false;

    void add(size_t contig, int64_t start, int64_t end);
    void merge();
    bool contains(const bam1_t& record) const;
  };
  void read_regions(const std::vector<std::string>& regions, const Contigs& contigs);
  void read_bed(const std::string& path, const Contigs& contigs);

  std::optional<std::string> note_;
  std::vector<Set> sets_;  // a record must lie in each
};

}  // namespace strandwave
