#include "audio/embedding.h"

#include <algorithm>
#include <cmath>

#include "audio/dsp/mel.h"
#include "core/base/error.h"
#include "core/base/safetensors.h"
#include "core/checkpoint/tensor_file.h"

namespace strandwave::audio {
namespace {

constexpr const char* kFormat = "strandwave clip features";

void append(torch::Tensor& all, const torch::Tensor& rows) {
  all = all.defined() ? torch::cat({all, rows}) : rows;
}

torch::Tensor table(const std::vector<std::vector<float>>& rows) {
  const auto width = static_cast<int64_t>(rows.at(0).size());
  torch::Tensor result = torch::empty({static_cast<int64_t>(rows.size()), width});
  for (size_t i = 0; i < rows.size(); ++i)
    std::copy(rows[i].begin(), rows[i].end(),
              result.data_ptr<float>() + static_cast<int64_t>(i) * width);
  return result;
}

class ByClassifier : public ClipEmbedding {
 public:
  explicit ByClassifier(AudioClassifier classifier) : classifier_(std::move(classifier)) {}

  int sample_rate() const override { return classifier_.sample_rate(); }
  nlohmann::json description() const override {
    nlohmann::json result = {{"name", "classifier"},
                             {"sample_rate", classifier_.sample_rate()},
                             {"classifier", classifier_.hash()},
                             {"temperature", classifier_.temperature()},
                             {"classes", classifier_.labels()}};
    if (const auto accuracy = classifier_.accuracy()) result["accuracy"] = *accuracy;
    return result;
  }
  void add(const std::vector<std::vector<float>>& clips, EmbeddedClips& to) const override {
    const AudioClassifier::Output output = classifier_.predict(clips);
    append(to.features, table(output.features));
    append(to.log_probabilities, table(output.log_probabilities));
  }

 private:
  AudioClassifier classifier_;
};

class ByLogMel : public ClipEmbedding {
 public:
  explicit ByLogMel(int sample_rate) : mel_(config(sample_rate)) {}

  int sample_rate() const override { return mel_.config().sample_rate; }
  nlohmann::json description() const override {
    return {{"name", "logmel"},         {"sample_rate", sample_rate()},
            {"bands", kBands},          {"window", mel_.config().window},
            {"hop", mel_.config().hop}, {"profile", mel_.config().profile}};
  }
  void add(const std::vector<std::vector<float>>& clips, EmbeddedClips& to) const override {
    torch::Tensor rows = torch::empty({static_cast<int64_t>(clips.size()), 3 * kBands});
    for (size_t i = 0; i < clips.size(); ++i) {
      Matrix mel = mel_(clips[i]);
      power_to_db(mel, {.reference = 1, .amin = kFloor, .top_db = std::nullopt});
      summarise(mel, rows.data_ptr<float>() + static_cast<int64_t>(i) * 3 * kBands);
    }
    append(to.features, rows);
  }

 private:
  static constexpr int kBands = 32;
  static constexpr int kLowRate = 12000;
  static constexpr double kFloor = 0.01;  // above what the code of silence decodes to

  static SpectrogramConfig config(int sample_rate) {
    SpectrogramConfig config = SpectrogramConfig::of_profile("librosa", sample_rate);
    config.mels = kBands;
    if (sample_rate < kLowRate) config.fft = config.window = 1024, config.hop = 256;
    return config;
  }

  // Means, standard deviations and mean steps, band by band.
  static void summarise(const Matrix& mel, float* to) {
    const auto frames = static_cast<double>(mel.rows);
    for (int64_t band = 0; band < kBands; ++band) {
      double mean = 0, square = 0, step = 0;
      for (int64_t t = 0; t < mel.rows; ++t) mean += mel.at(t, band) / frames;
      for (int64_t t = 0; t < mel.rows; ++t) {
        square += (mel.at(t, band) - mean) * (mel.at(t, band) - mean) / frames;
        if (t > 0) step += std::abs(mel.at(t, band) - mel.at(t - 1, band));
      }
      to[band] = static_cast<float>(mean);
      to[kBands + band] = static_cast<float>(std::sqrt(square));
      to[2 * kBands + band] = static_cast<float>(step / std::max(frames - 1, 1.0));
    }
  }

  MelSpectrogram mel_;
};

}  // namespace

void EmbeddedClips::save(const std::filesystem::path& path) const {
  const nlohmann::json about = {
      {"embedding", embedding}, {"names", names}, {"mean_seconds", mean_seconds}};
  NamedTensors tensors = {{"features", features}};
  if (log_probabilities.defined()) tensors.emplace_back("log_probabilities", log_probabilities);
  write_tensors(path, tensors, {{"format", kFormat}, {"clips", about.dump()}});
}

EmbeddedClips EmbeddedClips::open(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  const auto& metadata = file.metadata();
  if (!metadata.contains("format") || metadata.at("format") != kFormat)
    throw input_error(path.string() +
                      " holds no features of clips: audio evaluate writes such files "
                      "with --save-features");
  EmbeddedClips result;
  try {
    const nlohmann::json about = nlohmann::json::parse(metadata.at("clips"));
    result.embedding = about.at("embedding");
    result.names = about.at("names").get<std::vector<std::string>>();
    result.mean_seconds = about.at("mean_seconds").get<double>();
  } catch (const std::exception&) {
    throw input_error(path.string() +
                      " is damaged: its description cannot be read; write it again");
  }
  for (const auto& [name, tensor] : read_tensors(path))
    (name == "features" ? result.features : result.log_probabilities) = tensor;
  const bool fits =
      result.features.defined() && result.features.dim() == 2 &&
      (!result.log_probabilities.defined() ||
       (result.log_probabilities.dim() == 2 && result.log_probabilities.size(0) == result.clips()));
  if (!fits)
    throw input_error(path.string() +
                      " is damaged: its tensors do not fit its clips; write it again");
  return result;
}

bool EmbeddedClips::is_one(const std::filesystem::path& path) {
  return path.extension() == ".safetensors" && std::filesystem::is_regular_file(path) && [&] {
    const SafetensorsFile file(path);
    return file.metadata().contains("format") && file.metadata().at("format") == kFormat;
  }();
}

std::unique_ptr<ClipEmbedding> classifier_embedding(AudioClassifier classifier) {
  return std::make_unique<ByClassifier>(std::move(classifier));
}

std::unique_ptr<ClipEmbedding> logmel_embedding(int sample_rate) {
  return std::make_unique<ByLogMel>(sample_rate);
}

}  // namespace strandwave::audio
