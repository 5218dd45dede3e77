// AudioSet's VGGish: what the Frechet audio distance was defined on.
#include <algorithm>
#include <array>
#include <cmath>

#include "audio/dsp/mel.h"
#include "audio/embedding.h"
#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/checkpoint/tensor_file.h"
#include "core/checkpoint/torch_file.h"

namespace strandwave::audio {
namespace {

constexpr int kRate = 16000;
constexpr int64_t kFrames = 96;  // of a patch: 0.96 s
constexpr int64_t kMels = 64;
constexpr int64_t kWindow = 16000;     // samples of which a patch is made (15,600 would do)
constexpr int64_t kGoogleStep = 8000;  // samples
constexpr double kMostGain = 10;       // 20 dB

struct Convolution {
  int index;  // in the published sequence
  int64_t in, out;
  bool pool;  // after it
};
constexpr std::array<Convolution, 6> kConvolutions = {{{0, 1, 64, true},
                                                       {3, 64, 128, true},
                                                       {6, 128, 256, false},
                                                       {8, 256, 256, true},
                                                       {11, 256, 512, false},
                                                       {13, 512, 512, true}}};
constexpr std::array<int64_t, 4> kWidths = {512 * 6 * 4, 4096, 4096, 128};

// The largest value is brought to 1, but never by more than kMostGain.
std::vector<float> louder(std::vector<float> clip) {
  const float largest = clip.empty() ? 0 : *std::max_element(clip.begin(), clip.end());
  const auto gain = static_cast<float>(1 / std::max<double>(largest, 1 / kMostGain));
  for (float& sample : clip) sample *= gain;
  return clip;
}

void append_patch(const Matrix& mel, int64_t first, std::vector<float>& to) {
  for (int64_t t = first; t < first + kFrames; ++t)
    for (int64_t band = 0; band < kMels; ++band) to.push_back(static_cast<float>(mel.at(t, band)));
}

class ByVggish : public ClipEmbedding {
 public:
  ByVggish(const std::filesystem::path& weights, VggishProfile profile)
      : network_(std::make_shared<Vggish>()), profile_(profile), hash_(sha256_of_file(weights)) {
    const bool safetensors = weights.extension() == ".safetensors";
    load_tensors(*network_, safetensors ? read_tensors(weights) : read_torch_file(weights),
                 weights.string());
  }

  int sample_rate() const override { return kRate; }
  nlohmann::json description() const override {
    return {{"name", "vggish"},
            {"sample_rate", kRate},
            {"weights", hash_},
            {"profile", profile_ == VggishProfile::kGoogle ? "google" : "torch"}};
  }
  void add(const std::vector<std::vector<float>>& clips, EmbeddedClips& to) const override {
    const torch::NoGradGuard no_grad;
    std::vector<torch::Tensor> rows;
    if (to.features.defined()) rows.push_back(to.features);
    for (const std::vector<float>& clip : clips)
      rows.push_back(network_->forward(vggish_patches(clip, profile_).unsqueeze(1)));
    to.features = torch::cat(rows);
  }

 private:
  std::shared_ptr<Vggish> network_;
  VggishProfile profile_;
  std::string hash_;
};

}  // namespace

Vggish::Vggish() {
  const auto parameter = [this](const std::string& name, at::IntArrayRef shape) {
    // Modules' own names have no dots: the parameters stand in submodules as published.
    const size_t dot = name.rfind('.');
    std::shared_ptr<torch::nn::Module> module;
    const std::string path = name.substr(0, dot);
    const size_t first = path.find('.');
    const std::string outer = path.substr(0, first), inner = path.substr(first + 1);
    const auto child = [](torch::nn::Module& of, const std::string& called) {
      for (const auto& entry : of.named_children())
        if (entry.key() == called) return entry.value();
      return of.register_module(called, std::make_shared<torch::nn::Module>(called));
    };
    module = child(*child(*this, outer), inner);
    return module->register_parameter(name.substr(dot + 1), torch::empty(shape));
  };
  for (const Convolution& layer : kConvolutions) {
    const std::string name = "features." + std::to_string(layer.index);
    convolution_.push_back(parameter(name + ".weight", {layer.out, layer.in, 3, 3}));
    convolution_bias_.push_back(parameter(name + ".bias", {layer.out}));
  }
  for (size_t i = 0; i + 1 < kWidths.size(); ++i) {
    const std::string name = "embeddings." + std::to_string(2 * i);
    linear_.push_back(parameter(name + ".weight", {kWidths[i + 1], kWidths[i]}));
    linear_bias_.push_back(parameter(name + ".bias", {kWidths[i + 1]}));
  }
}

torch::Tensor Vggish::forward(torch::Tensor x) {
  for (size_t i = 0; i < convolution_.size(); ++i) {
    x = torch::conv2d(x, convolution_[i], convolution_bias_[i], 1, 1).relu();
    if (kConvolutions[i].pool) x = torch::max_pool2d(x, 2);
  }
  x = x.permute({0, 2, 3, 1}).flatten(1);  // the published linear layers read channels last
  for (size_t i = 0; i < linear_.size(); ++i) {
    x = torch::linear(x, linear_[i], linear_bias_[i]);
    if (i + 1 < linear_.size()) x = x.relu();
  }
  return x;
}

torch::Tensor vggish_patches(const std::vector<float>& clip, VggishProfile profile) {
  const MelSpectrogram mel(SpectrogramConfig::of_profile("vggish", kRate));
  std::vector<float> samples = profile == VggishProfile::kGoogle ? louder(clip) : clip;
  if (static_cast<int64_t>(samples.size()) < kWindow) samples.resize(kWindow);
  std::vector<float> patches;
  if (profile == VggishProfile::kGoogle) {
    const auto last = static_cast<int64_t>(samples.size()) - kWindow;
    for (int64_t start = 0; start <= last; start += kGoogleStep)
      append_patch(mel({samples.data() + start, kWindow}), 0, patches);
  } else {
    const Matrix frames = mel(samples);
    for (int64_t t = 0; t + kFrames <= frames.rows; t += kFrames) append_patch(frames, t, patches);
  }
  const auto n = static_cast<int64_t>(patches.size()) / (kFrames * kMels);
  return torch::tensor(patches).view({n, kFrames, kMels});
}

std::unique_ptr<ClipEmbedding> vggish_embedding(const std::filesystem::path& weights,
                                                VggishProfile profile) {
  return std::make_unique<ByVggish>(weights, profile);
}

}  // namespace strandwave::audio
