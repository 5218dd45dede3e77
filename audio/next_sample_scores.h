// Likelihoods of clips under a model.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "audio/io/companding.h"
#include "audio/models/sashimi.h"

namespace strandwave::audio {

struct ClipToScore {
  std::span<const uint8_t> codes;
  int64_t label = -1;  // class; -1: the null class
};

struct ClipScoring {
  int64_t chunk = 0;  // samples that the model reads at once; 0: a clip whole
  bool carry_state =
      false;  // a chunk goes on from the state of the one before, else it begins cold
  int64_t batch_samples = 1 << 17;  // of all rows together
};

// `nats`: -ln p of the samples first, first + 1, ... of clip `clip` (its place in the list). Pieces
// of one clip come in order; clips come in any order. May throw to stop.
using ClipNats = std::function<void(size_t clip, int64_t first, std::span<const float> nats)>;

// p(sample | the samples of the clip before it, the class); where none is before it the model reads
// kSilence. Chunks with the state carried, and clips
// whole, give the same within rounding; chunks that begin cold give more. Gradients are off.
void score_clips(Sashimi& model, const std::vector<ClipToScore>& clips, const ClipScoring& scoring,
                 const ClipNats& nats);

// Goes through one recording of unknown length piece by piece, the state carried.
class RecordingScorer {
 public:
  RecordingScorer(Sashimi& model, int64_t label) : model_(model), label_(label) {}
  // -ln p of the codes, given all those before. Not for none.
  std::vector<float> score(std::span<const uint8_t> codes);

 private:
  Sashimi& model_;
  int64_t label_;
  uint8_t before_ = kSilence;
  std::optional<GeneratorState> state_;
};

}  // namespace strandwave::audio
