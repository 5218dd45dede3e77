// Where the reference sequences of CRAM come from. Used by the readers and writers of alignments.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

struct htsFile;    // htslib's file
struct sam_hdr_t;  // and header

namespace strandwave {

// Tells htslib where to look for references by their MD5 (M5), for files opened from now on:
//   REF_CACHE and the local folders of REF_PATH; without either the folder that samtools fills
//   ($XDG_CACHE_HOME or ~/.cache, hts-ref); with `allow_download` addresses too, as htslib does.
// htslib reads this from the environment, so this sets REF_PATH of the process; call it before
// threads are started that read the environment.
void set_cram_reference_search(bool allow_download);

// Makes `file` (CRAM, opened for reading or writing) use a FASTA with its index. Throws Error
// (kInput): it does not exist, has no index, cannot be read.
void use_cram_reference(htsFile* file, const std::string& reference, const std::string& file_name);

// Why the reference of a contig of this header cannot be had, from the same places: "contig chr1
// (M5 0123...) has no reference: it is not in ref.fa; put it ...", "... has MD5 ... there"; nothing
// when it is there and its MD5 is the header's.
std::optional<std::string> cram_reference_problem(sam_hdr_t* header, int32_t contig,
                                                  const std::string& reference);

}  // namespace strandwave
