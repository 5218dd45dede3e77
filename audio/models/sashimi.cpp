#include "audio/models/sashimi.h"

#include <cmath>
#include <string_view>
#include <utility>

#include "audio/models/sashimi_blocks.h"
#include "core/base/error.h"
#include "kernels/embedding/embedding.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy.h"

namespace strandwave::audio {
namespace {

using torch::Tensor;

// Streams of tensors that belong to no layer: part of what a seed means, never renumber. The pools
// of stage i follow from kPools + 4 i: down_pool's two, up_pool's two.
enum InitialTensor : int64_t {
  kEncoder = 0,
  kDecoderWeight = 1,
  kDecoderBias = 2,
  kClasses = 3,
  kPools = 16
};

constexpr double kNormEpsilon = 1e-5;

// Columns that carry the decoder's bias through the loss operator, a multiple of what matrix units
// take at once.
constexpr int64_t kBiasColumns = 8;

using Module = torch::nn::Module;

std::shared_ptr<Module> container(Module& parent, const std::string& name) {
  return parent.register_module(name, std::make_shared<Module>());
}

// (batch, frames p, width) -> (batch, frames, width p): channel h p + phase.
Tensor grouped(const Tensor& x, int64_t p) {
  return x.reshape({x.size(0), x.size(1) / p, p, x.size(2)}).transpose(2, 3).flatten(2);
}

// Its inverse.
Tensor ungrouped(const Tensor& x, int64_t p) {
  return x.view({x.size(0), x.size(1), x.size(2) / p, p}).transpose(2, 3).flatten(1, 2);
}

void check_ids(const Tensor& ids, int64_t dimensions, const char* shape) {
  TORCH_CHECK(ids.dim() == dimensions && ids.numel() > 0, "ids must be ", shape, ", got ",
              ids.sizes());
  TORCH_CHECK(ids.scalar_type() == torch::kLong || ids.scalar_type() == torch::kByte,
              "ids must be int64 or uint8, got ", ids.scalar_type());
}

}  // namespace

Sashimi::Sashimi(SashimiConfig config, uint64_t seed) : config_(std::move(config)) {
  config_.validate();
  build(seed);
}

void Sashimi::build(uint64_t seed) {
  const int64_t d = config_.d_model;
  const double bound = 1.0 / std::sqrt(static_cast<double>(d));
  const auto stream = [&](int64_t tensor) { return initialization_stream(seed, 0, tensor); };
  const auto group = [&](const char* name, Tensor weight, Tensor bias = {}) {
    return register_module(name,
                           std::make_shared<ParameterGroup>(std::move(weight), std::move(bias)));
  };
  encoder_ = group("encoder",
                   normal_tensor({config_.vocab_size, d}, config_.embedding_std, stream(kEncoder)))
                 ->weight;
  if (!config_.classes.empty()) {
    const auto rows = static_cast<int64_t>(config_.classes.size()) + 1;
    class_embedding_ =
        group("class_embedding", normal_tensor({rows, d}, config_.embedding_std, stream(kClasses)))
            ->weight;
  }
  const auto all = container(*this, "stages");
  // From the outside in, and back: slots then follow the order in which a sample passes.
  const auto blocks = [&](Module& parent, const char* name, int64_t stage) {
    std::vector<std::shared_ptr<ResidualBlock>> made;
    const auto list = container(parent, name);
    const StageConfig& wanted = config_.stages[static_cast<size_t>(stage)];
    for (int64_t layer = 0; layer < wanted.layers; ++layer)
      for (const LayerConfig& block : wanted.blocks) {
        made.push_back(list->register_module(
            std::to_string(made.size()),
            std::make_shared<ResidualBlock>(block, config_.norm, config_.width(stage),
                                            static_cast<int64_t>(slots_), seed)));
        ++slots_;
      }
    return made;
  };
  const auto pools = static_cast<int64_t>(config_.pool.size());
  std::vector<std::shared_ptr<Module>> parents;
  for (int64_t i = 0; i <= pools; ++i) {
    parents.push_back(container(*all, std::to_string(i)));
    Stage stage;
    if (i < pools) {
      stage.pool = config_.pool[static_cast<size_t>(i)];
      stage.down_slot = slots_;
      if (config_.skips == SashimiConfig::Skips::kLayers)
        stage.down = blocks(*parents.back(), "down_layers", i);
      const auto linear = [&](const char* name, int64_t in, int64_t out, int64_t tensor) {
        return parents.back()->register_module(
            name, std::make_shared<PoolLinear>(in, out, config_.weight_norm, seed,
                                               kPools + 4 * i + tensor));
      };
      const int64_t outer = config_.width(i), inner = config_.width(i + 1);
      stage.down_pool = linear("down_pool", outer * stage.pool, inner, 0);
      stage.up_pool = linear("up_pool", inner, outer * stage.pool, 2);
      stage.pool_slot = slots_++;
    }
    stages_.push_back(std::move(stage));
  }
  for (int64_t i = pools; i >= 0; --i) {
    Stage& stage = stages_[static_cast<size_t>(i)];
    stage.up_slot = slots_;
    stage.up = blocks(*parents[static_cast<size_t>(i)], "layers", i);
  }
  const auto norm = group("norm", torch::ones({d}), torch::zeros({d}));
  norm_weight_ = norm->weight;
  norm_bias_ = norm->bias;
  const auto decoder =
      group("decoder", uniform_tensor({config_.vocab_size, d}, bound, stream(kDecoderWeight)),
            uniform_tensor({config_.vocab_size}, bound, stream(kDecoderBias)));
  decoder_weight_ = decoder->weight;
  decoder_bias_ = decoder->bias;
}

torch::Device Sashimi::device() const { return encoder_.device(); }
torch::ScalarType Sashimi::compute_type() const { return encoder_.scalar_type(); }

int64_t Sashimi::parameter_count() const {
  int64_t count = 0;
  for (const Tensor& tensor : parameters()) count += tensor.numel();
  return count;
}

// ids (batch, length) or (streams) -> the residual stream (..., d_model).
Tensor Sashimi::embed(const Tensor& ids, const Tensor& classes) const {
  Tensor x = strandwave::embedding(ids, encoder_).to(exact_type(compute_type()));
  if (!class_embedding_.defined()) {
    if (classes.defined()) throw usage_error("this model knows no classes");
    return x;
  }
  const auto null_class = static_cast<int64_t>(config_.classes.size());
  Tensor rows;
  if (classes.defined()) {
    TORCH_CHECK(classes.dim() == 1 && classes.size(0) == ids.size(0), "classes must be (",
                ids.size(0), "), got ", classes.sizes());
    rows = torch::where(classes < 0, torch::full_like(classes, null_class), classes);
  } else {
    rows = torch::full({ids.size(0)}, null_class, ids.options().dtype(torch::kLong));
  }
  const Tensor vectors = strandwave::embedding(rows, class_embedding_);
  return x + (ids.dim() == 2 ? vectors.unsqueeze(1) : vectors);
}

Tensor Sashimi::last_norm(const Tensor& x) const {
  return torch::layer_norm(x, {config_.d_model}, norm_weight_, norm_bias_, kNormEpsilon)
      .to(compute_type());
}

Tensor Sashimi::run_block(ResidualBlock& block, const Tensor& x, size_t slot, const Pass& pass) {
  const MixerState* initial = pass.initial != nullptr ? &pass.initial->layers[slot] : nullptr;
  MixerState* final_state = pass.final != nullptr ? &pass.final->layers[slot] : nullptr;
  if (recompute_ && torch::GradMode::is_enabled())
    return block.forward_recomputed(x, compute_type(), initial, final_state);
  return block.forward(x, compute_type(), initial, final_state);
}

// `position`: of the first frame of x, in frames of this stage.
Tensor Sashimi::run_stage(size_t index, Tensor x, int64_t position, const Pass& pass) {
  const Stage& stage = stages_[index];
  const auto run_up = [&](Tensor y) {
    for (size_t k = 0; k < stage.up.size(); ++k)
      y = run_block(*stage.up[k], y, stage.up_slot + k, pass);
    return y;
  };
  if (stage.down_pool == nullptr) return run_up(x) + x;
  std::vector<Tensor> skips;
  for (size_t k = 0; k < stage.down.size(); ++k) {
    skips.push_back(x);
    x = run_block(*stage.down[k], x, stage.down_slot + k, pass);
  }
  Tensor y = run_inner(index, x, position, pass) + x;
  if (config_.skips == SashimiConfig::Skips::kPools) return run_up(y) + y;
  for (size_t k = 0; k < stage.up.size(); ++k) {
    y = run_block(*stage.up[k], y, stage.up_slot + k, pass) + skips.back();
    skips.pop_back();
  }
  return y;
}

// What the stages inside give for the frames of x: pooled, run, and expanded one frame later. The
// buffer holds the frames of a group that is not complete, the queue what the last complete group
// gave; both then begin at the group's first frame.
Tensor Sashimi::run_inner(size_t index, const Tensor& x, int64_t position, const Pass& pass) {
  const Stage& stage = stages_[index];
  const int64_t p = stage.pool, length = x.size(1), phase = position % p;
  const int64_t groups = (phase + length) / p;
  const MixerState* initial =
      pass.initial != nullptr ? &pass.initial->layers[stage.pool_slot] : nullptr;
  Tensor frames = x;
  if (phase > 0) frames = torch::cat({initial->tensors.at("buffer").narrow(1, 0, phase), x}, 1);
  Tensor expanded =
      initial != nullptr ? initial->tensors.at("queue") : x.new_zeros({x.size(0), p, x.size(2)});
  if (groups > 0) {
    const Tensor pooled =
        stage.down_pool->forward(grouped(frames.narrow(1, 0, groups * p), p), compute_type());
    const Tensor inner = run_stage(index + 1, pooled, position / p, pass);
    expanded =
        torch::cat({expanded, ungrouped(stage.up_pool->forward(inner, compute_type()), p)}, 1);
  }
  if (pass.final != nullptr) {
    const int64_t rest = (phase + length) % p;
    MixerState& last = pass.final->layers[stage.pool_slot];
    last.tensors["buffer"] =
        torch::constant_pad_nd(frames.narrow(1, groups * p, rest), {0, 0, 0, p - rest});
    last.tensors["queue"] = expanded.narrow(1, groups * p, p);
  }
  return expanded.narrow(1, phase, length);
}

SashimiOutput Sashimi::hidden(const Tensor& ids, const SashimiInput& input) {
  check_ids(ids, 2, "(batch, length), both from 1");
  Pass pass{input.initial_state, nullptr};
  if (pass.initial != nullptr)
    TORCH_CHECK(pass.initial->layers.size() == slots_, "a state of ", pass.initial->layers.size(),
                " layers does not fit this model's ", slots_);
  const int64_t position = pass.initial != nullptr ? pass.initial->position : 0;
  SashimiOutput output;
  if (input.want_final_state) {
    if (pass.initial != nullptr) {
      output.final_state = *pass.initial;  // stages that a short input does not reach keep theirs
    } else if (ids.size(1) < config_.pooling()) {
      output.final_state = allocate_state(ids.size(0), ids.size(1));
    } else {
      output.final_state.emplace().layers.resize(slots_);
    }
    output.final_state->position = position + ids.size(1);
    output.final_state->classes = input.classes;
    pass.final = &*output.final_state;
  }
  output.hidden = last_norm(run_stage(0, embed(ids, input.classes), position, pass));
  return output;
}

Tensor Sashimi::logits_of(const Tensor& hidden) const {
  const auto type = exact_type(compute_type());
  return torch::linear(hidden.to(type), decoder_weight_.to(type), decoder_bias_.to(type));
}

Tensor Sashimi::logits(const Tensor& ids, const Tensor& classes) {
  SashimiInput input;
  input.classes = classes;
  return logits_of(hidden(ids, input).hidden);
}

SashimiLoss Sashimi::loss(const Tensor& ids, const Tensor& targets,
                          const std::optional<Tensor>& token_weight, const SashimiInput& input) {
  TORCH_CHECK(targets.sizes() == ids.sizes(), "targets must have the shape of ids ", ids.sizes(),
              ", got ", targets.sizes());
  SashimiOutput out = hidden(ids, input);
  const int64_t tokens = targets.numel();
  std::optional<Tensor> weight;
  if (token_weight) weight = token_weight->reshape({tokens});
  // [h, 1, 0 ...] . [W, b, 0 ...] = h W + b
  Tensor one = torch::zeros({1, kBiasColumns}, out.hidden.options().requires_grad(false));
  one.select(1, 0).fill_(1);
  const Tensor states = torch::cat(
      {out.hidden.reshape({tokens, config_.d_model}), one.expand({tokens, kBiasColumns})}, 1);
  const Tensor bias = decoder_bias_.to(compute_type()).unsqueeze(1) * one;
  const LinearCrossEntropyOutput entropy = linear_cross_entropy(
      states, torch::cat({decoder_weight_, bias}, 1), targets.reshape({tokens}), weight);
  return {entropy.loss.view(targets.sizes()), entropy.logsumexp.view(targets.sizes()),
          std::move(out.final_state)};
}

namespace {

bool all_blocks(const torch::nn::Module& model, bool MixerTraits::*trait) {
  for (const auto& module : model.modules(/*include_self=*/false))
    if (const auto* block = dynamic_cast<const ResidualBlock*>(module.get()))
      if (!(block->mixer().traits().*trait)) return false;
  return true;
}

}  // namespace

bool Sashimi::has_step() const { return all_blocks(*this, &MixerTraits::has_step); }

bool Sashimi::has_state() const { return all_blocks(*this, &MixerTraits::has_state); }

GeneratorState Sashimi::allocate_state(int64_t streams, int64_t max_length) const {
  GeneratorState state;
  state.layers.resize(slots_);
  const auto options = torch::TensorOptions().device(device()).dtype(compute_type());
  const auto exact = options.dtype(exact_type(compute_type()));
  int64_t frames = max_length;
  for (size_t i = 0; i < stages_.size(); ++i) {
    const Stage& stage = stages_[i];
    const auto allocate = [&](const std::vector<std::shared_ptr<ResidualBlock>>& blocks,
                              size_t slot) {
      for (const auto& block : blocks)
        state.layers[slot++] = block->mixer().allocate_state(streams, frames, options);
    };
    allocate(stage.down, stage.down_slot);
    allocate(stage.up, stage.up_slot);
    if (stage.down_pool == nullptr) continue;
    const Tensor zeros =
        torch::zeros({streams, stage.pool, config_.width(static_cast<int64_t>(i))}, exact);
    state.layers[stage.pool_slot].tensors = {{"buffer", zeros}, {"queue", zeros.clone()}};
    frames = (frames + stage.pool - 1) / stage.pool;
  }
  return state;
}

Tensor Sashimi::step_stage(size_t index, Tensor x, int64_t position, GeneratorState& state) {
  const Stage& stage = stages_[index];
  const auto step = [&](const std::shared_ptr<ResidualBlock>& block, const Tensor& y, size_t slot) {
    return block->step(y, compute_type(), state.layers[slot]);
  };
  const auto step_up = [&](Tensor y) {
    for (size_t k = 0; k < stage.up.size(); ++k) y = step(stage.up[k], y, stage.up_slot + k);
    return y;
  };
  if (stage.down_pool == nullptr) return step_up(x) + x;
  std::vector<Tensor> skips;
  for (size_t k = 0; k < stage.down.size(); ++k) {
    skips.push_back(x);
    x = step(stage.down[k], x, stage.down_slot + k);
  }
  Tensor y = step_inner(index, x, position, state);
  if (config_.skips == SashimiConfig::Skips::kPools) return step_up(y) + y;
  for (size_t k = 0; k < stage.up.size(); ++k) {
    y = step(stage.up[k], y, stage.up_slot + k) + skips.back();
    skips.pop_back();
  }
  return y;
}

// x plus what the stages inside gave for it; they run when a group is complete.
Tensor Sashimi::step_inner(size_t index, const Tensor& x, int64_t position, GeneratorState& state) {
  const Stage& stage = stages_[index];
  const int64_t p = stage.pool, phase = position % p;
  const Tensor buffer = state.layers[stage.pool_slot].tensors.at("buffer");
  const Tensor queue = state.layers[stage.pool_slot].tensors.at("queue");
  buffer.select(1, phase).copy_(x);
  Tensor y = queue.select(1, phase) + x;
  if (phase + 1 < p) return y;
  const Tensor pooled = stage.down_pool->forward(grouped(buffer, p).squeeze(1), compute_type());
  const Tensor inner = step_stage(index + 1, pooled, position / p, state);
  queue.copy_(ungrouped(stage.up_pool->forward(inner, compute_type()).unsqueeze(1), p));
  return y;
}

Tensor Sashimi::step(const Tensor& ids, GeneratorState& state) {
  const torch::NoGradGuard no_grad;
  check_ids(ids, 1, "(streams)");
  TORCH_CHECK(state.layers.size() == slots_, "a state of ", state.layers.size(),
              " layers does not fit this model's ", slots_);
  const Tensor x = step_stage(0, embed(ids, state.classes), state.position, state);
  ++state.position;
  return logits_of(last_norm(x));
}

NamedTensors Sashimi::named_tensors() const { return strandwave::named_tensors(*this); }

void Sashimi::load_tensors(const NamedTensors& tensors, const std::string& where) {
  strandwave::load_tensors(*this, tensors, where);
}

void Sashimi::replace_parameter(const std::string& name, const Tensor& value) {
  strandwave::replace_parameter(*this, name, value);
}

// The matrices of GEMMs and the tables of vectors; what describes a state space never decays, nor
// do weight-normed directions, whose length means nothing.
bool Sashimi::decays(const std::string& name, const Tensor& tensor) {
  return tensor.dim() >= 2 && name.ends_with(".weight");
}

bool Sashimi::lowered(const std::string& name, const Tensor& tensor) {
  return tensor.dim() == 2 && name.ends_with(".weight") && name != "class_embedding.weight";
}

}  // namespace strandwave::audio
