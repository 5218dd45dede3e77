// A small causal convolutional network: what a few kilobases of context give without a state.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "genomics/base_predictor.h"

namespace strandwave {

struct CausalCnnConfig {
  int64_t width = 128;
  int64_t layers = 7;  // dilation 3^i: a receptive field of 3^layers bases
};

//   x_0 = embedding(tokens)
//   x_{i+1} = x_i + W2_i gelu(conv_i(norm(x_i)))      conv_i: width 3, dilation 3^i, causal
//   logits = W norm(x_layers)                         of A, C, G, T
//
// With the defaults 464,132 parameters and 2,187 bases of context. Dilated causal convolutions as
// in WaveNet (arXiv 1609.03499), with a dilation that grows by the width: each position of the
// receptive field is reached by exactly one path.
class CausalCnn : public torch::nn::Module {
 public:
  CausalCnn(const CausalCnnConfig& config, uint64_t seed);

  // tokens (batch, length) uint8 or int64 -> (batch, length, 4): the base after each token.
  torch::Tensor forward(const torch::Tensor& tokens);
  int64_t receptive_field() const { return receptive_field_; }
  int64_t parameter_count() const;

 private:
  struct Layer {
    torch::Tensor norm, filter, filter_bias, mix, mix_bias;
    int64_t dilation = 1;
  };
  torch::Tensor embedding_, norm_, head_, head_bias_;
  std::vector<Layer> layers_;
  int64_t receptive_field_ = 1;
};

struct CausalCnnTraining {
  // Training windows of a step, on the host: (rows, length + 1) uint8, column 0 the token before
  // each window (PretrainTask::batch).
  std::function<torch::Tensor(int64_t step)> windows;
  double seconds = 0;  // stops then; 0: after `steps`
  int64_t steps = 0;
  double lr = 2e-3;  // of AdamW; falls to 0 along the way
  uint64_t seed = 0;
  // Positions run at once: bounds memory, also with long windows; decides nothing else.
  int64_t piece = 1 << 14;
  torch::Device device = torch::kCPU;
  // Called after every step with the part of the way that is done; may throw to stop.
  std::function<void(double)> progress;
};

// A trained network. Its bits are those of intervals read from the start token.
class CausalCnnPredictor : public BasePredictor {
 public:
  // Mean loss over the bases of each step's windows; N is read but never predicted. With `seconds`
  // the result depends on the speed of the machine, as the comparison demands.
  static CausalCnnPredictor train(const CausalCnnConfig& config, const CausalCnnTraining& training);

  std::vector<std::string> names() const override { return {"causal CNN"}; }
  int64_t context() const override { return model_->receptive_field(); }
  std::vector<float> bits(const Genome& genome, const Interval& interval) const override;

  double seconds() const { return seconds_; }
  int64_t steps() const { return steps_; }
  int64_t parameter_count() const { return model_->parameter_count(); }

 private:
  std::shared_ptr<CausalCnn> model_;
  torch::Device device_ = torch::kCPU;
  double seconds_ = 0;
  int64_t steps_ = 0;
};

}  // namespace strandwave
