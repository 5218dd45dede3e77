#include "audio/classifier/classifier_network.h"

#include <array>
#include <cmath>
#include <string>
#include <vector>

namespace strandwave::audio {
namespace {

// Draws the weights of one convolution after the other, each from a stream of its own.
class ConvolutionFactory {
 public:
  explicit ConvolutionFactory(uint64_t seed) : seed_(seed) {}

  std::shared_ptr<ParameterGroup> operator()(int64_t out, int64_t in, int64_t size) {
    const double deviation = std::sqrt(2.0 / static_cast<double>(in * size * size));
    return std::make_shared<ParameterGroup>(normal_tensor(
        {out, in, size, size}, deviation, initialization_stream(seed_, /*layer=*/1, next_++)));
  }

 private:
  uint64_t seed_;
  int64_t next_ = 0;
};

torch::Tensor convolve(const torch::Tensor& x, const ParameterGroup& convolution,
                       int64_t stride = 1, int64_t groups = 1) {
  const int64_t around = convolution.weight.size(2) / 2;
  return torch::conv2d(x, convolution.weight, {}, stride, around, 1, groups);
}

class Bottleneck : public torch::nn::Module {
 public:
  Bottleneck(int64_t inputs, int64_t outputs, int64_t stride, ConvolutionFactory& make)
      : stride_(stride) {
    const int64_t width = 2 * outputs;
    reduce_ = register_module("conv_reduce", make(width, inputs, 1));
    reduce_norm_ = register_module("bn_reduce", std::make_shared<BatchNorm>(width));
    grouped_ = register_module("conv_conv", make(width, width / kGroups, 3));
    grouped_norm_ = register_module("bn", std::make_shared<BatchNorm>(width));
    expand_ = register_module("conv_expand", make(outputs, width, 1));
    expand_norm_ = register_module("bn_expand", std::make_shared<BatchNorm>(outputs));
    if (inputs == outputs) return;
    const auto shortcut = register_module("shortcut", std::make_shared<torch::nn::Module>());
    shortcut_ = shortcut->register_module("shortcut_conv", make(outputs, inputs, 1));
    shortcut_norm_ = shortcut->register_module("shortcut_bn", std::make_shared<BatchNorm>(outputs));
  }

  torch::Tensor forward(const torch::Tensor& x) {
    torch::Tensor y = torch::relu(reduce_norm_->forward(convolve(x, *reduce_)));
    y = torch::relu(grouped_norm_->forward(convolve(y, *grouped_, stride_, kGroups)));
    y = expand_norm_->forward(convolve(y, *expand_));
    const torch::Tensor straight =
        shortcut_ ? shortcut_norm_->forward(convolve(x, *shortcut_, stride_)) : x;
    return torch::relu(straight + y);
  }

 private:
  static constexpr int64_t kGroups = 8;
  int64_t stride_;
  std::shared_ptr<ParameterGroup> reduce_, grouped_, expand_, shortcut_;
  std::shared_ptr<BatchNorm> reduce_norm_, grouped_norm_, expand_norm_, shortcut_norm_;
};

class ResNeXt : public ClassifierNetwork {
 public:
  ResNeXt(int64_t classes, uint64_t seed) : ClassifierNetwork(kWidths[3], classes, seed) {
    ConvolutionFactory make(seed);
    first_ = register_module("conv_1_3x3", make(kWidths[0], 1, 3));
    first_norm_ = register_module("bn_1", std::make_shared<BatchNorm>(kWidths[0]));
    for (size_t stage = 1; stage < kWidths.size(); ++stage) {
      const std::string name = "stage_" + std::to_string(stage);
      const auto blocks = register_module(name, std::make_shared<torch::nn::Module>());
      for (int k = 0; k < 3; ++k)
        blocks_.push_back(blocks->register_module(
            name + "_bottleneck_" + std::to_string(k),
            std::make_shared<Bottleneck>(kWidths[k == 0 ? stage - 1 : stage], kWidths[stage],
                                         k == 0 && stage > 1 ? 2 : 1, make)));
    }
  }

  torch::Tensor features(const torch::Tensor& images) override {
    torch::Tensor x = torch::relu(first_norm_->forward(convolve(images, *first_)));
    for (const auto& block : blocks_) x = block->forward(x);
    return x.mean({2, 3});
  }

 private:
  static constexpr std::array<int64_t, 4> kWidths = {64, 256, 512, 1024};
  std::shared_ptr<ParameterGroup> first_;
  std::shared_ptr<BatchNorm> first_norm_;
  std::vector<std::shared_ptr<Bottleneck>> blocks_;
};

class SmallNetwork : public ClassifierNetwork {
 public:
  SmallNetwork(int64_t classes, uint64_t seed) : ClassifierNetwork(kWidths.back(), classes, seed) {
    ConvolutionFactory make(seed);
    int64_t inputs = 1;
    for (size_t i = 0; i < kWidths.size(); ++i) {
      const std::string number = std::to_string(i + 1);
      convolutions_.push_back(register_module("conv_" + number, make(kWidths[i], inputs, 3)));
      norms_.push_back(register_module("bn_" + number, std::make_shared<BatchNorm>(kWidths[i])));
      inputs = kWidths[i];
    }
  }

  torch::Tensor features(const torch::Tensor& images) override {
    torch::Tensor x = images / 20 + 2;  // -80 ... 0 dB become -2 ... 2
    for (size_t i = 0; i < kWidths.size(); ++i) {
      x = torch::relu(norms_[i]->forward(convolve(x, *convolutions_[i])));
      // An image of one frame stays one.
      if (i + 1 < kWidths.size())
        x = torch::max_pool2d(x, {2, 2}, {2, 2}, 0, 1, /*ceil_mode=*/true);
    }
    return x.mean({2, 3});
  }

 private:
  static constexpr std::array<int64_t, 4> kWidths = {16, 32, 64, 64};
  std::vector<std::shared_ptr<ParameterGroup>> convolutions_;
  std::vector<std::shared_ptr<BatchNorm>> norms_;
};

}  // namespace

BatchNorm::BatchNorm(int64_t channels) {
  weight_ = register_parameter("weight", torch::ones({channels}));
  bias_ = register_parameter("bias", torch::zeros({channels}));
  running_mean_ =
      register_parameter("running_mean", torch::zeros({channels}), /*requires_grad=*/false);
  running_var_ =
      register_parameter("running_var", torch::ones({channels}), /*requires_grad=*/false);
}

torch::Tensor BatchNorm::forward(const torch::Tensor& x) {
  return torch::batch_norm(x, weight_, bias_, running_mean_, running_var_, is_training(),
                           /*momentum=*/0.1, /*eps=*/1e-5,
                           torch::globalContext().userEnabledCuDNN());
}

ClassifierNetwork::ClassifierNetwork(int64_t feature_size, int64_t classes, uint64_t seed)
    : head_(register_module("classifier", linear_parameters(classes, feature_size, /*bias=*/true,
                                                            seed, /*layer=*/0, /*tensor=*/0))) {}

int64_t ClassifierNetwork::parameter_count() const {
  int64_t count = 0;
  for (const torch::Tensor& parameter : parameters())
    if (parameter.requires_grad()) count += parameter.numel();
  return count;
}

std::shared_ptr<ClassifierNetwork> make_classifier_network(const AudioClassifierConfig& config,
                                                           uint64_t seed) {
  const auto classes = static_cast<int64_t>(config.classes.size());
  if (config.network == "resnext") return std::make_shared<ResNeXt>(classes, seed);
  return std::make_shared<SmallNetwork>(classes, seed);
}

}  // namespace strandwave::audio
