// Facts about the libraries and folders that reading genomes depends on, for people.
#pragma once

#include <string>

namespace strandwave {

// "1.16 (gzip, libdeflate, ...)": version and compiled-in features.
std::string htslib_description();
// The cache folder and whether it can be written to.
std::string genome_cache_status();

}  // namespace strandwave
