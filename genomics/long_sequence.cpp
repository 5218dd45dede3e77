#include "genomics/long_sequence.h"

#include <algorithm>
#include <numbers>

#include "genomics/io/tokenizer.h"

namespace strandwave {
namespace {

// In place: sequence number `index` starts anew.
void reset_sequence(ModelState& state, int64_t index) {
  for (MixerState& layer : state.layers) {
    for (auto& [name, tensor] : layer.tensors) tensor.select(0, index).zero_();
    if (layer.positions.defined()) layer.positions.select(0, index).zero_();
  }
}

// The target of each position of a piece [at, at + size) is the base behind it; behind the last of
// `bases` comes `after`.
void write_targets(std::span<const uint8_t> bases, size_t at, size_t size, uint8_t after,
                   int64_t* targets) {
  for (size_t i = 0; i < size; ++i) {
    const uint8_t next = at + i + 1 < bases.size() ? bases[at + i + 1] : after;
    targets[i] = dna::is_base(next) ? next : -1;
  }
}

}  // namespace

LongSequence::LongSequence(const SequenceClassifier& classifier)
    : classifier_(classifier), model_(*classifier.model()), strands_(classifier.strands()) {}

void LongSequence::add(std::span<const uint8_t> ids) {
  const torch::NoGradGuard no_grad;
  const auto block = static_cast<size_t>(std::max<int64_t>(1, classifier_.options().block_bases));
  scores_.length += static_cast<int64_t>(ids.size());
  for (const uint8_t id : ids)
    if (dna::is_base(id)) ++scores_.bases[dna::base_code(id)];
  while (!ids.empty()) {
    // One base more than a block: its last position is scored on the base behind it.
    const size_t taken = std::min(ids.size(), block + 1 - held_.size());
    held_.insert(held_.end(), ids.begin(), ids.begin() + static_cast<ptrdiff_t>(taken));
    ids = ids.subspan(taken);
    if (held_.size() <= block) continue;
    run_block(block);
    held_.erase(held_.begin(), held_.begin() + static_cast<ptrdiff_t>(block));
  }
}

void LongSequence::run_block(size_t size) {
  const std::span<const uint8_t> forward(held_.data(), size);
  const uint8_t after = size < held_.size() ? held_[size] : dna::kN;
  std::vector<uint8_t> turned;
  if (strands_ == 2) {
    turned.assign(forward.begin(), forward.end());
    dna::reverse_complement(turned);
    if (state_) reset_sequence(*state_, 1);
  }
  const bool mean = model_.config().head.pooling == HeadConfig::Pooling::kMean;
  const auto piece =
      static_cast<size_t>(std::max<int64_t>(1, classifier_.positions_at_once() / strands_));
  torch::Tensor pooled;
  for (size_t at = 0; at < size; at += piece) {
    const size_t n = std::min(piece, size - at);
    torch::Tensor targets;
    if (classifier_.options().want_out_of_distribution && classifier_.scores_likelihood()) {
      targets = torch::empty({strands_, static_cast<int64_t>(n)}, torch::kLong);
      write_targets(forward, at, n, after, targets.data_ptr<int64_t>());
      if (strands_ == 2) write_targets(turned, at, n, dna::kN, targets.data_ptr<int64_t>() + n);
    }
    pooled = run_piece(forward.subspan(at, n),
                       strands_ == 2 ? std::span<const uint8_t>(turned).subspan(at, n)
                                     : std::span<const uint8_t>(),
                       targets);
    if (!mean) continue;
    const torch::Tensor part = pooled * static_cast<double>(n);
    sum_ = sum_.defined() ? sum_ + part : part;
  }
  if (!mean) {
    // The reverse strand's last position is the sequence's first base.
    if (!first_block_ && strands_ == 2)
      pooled = torch::stack({pooled.select(0, 0), sum_.select(0, 1)});
    sum_ = pooled;
  }
  first_block_ = false;
}

torch::Tensor LongSequence::run_piece(std::span<const uint8_t> forward,
                                      std::span<const uint8_t> reverse,
                                      const torch::Tensor& targets) {
  std::vector<std::span<const uint8_t>> rows = {forward};
  if (strands_ == 2) rows.push_back(reverse);
  ModelInput input;
  input.initial_state = state_ ? &*state_ : nullptr;
  input.want_final_state = true;
  HiddenOutput output = model_.hidden(pack_sequences(rows, model_.device()).ids, input);
  state_ = std::move(output.final_state);
  if (targets.defined()) {
    const torch::Tensor loss =
        model_.language_model_loss_of(output.hidden, targets.to(model_.device())).loss;
    const torch::Tensor bits = (loss.to(torch::kDouble).sum(1) * std::numbers::log2e).cpu();
    const torch::Tensor scored = (targets >= 0).sum(1);
    scores_.forward_bits += bits[0].item<double>();
    scores_.forward_scored += scored[0].item<int64_t>();
    if (strands_ == 2) {
      scores_.reverse_bits += bits[1].item<double>();
      scores_.reverse_scored += scored[1].item<int64_t>();
    }
  }
  return model_.pool(output.hidden, {}, model_.config().head.pooling).to(torch::kDouble);
}

SequenceScores LongSequence::finish_scores() {
  const torch::NoGradGuard no_grad;
  if (!held_.empty()) run_block(held_.size());
  const auto type = torch::TensorOptions(model_.device()).dtype(torch::kDouble);
  if (!sum_.defined()) sum_ = torch::zeros({strands_, model_.config().d_model}, type);
  if (model_.config().head.pooling == HeadConfig::Pooling::kMean && scores_.length > 0)
    sum_ = sum_ / static_cast<double>(scores_.length);
  const torch::ScalarType exact =
      model_.compute_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
  const torch::Tensor logits = model_.score(sum_.to(exact)).to(torch::kFloat).cpu().contiguous();
  const float* values = logits.const_data_ptr<float>();
  const int64_t classes = logits.size(1);
  scores_.forward.assign(values, values + classes);
  if (strands_ == 2) scores_.reverse.assign(values + classes, values + 2 * classes);
  SequenceScores result = std::move(scores_);
  held_.clear();
  state_.reset();
  sum_.reset();
  first_block_ = true;
  scores_ = {};
  return result;
}

}  // namespace strandwave
