#include "genomics/io/contig_md5.h"

#include <htslib/hts.h>

#include <algorithm>
#include <array>
#include <memory>
#include <new>
#include <vector>

#include "genomics/io/tokenizer.h"

namespace strandwave {
namespace {

constexpr int64_t kPiece = int64_t{1} << 20;  // bases read at a time

struct Destroy {
  void operator()(hts_md5_context* context) const { hts_md5_destroy(context); }
};

}  // namespace

std::string contig_md5(const Genome& genome, int64_t contig) {
  const std::unique_ptr<hts_md5_context, Destroy> context(hts_md5_init());
  if (!context) throw std::bad_alloc();
  const int64_t length = genome.contigs()[static_cast<size_t>(contig)].length;
  std::vector<uint8_t> ids;
  for (int64_t start = 0; start < length; start += kPiece) {
    ids.resize(static_cast<size_t>(std::min(kPiece, length - start)));
    genome.fetch(contig, start, start + static_cast<int64_t>(ids.size()), ids.data());
    const std::string letters = dna::decode(ids);
    hts_md5_update(context.get(), letters.data(), letters.size());
  }
  std::array<unsigned char, 16> digest{};
  std::array<char, 33> hex{};
  hts_md5_final(digest.data(), context.get());
  hts_md5_hex(hex.data(), digest.data());
  return hex.data();
}

}  // namespace strandwave
