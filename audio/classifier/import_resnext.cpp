// The published classifier of the SC09 metrics.
#include <algorithm>

#include "audio/classifier/audio_classifier.h"
#include "core/base/error.h"
#include "core/checkpoint/tensor_file.h"
#include "core/checkpoint/torch_file.h"

namespace strandwave::audio {
namespace {

NamedTensors read_state_dict(const std::filesystem::path& path) {
  return path.extension() == ".safetensors" ? read_tensors(path) : read_torch_file(path);
}

}  // namespace

ImportedClassifier import_resnext(const NamedTensors& state_dict, const std::string& profile,
                                  const std::string& where) {
  ImportedClassifier imported;
  imported.config = AudioClassifierConfig::of_rate(16000);
  imported.config.network = "resnext";
  imported.config.profile = profile;
  imported.config.classes = {"zero", "one", "two",   "three", "four",
                             "five", "six", "seven", "eight", "nine"};
  constexpr std::string_view kParallel =
      "module.";  // of a network that was trained on several GPUs
  NamedTensors tensors;
  for (const auto& [name, tensor] : state_dict) {
    if (name.ends_with(".num_batches_tracked")) continue;  // a count that no forward pass uses
    tensors.emplace_back(name.starts_with(kParallel) ? name.substr(kParallel.size()) : name,
                         tensor);
  }
  imported.network = make_classifier_network(imported.config, /*seed=*/0);
  load_tensors(*imported.network, tensors, where);
  imported.network->eval();
  return imported;
}

ImportedClassifier import_resnext(const std::filesystem::path& path, const std::string& profile) {
  return import_resnext(read_state_dict(path), profile, path.string());
}

bool is_resnext(const std::filesystem::path& path) {
  const NamedTensors tensors = read_state_dict(path);
  return std::any_of(tensors.begin(), tensors.end(), [](const auto& tensor) {
    return tensor.first.ends_with("conv_1_3x3.weight");
  });
}

}  // namespace strandwave::audio
