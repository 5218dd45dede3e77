// Clips as feature vectors, by which sets of clips are compared.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "audio/classifier/audio_classifier.h"

namespace strandwave::audio {

struct EmbeddedClips {
  std::vector<std::string> names;   // of the clips
  torch::Tensor features;           // (rows, d) float32; VGGish may have several rows of one clip
  torch::Tensor log_probabilities;  // (clips, classes) float32; undefined without a classifier
  nlohmann::json embedding;         // ClipEmbedding::description() of what made them
  double mean_seconds = 0;          // of a clip; 0: not known

  int64_t clips() const { return static_cast<int64_t>(names.size()); }
  // A safetensors file, complete or absent; open() throws Error(kInput) for another file.
  void save(const std::filesystem::path& path) const;
  static EmbeddedClips open(const std::filesystem::path& path);
  static bool is_one(const std::filesystem::path& path);  // by name and content
};

// An embedding of clips. Everything is computed on the host's floats of the clips as they are.
class ClipEmbedding {
 public:
  virtual ~ClipEmbedding() = default;
  virtual int sample_rate() const = 0;  // 0: any; the reference's own
  // What figures made with it must name: {"name", "sample_rate", ...}. Equal descriptions mean
  // comparable features.
  virtual nlohmann::json description() const = 0;
  // Rows for clips, appended; both of any number of clips at a time.
  virtual void add(const std::vector<std::vector<float>>& clips, EmbeddedClips& to) const = 0;
};

// "classifier": the last linear layer's input and the class probabilities.
std::unique_ptr<ClipEmbedding> classifier_embedding(AudioClassifier classifier);

// "logmel": needs no weights. Mel power spectrogram of 32 bands (librosa's profile, window 1,024
// and hop 256 below 12 kHz, else 2,048 and 512), 10 log10(max(S, 0.01)), so that silence is
// silence whatever codec wrote it; mean and standard deviation of each band over the frames, and mean of |difference to the frame before|: 96 numbers.
std::unique_ptr<ClipEmbedding> logmel_embedding(int sample_rate);

// "vggish": 128 numbers of each second at 16 kHz from AudioSet's network (Hershey et al. 2017),
// without its last ReLU and PCA. Weights: a state dict as torchvggish publishes it
// (features.{0,3,6,8,11,13}, embeddings.{0,2,4}), torch.save or safetensors.
//   google   windows of 16,000 samples every 8,000; each clip is first raised by 20 dB at most so
//            that its largest value is 1, the values of the public reference of the Frechet audio
//            distance
//   torch    patches of 96 frames one behind the other, loudness as it is: the Python ports
// Clips shorter than a window get silence at their end.
enum class VggishProfile { kGoogle, kTorch };
std::unique_ptr<ClipEmbedding> vggish_embedding(const std::filesystem::path& weights,
                                                VggishProfile profile);

// The network of the above: (n, 1, 96, 64) log-mel patches -> (n, 128). Parameters as named above.
class Vggish : public torch::nn::Module {
 public:
  Vggish();  // parameters are not initialised
  torch::Tensor forward(torch::Tensor patches);

 private:
  std::vector<torch::Tensor> convolution_, convolution_bias_, linear_, linear_bias_;
};
// (patches, 96, 64) of one clip.
torch::Tensor vggish_patches(const std::vector<float>& clip, VggishProfile profile);

}  // namespace strandwave::audio
