// Judging sets of clips against a reference: all figures of `audio evaluate`.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "audio/embedding.h"

namespace strandwave::audio {

struct QualityOptions {
  bool sashimi = false;    // scores as the public SaShiMi code computes them (class_scores.h)
  int resamples = 1000;    // of the bootstrap; 0: no intervals
  int permutations = 999;  // of the test between two candidates; 0: none
  uint64_t seed = 0;
  bool force = false;                                // go on where figures would mislead
  double bandwidth = 0;                              // of KAD; 0: by the reference
  std::function<void(const std::string&)> progress;  // may throw
};

struct NamedClips {
  std::string name;
  EmbeddedClips clips;
};

// {"embedding", "profile", "reference": {"name", "clips", "rows"}, "d", "notes": [text],
//  "candidates": [{"name", "clips", "rows",
//    "frechet": {"value", "low", "high"},  low and high null below 4 d rows
//    "frechet_infinity": {"value", "r2", "sizes"},
//    "kad": {"value", "low", "high", "bandwidth"},
//    with a classifier "is", "mis", "am", "ndb": {"share", "expected_share", "bins"}}],
//  with two candidates "p_value" of their Frechet distances, null where clips are not paired}
// Throws Error(kUsage) unless options.force: features of different embeddings or classifiers, fewer
// than 2 d rows on a side, a classifier whose accuracy is below 95 % or not known. Throws
// Error(kInput): fewer than two rows, or what the measures throw.
nlohmann::json quality_of(const NamedClips& reference, const std::vector<NamedClips>& candidates,
                          const QualityOptions& options);

// How near clips come to those that the generator was trained on:
// {"training": clips, "generated": {"clips", "median", "q05", "least"}, "held_out": the same,
//  "nearer_than_held_out": share of generated clips that are nearer to a training clip than 99 % of
//  the held-out clips are (0.01 where nothing was memorised),
//  "nearest": [{"clip", "training_clip", "distance"}]}, the ten nearest.
// Distances are Euclidean between features divided by the training clips' standard deviations.
// Throws Error(kUsage) for different embeddings, Error(kInput) for features of several rows a clip.
nlohmann::json memorisation_of(const NamedClips& training, const NamedClips& generated,
                               const NamedClips& held_out);

}  // namespace strandwave::audio
