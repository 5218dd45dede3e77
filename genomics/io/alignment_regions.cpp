#include "genomics/io/alignment_regions.h"

#include <htslib/hts.h>
#include <htslib/sam.h>

#include <algorithm>
#include <cstdlib>

#include "core/base/error.h"
#include "genomics/io/byte_reader.h"

namespace strandwave {
namespace {

Contigs contigs_of(sam_hdr_t* header, const std::string& file_name) {
  return {
      file_name, sam_hdr_nref(header),
      [header](std::string_view name) {
        return static_cast<int64_t>(sam_hdr_name2tid(header, std::string(name).c_str()));
      },
      [header](int64_t i) { return std::string(sam_hdr_tid2name(header, static_cast<int>(i))); },
      [header](int64_t i) {
        return static_cast<int64_t>(sam_hdr_tid2len(header, static_cast<int>(i)));
      }};
}

}  // namespace

AlignmentRegions::AlignmentRegions(const SequenceReaderOptions& options, sam_hdr_t* header,
                                   const std::string& file_name) {
  const Contigs contigs = contigs_of(header, file_name);
  if (!options.regions.empty()) read_regions(options.regions, contigs);
  if (!options.bed.empty()) read_bed(options.bed, contigs);
}

void AlignmentRegions::read_regions(const std::vector<std::string>& regions,
                                    const Contigs& contigs) {
  Set set;
  set.contigs.resize(static_cast<size_t>(contigs.count));
  for (const std::string& text : regions) {
    if (text == "*") {
      set.without_position = true;
      continue;
    }
    const ContigRange range = parse_region(text, contigs);
    set.add(static_cast<size_t>(range.contig), range.start, range.end);
  }
  set.merge();
  sets_.push_back(std::move(set));
}

void AlignmentRegions::read_bed(const std::string& path, const Contigs& contigs) {
  Set set;
  set.contigs.resize(static_cast<size_t>(contigs.count));
  ByteReader in(path);
  std::string line;
  int64_t used = 0, unknown = 0;
  std::string first_unknown, first_where;
  while (in.line(line)) {
    if (is_bed_comment(line)) continue;
    const std::string where = in.name() + ", line " + std::to_string(in.line_number());
    const auto fields = bed_fields(line, where);
    if (contigs.find(fields[0]) < 0) {
      if (++unknown > 1) continue;
      first_unknown = fields[0];
      first_where = where;
      continue;
    }
    const ContigRange range = bed_range(fields, contigs, where);
    set.add(static_cast<size_t>(range.contig), range.start, range.end);
    ++used;
  }
  if (used + unknown == 0) throw input_error(in.name() + " holds no interval.");
  if (used == 0) require_contig(contigs, first_unknown, first_where);
  if (unknown > 0)
    note_ = in.name() + ": " + std::to_string(unknown) + " of " + std::to_string(used + unknown) +
            " intervals lie on contigs that " + contigs.owner +
            " does not have and are passed over, the first, on \"" + first_unknown + "\", in " +
            first_where.substr(in.name().size() + 2);
  set.merge();
  sets_.push_back(std::move(set));
}

bool AlignmentRegions::contain(const bam1_t& record) const {
  return std::all_of(sets_.begin(), sets_.end(),
                     [&](const Set& set) { return set.contains(record); });
}

void AlignmentRegions::DestroyIterator::operator()(hts_itr_t* iterator) const {
  hts_itr_destroy(iterator);
}

AlignmentRegions::Iterator AlignmentRegions::iterate(const hts_idx_t* index,
                                                     sam_hdr_t* header) const {
  const Set& set = sets_.front();
  size_t count = set.without_position ? 1 : 0;
  for (const auto& contig : set.contigs) count += contig.empty() ? 0 : 1;
  // The iterator takes over this memory, so it must come from malloc.
  auto* list = static_cast<hts_reglist_t*>(std::calloc(count, sizeof(hts_reglist_t)));
  if (list == nullptr) throw runtime_failure("out of memory for regions.");
  size_t next = 0;
  for (size_t i = 0; i < set.contigs.size(); ++i) {
    const auto& intervals = set.contigs[i];
    if (intervals.empty()) continue;
    hts_reglist_t& entry = list[next++];
    const size_t bytes = intervals.size() * sizeof(hts_pair_pos_t);
    entry.reg = sam_hdr_tid2name(header, static_cast<int>(i));
    entry.tid = static_cast<int>(i);
    entry.intervals = static_cast<hts_pair_pos_t*>(std::malloc(bytes));
    if (entry.intervals == nullptr) {
      hts_reglist_free(list, static_cast<int>(count));
      throw runtime_failure("out of memory for regions.");
    }
    std::transform(intervals.begin(), intervals.end(), entry.intervals, [](const Range& range) {
      return hts_pair_pos_t{range.start, range.end};
    });
    entry.count = static_cast<uint32_t>(intervals.size());
    entry.min_beg = intervals.front().start;
    entry.max_end = intervals.back().end;
  }
  if (set.without_position) list[next].reg = "*";
  return Iterator(sam_itr_regions(index, header, list, static_cast<unsigned>(count)));
}

void AlignmentRegions::Set::add(size_t contig, int64_t start, int64_t end) {
  contigs[contig].push_back({start, end});
}

void AlignmentRegions::Set::merge() {
  for (auto& intervals : contigs) {
    std::sort(intervals.begin(), intervals.end(),
              [](const Range& a, const Range& b) { return a.start < b.start; });
    size_t kept = 0;
    for (const Range& interval : intervals) {
      if (kept > 0 && interval.start <= intervals[kept - 1].end)
        intervals[kept - 1].end = std::max(intervals[kept - 1].end, interval.end);
      else
        intervals[kept++] = interval;
    }
    intervals.resize(kept);
  }
}

bool AlignmentRegions::Set::contains(const bam1_t& record) const {
  const int32_t contig = record.core.tid;
  if (contig < 0) return without_position;
  if (static_cast<size_t>(contig) >= contigs.size()) return false;  // damaged
  const auto& intervals = contigs[static_cast<size_t>(contig)];
  // The first interval that ends behind the record's start.
  const auto found =
      std::partition_point(intervals.begin(), intervals.end(),
                           [&](const Range& interval) { return interval.end <= record.core.pos; });
  return found != intervals.end() && found->start < bam_endpos(&record);
}

}  // namespace strandwave
