// SaShiMi: a multiscale autoregressive model of raw audio (arXiv 2202.09729; with Mamba layers
// arXiv 2312.00752, section 4.4).
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "audio/models/sashimi_config.h"
#include "core/models/sequence_model.h"
#include "core/runtime/generator.h"

namespace strandwave::audio {

struct SashimiInput {
  torch::Tensor classes;  // (batch) int64, -1: the null class; undefined: it everywhere
  // What came before: a final state of the same batch, at any position. Gradients flow through it
  // unless it is detached. Its classes are not read.
  const GeneratorState* initial_state = nullptr;
  bool want_final_state = false;
};

struct SashimiOutput {
  torch::Tensor hidden;                       // (batch, length, d_model), after the last norm
  std::optional<GeneratorState> final_state;  // set when wanted
};

struct SashimiLoss {
  torch::Tensor loss;       // (batch, length) float32, 0 where the target is negative
  torch::Tensor logsumexp;  // (batch, length) float32, not differentiable
  std::optional<GeneratorState> final_state;
};

class PoolLinear;
class ResidualBlock;

// x = encoder[ids] + class_embedding[class]; stage(0, x); logits = decoder(norm(.)) with
//
//   stage(i, x), skips "pools":    z = stage(i + 1, down_pool(x));  y = up_pool(z) + x
//                                  return up layers(y) + y          (no down layers)
//   stage(i, x), skips "layers":   every down block's input is kept: x_k = block_k(x_{k-1})
//                                  z = stage(i + 1, down_pool(x_n));  y = up_pool(z) + x_n
//                                  every up block adds its mirror's input: y = block(y) + x_k
//   the innermost stage            x + layers(x)
//   a block                        x + mixer(norm(x))
//   down_pool                      Linear((H s), the s frames of a group with channel h s + phase)
//   up_pool                        Linear(H -> H' s) delayed by one frame, so that frame j feeds
//                                  samples s (j + 1) .. s (j + 1) + s - 1: strictly causal
//
// logits at t are those of sample t + 1: they depend on ids up to t only. Any length from 1: what
// would be right padding never reaches an output.
//
// parameters  encoder.weight, class_embedding.weight (classes + 1 rows, the last of the null
//             class), stages.{i}.down_layers.{k}.*, stages.{i}.down_pool.*, stages.{i}.up_pool.*,
//             stages.{i}.layers.{k}.* (k counts blocks; each has norm.* and mixer.*), norm.weight,
//             norm.bias, decoder.weight, decoder.bias. With weight_norm a pool has weight_g,
//             weight_v and bias: weight = g v / |v| per row.
// dtypes      the compute type is that of the encoder's table; the residual stream is float32.
//             float64 models on the CPU.
// Errors      c10::Error from operators; Error(kUsage) for classes of an unconditional model and
// for
//             a state that a layer cannot take or give.
class Sashimi : public torch::nn::Module {
 public:
  Sashimi(SashimiConfig config, uint64_t seed);

  const SashimiConfig& config() const { return config_; }
  torch::Device device() const;
  torch::ScalarType compute_type() const;
  int64_t parameter_count() const;

  // ids: (batch, length), int64 or uint8, inputs: the sample before the first target is ids[:, 0].
  SashimiOutput hidden(const torch::Tensor& ids, const SashimiInput& input = {});
  // (..., d_model) -> (..., vocab_size) float32 (float64).
  torch::Tensor logits_of(const torch::Tensor& hidden) const;
  // (batch, length, vocab_size).
  torch::Tensor logits(const torch::Tensor& ids, const torch::Tensor& classes = {});

  // targets (batch, length) int64, negative: ignored; token_weight (batch, length) float32 or none.
  // loss_t = weight_t * -log p(targets_t | ids up to t) in nats.
  SashimiLoss loss(const torch::Tensor& ids, const torch::Tensor& targets,
                   const std::optional<torch::Tensor>& token_weight = {},
                   const SashimiInput& input = {});

  // A zero state on the model's device, for at most max_length samples.
  GeneratorState allocate_state(int64_t streams, int64_t max_length) const;
  // One sample without gradients: ids (S) -> (S, vocab_size), the state (with its classes) updated
  // in place.
  torch::Tensor step(const torch::Tensor& ids, GeneratorState& state);
  // Whether every block can step, and can carry its state from chunk to chunk.
  bool has_step() const;
  bool has_state() const;

  // As SequenceModel's.
  NamedTensors named_tensors() const;
  void load_tensors(const NamedTensors& tensors, const std::string& where);
  void replace_parameter(const std::string& name, const torch::Tensor& value);
  static bool decays(const std::string& name, const torch::Tensor& tensor);
  static bool lowered(const std::string& name, const torch::Tensor& tensor);
  void set_recompute(bool recompute) { recompute_ = recompute; }

 private:
  // A width of the model. Only the innermost has no pools, and only with skips "layers" are there
  // down blocks.
  struct Stage {
    std::vector<std::shared_ptr<ResidualBlock>> down, up;  // the innermost: up only
    std::shared_ptr<PoolLinear> down_pool, up_pool;
    int64_t pool = 1;
    size_t down_slot = 0, pool_slot = 0, up_slot = 0;  // where states begin in a GeneratorState
  };
  // The states of a forward pass.
  struct Pass {
    const GeneratorState* initial = nullptr;
    GeneratorState* final = nullptr;  // null: not wanted
  };

  void build(uint64_t seed);
  torch::Tensor embed(const torch::Tensor& ids, const torch::Tensor& classes) const;
  torch::Tensor last_norm(const torch::Tensor& x) const;
  torch::Tensor run_block(ResidualBlock& block, const torch::Tensor& x, size_t slot,
                          const Pass& pass);
  torch::Tensor run_stage(size_t stage, torch::Tensor x, int64_t position, const Pass& pass);
  torch::Tensor run_inner(size_t stage, const torch::Tensor& x, int64_t position, const Pass& pass);
  torch::Tensor step_stage(size_t stage, torch::Tensor x, int64_t position, GeneratorState& state);
  torch::Tensor step_inner(size_t stage, const torch::Tensor& x, int64_t position,
                           GeneratorState& state);

  SashimiConfig config_;
  torch::Tensor encoder_, class_embedding_, norm_weight_, norm_bias_, decoder_weight_,
      decoder_bias_;
  std::vector<Stage> stages_;
  size_t slots_ = 0;
  bool recompute_ = false;
};

// Generation with it. A class dropped (-1) or left out is the null class.
std::unique_ptr<Generator> make_generator(std::shared_ptr<Sashimi> model);

}  // namespace strandwave::audio
