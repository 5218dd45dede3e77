// The MD5 by which SAM files name a reference sequence.
#pragma once

#include <string>

#include "genomics/io/genome.h"

namespace strandwave {

// 32 hexadecimal digits: MD5 of the contig's letters A, C, G, T, N in upper case, as M5 of an @SQ
// line. A contig with other IUPAC letters or U has another M5 in SAM files: the packed genome keeps
// N and T for them.
std::string contig_md5(const Genome& genome, int64_t contig);

}  // namespace strandwave
