#include "genomics/bits_per_base.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "genomics/io/tokenizer.h"

namespace strandwave {
namespace {

int64_t total_length(const std::vector<Window>& windows) {
  int64_t sum = 0;
  for (const Window& window : windows) sum += window.length();
  return sum;
}

// Positions [from, to) of a window as it is read.
void fetch_part(const Genome& genome, const Window& window, int64_t from, int64_t to,
                uint8_t* ids) {
  if (window.reverse) {
    genome.fetch(window.contig, window.end - to, window.end - from, ids, true);
  } else {
    genome.fetch(window.contig, window.start + from, window.start + to, ids);
  }
}

// Windows of one length, run side by side, piece after piece.
class WindowBatch {
 public:
  WindowBatch(SequenceModel& model, const Genome& genome, const Window* windows, int64_t rows)
      : model_(model), genome_(genome), windows_(windows), rows_(rows) {}

  // bits: rows x length() floats.
  void score(int64_t piece, float* bits, const std::function<void(int64_t)>& done) {
    const int64_t length = windows_[0].length();
    for (int64_t from = 0; from < length; from += piece) {
      const int64_t to = std::min(from + piece, length);
      const torch::Tensor part = score_piece(from, to, to < length);
      for (int64_t row = 0; row < rows_; ++row)
        std::copy_n(part.const_data_ptr<float>() + row * (to - from), to - from,
                    bits + row * length + from);
      done(rows_ * (to - from));
    }
  }

 private:
  // Column 0 is the token before the piece.
  torch::Tensor tokens(int64_t from, int64_t to) const {
    torch::Tensor tokens = torch::empty({rows_, to - from + 1}, torch::kUInt8);
    for (int64_t row = 0; row < rows_; ++row) {
      uint8_t* ids = tokens.data_ptr<uint8_t>() + row * (to - from + 1);
      ids[0] = dna::kBos;
      const bool first = from == 0;
      fetch_part(genome_, windows_[row], first ? 0 : from - 1, to, first ? ids + 1 : ids);
    }
    return tokens;
  }

  torch::Tensor score_piece(int64_t from, int64_t to, bool more) {
    const torch::Tensor on_device = tokens(from, to).to(model_.device());
    const torch::Tensor targets = base_targets(on_device.slice(1, 1));
    ModelInput input;
    input.initial_state = from > 0 ? &state_ : nullptr;
    input.want_final_state = more;
    LossOutput output =
        model_.language_model_loss(on_device.slice(1, 0, to - from), targets, {}, input);
    if (more) state_ = std::move(*output.final_state);
    return (output.loss * std::numbers::log2e)
        .masked_fill(targets < 0, std::numeric_limits<float>::quiet_NaN())
        .to(torch::kFloat)
        .cpu()
        .contiguous();
  }

  SequenceModel& model_;
  const Genome& genome_;
  const Window* windows_;
  int64_t rows_;
  ModelState state_;
};

std::vector<Window> whole_intervals(const Intervals& intervals, int64_t max_bases) {
  std::vector<Window> windows;
  int64_t left = max_bases > 0 ? max_bases : std::numeric_limits<int64_t>::max();
  for (const Interval& interval : intervals) {
    if (left == 0) break;
    const int64_t length = std::min(interval.length(), left);
    windows.push_back({interval.contig, interval.start, interval.start + length, false});
    left -= length;
  }
  return windows;
}

}  // namespace

int64_t ScoredWindows::positions() const {
  return std::count_if(bits.begin(), bits.end(), [](float b) { return !std::isnan(b); });
}

double ScoredWindows::total_bits() const {
  double sum = 0;
  for (const float b : bits)
    if (!std::isnan(b)) sum += b;
  return sum;
}

double ScoredWindows::bits_per_base() const {
  const int64_t n = positions();
  return n ? total_bits() / static_cast<double>(n) : 0;
}

torch::Tensor shifted_inputs(const torch::Tensor& ids) {
  const torch::Tensor start =
      torch::full({ids.size(0), 1}, static_cast<int64_t>(dna::kBos), ids.options());
  return torch::cat({start, ids.slice(1, 0, std::max<int64_t>(ids.size(1) - 1, 0))}, 1);
}

torch::Tensor base_targets(const torch::Tensor& ids) {
  const torch::Tensor wide = ids.to(torch::kLong);
  return wide.masked_fill((wide < dna::kA) | (wide > dna::kT), -1);
}

ScoredWindows score_windows(SequenceModel& model, const Genome& genome,
                            const std::vector<Window>& windows, int64_t batch_tokens,
                            const std::function<void(int64_t)>& progress) {
  const torch::NoGradGuard no_grad;
  ScoredWindows scored{windows, std::vector<float>(static_cast<size_t>(total_length(windows)))};
  int64_t done = 0;
  float* bits = scored.bits.data();
  for (size_t first = 0; first < windows.size();) {
    const int64_t length = windows[first].length();
    size_t count = 1;
    while (first + count < windows.size() && windows[first + count].length() == length &&
           static_cast<int64_t>(count + 1) * length <= batch_tokens)
      ++count;
    const auto rows = static_cast<int64_t>(count);
    WindowBatch(model, genome, &windows[first], rows)
        .score(std::min(length, std::max<int64_t>(batch_tokens, 1)), bits, [&](int64_t n) {
          done += n;
          if (progress) progress(done);
        });
    bits += rows * length;
    first += count;
  }
  return scored;
}

std::vector<Window> evaluation_windows(const Genome& genome, const Intervals& intervals,
                                       int64_t window, int64_t max_bases) {
  if (window == 0) return whole_intervals(intervals, max_bases);
  std::vector<Window> all = tile_windows(genome, intervals, window, window, true, 0.99);
  if (max_bases <= 0 || total_length(all) <= max_bases) return all;
  const size_t wanted = std::max<size_t>(1, static_cast<size_t>(max_bases / window));
  std::vector<Window> chosen;
  for (size_t i = 0; i < wanted; ++i)
    chosen.push_back(all[(2 * i + 1) * all.size() / (2 * wanted)]);
  return chosen;
}

std::vector<ContextBits> bits_by_context(const ScoredWindows& scored) {
  constexpr int64_t kEdges[] = {0, 128, 1024, 8192, 131072, 524288, 1048576};
  int64_t longest = 0;
  for (const Window& window : scored.windows) longest = std::max(longest, window.length());
  std::vector<ContextBits> buckets;
  for (size_t e = 0; e < std::size(kEdges) && kEdges[e] < longest; ++e)
    buckets.push_back(
        {kEdges[e], e + 1 < std::size(kEdges) ? std::min(kEdges[e + 1], longest) : longest, 0, 0});
  const float* bits = scored.bits.data();
  for (const Window& window : scored.windows) {
    for (ContextBits& bucket : buckets)
      for (int64_t i = bucket.first; i < std::min(bucket.last, window.length()); ++i) {
        if (std::isnan(bits[i])) continue;
        ++bucket.positions;
        bucket.bits_per_base += bits[i];
      }
    bits += window.length();
  }
  for (ContextBits& bucket : buckets)
    if (bucket.positions > 0) bucket.bits_per_base /= static_cast<double>(bucket.positions);
  std::erase_if(buckets, [](const ContextBits& bucket) { return bucket.positions == 0; });
  return buckets;
}

}  // namespace strandwave
