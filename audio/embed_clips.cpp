#include "audio/embed_clips.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <numeric>

#include "audio/generated_folder.h"
#include "audio/io/clip_dataset.h"
#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/text_fields.h"

namespace strandwave::audio {
namespace {

namespace fs = std::filesystem;

// Hands clips to the embedding in groups.
class Collector {
 public:
  Collector(const ClipEmbedding& embedding, EmbeddedClips& to, const EmbedOptions& options)
      : embedding_(embedding), to_(to), options_(options) {}

  void add(const std::string& name, std::vector<float> samples) {
    to_.names.push_back(name);
    seconds_ += static_cast<double>(samples.size()) / embedding_.sample_rate();
    clips_.push_back(std::move(samples));
    if (clips_.size() == kGroup) flush();
  }
  void flush() {
    if (clips_.empty()) return;
    embedding_.add(clips_, to_);
    to_.mean_seconds = seconds_ / static_cast<double>(to_.clips());
    clips_.clear();
    if (options_.progress) options_.progress(counted(to_.clips(), "clip"));
  }

 private:
  static constexpr size_t kGroup = 256;
  const ClipEmbedding& embedding_;
  EmbeddedClips& to_;
  const EmbedOptions& options_;
  std::vector<std::vector<float>> clips_;
  double seconds_ = 0;
};

// file -> log_likelihood of a manifest.
std::map<std::string, double> likelihoods(const fs::path& path) {
  std::ifstream file(path);
  if (!file)
    throw input_error("there is no " + path.string() +
                      ": clips are kept by the likelihoods that audio generate writes there");
  std::map<std::string, double> result;
  std::optional<size_t> column;
  std::string line;
  for (size_t number = 1; std::getline(file, line); ++number) {
    if (line.empty() || line[0] == '#') continue;
    const std::vector<std::string_view> words = split_fields(line, '\t');
    if (!column) {
      const auto named = std::find(words.begin(), words.end(), "log_likelihood");
      if (named == words.end()) throw input_error(path.string() + " has no column log_likelihood");
      column = static_cast<size_t>(named - words.begin());
      continue;
    }
    const std::string_view text = *column < words.size() ? words[*column] : "";
    const std::optional<double> value = parse_number<double>(text);
    if (!value || !std::isfinite(*value))
      throw input_error(path.string() + ", line " + std::to_string(number) + ": '" +
                        std::string(text) + "' is no log-likelihood");
    result[std::string(words[0])] = *value;
  }
  return result;
}

// The files of a folder, or of a manifest, between the two shares by likelihood.
std::vector<ClipFile> kept(std::vector<ClipFile> files, const fs::path& path,
                           std::pair<double, double> shares) {
  const fs::path manifest = fs::is_directory(path) ? path / kGeneratedManifest : path;
  const std::map<std::string, double> known = likelihoods(manifest);
  std::vector<double> value(files.size());
  for (size_t i = 0; i < files.size(); ++i) {
    const auto entry = known.find(files[i].name);
    if (entry == known.end())
      throw input_error(files[i].name + " does not stand in " + manifest.string() +
                        ": its likelihood is not known");
    value[i] = entry->second;
  }
  std::vector<size_t> order(files.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return value[a] < value[b]; });
  const auto place = [&](double share) {
    return static_cast<size_t>(share * static_cast<double>(files.size()));
  };
  std::vector<ClipFile> result;
  for (size_t i = place(shares.first); i < place(shares.second); ++i)
    result.push_back(std::move(files[order[i]]));
  return result;
}

void embed_prepared(const std::string& path, const ClipEmbedding& embedding,
                    const EmbedOptions& options, Collector& to) {
  const ClipDataset data = ClipDataset::open(path);
  if (embedding.sample_rate() != data.format().sample_rate)
    throw input_error(path + " has " + std::to_string(data.format().sample_rate) +
                      " samples per second, the embedding is for " +
                      std::to_string(embedding.sample_rate()) + ": prepare it with --rate " +
                      std::to_string(embedding.sample_rate()));
  for (size_t i = 0; i < data.size(); ++i)
    if (!options.split || data.clip(i).split == *options.split)
      to.add(data.clip(i).name, data.samples(i));
}

std::vector<BadFile> embed_files(const std::string& path, const ClipEmbedding& embedding,
                                 const EmbedOptions& options, Collector& to) {
  std::vector<ClipFile> files = find_clip_files(path, options.files).files;
  if (options.split)
    std::erase_if(files, [&](const ClipFile& file) { return file.split != options.split; });
  if (options.keep) files = kept(std::move(files), path, *options.keep);
  if (files.empty())
    throw input_error(path + " has no clips" +
                      (options.split
                           ? std::string(" of the ") + to_string(*options.split) + " split"
                           : " between the two shares"));
  AudioFormat format;
  format.sample_rate = embedding.sample_rate();
  ClipReaderOptions reading;
  reading.skip_bad = options.skip_bad;
  reading.threads = options.threads;
  return read_clips(files, format, reading,
                    [&](WaveClip&& clip) { to.add(clip.name, std::move(clip.samples)); })
      .bad;
}

}  // namespace

EmbeddingOfClips embed_clips(const std::string& path, const ClipEmbedding& embedding,
                             const EmbedOptions& options) {
  EmbeddingOfClips result;
  const bool features = EmbeddedClips::is_one(path);
  const bool prepared = !features && ClipDataset::is_prepared(path);
  if (options.keep && (features || prepared))
    throw usage_error(path + " has no likelihoods by which clips could be kept: give the folder " +
                      "that audio generate wrote");
  if (features && options.split)
    throw usage_error(path + " has features without splits: choose the split when they are saved");
  if (features) {
    result.clips = EmbeddedClips::open(path);
    return result;
  }
  result.clips.embedding = embedding.description();
  Collector collector(embedding, result.clips, options);
  if (prepared)
    embed_prepared(path, embedding, options, collector);
  else
    result.bad = embed_files(path, embedding, options, collector);
  collector.flush();
  if (result.clips.names.empty()) throw input_error(path + " has no clips");
  return result;
}

}  // namespace strandwave::audio
