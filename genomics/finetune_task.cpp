#include "genomics/finetune_task.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include "core/base/error.h"
#include "core/base/signals.h"
#include "genomics/classifier_metrics.h"

namespace strandwave {
namespace {

// Fragments per label from which moments and frequencies are taken.
constexpr int64_t kEnough = int64_t{1} << 17;

const char* objective(LabelKind kind) {
  switch (kind) {
    case LabelKind::kMultiLabel:
      return "multi_label";
    case LabelKind::kRegression:
      return "regression";
    case LabelKind::kClass:
      break;
  }
  return "classification";
}

torch::Tensor row_tensor(const std::vector<double>& values) {
  return torch::tensor(values, torch::kFloat32);
}

// (fragments, labels)
torch::Tensor target_tensor(const std::vector<LabelledFragment>& fragments) {
  const auto rows = static_cast<int64_t>(fragments.size());
  const auto columns = static_cast<int64_t>(fragments.front().targets.size());
  torch::Tensor targets = torch::empty({rows, columns});
  float* to = targets.data_ptr<float>();
  for (const LabelledFragment& fragment : fragments)
    to = std::copy(fragment.targets.begin(), fragment.targets.end(), to);
  return targets;
}

double number(const nlohmann::json& value) {
  return value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

FinetuneTask::FinetuneTask(std::shared_ptr<SequenceModel> model,
                           std::shared_ptr<const LabelledFragments> data, FinetuneOptions options)
    : model_(std::move(model)),
      data_(std::move(data)),
      options_(std::move(options)),
      // As the reads to come will be, or probabilities would be fitted on easier ones.
      validation_(data_->fixed(Split::kValidation, options_.evaluation_per_class,
                               {0, data_->options().error_rate})) {
  if (!options_.freeze) return;
  for (const auto& [name, parameter] : model_->named_tensors())
    parameter.set_requires_grad(!name.starts_with("backbone."));
}

bool FinetuneTask::learns_language() const {
  return options_.lm_weight > 0 && !options_.freeze && model_->config().predicts_tokens();
}

Batch FinetuneTask::batch(int64_t step, int64_t micro_batch) const {
  const auto first =
      static_cast<uint64_t>((step * options_.accumulation + micro_batch) * options_.batch);
  std::vector<LabelledFragment> fragments;
  std::vector<std::span<const uint8_t>> sequences;
  for (int64_t i = 0; i < options_.batch; ++i)
    fragments.push_back(data_->sample(options_.seed, first + static_cast<uint64_t>(i)));
  for (const LabelledFragment& fragment : fragments) sequences.emplace_back(fragment.ids);
  const PackedSequences packed = pack_sequences(sequences, torch::kCPU);

  Batch batch;
  batch.tokens = packed.ids.numel();
  batch.layout = packed.layout;
  batch.tensors["ids"] = packed.ids;
  std::vector<double> weights(fragments.size(), 1);
  if (data_->task() == LabelKind::kClass) {
    std::vector<int64_t> labels;
    for (size_t i = 0; i < fragments.size(); ++i) {
      labels.push_back(fragments[i].label);
      if (!options_.class_weights.empty())
        weights[i] = options_.class_weights[static_cast<size_t>(fragments[i].label)];
    }
    batch.tensors["labels"] = torch::tensor(labels, torch::kLong);
    batch.tensors["weights"] = row_tensor(weights);
  } else {
    batch.tensors["targets"] = target_tensor(fragments);
    const std::vector<double>& scales = model_->config().head.scales;
    if (data_->task() == LabelKind::kRegression && !scales.empty())
      batch.tensors["scales"] = row_tensor(scales);
    if (data_->task() == LabelKind::kMultiLabel && !options_.class_weights.empty())
      batch.tensors["present_weights"] = row_tensor(options_.class_weights);
  }
  for (const double weight : weights) batch.weight += weight;
  if (learns_language()) add_language_targets(batch, packed, weights);
  return batch;
}

void FinetuneTask::add_language_targets(Batch& batch, const PackedSequences& packed,
                                        const std::vector<double>& weights) const {
  torch::Tensor targets = next_base_targets(packed).contiguous();
  torch::Tensor token_weights = torch::zeros(targets.sizes());
  const int64_t* target = targets.const_data_ptr<int64_t>();
  float* weight = token_weights.data_ptr<float>();
  int64_t at = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const int64_t length = packed.layout
                               ? packed.layout->offsets()[i + 1] - packed.layout->offsets()[i]
                               : targets.size(1);
    const auto scored =
        std::count_if(target + at, target + at + length, [](int64_t id) { return id >= 0; });
    if (scored > 0)
      std::fill_n(
          weight + at, length,
          static_cast<float>(options_.lm_weight * weights[i] / static_cast<double>(scored)));
    at += length;
  }
  batch.tensors["next_bases"] = std::move(targets);
  batch.tensors["next_base_weights"] = std::move(token_weights);
}

torch::Tensor FinetuneTask::loss(const Batch& batch) {
  ModelInput input;
  input.layout = batch.layout ? &*batch.layout : nullptr;
  torch::Tensor hidden;
  {
    // Nothing below a frozen backbone's end needs a graph.
    const torch::AutoGradMode gradients(torch::GradMode::is_enabled() && !options_.freeze);
    hidden = model_->hidden(batch.at("ids"), input).hidden;
  }
  torch::Tensor sum = label_loss(model_->classify_hidden(hidden, input), batch);
  if (learns_language())
    sum = sum + model_
                    ->language_model_loss_of(hidden, batch.at("next_bases"),
                                             batch.at("next_base_weights"))
                    .loss.sum();
  return sum;
}

torch::Tensor FinetuneTask::label_loss(const torch::Tensor& scores, const Batch& batch) const {
  if (data_->task() == LabelKind::kClass) {
    const torch::Tensor right =
        torch::log_softmax(scores, 1).gather(1, batch.at("labels").unsqueeze(1)).squeeze(1);
    return -(right * batch.at("weights")).sum();
  }
  const torch::Tensor& targets = batch.at("targets");
  const auto outputs = static_cast<double>(targets.size(1));
  if (data_->task() == LabelKind::kRegression) {
    torch::Tensor error = scores - targets;
    if (batch.tensors.contains("scales")) error = error / batch.at("scales");
    return error.square().sum() / outputs;
  }
  // -log sigmoid(s) where the label is present, -log sigmoid(-s) where it is not.
  const torch::Tensor present = -torch::log_sigmoid(scores) * targets;
  const torch::Tensor absent = -torch::log_sigmoid(-scores) * (1 - targets);
  const bool weighted = batch.tensors.contains("present_weights");
  return ((weighted ? present * batch.at("present_weights") : present) + absent).sum() / outputs;
}

std::vector<Metric> FinetuneTask::evaluate() {
  if (validation_.empty()) return {};
  const SequenceClassifier classifier(model_, {});
  std::vector<std::vector<float>> values;
  for (Prediction& prediction :
       predict_fragments(classifier, validation_, [](int64_t) { throw_if_interrupted(); }))
    values.push_back(std::move(prediction.probabilities));
  const nlohmann::json measured =
      measure(truths_of(data_->task(), classifier.labels(), data_->groups(), validation_),
              decided(std::move(values)), {.resamples = 0});
  std::vector<Metric> list = metrics(measured);
  const bool gain = std::isfinite(list[0].value) && (!measured_ || list[0].value > best_);
  if (gain) {
    best_ = list[0].value;
    measured_ = true;
  }
  evaluations_without_gain_ = gain ? 0 : evaluations_without_gain_ + 1;
  return list;
}

// The first one selects; of all that may be first, larger is better.
std::vector<Metric> FinetuneTask::metrics(const nlohmann::json& measured) const {
  const auto metric = [&](const char* key, bool higher = true) {
    return Metric{key, number(measured.value(key, nlohmann::json())), higher};
  };
  if (data_->task() == LabelKind::kRegression)
    return {metric("r2"), metric("pearson"), metric("rmse", false)};
  if (data_->task() == LabelKind::kMultiLabel)
    return {metric("auroc"), metric("macro_f1"), metric("log_loss", false)};
  std::vector<Metric> list = {metric("macro_f1"), metric("accuracy"), metric("auroc"),
                              metric("log_loss", false)};
  if (options_.selection == Selection::kAccuracy) std::swap(list[0], list[1]);
  return list;
}

std::string FinetuneTask::loss_text(double nats) const {
  char text[64];
  std::snprintf(text, sizeof text, "loss %.4f", nats);
  return text;
}

nlohmann::json FinetuneTask::state() const {
  return {{"best", measured_ ? nlohmann::json(best_) : nlohmann::json()},
          {"evaluations_without_gain", evaluations_without_gain_}};
}

void FinetuneTask::restore(const nlohmann::json& state) {
  measured_ = !state.at("best").is_null();
  if (measured_) best_ = state.at("best");
  evaluations_without_gain_ = state.at("evaluations_without_gain");
}

nlohmann::json FinetuneTask::config() const {
  const FragmentOptions& fragments = data_->options();
  return {
      {"objective", objective(data_->task())},
      {"data", data_->hash()},
      {"classes", data_->labels()},
      {"batch", options_.batch},
      {"evaluation_per_class", options_.evaluation_per_class},
      {"fragment_length", fragments.length},
      {"length_distribution",
       fragments.lengths.empty() ? nlohmann::json() : nlohmann::json(fragments.lengths.identity())},
      {"error_rate", {fragments.error_rate.low, fragments.error_rate.high}},
      {"reverse_complement", fragments.reverse_complement},
      {"class_weights", options_.class_weights},
      {"lm_weight", options_.lm_weight},
      {"patience", options_.patience},
      {"freeze", options_.freeze},
      {"selection", options_.selection == Selection::kMacroF1 ? "macro_f1" : "accuracy"},
      {"start_model", options_.start_model},
      {"description", data_->description()}};
}

HeadConfig head_for(const LabelledFragments& data, HeadConfig::Pooling pooling) {
  HeadConfig head;
  head.classes = data.labels();
  head.pooling = pooling;
  if (data.task() == LabelKind::kClass) head.kind = HeadConfig::Kind::kClassifier;
  if (data.task() == LabelKind::kMultiLabel) head.kind = HeadConfig::Kind::kMultiLabel;
  if (data.task() != LabelKind::kRegression) return head;
  head.kind = HeadConfig::Kind::kRegression;
  const std::vector<LabelledFragment> training = data.fixed(Split::kTrain, kEnough);
  const auto n = static_cast<double>(training.size());
  for (size_t c = 0; c < head.classes.size(); ++c) {
    double sum = 0, squares = 0;
    for (const LabelledFragment& fragment : training) sum += fragment.targets[c];
    for (const LabelledFragment& fragment : training)
      squares += (fragment.targets[c] - sum / n) * (fragment.targets[c] - sum / n);
    const double deviation = std::sqrt(squares / n);
    head.offsets.push_back(sum / n);
    head.scales.push_back(deviation > 0 ? deviation : 1);
  }
  return head;
}

std::vector<double> class_weights(const std::string& choice, const LabelledFragments& data) {
  if (choice == "uniform") return {};
  if (data.task() == LabelKind::kRegression)
    throw usage_error("--class-weights " + choice + ": a regression has no classes to weigh");
  if (choice != "balanced") {
    if (!std::filesystem::exists(choice))
      throw usage_error(
          "--class-weights is \"uniform\", \"balanced\" or a file of lines \"label<TAB>weight\"; "
          "there is no file \"" +
          choice + "\"");
    std::vector<double> weights = read_prior(choice, data.labels(), {});
    for (double& weight : weights) weight *= static_cast<double>(weights.size());
    return weights;
  }
  if (data.task() == LabelKind::kClass) return {};
  constexpr double kMost = 100;
  std::vector<double> present(data.labels().size());
  const std::vector<LabelledFragment> training = data.fixed(Split::kTrain, kEnough);
  for (const LabelledFragment& fragment : training)
    for (size_t c = 0; c < present.size(); ++c) present[c] += fragment.targets[c];
  std::vector<double> weights;
  const auto all = static_cast<double>(training.size());
  for (const double n : present)  // a label that is always or never present teaches nothing
    weights.push_back(n > 0 && n < all ? std::min(kMost, (all - n) / n) : 1);
  return weights;
}

std::vector<Prediction> predict_fragments(const SequenceClassifier& classifier,
                                          const std::vector<LabelledFragment>& fragments,
                                          const std::function<void(int64_t)>& progress) {
  constexpr size_t kGroup = 1024;
  std::vector<Prediction> predictions;
  for (size_t first = 0; first < fragments.size(); first += kGroup) {
    const size_t last = std::min(first + kGroup, fragments.size());
    std::vector<std::vector<uint8_t>> sequences;
    for (size_t i = first; i < last; ++i) sequences.push_back(fragments[i].ids);
    for (Prediction& prediction : classifier.predict(sequences))
      predictions.push_back(std::move(prediction));
    if (progress) progress(static_cast<int64_t>(last));
  }
  return predictions;
}

}  // namespace strandwave
