#include "audio/generated_folder.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <utility>

#include "audio/clip_page.h"
#include "audio/io/audio_file.h"
#include "audio/io/wav_stream.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text_fields.h"

namespace strandwave::audio {
namespace {

namespace fs = std::filesystem;

std::string number_text(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

// WAV without libsndfile, which a build may lack.
std::vector<float> samples_of(const fs::path& path, const std::string& bytes) {
  if (path.extension() != ".wav") return read_audio(path).samples;
  std::istringstream in(bytes);
  WavStream stream(in, path.string());
  std::vector<float> samples(bytes.size());
  samples.resize(stream.read(samples));
  return samples;
}

PageClip page_clip(const fs::path& folder, const GeneratedClip& line) {
  const fs::path path = folder / line.file;
  PageClip clip;
  clip.title = line.label.empty() ? line.file : line.label + " (" + line.file + ")";
  clip.remark = number_text("log-likelihood %.1f", line.log_likelihood);
  clip.file = read_file(path);
  clip.type = path.extension() == ".flac" ? "audio/flac" : "audio/wav";
  clip.samples = samples_of(path, clip.file);
  return clip;
}

}  // namespace

GeneratedManifest GeneratedManifest::read(const fs::path& folder) {
  GeneratedManifest manifest;
  manifest.folder_ = folder;
  const fs::path path = folder / kGeneratedManifest;
  if (!fs::exists(path)) return manifest;
  std::istringstream text(read_file(path));
  int64_t number = 0;
  for (std::string line; std::getline(text, line);) {
    ++number;
    if (line.empty() || line.starts_with("#") || line.starts_with("file\t")) continue;
    const std::vector<std::string_view> fields = split_fields(line, '\t');
    const std::vector<std::string> cells(fields.begin(), fields.end());
    char* end = nullptr;
    const int64_t clip = cells.size() == 5 ? std::strtoll(cells[3].c_str(), &end, 10) : -1;
    if (cells.size() != 5 || cells[3].empty() || *end != '\0' || clip < 0)
      throw input_error(path.string() + ", line " + std::to_string(number) +
                        ": not five columns with the clip's number in the fourth; remove the file "
                        "to have all clips made anew");
    manifest.set(clip, {cells[0], cells[1], std::strtod(cells[4].c_str(), nullptr)});
  }
  return manifest;
}

bool GeneratedManifest::present(int64_t clip) const {
  const auto found = clips_.find(clip);
  return found != clips_.end() && fs::exists(folder_ / found->second.file);
}

void GeneratedManifest::write(uint64_t seed, const std::string& version, const std::string& command,
                              const std::string& model_hash) const {
  std::string text;
  if (!version.empty())
    text = "##strandwave=" + version + "\n##command=" + command + "\n##model=" + model_hash + "\n";
  text += "file\tlabel\tseed\tclip\tlog_likelihood\n";
  for (const auto& [clip, line] : clips_)
    text += line.file + "\t" + line.label + "\t" + std::to_string(seed) + "\t" +
            std::to_string(clip) + "\t" + number_text("%.6f", line.log_likelihood) + "\n";
  write_file_atomically(folder_ / kGeneratedManifest, text);
}

void write_generated_page(const fs::path& page_folder, const std::vector<fs::path>& folders,
                          int sample_rate, const std::vector<report::Fact>& facts) {
  ClipPage page;
  page.title = fs::weakly_canonical(page_folder).filename().string();
  page.lead = "strandwave: generated audio";
  page.facts = facts;
  page.sample_rate = sample_rate;
  for (const fs::path& folder : folders) {
    const GeneratedManifest manifest = GeneratedManifest::read(folder);
    for (const auto& [number, line] : manifest.clips()) {
      if (!manifest.present(number)) continue;
      ++page.all_clips;
      if (page.clips.size() == kMostPageClips) continue;
      page.clips.push_back(page_clip(folder, line));
      if (folders.size() > 1)
        page.clips.back().title = folder.filename().string() + ": " + page.clips.back().title;
    }
  }
  write_file_atomically(page_folder / kGeneratedPage, clip_page(page));
}

}  // namespace strandwave::audio
