#include "audio/classifier/classifier_task.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "audio/classifier/classifier_measures.h"
#include "core/base/error.h"
#include "core/base/signals.h"

namespace strandwave::audio {
namespace {

void require_every_class(const LabelledClips& clips, const std::vector<std::string>& classes) {
  for (size_t c = 0; c < classes.size(); ++c)
    if (std::find(clips.classes.begin(), clips.classes.end(), static_cast<int64_t>(c)) ==
        clips.classes.end())
      throw input_error("class \"" + classes[c] +
                        "\" has no training clip: give it some, or leave the class out");
}

}  // namespace

LabelledClips labelled_clips(const ClipDataset& data, Split split,
                             const std::vector<int64_t>& class_of_label) {
  LabelledClips result;
  for (const size_t i : data.clips_of(split)) {
    const int64_t label = data.clip(i).label;
    if (label < 0)
      throw input_error("clip " + data.clip(i).name +
                        " has no label: a classifier needs one for every clip (folders named by "
                        "class, a manifest with a column label, or --label EXPRESSION)");
    result.clips.push_back(i);
    result.classes.push_back(class_of_label.at(static_cast<size_t>(label)));
  }
  return result;
}

std::vector<std::vector<float>> samples_of(const ClipDataset& data, const LabelledClips& clips) {
  std::vector<std::vector<float>> samples;
  for (const size_t i : clips.clips) samples.push_back(data.samples(i));
  return samples;
}

ClassifierTask::ClassifierTask(AudioClassifierConfig config,
                               std::shared_ptr<ClassifierNetwork> network,
                               std::shared_ptr<const ClipDataset> data,
                               const std::vector<int64_t>& class_of_label,
                               ClassifierTaskOptions options)
    : config_(std::move(config)),
      network_(std::move(network)),
      data_(std::move(data)),
      options_(std::move(options)),
      front_end_(config_),
      training_(labelled_clips(*data_, Split::kTrain, class_of_label)),
      validation_(labelled_clips(*data_, Split::kValidation, class_of_label)) {
  if (data_->format().sample_rate != config_.sample_rate)
    throw usage_error("the clips have " + std::to_string(data_->format().sample_rate) +
                      " samples per second, the classifier is for " +
                      std::to_string(config_.sample_rate) + ": give --rate " +
                      std::to_string(config_.sample_rate));
  if (options_.batch < 2)
    throw usage_error("a batch of " + std::to_string(options_.batch) +
                      " clip has no variance for batch normalisation: give --batch 2 or more");
  require_every_class(training_, config_.classes);
  if (validation_.clips.empty())
    throw input_error(
        "there is no validation clip, by which the best network is chosen and its probabilities "
        "are "
        "fitted: raise --validation-fraction, or mark some in the manifest's column split");
}

Batch ClassifierTask::batch(int64_t step, int64_t micro_batch) const {
  const auto n = static_cast<uint64_t>(training_.clips.size());
  const auto first =
      static_cast<uint64_t>((step * options_.accumulation + micro_batch) * options_.batch);
  torch::Tensor images = torch::empty({options_.batch, 1, front_end_.mels(), front_end_.frames()});
  torch::Tensor classes = torch::empty({options_.batch}, torch::kLong);
  for (int64_t i = 0; i < options_.batch; ++i) {
    const uint64_t sample = first + static_cast<uint64_t>(i);
    const size_t at = permute_index(sample % n, n, options_.seed, sample / n);
    std::vector<float> clip = data_->samples(training_.clips[at]);
    clip.resize(static_cast<size_t>(config_.clip_length));
    augment(clip, config_.sample_rate, options_.augmentation,
            RandomStream(options_.seed, RandomPurpose::kAugmentation, sample));
    front_end_.image(clip, images.data_ptr<float>() + i * front_end_.mels() * front_end_.frames());
    classes.data_ptr<int64_t>()[i] = training_.classes[at];
  }
  Batch batch;
  batch.tensors = {{"images", images}, {"classes", classes}};
  batch.weight = static_cast<double>(options_.batch);
  batch.tokens = options_.batch;
  return batch;
}

torch::Tensor ClassifierTask::loss(const Batch& batch) {
  const torch::Tensor logits = network_->logits(network_->features(batch.at("images")));
  return -torch::log_softmax(logits, 1).gather(1, batch.at("classes").unsqueeze(1)).sum();
}

std::vector<Metric> ClassifierTask::evaluate() {
  AudioClassifier classifier(config_, network_);
  const AudioClassifier::Output raw =
      classifier.predict(samples_of(*data_, validation_), [](int64_t) { throw_if_interrupted(); });
  const nlohmann::json measured = classifier_measures(
      config_.classes, validation_.classes,
      at_temperature(raw.log_probabilities,
                     fit_clip_temperature(validation_.classes, raw.log_probabilities)));
  return {{"log_loss", measured.at("log_loss")},
          {"accuracy", measured.at("accuracy"), true},
          {"ece", measured.at("ece")}};
}

std::string ClassifierTask::description() const {
  return config_.network + " network, " + std::to_string(config_.classes.size()) + " classes, " +
         std::to_string(training_.clips.size()) + " training and " +
         std::to_string(validation_.clips.size()) + " validation clips";
}

std::string ClassifierTask::loss_text(double nats) const {
  char text[64];
  std::snprintf(text, sizeof text, "loss %.4f", nats);
  return text;
}

nlohmann::json ClassifierTask::config() const {
  return {{"objective", "audio classification"},
          {"data", data_->hash()},
          {"batch", options_.batch},
          {"augmentation", options_.augmentation.to_json()},
          {"start_model", options_.start_model},
          {"description", description()}};
}

TrainableModel trainable(const AudioClassifierConfig& config,
                         std::shared_ptr<ClassifierNetwork> network) {
  TrainableModel result;
  result.module = std::move(network);
  result.config = config.to_json();
  return result;
}

}  // namespace strandwave::audio
