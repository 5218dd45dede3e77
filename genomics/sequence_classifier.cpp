#include "genomics/sequence_classifier.h"

#include <algorithm>

#include "core/base/error.h"
#include "genomics/io/tokenizer.h"

namespace strandwave {

PackedSequences pack_sequences(const std::vector<std::span<const uint8_t>>& sequences,
                               torch::Device device) {
  std::vector<int64_t> lengths;
  int64_t total = 0;
  for (const auto& sequence : sequences) {
    lengths.push_back(static_cast<int64_t>(sequence.size()));
    total += lengths.back();
  }
  PackedSequences packed;
  packed.ids = torch::empty({1, total}, torch::kUInt8);
  uint8_t* to = packed.ids.data_ptr<uint8_t>();
  for (const auto& sequence : sequences) to = std::copy(sequence.begin(), sequence.end(), to);
  packed.ids = packed.ids.to(device);
  const bool equal =
      !lengths.empty() && lengths[0] > 0 &&
      std::all_of(lengths.begin(), lengths.end(), [&](int64_t n) { return n == lengths[0]; });
  if (equal)
    packed.ids = packed.ids.view({static_cast<int64_t>(lengths.size()), lengths[0]});
  else
    packed.layout = SequenceLayout::from_lengths(lengths, device);
  return packed;
}

SequenceClassifier::SequenceClassifier(std::shared_ptr<SequenceModel> model,
                                       ClassifierOptions options)
    : model_(std::move(model)), options_(options) {
  if (model_->config().head.kind != HeadConfig::Kind::kClassifier)
    throw usage_error(
        "this model is no classifier (its head is: " + to_string(model_->config().head.kind) +
        "): fine-tune it first with `strandwave dna finetune`");
}

std::vector<std::vector<float>> SequenceClassifier::probabilities(
    const std::vector<std::vector<uint8_t>>& sequences) const {
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> all;
  std::vector<std::span<const uint8_t>> batch;
  int64_t bases = 0;
  const auto flush = [&] {
    if (!batch.empty()) all.push_back(logits(batch));
    batch.clear();
    bases = 0;
  };
  for (const std::vector<uint8_t>& sequence : sequences) {
    const auto size = static_cast<int64_t>(sequence.size());
    if (bases + size > options_.batch_bases) flush();
    if (size > options_.batch_bases) {
      all.push_back(long_logits(sequence));
      continue;
    }
    batch.emplace_back(sequence);
    bases += size;
  }
  flush();
  if (all.empty()) return {};
  const torch::Tensor rows =
      torch::softmax(torch::cat(all).to(torch::kDouble), 1).to(torch::kFloat).cpu().contiguous();
  std::vector<std::vector<float>> result;
  for (int64_t i = 0; i < rows.size(0); ++i) {
    const float* row = rows.const_data_ptr<float>() + i * rows.size(1);
    result.emplace_back(row, row + rows.size(1));
  }
  return result;
}

torch::Tensor SequenceClassifier::logits(
    const std::vector<std::span<const uint8_t>>& sequences) const {
  const auto run = [&](const std::vector<std::span<const uint8_t>>& strands) {
    const PackedSequences packed = pack_sequences(strands, model_->device());
    ModelInput input;
    input.layout = packed.layout ? &*packed.layout : nullptr;
    return model_->classify(packed.ids, input);
  };
  const torch::Tensor forward = run(sequences);
  if (!options_.both_strands) return forward;
  std::vector<std::vector<uint8_t>> turned;
  std::vector<std::span<const uint8_t>> strands;
  for (const auto& sequence : sequences) turned.emplace_back(sequence.begin(), sequence.end());
  for (std::vector<uint8_t>& sequence : turned) {
    dna::reverse_complement(sequence);
    strands.emplace_back(sequence);
  }
  return (forward + run(strands)) / 2;
}

torch::Tensor SequenceClassifier::long_logits(std::span<const uint8_t> sequence) const {
  // The mean over positions is a sum over pieces; the recurrent state carries what a piece knows.
  const auto run = [&](std::span<const uint8_t> strand) {
    torch::Tensor sum;
    torch::Tensor pooled;
    std::optional<ModelState> state;
    const bool mean = model_->config().head.pooling == HeadConfig::Pooling::kMean;
    for (size_t at = 0; at < strand.size(); at += static_cast<size_t>(options_.batch_bases)) {
      const auto piece = strand.subspan(
          at, std::min(strand.size() - at, static_cast<size_t>(options_.batch_bases)));
      ModelInput input;
      input.initial_state = state ? &*state : nullptr;
      input.want_final_state = true;
      HiddenOutput output = model_->hidden(pack_sequences({piece}, model_->device()).ids, input);
      pooled = model_->pool(output.hidden, {}, model_->config().head.pooling);
      state = std::move(output.final_state);
      if (!mean) continue;
      const torch::Tensor part = pooled.to(torch::kDouble) * static_cast<double>(piece.size());
      sum = sum.defined() ? sum + part : part;
    }
    if (mean) pooled = (sum / static_cast<double>(strand.size())).to(pooled.scalar_type());
    return model_->score(pooled);
  };
  const torch::Tensor forward = run(sequence);
  if (!options_.both_strands) return forward;
  std::vector<uint8_t> turned(sequence.begin(), sequence.end());
  dna::reverse_complement(turned);
  return (forward + run(turned)) / 2;
}

}  // namespace strandwave
