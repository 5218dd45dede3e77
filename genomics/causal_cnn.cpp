#include "genomics/causal_cnn.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numbers>

#include "core/base/error.h"
#include "core/layers/parameters.h"
#include "genomics/io/tokenizer.h"

namespace strandwave {
namespace {

constexpr int64_t kFilterWidth = 3;
constexpr int64_t kBases = 4;
constexpr int64_t kPiece = int64_t{1} << 14;  // bases scored at a time
constexpr double kWarmup = 0.02;              // part of the way with a rising learning rate

// Root mean square norm over the channels, the last dimension.
torch::Tensor normalised(const torch::Tensor& x, const torch::Tensor& weight) {
  return x * torch::rsqrt(x.square().mean(-1, true) + 1e-5) * weight;
}

// (batch, length, width) -> (batch, length, 3 width): what lies 2 d, d and 0 positions back, zero
// before the start. A convolution is then one GEMM.
torch::Tensor with_earlier(const torch::Tensor& x, int64_t d) {
  const int64_t length = x.size(1);
  const torch::Tensor padded = torch::constant_pad_nd(x, {0, 0, (kFilterWidth - 1) * d, 0});
  std::vector<torch::Tensor> shifted;
  for (int64_t tap = 0; tap < kFilterWidth; ++tap)
    shifted.push_back(padded.slice(1, tap * d, tap * d + length));
  return torch::cat(shifted, 2);
}

double rate_at(double way) { return std::min(way / kWarmup, 1.0) * (1 - way); }

// 0..3, -1 where there is no base.
torch::Tensor base_codes(const torch::Tensor& tokens) {
  const torch::Tensor targets = base_targets(tokens);
  return torch::where(targets < 0, targets, targets - static_cast<int64_t>(dna::kA));
}

}  // namespace

CausalCnn::CausalCnn(const CausalCnnConfig& config, uint64_t seed) {
  const int64_t width = config.width;
  int64_t number = 0;
  const auto drawn = [&](const std::string& name, at::IntArrayRef shape, double deviation) {
    return register_parameter(
        name, normal_tensor(shape, deviation, initialization_stream(seed, 0, number++)));
  };
  const auto constant = [&](const std::string& name, int64_t size, double value) {
    return register_parameter(name, torch::full({size}, value));
  };
  embedding_ = drawn("embedding", {dna::kPaddedVocabulary, width}, 1.0);
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string name = "layer" + std::to_string(i) + "_";
    Layer layer;
    layer.norm = constant(name + "norm", width, 1);
    layer.filter = drawn(name + "filter", {width, kFilterWidth * width},
                         1 / std::sqrt(static_cast<double>(width * kFilterWidth)));
    layer.filter_bias = constant(name + "filter_bias", width, 0);
    // Small at first: each layer then adds little to what passes by.
    layer.mix = drawn(name + "mix", {width, width},
                      1 / std::sqrt(static_cast<double>(width * config.layers)));
    layer.mix_bias = constant(name + "mix_bias", width, 0);
    layer.dilation = receptive_field_;
    receptive_field_ *= kFilterWidth;
    layers_.push_back(std::move(layer));
  }
  norm_ = constant("norm", width, 1);
  head_ = drawn("head", {kBases, width}, 0.1 / std::sqrt(static_cast<double>(width)));
  head_bias_ = constant("head_bias", kBases, 0);
}

torch::Tensor CausalCnn::forward(const torch::Tensor& tokens) {
  torch::Tensor x = torch::embedding(embedding_, tokens.to(torch::kLong));
  for (const Layer& layer : layers_) {
    const torch::Tensor earlier = with_earlier(normalised(x, layer.norm), layer.dilation);
    const torch::Tensor h = torch::gelu(torch::linear(earlier, layer.filter, layer.filter_bias));
    x = x + torch::linear(h, layer.mix, layer.mix_bias);
  }
  return torch::linear(normalised(x, norm_), head_, head_bias_);
}

int64_t CausalCnn::parameter_count() const {
  int64_t count = 0;
  for (const torch::Tensor& parameter : parameters()) count += parameter.numel();
  return count;
}

namespace {

// Adds the gradients of the mean loss over all bases of windows (rows, length + 1), piece by piece.
void accumulate_gradients(CausalCnn& model, const torch::Tensor& tokens, int64_t piece) {
  const torch::Tensor targets = base_codes(tokens.slice(1, 1));
  const torch::Tensor bases = (targets >= 0).sum().clamp_min(1);
  const int64_t length = targets.size(1);
  const int64_t rows = std::max<int64_t>(1, piece / std::max<int64_t>(1, length));
  for (int64_t row = 0; row < targets.size(0); row += rows)
    for (int64_t from = 0; from < length; from += piece) {
      // What the first positions of a piece look back on is read again.
      const int64_t begin = std::max<int64_t>(0, from - model.receptive_field());
      const int64_t to = std::min(from + piece, length);
      const torch::Tensor logits =
          model.forward(tokens.slice(0, row, row + rows).slice(1, begin, to))
              .slice(1, from - begin);
      const torch::Tensor wanted = targets.slice(0, row, row + rows).slice(1, from, to);
      const torch::Tensor loss = torch::cross_entropy_loss(
          logits.reshape({-1, kBases}), wanted.reshape({-1}), {}, at::Reduction::Sum, -1);
      (loss / bases).backward();
    }
}

}  // namespace

CausalCnnPredictor CausalCnnPredictor::train(const CausalCnnConfig& config,
                                             const CausalCnnTraining& training) {
  if (training.seconds <= 0 && training.steps <= 0)
    throw usage_error("a causal CNN needs seconds or steps to train for");
  CausalCnnPredictor made;
  made.device_ = training.device;
  made.model_ = std::make_shared<CausalCnn>(config, training.seed);
  made.model_->to(training.device);
  torch::optim::AdamW optimizer(made.model_->parameters(),
                                torch::optim::AdamWOptions(training.lr).weight_decay(0.01));
  const auto start = std::chrono::steady_clock::now();
  const torch::AutoGradMode with_gradients(true);
  for (double way = 0; way < 1; ++made.steps_) {
    for (auto& group : optimizer.param_groups())
      group.options().set_lr(training.lr * std::max(rate_at(way), 1e-3));
    const torch::Tensor tokens = training.windows(made.steps_).to(training.device);
    optimizer.zero_grad();
    accumulate_gradients(*made.model_, tokens, training.piece);
    // Reads the norm: the clock does not run ahead of the device by more than a step.
    const double norm = torch::nn::utils::clip_grad_norm_(made.model_->parameters(), 1.0);
    if (std::isfinite(norm)) optimizer.step();
    made.seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    way = training.seconds > 0
              ? made.seconds_ / training.seconds
              : static_cast<double>(made.steps_ + 1) / static_cast<double>(training.steps);
    if (training.progress) training.progress(std::min(way, 1.0));
  }
  return made;
}

std::vector<float> CausalCnnPredictor::bits(const Genome& genome, const Interval& interval) const {
  const torch::NoGradGuard no_grad;
  std::vector<float> result;
  result.reserve(static_cast<size_t>(interval.length()));
  for (int64_t start = interval.start; start < interval.end; start += kPiece) {
    const int64_t end = std::min(start + kPiece, interval.end);
    const int64_t from = std::max(interval.start, start - context());
    torch::Tensor tokens = torch::empty({1, end - from + 1}, torch::kUInt8);
    uint8_t* ids = tokens.data_ptr<uint8_t>();
    // The start token in the place of an earlier base lies outside the receptive field.
    ids[0] = dna::kBos;
    genome.fetch(interval.contig, from, end, ids + 1);
    tokens = tokens.to(device_);
    const torch::Tensor log_p =
        torch::log_softmax(model_->forward(tokens.slice(1, 0, end - from)), 2)[0];
    const torch::Tensor codes = base_codes(tokens.slice(1, 1))[0];
    const torch::Tensor bits =
        (log_p.gather(1, codes.clamp_min(0).unsqueeze(1)).squeeze(1) * -std::numbers::log2e)
            .masked_fill(codes < 0, std::numeric_limits<float>::quiet_NaN())
            .slice(0, start - from)
            .to(torch::kFloat)
            .cpu()
            .contiguous();
    const float* values = bits.const_data_ptr<float>();
    result.insert(result.end(), values, values + bits.numel());
  }
  return result;
}

}  // namespace strandwave
