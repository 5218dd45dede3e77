// From where clips lie to their features.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "audio/embedding.h"
#include "audio/io/clip_reader.h"
#include "core/base/split_assignment.h"

namespace strandwave::audio {

struct EmbedOptions {
  ClipFileOptions files;       // how a folder is divided, where `split` is wanted
  std::optional<Split> split;  // only the clips of this one
  bool skip_bad = false;       // as ClipReaderOptions
  int threads = 0;
  // Only clips between these shares of all, ordered by the column log_likelihood of the manifest
  // that audio generate wrote beside them, smallest first: (0.4, 0.95) is what the public SaShiMi
  // code keeps.
  std::optional<std::pair<double, double>> keep;
  std::function<void(const std::string&)> progress;  // may throw
};

struct EmbeddingOfClips {
  EmbeddedClips clips;
  std::vector<BadFile> bad;  // that were left out
};

// `path`: a folder of audio files, one file, a manifest, what `audio prepare` wrote, or a file of
// features (EmbeddedClips::save), which is taken as it is. Clips are brought to the embedding's
// rate. Throws Error(kInput) as read_clips() does, for a prepared dataset of another rate, for a
// split without clips, for `keep` without the manifest; Error(kUsage) for `keep` of what is neither
// folder nor manifest, and for a split of features.
EmbeddingOfClips embed_clips(const std::string& path, const ClipEmbedding& embedding,
                             const EmbedOptions& options = {});

}  // namespace strandwave::audio
