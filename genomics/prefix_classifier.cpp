#include "genomics/prefix_classifier.h"

#include <algorithm>
#include <numbers>
#include <optional>

#include "core/base/error.h"
#include "genomics/io/tokenizer.h"
#include "kernels/common/parallel.h"

namespace strandwave {
namespace {

constexpr int64_t kLeastReads = 8;  // that grow together: with fewer the scan shares less

SequenceClassifier one_strand(const SequenceClassifier& classifier) {
  ClassifierOptions options = classifier.options();
  options.both_strands = false;
  return {classifier.model(), std::move(options)};
}

ModelState select_sequences(const ModelState& state, const torch::Tensor& indices) {
  ModelState selected = state;
  for (MixerState& layer : selected.layers) {
    for (auto& [name, tensor] : layer.tensors) tensor = tensor.index_select(0, indices);
    if (layer.positions.defined()) layer.positions = layer.positions.index_select(0, indices);
  }
  return selected;
}

// Reads that grow together. All tensors have one row per read that is still undecided.
class GrowingReads {
 public:
  GrowingReads(const SequenceClassifier& classifier, std::span<const std::vector<uint8_t>> reads)
      : classifier_(classifier),
        model_(*classifier.model()),
        pooled_(torch::zeros({static_cast<int64_t>(reads.size()), model_.config().d_model},
                             torch::TensorOptions(model_.device()).dtype(torch::kDouble))) {
    for (size_t i = 0; i < reads.size(); ++i) active_.push_back({i, reads[i]});
  }

  struct Read {
    size_t number;  // in the group
    std::span<const uint8_t> ids;
    size_t position = 0;  // bases that were run
    SequenceScores scores = {};
    double pending_bits = 0;  // of the base behind the prefix, which does not count within it
    bool pending = false;
  };
  const std::vector<Read>& active() const { return active_; }

  // Runs each read up to `bases`, or to its end.
  void advance(size_t bases) {
    const auto chunk =
        std::max<size_t>(1, static_cast<size_t>(classifier_.positions_at_once()) / active_.size());
    std::vector<std::span<const uint8_t>> pieces(active_.size());
    for (;;) {
      size_t longest = 0;
      for (size_t i = 0; i < active_.size(); ++i) {
        const Read& read = active_[i];
        const size_t goal = std::min(bases, read.ids.size());
        pieces[i] = read.ids.subspan(read.position, std::min(chunk, goal - read.position));
        longest = std::max(longest, pieces[i].size());
      }
      if (longest == 0) break;
      run(pieces);
    }
  }

  // What the reads say so far.
  std::vector<Prediction> predictions() {
    torch::Tensor lengths = torch::empty({static_cast<int64_t>(active_.size()), 1}, torch::kDouble);
    for (size_t i = 0; i < active_.size(); ++i)
      lengths.data_ptr<double>()[i] = static_cast<double>(std::max<size_t>(1, active_[i].position));
    const torch::Tensor pooled = mean() ? pooled_ / lengths.to(pooled_.device()) : pooled_;
    const auto exact = model_.compute_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
    const torch::Tensor logits =
        model_.score(pooled.to(exact)).to(torch::kFloat).cpu().contiguous();
    const float* row = logits.const_data_ptr<float>();
    std::vector<Prediction> predictions;
    for (Read& read : active_) {
      read.scores.forward.assign(row, row + logits.size(1));
      row += logits.size(1);
      predictions.push_back(classifier_.prediction(read.scores));
    }
    return predictions;
  }

  void keep(const std::vector<int64_t>& rows) {
    const torch::Tensor indices = torch::tensor(rows, torch::kLong).to(pooled_.device());
    if (state_) state_ = select_sequences(*state_, indices);
    pooled_ = pooled_.index_select(0, indices);
    std::vector<Read> kept;
    for (const int64_t row : rows) kept.push_back(std::move(active_[static_cast<size_t>(row)]));
    active_ = std::move(kept);
  }

 private:
  bool mean() const { return model_.config().head.pooling == HeadConfig::Pooling::kMean; }

  void run(const std::vector<std::span<const uint8_t>>& pieces) {
    const PackedSequences packed = pack_sequences(pieces, model_.device());
    ModelInput input;
    input.layout = packed.layout ? &*packed.layout : nullptr;
    input.initial_state = state_ ? &*state_ : nullptr;
    input.want_final_state = true;
    HiddenOutput output = model_.hidden(packed.ids, input);
    state_ = std::move(output.final_state);
    add_pooled(model_.pool(output.hidden, input, model_.config().head.pooling), pieces);
    if (classifier_.options().want_out_of_distribution && classifier_.scores_likelihood())
      add_likelihood(output.hidden, pieces);
    for (size_t i = 0; i < pieces.size(); ++i) {
      Read& read = active_[i];
      for (const uint8_t id : pieces[i])
        if (dna::is_base(id)) ++read.scores.bases[dna::base_code(id)];
      read.position += pieces[i].size();
      read.scores.length = static_cast<int64_t>(read.position);
    }
  }

  void add_pooled(const torch::Tensor& pooled,
                  const std::vector<std::span<const uint8_t>>& pieces) {
    torch::Tensor sizes = torch::empty({static_cast<int64_t>(pieces.size()), 1}, torch::kDouble);
    for (size_t i = 0; i < pieces.size(); ++i)
      sizes.data_ptr<double>()[i] = static_cast<double>(pieces[i].size());
    sizes = sizes.to(pooled.device());
    pooled_ = mean() ? pooled_ + pooled.to(torch::kDouble) * sizes
                     : torch::where(sizes > 0, pooled.to(torch::kDouble), pooled_);
  }

  void add_likelihood(const torch::Tensor& hidden,
                      const std::vector<std::span<const uint8_t>>& pieces) {
    torch::Tensor targets = torch::empty(hidden.sizes().slice(0, 2), torch::kLong);
    int64_t* target = targets.data_ptr<int64_t>();
    for (size_t i = 0; i < pieces.size(); ++i) {
      const Read& read = active_[i];
      for (size_t j = 1; j <= pieces[i].size(); ++j) {
        const size_t at = read.position + j;
        const bool scored = at < read.ids.size() && dna::is_base(read.ids[at]);
        *target++ = scored ? read.ids[at] : -1;
      }
    }
    const torch::Tensor loss = model_.language_model_loss_of(hidden, targets.to(hidden.device()))
                                   .loss.to(torch::kFloat)
                                   .cpu()
                                   .contiguous();
    const float* nats = loss.const_data_ptr<float>();
    target = targets.data_ptr<int64_t>();
    for (size_t i = 0; i < pieces.size(); ++i) {
      Read& read = active_[i];
      for (size_t j = 0; j < pieces[i].size(); ++j, ++nats, ++target) {
        if (read.pending) {
          read.scores.forward_bits += read.pending_bits;
          ++read.scores.forward_scored;
        }
        read.pending = *target >= 0;
        read.pending_bits = static_cast<double>(*nats) * std::numbers::log2e;
      }
    }
  }

  const SequenceClassifier& classifier_;
  SequenceModel& model_;
  std::vector<Read> active_;
  std::optional<ModelState> state_;
  torch::Tensor pooled_;  // (reads, d_model) double: sum of hidden states, or the last
};

}  // namespace

PrefixClassifier::PrefixClassifier(const SequenceClassifier& classifier, PrefixOptions options)
    : classifier_(one_strand(classifier)), options_(std::move(options)) {
  if (classifier_.kind() != HeadConfig::Kind::kClassifier)
    throw usage_error("deciding early needs a classifier of classes; this model has a " +
                      to_string(classifier_.kind()) + " head");
  if (options_.lengths.empty()) throw usage_error("deciding early needs at least one length");
  int64_t last = 0;
  for (const int64_t length : options_.lengths) {
    if (length <= last)
      throw usage_error("the lengths at which to decide must ascend from 1 base on, got " +
                        std::to_string(length) + " after " + std::to_string(last));
    last = length;
  }
  if (!(options_.min_prob > 0 && options_.min_prob <= 1))
    throw usage_error("the least probability of a decision must be above 0 and at most 1, got " +
                      std::to_string(options_.min_prob));
}

std::vector<PrefixDecision> PrefixClassifier::decide(
    std::span<const std::vector<uint8_t>> reads) const {
  std::vector<PrefixDecision> decisions;
  decisions.reserve(reads.size());
  for (auto& answers : run(reads, /*stop_early=*/true))
    decisions.push_back(std::move(answers.back()));
  return decisions;
}

std::vector<std::vector<PrefixDecision>> PrefixClassifier::all_prefixes(
    std::span<const std::vector<uint8_t>> reads) const {
  return run(reads, /*stop_early=*/false);
}

std::vector<std::vector<PrefixDecision>> PrefixClassifier::run(
    std::span<const std::vector<uint8_t>> reads, bool stop_early) const {
  int64_t longest_step = 0, before = 0;
  for (const int64_t length : options_.lengths) {
    longest_step = std::max(longest_step, length - before);
    before = length;
  }
  const auto group =
      static_cast<size_t>(std::max(kLeastReads, classifier_.positions_at_once() / longest_step));
  const auto groups = static_cast<int64_t>((reads.size() + group - 1) / group);
  std::vector<std::vector<PrefixDecision>> answers(reads.size());
  const auto run_one = [&](int64_t number) {
    const size_t first = static_cast<size_t>(number) * group;
    const size_t size = std::min(group, reads.size() - first);
    run_group(reads.subspan(first, size), stop_early, std::span(answers).subspan(first, size));
  };
  if (classifier_.model()->device().is_cpu())
    parallel_for(groups, run_one);
  else
    for (int64_t i = 0; i < groups; ++i) run_one(i);
  return answers;
}

void PrefixClassifier::run_group(std::span<const std::vector<uint8_t>> reads, bool stop_early,
                                 std::span<std::vector<PrefixDecision>> answers) const {
  const torch::NoGradGuard no_grad;
  GrowingReads growing(classifier_, reads);
  for (size_t stage = 0; !growing.active().empty(); ++stage) {
    const bool last = stage == options_.lengths.size();
    growing.advance(last ? SIZE_MAX : static_cast<size_t>(options_.lengths[stage]));
    const std::vector<Prediction> predictions = growing.predictions();
    std::vector<int64_t> undecided;
    for (size_t i = 0; i < predictions.size(); ++i) {
      const auto& read = growing.active()[i];
      const auto& p = predictions[i].probabilities;
      const bool confident = *std::max_element(p.begin(), p.end()) >= options_.min_prob;
      answers[read.number].push_back(
          {predictions[i], static_cast<int64_t>(read.position), confident});
      if (read.position < read.ids.size() && !(stop_early && confident))
        undecided.push_back(static_cast<int64_t>(i));
    }
    if (undecided.size() < predictions.size()) growing.keep(undecided);
  }
}

}  // namespace strandwave
