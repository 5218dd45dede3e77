// Learning to tell clips apart.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "audio/classifier/audio_classifier.h"
#include "audio/classifier/augmentation.h"
#include "audio/io/clip_dataset.h"
#include "core/training/task.h"
#include "core/training/trainer.h"

namespace strandwave::audio {

struct ClassifierTaskOptions {
  int64_t batch = 64;        // clips per micro-batch
  int64_t accumulation = 1;  // micro-batches per step, as in TrainerConfig
  uint64_t seed = 0;
  Augmentation augmentation;
  std::string start_model;  // hash of the model that the network began as; empty: none
};

// The clips of a dataset with the classes that a classifier gives them.
struct LabelledClips {
  std::vector<size_t> clips;  // of the dataset
  std::vector<int64_t> classes;
};
// Those of one split; class_of_label[i] is the class of the dataset's label i
// (classes_of_labels()). Throws Error(kInput) naming a clip without a label.
LabelledClips labelled_clips(const ClipDataset& data, Split split,
                             const std::vector<int64_t>& class_of_label);
std::vector<std::vector<float>> samples_of(const ClipDataset& data, const LabelledClips& clips);

// Training clips in an order drawn for each epoch, changed at random (augmentation.h); the loss is
// the cross entropy. Metrics on validation, at the temperature that fits it best: "log_loss", which
// selects (accuracy has many ties), "accuracy", "ece".
// batch(): "images" (clips, 1, mels, frames) float32, "classes" (clips) int64.
class ClassifierTask : public Task {
 public:
  // Throws Error(kUsage, kInput): a batch of one (batch norm has no variance then), a class without
  // a training clip, no validation split, another sampling rate than the classifier's.
  ClassifierTask(AudioClassifierConfig config, std::shared_ptr<ClassifierNetwork> network,
                 std::shared_ptr<const ClipDataset> data,
                 const std::vector<int64_t>& class_of_label, ClassifierTaskOptions options);

  Batch batch(int64_t step, int64_t micro_batch) const override;
  torch::Tensor loss(const Batch& batch) override;
  std::vector<Metric> evaluate() override;
  std::string description() const override;
  nlohmann::json config() const override;
  std::string token_name() const override { return "clip"; }
  std::string loss_text(double nats) const override;
  std::string memory_advice() const override {
    return "lower --batch (raise --accumulation to keep the clips of a step)";
  }
  const LabelledClips& validation() const { return validation_; }

 private:
  AudioClassifierConfig config_;
  std::shared_ptr<ClassifierNetwork> network_;
  std::shared_ptr<const ClipDataset> data_;
  ClassifierTaskOptions options_;
  ClassifierFrontEnd front_end_;
  LabelledClips training_, validation_;
};

TrainableModel trainable(const AudioClassifierConfig& config,
                         std::shared_ptr<ClassifierNetwork> network);

}  // namespace strandwave::audio
