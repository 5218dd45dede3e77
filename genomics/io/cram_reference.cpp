#include "genomics/io/cram_reference.h"

#include <htslib/faidx.h>
#include <htslib/hts.h>
#include <htslib/kstring.h>
#include <htslib/sam.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "core/base/error.h"

namespace strandwave {
namespace {

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

// What the user had set before set_cram_reference_search.
const std::optional<std::string>& users_ref_path() {
  static const std::optional<std::string> value = environment("REF_PATH");
  return value;
}

// Elements of REF_PATH that are no addresses. As in htslib "::" stands for a colon. An address with
// a port falls into two; its rest, port and path, then names no file.
std::vector<std::string> local_elements(const std::string& ref_path) {
  std::vector<std::string> elements;
  for (size_t at = 0; at <= ref_path.size();) {
    size_t end = at;
    while (end < ref_path.size() && (ref_path[end] != ':' || ref_path.compare(end, 3, "://") == 0 ||
                                     ref_path.compare(end, 2, "::") == 0))
      end += ref_path.compare(end, 2, "::") == 0 ? 2 : 1;
    end = std::min(end, ref_path.size());
    const std::string element = ref_path.substr(at, end - at);
    const bool address = element.find("://") != std::string::npos || element[0] == '|' ||
                         element.compare(0, 4, "URL=") == 0;
    if (!element.empty() && !address) elements.push_back(element);
    at = end + 1;
  }
  return elements;
}

// Where samtools keeps what it has downloaded when nothing is set.
std::optional<std::string> samtools_cache() {
  std::string folder;
  if (const auto cache = environment("XDG_CACHE_HOME"))
    folder = *cache + "/hts-ref";
  else if (const auto home = environment("HOME"))
    folder = *home + "/.cache/hts-ref";
  if (folder.empty() || folder.find_first_of(":%") != std::string::npos) return std::nullopt;
  return folder + "/%2s/%2s/%s";
}

std::vector<std::string> local_search() {
  std::vector<std::string> elements;
  if (users_ref_path()) elements = local_elements(*users_ref_path());
  if (!users_ref_path() && !environment("REF_CACHE")) {
    if (const auto cache = samtools_cache()) elements.push_back(*cache);
  }
  return elements;
}

// "/cache/%2s/%s" with the MD5's digits put in, as htslib does; without any % the MD5 is appended.
std::string expanded(const std::string& pattern, std::string_view digits) {
  std::string path;
  bool any = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '%') {
      path += pattern[i];
      continue;
    }
    size_t next = i + 1;
    size_t wanted = 0;
    while (next < pattern.size() && std::isdigit(static_cast<unsigned char>(pattern[next])) != 0)
      wanted = 10 * wanted + static_cast<size_t>(pattern[next++] - '0');
    if (next < pattern.size() && pattern[next] == 's') {
      const std::string_view part = digits.substr(0, wanted > 0 ? wanted : digits.size());
      path += part;
      digits.remove_prefix(part.size());
      any = true;
      i = next;
    } else {
      path += pattern[i];
    }
  }
  return any ? path : path + "/" + std::string(digits);
}

bool found_by_md5(const std::string& md5) {
  std::vector<std::string> patterns = local_search();
  if (const auto cache = environment("REF_CACHE")) patterns.push_back(*cache);
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return std::filesystem::is_regular_file(expanded(pattern, md5));
  });
}

std::string header_field(sam_hdr_t* header, int32_t contig, const char* key) {
  kstring_t text = KS_INITIALIZE;
  std::string value;
  if (sam_hdr_find_tag_id(header, "SQ", "SN", sam_hdr_tid2name(header, contig), key, &text) == 0)
    value = ks_c_str(&text);
  ks_free(&text);
  return value;
}

struct DestroyIndex {
  void operator()(faidx_t* index) const { fai_destroy(index); }
};
struct DestroyMd5 {
  void operator()(hts_md5_context* context) const { hts_md5_destroy(context); }
};

// MD5 of a contig as M5 is defined: upper case, without line ends. Empty when it cannot be read.
std::string md5_of_contig(const faidx_t* index, const char* name) {
  constexpr hts_pos_t kPiece = 1 << 20;
  const std::unique_ptr<hts_md5_context, DestroyMd5> context(hts_md5_init());
  const hts_pos_t length = faidx_seq_len(index, name);
  for (hts_pos_t at = 0; at < length; at += kPiece) {
    hts_pos_t got = 0;
    const std::unique_ptr<char, decltype(&std::free)> letters(
        faidx_fetch_seq64(index, name, at, std::min(at + kPiece, length) - 1, &got), &std::free);
    if (letters == nullptr || got <= 0) return "";
    for (hts_pos_t i = 0; i < got; ++i)
      letters.get()[i] =
          static_cast<char>(std::toupper(static_cast<unsigned char>(letters.get()[i])));
    hts_md5_update(context.get(), letters.get(), static_cast<unsigned long>(got));
  }
  unsigned char digest[16];
  hts_md5_final(digest, context.get());
  char hex[33];
  hts_md5_hex(hex, digest);
  return hex;
}

}  // namespace

void set_cram_reference_search(bool allow_download) {
  std::string path;
  for (const std::string& element : local_search()) path += (path.empty() ? "" : ":") + element;
  // With REF_PATH empty htslib would ask its server.
  if (path.empty()) path = "/dev/null";
  const std::optional<std::string> wanted = allow_download ? users_ref_path() : path;
  if (environment("REF_PATH") == wanted) return;
  if (wanted)
    ::setenv("REF_PATH", wanted->c_str(), 1);
  else
    ::unsetenv("REF_PATH");
}

void use_cram_reference(htsFile* file, const std::string& reference, const std::string& file_name) {
  if (!std::filesystem::exists(reference))
    throw input_error("reference " + reference + " does not exist.");
  // htslib would write a missing index beside the reference.
  if (!std::filesystem::exists(reference + ".fai")) {
    throw input_error("reference " + reference + " has no index; run: samtools faidx " + reference);
  }
  if (hts_set_opt(file, CRAM_OPT_REFERENCE, reference.c_str()) != 0)
    throw input_error("reference " + reference + " cannot be used for " + file_name + ".");
}

std::optional<std::string> cram_reference_problem(sam_hdr_t* header, int32_t contig,
                                                  const std::string& reference) {
  const char* name = sam_hdr_tid2name(header, contig);
  const std::string md5 = header_field(header, contig, "M5");
  const std::string what =
      "contig " + std::string(name) + (md5.empty() ? " (without M5)" : " (M5 " + md5 + ")");
  if (!reference.empty()) {
    const std::unique_ptr<faidx_t, DestroyIndex> index(
        fai_load3(reference.c_str(), nullptr, nullptr, 0));
    if (index && faidx_has_seq(index.get(), name)) {
      const int64_t length = faidx_seq_len(index.get(), name);
      const int64_t wanted = sam_hdr_tid2len(header, contig);
      if (length != wanted) {
        return what + " has " + std::to_string(length) + " bases in " + reference + ", not " +
               std::to_string(wanted) + ": give the reference that the file was written with";
      }
      if (md5.empty()) return std::nullopt;
      const std::string actual = md5_of_contig(index.get(), name);
      if (actual == md5) return std::nullopt;
      return what + " has the MD5 " + (actual.empty() ? "of an unreadable sequence" : actual) +
             " in " + reference + ": give the reference that the file was written with";
    }
  }
  if (!md5.empty() && found_by_md5(md5)) return std::nullopt;
  const std::string first = reference.empty() ? "give its FASTA with --reference, put it"
                                              : "it is not in " + reference + "; put it";
  return what + " has no reference: " + first +
         " where REF_CACHE or REF_PATH finds it, or give --allow-ref-download";
}

}  // namespace strandwave
