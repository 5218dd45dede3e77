#include "genomics/io/environment.h"

#include <htslib/hfile.h>
#include <htslib/hts.h>
#include <unistd.h>

#include <filesystem>

#include "genomics/io/genome.h"

namespace strandwave {

std::string htslib_description() {
  const unsigned features = hts_features();
  std::string text = hts_version();
  text += ": BAM, SAM, gzip, bgzip";
  text += features & HTS_FEATURE_LIBDEFLATE ? ", libdeflate" : ", no libdeflate (slower gzip)";
  text += features & HTS_FEATURE_LZMA ? ", CRAM with lzma" : ", CRAM without lzma";
  text += features & HTS_FEATURE_BZIP2 ? ", bzip2" : ", no bzip2";
  return text;
}

std::string genome_cache_status() {
  namespace fs = std::filesystem;
  const std::string folder = default_cache_dir();
  fs::path existing = folder;
  while (!existing.empty() && !fs::exists(existing) && existing.has_relative_path())
    existing = existing.parent_path();
  return folder + (access(existing.c_str(), W_OK) == 0
                       ? ""
                       : ": CANNOT BE WRITTEN; set STRANDWAVE_CACHE or give --cache");
}

}  // namespace strandwave
