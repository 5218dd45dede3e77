#include "audio/io/clip_dataset.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <map>

#include "audio/io/clip_facts.h"
#include "core/base/error.h"
#include "core/base/hash.h"

namespace strandwave::audio {
namespace {

std::span<const std::byte> bytes_of(std::span<const uint8_t> values) {
  return std::as_bytes(values);
}

}  // namespace

ClipDataset ClipDataset::open(const std::filesystem::path& data,
                              const ClipDatasetOptions& options) {
  ClipDataset dataset;
  if (is_prepared(data))
    dataset.read_prepared(data);
  else
    dataset.read_files(data, options);
  return dataset;
}

// Safetensors files begin with the length of a JSON header.
bool ClipDataset::is_prepared(const std::filesystem::path& data) {
  if (!std::filesystem::is_regular_file(data)) return false;
  std::ifstream in(data, std::ios::binary);
  std::string first(9, '\0');
  in.read(first.data(), static_cast<std::streamsize>(first.size()));
  return in.gcount() == 9 && first[8] == '{' && first.substr(5, 3) == std::string(3, '\0');
}

std::span<const uint8_t> ClipDataset::codes(size_t i) const {
  const std::span<const uint8_t> all = mapped_ ? mapped_codes_ : std::span<const uint8_t>(owned_);
  return all.subspan(offsets_.at(i), static_cast<size_t>(clips_.at(i).length));
}

std::vector<float> ClipDataset::samples(size_t i) const {
  const std::span<const uint8_t> from = codes(i);
  std::vector<float> to(from.size());
  decode(format_.companding, from, to);
  return to;
}

std::vector<size_t> ClipDataset::clips_of(Split split) const {
  std::vector<size_t> found;
  for (size_t i = 0; i < clips_.size(); ++i)
    if (clips_[i].split == split) found.push_back(i);
  return found;
}

void ClipDataset::read_files(const std::filesystem::path& data, const ClipDatasetOptions& options) {
  const ClipFiles files = find_clip_files(data, options.files);
  format_ = options.format;
  labels_ = files.labels;
  std::map<std::string, int64_t> label_of;
  for (size_t i = 0; i < labels_.size(); ++i) label_of[labels_[i]] = static_cast<int64_t>(i);

  int64_t clipped_samples = 0, clipped_clips = 0;
  const ReadingReport report =
      read_clips(files.files, format_, options.reading, [&](WaveClip&& clip) {
        const ClipFile& file = files.files[clip.file];
        const size_t begin = owned_.size(), length = clip.samples.size();
        owned_.resize(begin + length);
        const int64_t clipped =
            encode(format_.companding, clip.samples, std::span(owned_).subspan(begin, length));
        clipped_samples += clipped;
        clipped_clips += clipped > 0 ? 1 : 0;
        offsets_.push_back(begin);
        clips_.push_back({.name = clip.name,
                          .label = file.label.empty() ? -1 : label_of.at(file.label),
                          .speaker = file.speaker,
                          .split = *file.split,
                          .real = clip.real,
                          .length = static_cast<int64_t>(length)});
      });
  facts_ = reading_facts(files, report);
  facts_["clipped_samples"] = clipped_samples;
  facts_["clipped_clips"] = clipped_clips;
  facts_.update(dataset_facts(*this));
  hash_ = content_hash();
}

std::string ClipDataset::content_hash() const {
  Sha256 sha;
  sha.update(bytes_of(mapped_ ? mapped_codes_ : std::span<const uint8_t>(owned_)));
  nlohmann::json rest = {{"format", format_.to_json()}, {"labels", labels_}};
  for (const ClipInfo& clip : clips_)
    rest["clips"].push_back({clip.label, to_string(clip.split), clip.real, clip.length});
  const std::string text = rest.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  sha.update(std::as_bytes(std::span(text)));
  return sha.hex_digest();
}

}  // namespace strandwave::audio
