#include "audio/next_sample_scores.h"

#include <algorithm>
#include <numeric>
#include <optional>

namespace strandwave::audio {
namespace {

// Clips of one batch, in their places in the caller's list.
using Rows = std::vector<size_t>;

int64_t length_of(const ClipToScore& clip) { return static_cast<int64_t>(clip.codes.size()); }

// Batches of clips of like length: what is padded is little.
std::vector<Rows> batches_of(const std::vector<ClipToScore>& clips, const ClipScoring& scoring) {
  Rows order(clips.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return clips[a].codes.size() > clips[b].codes.size();
  });
  std::vector<Rows> batches;
  int64_t room = 0;
  for (const size_t clip : order) {
    if (clips[clip].codes.empty()) continue;
    if (room == 0) {
      const int64_t read = scoring.chunk > 0 ? std::min(scoring.chunk, length_of(clips[clip]))
                                             : length_of(clips[clip]);
      room = std::max<int64_t>(1, scoring.batch_samples / read);
      batches.emplace_back();
    }
    batches.back().push_back(clip);
    --room;
  }
  return batches;
}

// Inputs and targets of samples [first, first + length) of the rows: (rows, length) int64 each;
// targets behind the end of a row are -1.
struct Piece {
  torch::Tensor ids, targets;
};

Piece piece_of(const std::vector<ClipToScore>& clips, const Rows& rows, int64_t first,
               int64_t length, bool cold) {
  const auto count = static_cast<int64_t>(rows.size());
  Piece piece{torch::full({count, length}, int64_t{kSilence}, torch::kLong),
              torch::full({count, length}, int64_t{-1}, torch::kLong)};
  for (int64_t row = 0; row < count; ++row) {
    const std::span<const uint8_t> codes = clips[rows[static_cast<size_t>(row)]].codes;
    auto* ids = piece.ids.data_ptr<int64_t>() + row * length;
    auto* targets = piece.targets.data_ptr<int64_t>() + row * length;
    const auto size = static_cast<int64_t>(codes.size());
    for (int64_t t = 0; t < length && first + t < size; ++t) {
      const auto place = static_cast<size_t>(first + t);
      targets[t] = codes[place];
      if (place > 0 && !(cold && t == 0)) ids[t] = codes[place - 1];
    }
  }
  return piece;
}

torch::Tensor classes_of(const Sashimi& model, const std::vector<ClipToScore>& clips,
                         const Rows& rows) {
  if (model.config().classes.empty()) return {};
  std::vector<int64_t> labels;
  for (const size_t row : rows) labels.push_back(clips[row].label);
  return torch::tensor(labels, torch::kLong).to(model.device());
}

void score_batch(Sashimi& model, const std::vector<ClipToScore>& clips, const Rows& rows,
                 const ClipScoring& scoring, const ClipNats& nats) {
  const int64_t longest = length_of(clips[rows.front()]);
  const int64_t chunk = scoring.chunk > 0 ? scoring.chunk : longest;
  SashimiInput input;
  input.classes = classes_of(model, clips, rows);
  std::optional<GeneratorState> state;
  for (int64_t first = 0; first < longest; first += chunk) {
    const int64_t length = std::min(chunk, longest - first);
    const Piece piece = piece_of(clips, rows, first, length, !scoring.carry_state);
    input.initial_state = state ? &*state : nullptr;
    input.want_final_state = scoring.carry_state && first + length < longest;
    SashimiLoss result = model.loss(piece.ids.to(model.device()), piece.targets.to(model.device()),
                                    std::nullopt, input);
    const torch::Tensor host = result.loss.to(torch::kCPU, torch::kFloat).contiguous();
    state = std::move(result.final_state);
    for (size_t row = 0; row < rows.size(); ++row) {
      const int64_t count = std::min(length, length_of(clips[rows[row]]) - first);
      if (count > 0)
        nats(rows[row], first,
             {host.data_ptr<float>() + static_cast<int64_t>(row) * length,
              static_cast<size_t>(count)});
    }
  }
}

}  // namespace

void score_clips(Sashimi& model, const std::vector<ClipToScore>& clips, const ClipScoring& scoring,
                 const ClipNats& nats) {
  const torch::NoGradGuard no_grad;
  for (const Rows& rows : batches_of(clips, scoring))
    score_batch(model, clips, rows, scoring, nats);
}

std::vector<float> RecordingScorer::score(std::span<const uint8_t> codes) {
  const torch::NoGradGuard no_grad;
  const auto length = static_cast<int64_t>(codes.size());
  torch::Tensor ids = torch::empty({1, length}, torch::kLong);
  torch::Tensor targets = torch::empty({1, length}, torch::kLong);
  for (int64_t t = 0; t < length; ++t) {
    ids.data_ptr<int64_t>()[t] = t == 0 ? before_ : codes[static_cast<size_t>(t - 1)];
    targets.data_ptr<int64_t>()[t] = codes[static_cast<size_t>(t)];
  }
  SashimiInput input;
  if (!model_.config().classes.empty())
    input.classes = torch::full({1}, label_, torch::kLong).to(model_.device());
  input.initial_state = state_ ? &*state_ : nullptr;
  input.want_final_state = true;
  SashimiLoss result =
      model_.loss(ids.to(model_.device()), targets.to(model_.device()), std::nullopt, input);
  state_ = std::move(result.final_state);
  before_ = codes.back();
  const torch::Tensor host = result.loss.to(torch::kCPU, torch::kFloat).contiguous();
  return {host.data_ptr<float>(), host.data_ptr<float>() + length};
}

}  // namespace strandwave::audio
