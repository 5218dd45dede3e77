// Classifying clips, and the features by which sets of clips are compared.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "audio/classifier/classifier_config.h"
#include "audio/classifier/classifier_network.h"
#include "audio/classifier/front_end.h"
#include "core/models/named_tensors.h"

namespace strandwave::audio {

// What was measured of a classifier after training: the companion classifier.json of its model,
// {"temperature": 1.3, "validation": {...}, "test": {...}} (classifier_measures(); without a test
// split "test" is null).
inline constexpr const char* kClassifierFile = "classifier.json";

class AudioClassifier {
 public:
  AudioClassifier(AudioClassifierConfig config, std::shared_ptr<ClassifierNetwork> network);

  const std::vector<std::string>& labels() const { return config_.classes; }
  int sample_rate() const { return config_.sample_rate; }
  const AudioClassifierConfig& config() const { return config_; }
  const std::shared_ptr<ClassifierNetwork>& network() const { return network_; }
  // Position of a label; -1: the classifier has no such class.
  int64_t index_of(const std::string& label) const;
  // sha256 of the network's file; empty: it comes from none.
  const std::string& hash() const { return hash_; }
  // On the test split, else on the validation split; nothing: not measured (an imported network).
  std::optional<double> accuracy() const;
  // By which logits are divided; 1 until it is fitted.
  double temperature() const { return temperature_; }
  void set_temperature(double temperature) { temperature_ = temperature; }
  void to(torch::Device device) { network_->to(device); }

  struct Output {
    std::vector<std::vector<float>> log_probabilities;  // natural logarithm, at temperature()
    std::vector<std::vector<float>> features;           // the last linear layer's input
  };
  // Clips of sample_rate(), of any length. The network must be in eval mode. progress(clips done)
  // may throw. Throws Error(kInput) for a sample that is not finite.
  Output predict(const std::vector<std::vector<float>>& clips,
                 const std::function<void(int64_t)>& progress = {}) const;

 private:
  friend AudioClassifier load_audio_classifier(const std::filesystem::path& path);

  AudioClassifierConfig config_;
  std::shared_ptr<ClassifierNetwork> network_;
  ClassifierFrontEnd front_end_;
  double temperature_ = 1;
  std::string hash_;
  nlohmann::json measured_;  // of classifier.json
};

// From a model directory, a checkpoint, or a run directory (best/, else the newest valid
// checkpoint); on the CPU, in eval mode. Throws Error(kInput) naming what is missing, damaged, or a
// model of another kind.
AudioClassifier load_audio_classifier(const std::filesystem::path& path);

void save_audio_classifier(const std::filesystem::path& directory,
                           const AudioClassifierConfig& config, const ClassifierNetwork& network,
                           const nlohmann::json& state = nlohmann::json::object());

// A copy of a trained network for other classes: everything but the last linear layer is taken
// over, and that too where the classes are the same ones in the same order.
std::shared_ptr<ClassifierNetwork> with_classes(const AudioClassifier& start,
                                                const std::vector<std::string>& classes,
                                                uint64_t seed);

// The ResNeXt of the SC09 metrics as published: a state dict (torch.save or safetensors), names
// with or without "module." in front. Ten classes: zero to nine; one second at 16 kHz; the profile
// says how the signal was padded (librosa, or librosa-0.8 as when it was published). Throws
// Error(kInput) naming the tensor that is missing, unknown or of another shape, and what to do with
// a pickled whole module.
struct ImportedClassifier {
  AudioClassifierConfig config;
  std::shared_ptr<ClassifierNetwork> network;
};
ImportedClassifier import_resnext(const std::filesystem::path& path, const std::string& profile);
// Whether a file holds such a network, by the name of its first tensor.
bool is_resnext(const std::filesystem::path& path);
ImportedClassifier import_resnext(const NamedTensors& state_dict, const std::string& profile,
                                  const std::string& where);

}  // namespace strandwave::audio
