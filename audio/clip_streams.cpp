#include "audio/clip_streams.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "audio/io/companding.h"
#include "core/base/error.h"

namespace strandwave::audio {
namespace {

constexpr int64_t kPrefixPiece = 1 << 15;  // samples of a prefix in memory at once
constexpr int64_t kUniformsAhead = 1024;   // samples whose random numbers go to the device together
constexpr int64_t kLeastBlock = 16;        // samples: the launch of a recorded block pays
constexpr const char* kStatePrefix = "state.";

}  // namespace

ClipStreams::ClipStreams(Generator& generator, int64_t first_clip, int64_t streams,
                         const std::vector<int64_t>& classes, ClipStreamOptions options)
    : generator_(generator),
      first_clip_(first_clip),
      streams_(streams),
      options_(std::move(options)) {
  options_.sampling.validate();
  if (static_cast<int64_t>(options_.prefix.size()) >= options_.length)
    throw usage_error("a prefix of " + std::to_string(options_.prefix.size()) +
                      " samples leaves nothing to generate of a clip of " +
                      std::to_string(options_.length) + ": give a longer duration");
  if (guided() && classes.empty())
    throw usage_error("guidance needs a model with classes: leave it at 1");
  const torch::NoGradGuard no_grad;
  std::vector<int64_t> rows = classes;
  if (guided()) rows.insert(rows.end(), static_cast<size_t>(streams), -1);
  state_ = generator_.allocate(guided() ? 2 * streams : streams, options_.length, rows);
  const auto on_device = torch::TensorOptions().device(generator_.device());
  codes_ = torch::zeros({options_.length, streams}, on_device.dtype(torch::kUInt8));
  log_likelihood_ = torch::zeros({streams}, on_device.dtype(torch::kFloat64));
  check_ = torch::zeros({}, on_device.dtype(torch::kFloat64));
  if (options_.recorded && DeviceGraph::available(generator_.device())) {
    const int64_t period = generator_.period();
    block_ = (kLeastBlock + period - 1) / period * period;
  }
  read_prefix();
}

// kSilence, which models read before the first sample, and what was given.
void ClipStreams::read_prefix() {
  const auto length = static_cast<int64_t>(options_.prefix.size());
  torch::Tensor ids = torch::empty({length + 1}, torch::kLong);
  auto* values = ids.data_ptr<int64_t>();
  values[0] = kSilence;
  std::copy(options_.prefix.begin(), options_.prefix.end(), values + 1);
  ids = ids.to(generator_.device());
  if (length == 0) {
    logits_ = generator_.step(for_rows(ids.expand({streams_})), state_);
    return;
  }
  codes_.narrow(0, 0, length).copy_(ids.narrow(0, 1, length).unsqueeze(1).expand({-1, streams_}));
  position_ = length;
  const torch::Tensor rows = ids.unsqueeze(0).expand({guided() ? 2 * streams_ : streams_, -1});
  for (int64_t at = 0; at <= length; at += kPrefixPiece)
    logits_ = generator_.prefill(
        rows.narrow(1, at, std::min(kPrefixPiece, length + 1 - at)).contiguous(), state_);
}

torch::Tensor ClipStreams::for_rows(const torch::Tensor& values) const {
  return guided() ? torch::cat({values, values}) : values.contiguous();
}

torch::Tensor ClipStreams::combined(const torch::Tensor& logits) const {
  if (!guided()) return logits;
  const torch::Tensor with = logits.narrow(0, 0, streams_);
  const torch::Tensor without = logits.narrow(0, streams_, streams_);
  return without + options_.guidance * (with - without);
}

void ClipStreams::advance(int64_t samples) {
  const torch::NoGradGuard no_grad;
  const int64_t end = std::min(options_.length, position_ + samples);
  single_samples_ = 0;
  while (position_ < end) {
    const int64_t count = std::min(kUniformsAhead, end - position_);
    const torch::Tensor uniforms =
        sampling_uniforms(options_.seed, first_clip_, streams_, position_, count)
            .to(generator_.device());
    for (int64_t i = 0; i < count;) {
      const bool block = block_fits(count - i);
      if (block)
        one_block(uniforms.narrow(0, i, block_));
      else
        one_sample(uniforms[i], codes_[position_], position_ + 1 == options_.length);
      if (!block) ++single_samples_;
      const int64_t drawn = block ? block_ : 1;
      position_ += drawn;
      i += drawn;
    }
    require_finite();
  }
}

// Draws the next sample into `codes` (streams) and, unless it is the last one, reads it.
void ClipStreams::one_sample(const torch::Tensor& uniforms, const torch::Tensor& codes, bool last) {
  const torch::Tensor logits = combined(logits_);
  check_.add_(logits.sum());
  const Draw drawn = draw(logits, options_.sampling, uniforms);
  codes.copy_(drawn.ids);
  log_likelihood_.add_(drawn.log_probability);
  if (!last) logits_.copy_(generator_.step(for_rows(drawn.ids), state_));
}

// Every kind of step must have been made once before it is recorded, and nothing else done with the
// model since: a block drawn one by one. The last sample of a clip is in no block, since nothing
// reads it.
bool ClipStreams::block_fits(int64_t left) const {
  return block_ > 0 && left >= block_ && position_ + block_ < options_.length &&
         (graph_ != nullptr ? state_.position % block_ == block_phase_ : single_samples_ >= block_);
}

void ClipStreams::one_block(const torch::Tensor& uniforms) {
  if (graph_ == nullptr) record();
  block_uniforms_.copy_(uniforms);
  graph_->replay();
  codes_.narrow(0, position_, block_).copy_(block_codes_);
  state_.position += block_;
}

void ClipStreams::record() {
  block_uniforms_ = torch::empty({block_, streams_}, log_likelihood_.options());
  block_codes_ = torch::empty({block_, streams_}, codes_.options());
  const int64_t position = state_.position;
  graph_ = std::make_unique<DeviceGraph>(generator_.device(), [&] {
    for (int64_t i = 0; i < block_; ++i)
      one_sample(block_uniforms_[i], block_codes_[i], /*last=*/false);
  });
  state_.position = position;  // nothing has run yet
  block_phase_ = position % block_;
}

void ClipStreams::require_finite() const {
  if (std::isfinite(check_.item<double>())) return;
  throw runtime_failure("the model's logits are not finite by sample " + std::to_string(position_) +
                        " of clips " + std::to_string(first_clip_) + " to " +
                        std::to_string(first_clip_ + streams_ - 1) +
                        ": its parameters have diverged; take an earlier checkpoint");
}

std::vector<uint8_t> ClipStreams::codes(int64_t stream) const {
  const torch::Tensor column = codes_.narrow(0, 0, position_).select(1, stream).cpu().contiguous();
  const auto* values = column.data_ptr<uint8_t>();
  return {values, values + position_};
}

std::vector<double> ClipStreams::log_likelihoods() const {
  const torch::Tensor host = log_likelihood_.cpu();
  return {host.data_ptr<double>(), host.data_ptr<double>() + streams_};
}

std::map<std::string, torch::Tensor> ClipStreams::tensors() const {
  std::map<std::string, torch::Tensor> all;
  for (const auto& [name, tensor] : state_.tensors()) all.emplace(kStatePrefix + name, tensor);
  all.emplace("logits", logits_);
  all.emplace("codes", codes_);
  all.emplace("log_likelihood", log_likelihood_);
  all.emplace("samples", torch::full({1}, position_, torch::kLong));
  return all;
}

void ClipStreams::restore(const std::map<std::string, torch::Tensor>& tensors,
                          const std::string& where) {
  std::map<std::string, torch::Tensor> state;
  const auto own = [&](const std::string& name, const torch::Tensor& current) {
    const auto found = tensors.find(name);
    if (found == tensors.end()) throw input_error(where + ": no tensor " + name);
    if (found->second.sizes() != current.sizes())
      throw input_error(where + ": tensor " + name + " has shape " +
                        c10::str(found->second.sizes()) + " instead of " +
                        c10::str(current.sizes()));
    return found->second;
  };
  for (const auto& [name, tensor] : tensors)
    if (name.starts_with(kStatePrefix))
      state.emplace(name.substr(std::strlen(kStatePrefix)), tensor);
  const int64_t position = own("samples", torch::empty({1})).to(torch::kLong).item<int64_t>();
  if (position < 0 || position > options_.length)
    throw input_error(where + ": " + std::to_string(position) + " samples of a clip of " +
                      std::to_string(options_.length));
  const torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : {std::pair<const char*, torch::Tensor&>{"logits", logits_},
                                     {"codes", codes_},
                                     {"log_likelihood", log_likelihood_}})
    tensor.copy_(own(name, tensor));
  state_.restore(state, where);
  position_ = position;
}

}  // namespace strandwave::audio
