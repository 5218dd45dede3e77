// What a folder of generated clips holds beside its sound: manifest.tsv and index.html.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/report/html_page.h"

namespace strandwave::audio {

inline constexpr const char* kGeneratedManifest = "manifest.tsv";
inline constexpr const char* kGeneratedPage = "index.html";

struct GeneratedClip {
  std::string file, label;    // label: empty without classes
  double log_likelihood = 0;  // nats, see ClipStreams
};

// A table that ClipDataset reads: comment lines with the origin, then
//   file  label  seed  clip  log_likelihood
class GeneratedManifest {
 public:
  // Of a folder; without a manifest there are no clips. Throws Error(kInput) naming the line that
  // is wrong.
  static GeneratedManifest read(const std::filesystem::path& folder);

  const std::map<int64_t, GeneratedClip>& clips() const { return clips_; }  // by number
  // Whether the clip has a line and a file.
  bool present(int64_t clip) const;
  void set(int64_t clip, GeneratedClip line) { clips_[clip] = std::move(line); }
  // version empty: without the lines on the origin.
  void write(uint64_t seed, const std::string& version, const std::string& command,
             const std::string& model_hash) const;

 private:
  std::filesystem::path folder_;
  std::map<int64_t, GeneratedClip> clips_;
};

// PAGE_FOLDER/index.html: the first clips of each folder with players and spectrograms, at most
// kMostPageClips of them; with several folders their names stand in the titles.
void write_generated_page(const std::filesystem::path& page_folder,
                          const std::vector<std::filesystem::path>& folders, int sample_rate,
                          const std::vector<report::Fact>& facts);

}  // namespace strandwave::audio
