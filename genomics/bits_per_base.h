// How well a language model predicts DNA: bits per base on held-out windows.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/models/sequence_model.h"
#include "genomics/io/genome.h"
#include "genomics/io/intervals.h"

namespace strandwave {

// -log2 p of every position of some windows. NaN where the base is N or ambiguous: such positions
// are never scored. Each window is scored on its own: its first base is predicted from the start
// token.
struct ScoredWindows {
  std::vector<Window> windows;
  std::vector<float> bits;    // the windows one behind the other
  int64_t positions() const;  // scored ones
  double total_bits() const;
  double bits_per_base() const;  // 0 when nothing was scored
};

// What the model reads when it predicts `ids` (batch, length): the start token, then all but the
// last.
torch::Tensor shifted_inputs(const torch::Tensor& ids);
// What it must predict: ids as int64, -1 where the id is no base.
torch::Tensor base_targets(const torch::Tensor& ids);

// Windows of equal length are run together, up to batch_tokens positions at once; a longer window
// is run in pieces of batch_tokens with the state carried over, so that memory does not grow with
// it. `progress` is called with the number of positions done; it may throw to stop.
ScoredWindows score_windows(SequenceModel& model, const Genome& genome,
                            const std::vector<Window>& windows, int64_t batch_tokens,
                            const std::function<void(int64_t)>& progress = {});

// Tiles of `window` bases over the intervals; with max_bases > 0 only so many of them, evenly
// spread. With window 0 the intervals themselves, whole; with max_bases > 0 the first so many
// bases.
std::vector<Window> evaluation_windows(const Genome& genome, const Intervals& intervals,
                                       int64_t window, int64_t max_bases);

// Bits per base by the number of bases seen before, in [first, last).
struct ContextBits {
  int64_t first = 0;
  int64_t last = 0;  // at most the longest window
  int64_t positions = 0;
  double bits_per_base = 0;
};
std::vector<ContextBits> bits_by_context(const ScoredWindows& scored);

}  // namespace strandwave
