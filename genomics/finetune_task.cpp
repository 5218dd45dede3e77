#include "genomics/finetune_task.h"

#include <algorithm>
#include <cmath>

#include "core/base/signals.h"

namespace strandwave {

FinetuneTask::FinetuneTask(std::shared_ptr<SequenceModel> model,
                           std::shared_ptr<const LabelledFragments> data, FinetuneOptions options)
    : model_(std::move(model)),
      data_(std::move(data)),
      options_(options),
      validation_(data_->fixed(Split::kValidation, options_.evaluation_per_class)) {}

Batch FinetuneTask::batch(int64_t step, int64_t micro_batch) const {
  const auto first =
      static_cast<uint64_t>((step * options_.accumulation + micro_batch) * options_.batch);
  std::vector<LabelledFragment> fragments;
  std::vector<std::span<const uint8_t>> sequences;
  torch::Tensor labels = torch::empty({options_.batch}, torch::kLong);
  for (int64_t i = 0; i < options_.batch; ++i) {
    fragments.push_back(data_->sample(options_.seed, first + static_cast<uint64_t>(i)));
    labels.data_ptr<int64_t>()[i] = fragments.back().label;
  }
  for (const LabelledFragment& fragment : fragments) sequences.emplace_back(fragment.ids);
  PackedSequences packed = pack_sequences(sequences, torch::kCPU);
  Batch batch;
  batch.tokens = packed.ids.numel();
  batch.weight = static_cast<double>(options_.batch);
  batch.tensors["ids"] = std::move(packed.ids);
  batch.tensors["labels"] = std::move(labels);
  batch.layout = std::move(packed.layout);
  return batch;
}

torch::Tensor FinetuneTask::loss(const Batch& batch) {
  ModelInput input;
  input.layout = batch.layout ? &*batch.layout : nullptr;
  const torch::Tensor log_probabilities =
      torch::log_softmax(model_->classify(batch.at("ids"), input), 1);
  return -log_probabilities.gather(1, batch.at("labels").unsqueeze(1)).sum();
}

std::vector<Metric> FinetuneTask::evaluate() {
  if (validation_.empty()) return {};
  const SequenceClassifier classifier(model_, {});
  const ClassifierEvaluation result =
      evaluate_classifier(classifier, validation_, [](int64_t) { throw_if_interrupted(); });
  return {{"accuracy", result.confusion.accuracy(), true},
          {"cross_entropy", result.cross_entropy, false}};
}

nlohmann::json FinetuneTask::config() const {
  const FragmentOptions& fragments = data_->options();
  return {{"objective", "classification"},
          {"data", data_->hash()},
          {"classes", data_->labels()},
          {"batch", options_.batch},
          {"evaluation_per_class", options_.evaluation_per_class},
          {"fragment_length", fragments.length},
          {"error_rate", fragments.error_rate},
          {"reverse_complement", fragments.reverse_complement},
          {"start_model", options_.start_model},
          {"description", data_->description()}};
}

ClassifierEvaluation evaluate_classifier(const SequenceClassifier& classifier,
                                         const std::vector<LabelledFragment>& fragments,
                                         const std::function<void(int64_t)>& progress) {
  ClassifierEvaluation result{ConfusionMatrix(static_cast<int>(classifier.labels().size())), 0};
  constexpr size_t kGroup = 1024;
  for (size_t first = 0; first < fragments.size(); first += kGroup) {
    const size_t last = std::min(first + kGroup, fragments.size());
    std::vector<std::vector<uint8_t>> sequences;
    for (size_t i = first; i < last; ++i) sequences.push_back(fragments[i].ids);
    const auto rows = classifier.probabilities(sequences);
    for (size_t i = first; i < last; ++i) {
      const std::vector<float>& row = rows[i - first];
      const auto prediction =
          static_cast<int>(std::max_element(row.begin(), row.end()) - row.begin());
      result.confusion.add(fragments[i].label, prediction);
      result.cross_entropy -=
          std::log(std::max(row[static_cast<size_t>(fragments[i].label)], 1e-30F));
    }
    if (progress) progress(static_cast<int64_t>(last));
  }
  if (!fragments.empty()) result.cross_entropy /= static_cast<double>(fragments.size());
  return result;
}

}  // namespace strandwave
