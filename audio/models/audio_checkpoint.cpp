#include "audio/models/audio_checkpoint.h"

#include <utility>

#include "core/base/error.h"
#include "core/checkpoint/checkpoint.h"

namespace strandwave::audio {

LoadedAudioModel load_audio_model(const std::filesystem::path& path) {
  ModelFiles files = read_model(path);
  require_kind(files, "sashimi");
  const std::string where = (files.directory / "config.json").string();
  const SashimiConfig config = SashimiConfig::from_json(files.content.config, where);
  LoadedAudioModel loaded;
  loaded.format = AudioFormat::from_json(config.audio, where + ": audio");
  loaded.model = std::make_shared<Sashimi>(config, /*seed=*/0);
  loaded.model->load_tensors(files.content.model, (files.directory / "model.safetensors").string());
  loaded.state = std::move(files.content.state);
  loaded.directory = files.directory;
  loaded.hash = files.hash;
  loaded.companions = std::move(files.content.companions);
  return loaded;
}

void require_samples_of_8_bits(const LoadedAudioModel& loaded, const std::string& path) {
  constexpr int64_t kValues = 256;
  if (loaded.model->config().vocab_size == kValues) return;
  throw usage_error(
      "the model in " + path + " knows " + std::to_string(loaded.model->config().vocab_size) +
      " values of a sample; audio files are read and written as " + std::to_string(kValues));
}

void save_audio_model(const std::filesystem::path& directory, const Sashimi& model,
                      const nlohmann::json& state,
                      const std::map<std::string, std::string>& companions) {
  NamedTensors tensors;
  for (const auto& [name, tensor] : model.named_tensors())
    tensors.emplace_back(name, tensor.detach().to(torch::kFloat));
  save_checkpoint(directory, {model.config().to_json(), tensors, {}, state, companions});
}

}  // namespace strandwave::audio
