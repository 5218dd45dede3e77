// The networks that tell clips apart by their log-mel images.
#pragma once

#include <torch/torch.h>

#include <memory>

#include "audio/classifier/classifier_config.h"
#include "core/layers/parameters.h"

namespace strandwave::audio {

// y = weight (x - m) / sqrt(v + 1e-5) + bias per channel; m and v are those of the batch (n,
// height, width) in training, which also moves the running ones by a tenth of the way, and the
// running ones otherwise (Ioffe and Szegedy 2015). The running statistics are frozen parameters, so
// that every checkpoint holds them.
class BatchNorm : public torch::nn::Module {
 public:
  explicit BatchNorm(int64_t channels);
  torch::Tensor forward(const torch::Tensor& x);

 private:
  torch::Tensor weight_, bias_, running_mean_, running_var_;
};

class ClassifierNetwork : public torch::nn::Module {
 public:
  // images: (n, 1, mels, frames) in dB, 0 the loudest of each. -> (n, feature_size()): what the
  // last linear layer sees.
  virtual torch::Tensor features(const torch::Tensor& images) = 0;
  // (n, feature_size()) -> (n, classes)
  torch::Tensor logits(const torch::Tensor& features) const { return head_->linear(features); }
  int64_t feature_size() const { return head_->weight.size(1); }

  // Without the running statistics.
  int64_t parameter_count() const;

 protected:
  ClassifierNetwork(int64_t feature_size, int64_t classes, uint64_t seed);

 private:
  std::shared_ptr<ParameterGroup> head_;  // "classifier"
};

// Random numbers: Philox (seed, kInitialization, ...). Convolutions are normal with variance 2 /
// fan-in (He et al. 2015).
//
// resnext: CifarResNeXt-29 8x64d (Xie et al. 2017) as the SC09 metrics use it: a 3x3 convolution to
// 64 channels, three stages of three bottlenecks (to 256, 512, 1024 channels, the inner width twice
// that in 8 groups; stages 2 and 3 halve height and width), the mean over what is left. 34,425,546
// parameters for ten classes, 1,024 features. Tensor names are those of the public state dict.
// small: four 3x3 convolutions to 16, 32, 64, 64 channels, each with batch norm, ReLU and halving
// by maxima (the last without), then the mean over frequency and time; 64 features.
std::shared_ptr<ClassifierNetwork> make_classifier_network(const AudioClassifierConfig& config,
                                                           uint64_t seed);

}  // namespace strandwave::audio
