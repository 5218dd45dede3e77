#include "audio/classifier/audio_classifier.h"

#include <algorithm>
#include <utility>

#include "core/base/error.h"
#include "core/base/json_config.h"
#include "core/checkpoint/checkpoint.h"

namespace strandwave::audio {
namespace {

constexpr int64_t kBatch = 64;  // clips at once

std::vector<std::vector<float>> rows_of(const torch::Tensor& values) {
  const torch::Tensor host = values.to(torch::kCPU, torch::kFloat).contiguous();
  const float* from = host.const_data_ptr<float>();
  std::vector<std::vector<float>> rows;
  for (int64_t i = 0; i < host.size(0); ++i, from += host.size(1))
    rows.emplace_back(from, from + host.size(1));
  return rows;
}

void append(std::vector<std::vector<float>>& to, std::vector<std::vector<float>>&& rows) {
  to.insert(to.end(), std::make_move_iterator(rows.begin()), std::make_move_iterator(rows.end()));
}

}  // namespace

AudioClassifier::AudioClassifier(AudioClassifierConfig config,
                                 std::shared_ptr<ClassifierNetwork> network)
    : config_(std::move(config)), network_(std::move(network)), front_end_(config_) {}

int64_t AudioClassifier::index_of(const std::string& label) const {
  const auto found = std::find(config_.classes.begin(), config_.classes.end(), label);
  return found == config_.classes.end() ? -1 : found - config_.classes.begin();
}

std::optional<double> AudioClassifier::accuracy() const {
  for (const char* split : {"test", "validation"})
    if (measured_.is_object() && measured_.contains(split) && measured_.at(split).is_object())
      return measured_.at(split).at("accuracy").get<double>();
  return std::nullopt;
}

AudioClassifier::Output AudioClassifier::predict(
    const std::vector<std::vector<float>>& clips,
    const std::function<void(int64_t)>& progress) const {
  const torch::NoGradGuard no_grad;
  const torch::Device device = network_->parameters().front().device();
  Output output;
  const auto n = static_cast<int64_t>(clips.size());
  for (int64_t first = 0; first < n; first += kBatch) {
    const std::span<const std::vector<float>> batch(
        clips.data() + first, static_cast<size_t>(std::min(kBatch, n - first)));
    const torch::Tensor features = network_->features(front_end_.images(batch).to(device));
    const torch::Tensor logits = network_->logits(features).to(torch::kDouble) / temperature_;
    append(output.log_probabilities, rows_of(torch::log_softmax(logits, 1)));
    append(output.features, rows_of(features));
    if (progress) progress(first + static_cast<int64_t>(batch.size()));
  }
  return output;
}

AudioClassifier load_audio_classifier(const std::filesystem::path& path) {
  const ModelFiles files = read_model(path);
  require_kind(files, AudioClassifierConfig::kKind);
  const auto config = AudioClassifierConfig::from_json(files.content.config,
                                                       (files.directory / "config.json").string());
  const auto network = make_classifier_network(config, /*seed=*/0);
  load_tensors(*network, files.content.model, (files.directory / "model.safetensors").string());
  network->eval();
  AudioClassifier classifier(config, network);
  classifier.hash_ = files.hash;
  const auto measured = files.content.companions.find(kClassifierFile);
  if (measured == files.content.companions.end()) return classifier;
  const std::string where = (files.directory / kClassifierFile).string();
  classifier.measured_ = parse_json(measured->second, where);
  JsonObject object(classifier.measured_, where);
  classifier.temperature_ = object.number("temperature", 1, 1e-3, 1e3);
  return classifier;
}

void save_audio_classifier(const std::filesystem::path& directory,
                           const AudioClassifierConfig& config, const ClassifierNetwork& network,
                           const nlohmann::json& state) {
  NamedTensors tensors;
  for (const auto& [name, tensor] : named_tensors(network))
    tensors.emplace_back(name, tensor.detach().to(torch::kFloat));
  save_checkpoint(directory, {config.to_json(), tensors, {}, state, {}});
}

std::shared_ptr<ClassifierNetwork> with_classes(const AudioClassifier& start,
                                                const std::vector<std::string>& classes,
                                                uint64_t seed) {
  AudioClassifierConfig config = start.config();
  const bool same = config.classes == classes;
  config.classes = classes;
  const auto network = make_classifier_network(config, seed);
  load_tensors(
      *network, named_tensors(*start.network()), "the start model",
      [same](const std::string& name) { return same || !name.starts_with("classifier."); });
  return network;
}

}  // namespace strandwave::audio
