// Embedding, a stack of mixers, a head.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/layers/mixer.h"
#include "core/models/model_config.h"
#include "core/models/named_tensors.h"

namespace strandwave {

struct ModelState {
  std::vector<MixerState> layers;
};

struct ModelInput {
  const SequenceLayout* layout = nullptr;     // packed sequences (batch 1); null: each row is one
  const ModelState* initial_state = nullptr;  // null: zero
  bool want_final_state = false;
  // (batch) int64 on the model's device: the rest of each row is padding; undefined: there is none.
  // Neither with a layout nor with want_final_state.
  torch::Tensor lengths;
};

struct HiddenOutput {
  torch::Tensor hidden;                   // (batch, length, d_model), after the last norm
  std::optional<ModelState> final_state;  // set when wanted
};

struct LossOutput {
  torch::Tensor loss;       // (batch, length) float32, 0 where the target is negative
  torch::Tensor logsumexp;  // (batch, length) float32, not differentiable
  std::optional<ModelState> final_state;
};

// What the backward pass of a layer recomputes instead of keeping.
enum class Recomputation {
  kNone,         // what the mixers drop anyway
  kProjections,  // the mixer's input projection too: one GEMM more, less than half the memory
  kLayer,        // whole layers: of groups of about sqrt(layers) only the inputs are kept; one
                 // forward pass more
};

// hidden_0 = embedding(ids); for each layer: residual += hidden; hidden = mixer(norm(residual));
// at the end norm_f(residual + hidden). The residual is float32 (residual_in_fp32).
//
// parameters  backbone.embedding.weight, backbone.layers.{i}.norm.weight,
//             backbone.layers.{i}.mixer.*, backbone.norm_f.weight; lm_head.weight (untied language
//             models); score.weight, score.bias (all other heads).
// dtypes      the compute type is that of the embedding; all tensors for which lowered() is true
//             must have it. All others are float32 (float64 in a float64 model). A new model is
//             float32 on the CPU; to(device) moves it.
// Every forward function is a pure function of inputs and parameters. S sequences: the rows of ids,
// or those of the layout. Errors: c10::Error from operators, Error(kUsage) for what the
// configuration excludes (classify on a language model, ...).
class SequenceModel : public torch::nn::Module {
 public:
  SequenceModel(ModelConfig config, uint64_t seed);

  const ModelConfig& config() const { return config_; }
  int64_t n_layers() const { return static_cast<int64_t>(mixers_.size()); }
  torch::Device device() const;
  torch::ScalarType compute_type() const;
  int64_t parameter_count() const;

  // ids: (batch, length), int64 or uint8.
  HiddenOutput hidden(const torch::Tensor& ids, const ModelInput& input = {});

  // hidden (..., d_model) -> (..., valid_vocabulary) float32. As the next two only of models that
  // predict tokens (ModelConfig::predicts_tokens).
  torch::Tensor logits(const torch::Tensor& hidden);

  // targets (batch, length) int64, negative: ignored; token_weight (batch, length) float32 or none.
  // loss_t = weight_t * -log p(targets_t | ids up to t). Mean or sum is the caller's choice.
  LossOutput language_model_loss(const torch::Tensor& ids, const torch::Tensor& targets,
                                 const std::optional<torch::Tensor>& token_weight = {},
                                 const ModelInput& input = {});
  // The same from the hidden states (batch, length, d_model) that hidden() gave: one forward pass
  // then serves the likelihood and the classes. final_state stays empty.
  LossOutput language_model_loss_of(const torch::Tensor& hidden, const torch::Tensor& targets,
                                    const std::optional<torch::Tensor>& token_weight = {});

  // (S, classes) float32: logits of a classifier or multi-label head, outputs of a regression.
  // Pools over each sequence's own positions; an empty sequence pools to zero.
  torch::Tensor classify(const torch::Tensor& ids, const ModelInput& input = {});
  // The same from hidden states; `input` is what hidden() got.
  torch::Tensor classify_hidden(const torch::Tensor& hidden, const ModelInput& input = {}) const;
  // The pooled hidden state, (S, d_model) float32; works for every head (embeddings of sequences).
  torch::Tensor pool(const torch::Tensor& hidden, const ModelInput& input,
                     HeadConfig::Pooling pooling) const;
  // The classifier, multi-label or regression head on pooled states (S, d_model): what classify()
  // ends with, for callers that pool a long sequence piece by piece.
  torch::Tensor score(const torch::Tensor& pooled) const;

  // Generation. A zero state on the model's device; step: ids (S) -> (S, valid_vocabulary) float32,
  // without gradients, the state updated in place at fixed addresses.
  ModelState allocate_state(int64_t sequences, int64_t max_length) const;
  torch::Tensor step(const torch::Tensor& ids, ModelState& state);

  // As the functions of named_tensors.h; names are those of state-spaces/mamba. With backbone_only,
  // tensors outside backbone.* are neither needed nor read.
  NamedTensors named_tensors() const;
  void load_tensors(const NamedTensors& tensors, const std::string& where,
                    bool backbone_only = false);
  void replace_parameter(const std::string& name, const torch::Tensor& value);

  // Weight decay applies: matrices and convolutions, which all are called .weight; not what
  // describes a state space (A_log, A_imag, kernel.*, D), biases and norms.
  static bool decays(const std::string& name, const torch::Tensor& tensor);
  // Kept in the compute type (bf16) on a GPU: GEMM weights and the embedding. Never what does not
  // decay, convolutions, nor the small score head.
  static bool lowered(const std::string& name, const torch::Tensor& tensor);

  // One value for all layers, or one per layer.
  void set_recomputation(Recomputation recomputation);
  void set_recomputation(std::vector<Recomputation> recomputation);

 private:
  torch::Tensor head_weight() const;
  void require_language_model(const char* what) const;

  ModelConfig config_;
  torch::Tensor embedding_, norm_f_, lm_head_, score_weight_, score_bias_;
  torch::Tensor offsets_, scales_;  // (outputs), CPU; undefined: 0 and 1
  std::vector<torch::Tensor> norms_;
  std::vector<std::shared_ptr<Mixer>> mixers_;
  std::vector<Recomputation> recomputation_;
};

// The same backbone (values copied) under a new head that is initialised from `seed`: how
// fine-tuning begins.
std::shared_ptr<SequenceModel> with_new_head(const SequenceModel& model, const HeadConfig& head,
                                             uint64_t seed);

}  // namespace strandwave
