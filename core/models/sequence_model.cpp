#include "core/models/sequence_model.h"

#include <cmath>

#include "core/base/error.h"
#include "core/layers/parameters.h"
#include "core/layers/registry.h"
#include "core/models/recompute.h"
#include "kernels/embedding/embedding.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy.h"
#include "kernels/norm/rms_norm.h"

namespace strandwave {
namespace {

using torch::Tensor;
using torch::autograd::variable_list;

// Streams of tensors that belong to no layer: part of what a seed means, never renumber.
enum InitialTensor : int64_t { kEmbedding = 0, kLmHead = 1, kScore = 2 };

using Module = torch::nn::Module;

std::shared_ptr<Module> container(Module& parent, const std::string& name) {
  return parent.register_module(name, std::make_shared<Module>());
}

std::shared_ptr<ParameterGroup> group(Module& parent, const std::string& name, Tensor weight,
                                      Tensor bias = {}) {
  return parent.register_module(
      name, std::make_shared<ParameterGroup>(std::move(weight), std::move(bias)));
}

bool ends_with(const std::string& text, std::string_view end) {
  return std::string_view(text).ends_with(end);
}

// out_proj and fc2 write into the residual: their sum over n layers keeps its variance.
void rescale_residual_writers(Module& model, int64_t n_layers) {
  const torch::NoGradGuard no_grad;
  for (const auto& item : model.named_parameters())
    if (ends_with(item.key(), "out_proj.weight") || ends_with(item.key(), "fc2.weight"))
      item.value().div_(std::sqrt(static_cast<double>(n_layers)));
}

void check_ids(const Tensor& ids, const ModelInput& input, int64_t layers) {
  TORCH_CHECK(ids.dim() == 2, "ids must be (batch, length), got ", ids.sizes());
  TORCH_CHECK(ids.scalar_type() == torch::kLong || ids.scalar_type() == torch::kByte,
              "ids must be int64 or uint8, got ", ids.scalar_type());
  if (input.layout != nullptr) {
    TORCH_CHECK(ids.size(0) == 1, "packed sequences need a batch of 1, got ", ids.size(0));
    TORCH_CHECK(input.layout->total_length() == ids.size(1), "the sequence layout covers ",
                input.layout->total_length(), " positions, ids have ", ids.size(1));
    TORCH_CHECK(!input.lengths.defined(), "lengths and a sequence layout exclude each other");
  }
  if (input.lengths.defined()) {
    TORCH_CHECK(input.lengths.dim() == 1 && input.lengths.size(0) == ids.size(0),
                "lengths must be (batch) = (", ids.size(0), "), got ", input.lengths.sizes());
    TORCH_CHECK(!input.want_final_state,
                "a final state needs rows without padding: pack the sequences instead");
  }
  if (input.initial_state != nullptr)
    TORCH_CHECK(static_cast<int64_t>(input.initial_state->layers.size()) == layers,
                "the initial state is for ", input.initial_state->layers.size(),
                " layers, the model has ", layers);
}

// What a run of layers reads and gives besides parameters.
struct StackStep {
  Tensor hidden, residual;         // residual undefined before the first layer
  std::vector<MixerState> states;  // initial, then final ones: of each layer, or none
};

struct LayerContext {
  std::shared_ptr<Mixer> mixer;
  Tensor norm;
};

struct StackContext {
  std::vector<LayerContext> layers;
  double norm_eps;
  bool residual_in_fp32;
  bool want_final_state;
  bool recompute_projections;
  const SequenceLayout* layout;

  StackStep run(StackStep step) const {
    std::vector<MixerState> final_states;
    for (size_t i = 0; i < layers.size(); ++i) {
      std::optional<Tensor> residual;
      if (step.residual.defined()) residual = step.residual;
      const AddRmsNormOutput normed =
          add_rms_norm(step.hidden, residual, layers[i].norm, norm_eps, residual_in_fp32);
      MixerInput input;
      input.layout = layout;
      input.initial_state = step.states.empty() ? nullptr : &step.states[i];
      input.want_final_state = want_final_state;
      input.recompute_projections = recompute_projections;
      MixerOutput out = layers[i].mixer->forward(normed.y, input);
      step.hidden = out.y;
      step.residual = normed.residual;
      if (out.final_state) final_states.push_back(std::move(*out.final_state));
    }
    step.states = std::move(final_states);
    return step;
  }
};

// A StackStep as a list of tensors and back: autograd nodes know only those.
variable_list to_list(const StackStep& step) {
  variable_list list = {step.hidden};
  if (step.residual.defined()) list.push_back(step.residual);
  for (const MixerState& state : step.states)
    for (const auto& [name, tensor] : state.tensors) list.push_back(tensor);
  return list;
}

// `like`: the states' names and positions.
StackStep from_list(const variable_list& list, bool has_residual,
                    const std::vector<MixerState>& like) {
  size_t next = 0;
  StackStep step;
  step.hidden = list.at(next++);
  if (has_residual) step.residual = list.at(next++);
  step.states = like;
  for (MixerState& state : step.states)
    for (auto& [name, tensor] : state.tensors) tensor = list.at(next++);
  return step;
}

std::vector<MixerState> without_tensors(std::vector<MixerState> states) {
  for (MixerState& state : states)
    for (auto& [name, tensor] : state.tensors) tensor.reset();
  return states;
}

StackStep run_recomputed(const StackContext& context, const StackStep& in) {
  // The body outlives this call: it owns a copy of the layout, and learns the names of the final
  // states' tensors when it first runs.
  const auto layout =
      context.layout != nullptr ? std::make_shared<const SequenceLayout>(*context.layout) : nullptr;
  const auto final_like = std::make_shared<std::vector<MixerState>>();
  const auto body = [context, layout, final_like, initial_like = without_tensors(in.states),
                     has_residual = in.residual.defined()](const variable_list& inputs) {
    StackContext own = context;
    own.layout = layout.get();
    const StackStep out = own.run(from_list(inputs, has_residual, initial_like));
    if (final_like->empty()) *final_like = without_tensors(out.states);
    return to_list(out);
  };
  variable_list leaves;
  for (const LayerContext& layer : context.layers) {
    const variable_list own = layer.mixer->parameters();
    leaves.insert(leaves.end(), own.begin(), own.end());
    leaves.push_back(layer.norm);
  }
  const variable_list out = recomputed(body, to_list(in), leaves);
  return from_list(out, /*has_residual=*/true, *final_like);
}

// Layers [begin, end) that run alike.
struct Group {
  size_t begin, end;
  Recomputation recomputation;
};

// n layers in a row that are recomputed whole form groups of about sqrt(n): the inputs of the
// groups and what the layers of one group keep are then equally many.
std::vector<Group> groups_of(const std::vector<Recomputation>& recomputation) {
  std::vector<Group> groups;
  for (size_t begin = 0; begin < recomputation.size();) {
    size_t end = begin;
    while (end < recomputation.size() && recomputation[end] == recomputation[begin]) ++end;
    size_t size = end - begin;
    if (recomputation[begin] == Recomputation::kLayer)
      size = static_cast<size_t>(std::ceil(std::sqrt(static_cast<double>(size))));
    for (; begin < end; begin += size)
      groups.push_back({begin, std::min(begin + size, end), recomputation[begin]});
    begin = end;
  }
  return groups;
}

// (length, d) rows cut at the layout's borders -> (S, d), the mean or the last row of each.
Tensor pool_packed(const Tensor& hidden, const SequenceLayout& layout, HeadConfig::Pooling pooling,
                   torch::ScalarType type) {
  std::vector<int64_t> lengths;
  for (size_t i = 1; i < layout.offsets().size(); ++i)
    lengths.push_back(layout.offsets()[i] - layout.offsets()[i - 1]);
  const int64_t d = hidden.size(1);
  if (lengths.empty()) return hidden.new_zeros({0, d}, type);
  // One split: its backward is one concatenation, where slices would each fill a whole tensor.
  std::vector<Tensor> pooled;
  for (const Tensor& part : hidden.split_with_sizes(lengths, 0)) {
    if (part.size(0) == 0)
      pooled.push_back(hidden.new_zeros({d}, type));
    else if (pooling == HeadConfig::Pooling::kMean)
      pooled.push_back(part.mean(0, /*keepdim=*/false, type));
    else
      pooled.push_back(part.select(0, part.size(0) - 1).to(type));
  }
  return torch::stack(pooled);
}

// (batch, length, d) with padding behind `lengths`. Selects, so that what padding holds never
// enters.
Tensor pool_padded(const Tensor& hidden, const Tensor& lengths, HeadConfig::Pooling pooling,
                   torch::ScalarType type) {
  const Tensor positions = torch::arange(hidden.size(1), lengths.options()).unsqueeze(0);
  const Tensor limits = lengths.unsqueeze(1);
  const bool mean = pooling == HeadConfig::Pooling::kMean;
  const Tensor taken = mean ? positions < limits : positions == limits - 1;
  const Tensor zero = torch::zeros({}, hidden.options().dtype(type));
  const Tensor sum = torch::where(taken.unsqueeze(2), hidden.to(type), zero).sum(1);
  return mean ? sum / limits.clamp_min(1).to(type) : sum;
}

}  // namespace

SequenceModel::SequenceModel(ModelConfig config, uint64_t seed) : config_(std::move(config)) {
  config_.validate();
  const int64_t d = config_.d_model;
  const double head_bound = 1.0 / std::sqrt(static_cast<double>(d));
  const auto backbone = container(*this, "backbone");
  embedding_ = group(*backbone, "embedding",
                     normal_tensor({config_.vocab_size, d}, config_.initializer.embedding_std,
                                   initialization_stream(seed, 0, kEmbedding)))
                   ->weight;
  const auto layers = container(*backbone, "layers");
  for (const LayerConfig& layer : config_.layer_list()) {
    const auto index = static_cast<int64_t>(mixers_.size());
    const auto block = container(*layers, std::to_string(index));
    norms_.push_back(group(*block, "norm", torch::ones({d}))->weight);
    mixers_.push_back(block->register_module("mixer", make_mixer(layer, d, index, seed)));
  }
  norm_f_ = group(*backbone, "norm_f", torch::ones({d}))->weight;
  if (config_.initializer.rescale_residual) rescale_residual_writers(*this, n_layers());
  recomputation_.assign(mixers_.size(), Recomputation::kNone);
  if (config_.head.kind == HeadConfig::Kind::kLanguageModel) {
    if (!config_.tie_embeddings)
      lm_head_ = group(*this, "lm_head",
                       uniform_tensor({config_.vocab_size, d}, head_bound,
                                      initialization_stream(seed, 0, kLmHead)))
                     ->weight;
    return;
  }
  const auto classes = static_cast<int64_t>(config_.head.classes.size());
  const auto score =
      group(*this, "score",
            uniform_tensor({classes, d}, head_bound, initialization_stream(seed, 0, kScore)),
            torch::zeros({classes}));
  score_weight_ = score->weight;
  score_bias_ = score->bias;
  if (!config_.head.offsets.empty())
    offsets_ = torch::tensor(config_.head.offsets, torch::kFloat64);
  if (!config_.head.scales.empty()) scales_ = torch::tensor(config_.head.scales, torch::kFloat64);
}

torch::Device SequenceModel::device() const { return embedding_.device(); }
torch::ScalarType SequenceModel::compute_type() const { return embedding_.scalar_type(); }

int64_t SequenceModel::parameter_count() const {
  int64_t count = 0;
  for (const Tensor& tensor : parameters()) count += tensor.numel();
  return count;
}

HiddenOutput SequenceModel::hidden(const torch::Tensor& ids, const ModelInput& input) {
  check_ids(ids, input, n_layers());
  StackStep step;
  step.hidden = strandwave::embedding(ids, embedding_);
  ModelState final_state;
  for (const Group& group : groups_of(recomputation_)) {
    StackContext context{{},
                         config_.norm_eps,
                         config_.residual_in_fp32,
                         input.want_final_state,
                         group.recomputation != Recomputation::kNone,
                         input.layout};
    step.states.clear();
    for (size_t i = group.begin; i < group.end; ++i) {
      context.layers.push_back({mixers_[i], norms_[i]});
      if (input.initial_state != nullptr) step.states.push_back(input.initial_state->layers[i]);
    }
    const bool whole =
        torch::GradMode::is_enabled() && group.recomputation == Recomputation::kLayer;
    step = whole ? run_recomputed(context, step) : context.run(std::move(step));
    for (MixerState& state : step.states) final_state.layers.push_back(std::move(state));
  }
  HiddenOutput output;
  output.hidden =
      add_rms_norm(step.hidden, step.residual, norm_f_, config_.norm_eps, config_.residual_in_fp32)
          .y;
  if (input.want_final_state) output.final_state = std::move(final_state);
  return output;
}

torch::Tensor SequenceModel::head_weight() const {
  return lm_head_.defined() ? lm_head_ : embedding_;
}

void SequenceModel::require_language_model(const char* what) const {
  if (!config_.predicts_tokens())
    throw usage_error(std::string(what) + " needs a language model; this model has a " +
                      to_string(config_.head.kind) + " head");
}

torch::Tensor SequenceModel::logits(const torch::Tensor& hidden) {
  require_language_model("logits()");
  return torch::linear(hidden, head_weight().narrow(0, 0, config_.valid_vocabulary()))
      .to(exact_type(compute_type()));
}

LossOutput SequenceModel::language_model_loss(const torch::Tensor& ids,
                                              const torch::Tensor& targets,
                                              const std::optional<torch::Tensor>& token_weight,
                                              const ModelInput& input) {
  require_language_model("language_model_loss()");
  TORCH_CHECK(targets.sizes() == ids.sizes(), "targets must have the shape of ids ", ids.sizes(),
              ", got ", targets.sizes());
  HiddenOutput out = hidden(ids, input);
  LossOutput loss = language_model_loss_of(out.hidden, targets, token_weight);
  loss.final_state = std::move(out.final_state);
  return loss;
}

LossOutput SequenceModel::language_model_loss_of(const torch::Tensor& hidden,
                                                 const torch::Tensor& targets,
                                                 const std::optional<torch::Tensor>& token_weight) {
  require_language_model("language_model_loss_of()");
  TORCH_CHECK(hidden.dim() == 3 && targets.dim() == 2 && hidden.size(0) == targets.size(0) &&
                  hidden.size(1) == targets.size(1),
              "targets must be (batch, length) of the hidden states ", hidden.sizes(), ", got ",
              targets.sizes());
  const int64_t tokens = targets.numel();
  std::optional<Tensor> weight;
  if (token_weight) weight = token_weight->reshape({tokens});
  const LinearCrossEntropyOutput entropy =
      linear_cross_entropy(hidden.reshape({tokens, config_.d_model}), head_weight(),
                           targets.reshape({tokens}), weight, config_.valid_vocabulary());
  return {entropy.loss.view(targets.sizes()), entropy.logsumexp.view(targets.sizes()), {}};
}

torch::Tensor SequenceModel::pool(const torch::Tensor& hidden, const ModelInput& input,
                                  HeadConfig::Pooling pooling) const {
  const auto type = exact_type(hidden.scalar_type());
  if (input.layout != nullptr) return pool_packed(hidden.squeeze(0), *input.layout, pooling, type);
  if (input.lengths.defined()) return pool_padded(hidden, input.lengths, pooling, type);
  if (hidden.size(1) == 0) return hidden.new_zeros({hidden.size(0), hidden.size(2)}, type);
  return pooling == HeadConfig::Pooling::kMean ? hidden.mean(1, /*keepdim=*/false, type)
                                               : hidden.select(1, hidden.size(1) - 1).to(type);
}

torch::Tensor SequenceModel::classify(const torch::Tensor& ids, const ModelInput& input) {
  return classify_hidden(hidden(ids, input).hidden, input);
}

torch::Tensor SequenceModel::classify_hidden(const torch::Tensor& hidden,
                                             const ModelInput& input) const {
  return score(pool(hidden, input, config_.head.pooling));
}

torch::Tensor SequenceModel::score(const torch::Tensor& pooled) const {
  if (!score_weight_.defined())
    throw usage_error(
        "classify() needs a classifier, multi-label or regression head; this is a language model");
  Tensor scores = torch::linear(pooled, score_weight_, score_bias_);
  if (scales_.defined()) scores = scores * scales_.to(scores.options());
  if (offsets_.defined()) scores = scores + offsets_.to(scores.options());
  return scores;
}

ModelState SequenceModel::allocate_state(int64_t sequences, int64_t max_length) const {
  ModelState state;
  const auto options = torch::TensorOptions().device(device()).dtype(compute_type());
  for (const auto& mixer : mixers_)
    state.layers.push_back(mixer->allocate_state(sequences, max_length, options));
  return state;
}

torch::Tensor SequenceModel::step(const torch::Tensor& ids, ModelState& state) {
  require_language_model("step()");
  const torch::NoGradGuard no_grad;
  TORCH_CHECK(ids.dim() == 1, "ids must be (sequences), got ", ids.sizes());
  TORCH_CHECK(static_cast<int64_t>(state.layers.size()) == n_layers(), "the state is for ",
              state.layers.size(), " layers, the model has ", n_layers());
  Tensor x = strandwave::embedding(ids, embedding_);
  std::optional<Tensor> residual;
  for (size_t i = 0; i < mixers_.size(); ++i) {
    const AddRmsNormOutput normed =
        add_rms_norm(x, residual, norms_[i], config_.norm_eps, config_.residual_in_fp32);
    residual = normed.residual;
    x = mixers_[i]->step(normed.y, state.layers[i]);
  }
  return logits(add_rms_norm(x, residual, norm_f_, config_.norm_eps, config_.residual_in_fp32).y);
}

NamedTensors SequenceModel::named_tensors() const { return strandwave::named_tensors(*this); }

void SequenceModel::load_tensors(const NamedTensors& tensors, const std::string& where,
                                 bool backbone_only) {
  strandwave::load_tensors(*this, tensors, where, [&](const std::string& name) {
    return !backbone_only || name.starts_with("backbone.");
  });
}

void SequenceModel::replace_parameter(const std::string& name, const torch::Tensor& value) {
  strandwave::replace_parameter(*this, name, value);
}

bool SequenceModel::decays(const std::string& name, const torch::Tensor& tensor) {
  return tensor.dim() >= 2 && ends_with(name, ".weight");
}

bool SequenceModel::lowered(const std::string& name, const torch::Tensor& tensor) {
  return tensor.dim() == 2 && ends_with(name, ".weight") && name != "score.weight";
}

void SequenceModel::set_recomputation(Recomputation recomputation) {
  recomputation_.assign(mixers_.size(), recomputation);
}

void SequenceModel::set_recomputation(std::vector<Recomputation> recomputation) {
  TORCH_CHECK(recomputation.size() == mixers_.size(), "recomputation is given for ",
              recomputation.size(), " layers, the model has ", mixers_.size());
  recomputation_ = std::move(recomputation);
}

std::shared_ptr<SequenceModel> with_new_head(const SequenceModel& model, const HeadConfig& head,
                                             uint64_t seed) {
  ModelConfig config = model.config();
  config.head = head;
  auto copy = std::make_shared<SequenceModel>(std::move(config), seed);
  copy->load_tensors(model.named_tensors(), "the given model", /*backbone_only=*/true);
  copy->to(model.device());
  return copy;
}

}  // namespace strandwave
