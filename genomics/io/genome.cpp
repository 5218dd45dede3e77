#include "genomics/io/genome.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <span>
#include <unordered_map>
#include <utility>

#include "core/base/error.h"
#include "genomics/io/byte_reader.h"
#include "genomics/io/content_hash.h"
#include "genomics/io/genome_cache.h"
#include "genomics/io/tokenizer.h"

namespace strandwave {
namespace {

using genome_cache::ContigEntry;
using genome_cache::PackedFile;
using genome_cache::Run;

// The four token ids of a packed byte, forward and as reverse complement.
using ByteTable = std::array<std::array<uint8_t, 4>, 256>;

constexpr ByteTable make_table(bool reverse) {
  ByteTable table{};
  for (size_t byte = 0; byte < 256; ++byte) {
    for (size_t i = 0; i < 4; ++i) {
      const auto code = static_cast<uint8_t>((byte >> (2 * i)) & 3);
      table[byte][reverse ? 3 - i : i] =
          static_cast<uint8_t>(dna::kA + (reverse ? 3 - code : code));
    }
  }
  return table;
}
constexpr ByteTable kForward = make_table(false);
constexpr ByteTable kReverse = make_table(true);

uint8_t packed_id(const uint8_t* packed, int64_t position) {
  return static_cast<uint8_t>(dna::kA + ((packed[position >> 2] >> (2 * (position & 3))) & 3));
}

void unpack_forward(const uint8_t* packed, int64_t start, int64_t end, uint8_t* ids) {
  int64_t position = start;
  for (; position < end && (position & 3) != 0; ++position) *ids++ = packed_id(packed, position);
  for (; position + 4 <= end; position += 4, ids += 4) {
    std::memcpy(ids, kForward[packed[position >> 2]].data(), 4);
  }
  for (; position < end; ++position) *ids++ = packed_id(packed, position);
}

void unpack_reverse(const uint8_t* packed, int64_t start, int64_t end, uint8_t* ids) {
  uint8_t* out = ids + (end - start);  // filled from its end
  int64_t position = start;
  for (; position < end && (position & 3) != 0; ++position) {
    *--out = dna::complement(packed_id(packed, position));
  }
  for (; position + 4 <= end; position += 4) {
    out -= 4;
    std::memcpy(out, kReverse[packed[position >> 2]].data(), 4);
  }
  for (; position < end; ++position) *--out = dna::complement(packed_id(packed, position));
}

// Writes `value` where runs meet [start, end).
void overlay(std::span<const Run> runs, int64_t start, int64_t end, bool reverse, uint8_t value,
             uint8_t* out) {
  auto run = std::upper_bound(runs.begin(), runs.end(), start,
                              [](int64_t position, const Run& r) { return position < r.end; });
  for (; run != runs.end() && run->start < end; ++run) {
    const int64_t from = std::max(run->start, start);
    const int64_t to = std::min(run->end, end);
    std::memset(out + (reverse ? end - to : from - start), value, static_cast<size_t>(to - from));
  }
}

std::string home_cache() {
  if (const char* dir = std::getenv("XDG_CACHE_HOME"); dir != nullptr && *dir != '\0') {
    return std::string(dir) + "/strandwave";
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
    return std::string(home) + "/.cache/strandwave";
  }
  throw usage_error(
      "no folder for the genome cache: set STRANDWAVE_CACHE, XDG_CACHE_HOME or HOME.");
}

}  // namespace

std::string default_cache_dir() {
  if (const char* dir = std::getenv("STRANDWAVE_CACHE"); dir != nullptr && *dir != '\0') return dir;
  return home_cache();
}

struct Genome::Impl {
  struct Place {
    std::shared_ptr<const PackedFile> file;
    const ContigEntry* entry;
    const uint8_t* packed;
    std::span<const Run> unknown;
    std::span<const Run> lower;
    std::vector<int64_t> unknown_before;  // N in all runs before run i
  };

  std::vector<GenomeFile> files;
  std::vector<Contig> contigs;
  std::vector<Place> places;
  std::unordered_map<std::string, int64_t> by_name;

  void add(const genome_cache::Opened& opened, const std::string& path, bool allow_duplicates);
  const Place& place(int64_t contig, int64_t start, int64_t end) const;
};

void Genome::Impl::add(const genome_cache::Opened& opened, const std::string& path,
                       bool allow_duplicates) {
  const auto file_index = static_cast<int32_t>(files.size());
  files.push_back({path, to_hex(opened.file->hash()), opened.cache_path, opened.built});
  int64_t record = 0;
  for (const ContigEntry& entry : opened.file->contigs()) {
    ++record;
    Contig contig{std::string(opened.file->name(entry)),
                  entry.length,
                  file_index,
                  entry.unknown,
                  entry.ambiguous,
                  entry.uracil,
                  entry.lower_case};
    const auto [known, is_new] = by_name.emplace(contig.name, static_cast<int64_t>(contigs.size()));
    if (!is_new && !allow_duplicates) {
      const auto first = static_cast<size_t>(known->second);
      throw input_error(display_path(path) + ", record " + std::to_string(record) + ", line " +
                        std::to_string(entry.line) + ": the contig name \"" + contig.name +
                        "\" occurs twice; first in " +
                        display_path(files[static_cast<size_t>(contigs[first].file)].path) +
                        ", line " + std::to_string(places[first].entry->line) +
                        ". Rename one of them.");
    }
    Place place{opened.file,
                &entry,
                opened.file->packed(entry),
                opened.file->unknown_runs(entry),
                opened.file->lower_runs(entry),
                {}};
    place.unknown_before.reserve(place.unknown.size());
    int64_t before = 0;
    for (const Run& run : place.unknown) {
      place.unknown_before.push_back(before);
      before += run.end - run.start;
    }
    contigs.push_back(std::move(contig));
    places.push_back(std::move(place));
  }
}

const Genome::Impl::Place& Genome::Impl::place(int64_t contig, int64_t start, int64_t end) const {
  if (contig < 0 || contig >= static_cast<int64_t>(contigs.size())) {
    throw usage_error("contig number " + std::to_string(contig) +
                      " does not exist; the genome has " + std::to_string(contigs.size()) + ".");
  }
  const Contig& facts = contigs[static_cast<size_t>(contig)];
  if (start < 0 || start > end || end > facts.length) {
    throw usage_error("range " + std::to_string(start) + "-" + std::to_string(end) +
                      " (0-based) is not inside contig " + facts.name + " of length " +
                      std::to_string(facts.length) + ".");
  }
  return places[static_cast<size_t>(contig)];
}

Genome::Genome(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

Genome Genome::open(const std::vector<std::string>& paths, const std::string& cache_dir,
                    const GenomeOptions& options) {
  if (paths.empty()) throw usage_error("a genome needs at least one FASTA file.");
  const std::string dir = cache_dir.empty() ? default_cache_dir() : cache_dir;
  auto impl = std::make_shared<Impl>();
  for (const std::string& path : paths) {
    impl->add(genome_cache::open(path, dir, options.rebuild, options.progress), path,
              options.allow_duplicate_names);
  }
  return Genome(std::move(impl));
}

const std::vector<Contig>& Genome::contigs() const { return impl_->contigs; }
const std::vector<GenomeFile>& Genome::files() const { return impl_->files; }

GenomeCounts Genome::counts() const {
  GenomeCounts sum;
  for (const Contig& contig : impl_->contigs) {
    ++sum.contigs;
    sum.bases += contig.length;
    sum.unknown += contig.unknown;
    sum.ambiguous += contig.ambiguous;
    sum.uracil += contig.uracil;
    sum.lower_case += contig.lower_case;
    if (contig.length == 0) ++sum.empty_contigs;
  }
  return sum;
}

std::vector<std::string> Genome::warnings() const {
  std::vector<std::string> lines;
  for (const Contig& contig : impl_->contigs) {
    const std::string where = display_path(impl_->files[static_cast<size_t>(contig.file)].path) +
                              ", contig " + contig.name + ": ";
    if (contig.length == 0) {
      lines.push_back(where + "the record is empty.");
    } else if (contig.unknown == contig.length) {
      lines.push_back(where + "all " + std::to_string(contig.length) + " bases are unknown (N).");
    }
    if (contig.ambiguous > 0) {
      lines.push_back(where + std::to_string(contig.ambiguous) +
                      " ambiguous IUPAC letters are read as N.");
    }
    if (contig.uracil > 0) {
      lines.push_back(where + std::to_string(contig.uracil) + " letters U are read as T.");
    }
  }
  return lines;
}

std::string Genome::hash() const {
  ContentHash hash;
  for (const GenomeFile& file : impl_->files) hash.add(file.hash.data(), file.hash.size());
  return to_hex(hash.value());
}

int64_t Genome::find(std::string_view name) const {
  const auto known = impl_->by_name.find(std::string(name));
  return known == impl_->by_name.end() ? -1 : known->second;
}

Contigs Genome::names() const {
  const auto contig = [impl = impl_](int64_t i) -> const Contig& {
    return impl->contigs[static_cast<size_t>(i)];
  };
  return {"the genome", static_cast<int64_t>(impl_->contigs.size()),
          [genome = *this](std::string_view name) { return genome.find(name); },
          [contig](int64_t i) { return contig(i).name; },
          [contig](int64_t i) { return contig(i).length; }};
}

int64_t Genome::require(std::string_view name, const std::string& where) const {
  return require_contig(names(), name, where);
}

void Genome::fetch(int64_t contig, int64_t start, int64_t end, uint8_t* ids, bool reverse) const {
  const Impl::Place& place = impl_->place(contig, start, end);
  if (reverse) {
    unpack_reverse(place.packed, start, end, ids);
  } else {
    unpack_forward(place.packed, start, end, ids);
  }
  overlay(place.unknown, start, end, reverse, dna::kN, ids);
}

void Genome::fetch_lower_case(int64_t contig, int64_t start, int64_t end, uint8_t* mask,
                              bool reverse) const {
  const Impl::Place& place = impl_->place(contig, start, end);
  std::fill(mask, mask + (end - start), static_cast<uint8_t>(0));
  overlay(place.lower, start, end, reverse, 1, mask);
}

int64_t Genome::count_unknown(int64_t contig, int64_t start, int64_t end) const {
  const Impl::Place& place = impl_->place(contig, start, end);
  const auto before = [&](int64_t position) -> int64_t {  // N in [0, position)
    const auto run = std::upper_bound(place.unknown.begin(), place.unknown.end(), position,
                                      [](int64_t p, const Run& r) { return p < r.start; });
    if (run == place.unknown.begin()) return 0;
    const auto last = static_cast<size_t>(run - place.unknown.begin()) - 1;
    return place.unknown_before[last] + std::min(position, place.unknown[last].end) -
           place.unknown[last].start;
  };
  return before(end) - before(start);
}

}  // namespace strandwave
