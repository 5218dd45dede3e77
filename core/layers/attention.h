// Causal multi-head attention.
#pragma once

#include <nlohmann/json.hpp>

#include "core/layers/mixer.h"
#include "core/layers/parameters.h"

namespace strandwave {

struct AttentionConfig {
  int64_t heads = 4;
  int64_t kv_heads = 0;  // heads of keys and values, a divisor of heads; 0: heads
  int64_t head_dim = 0;  // 0: d_model / heads
  bool rope = false;     // rotary position embedding of queries and keys
  double rope_base = 10000;
  bool bias = false;  // of in_proj and out_proj

  // Keys as above. Throws Error(kUsage): unknown key, impossible value.
  static AttentionConfig from_json(const nlohmann::json& options);
};

//   q, k, v = in_proj(x)             (rows of in_proj.weight: q, k, v, each head by head)
//   y_t = sum_{s <= t} softmax_s(q_t . k_s / sqrt(head_dim)) v_s, per head
//   output = out_proj(y)
// With rope, dimension i < head_dim / 2 of q and k is turned together with dimension i + head_dim /
// 2 by the angle position rope_base^(-2 i / head_dim) (arXiv 2104.09864).
//
// parameters   in_proj.weight ((heads + 2 kv_heads) head_dim, d_model), out_proj.weight (d_model,
//              heads head_dim), with `bias` in_proj.bias and out_proj.bias.
// dtypes       weights, input and state share a type; biases are float32 (float64).
// state        "k", "v" (S, positions or more, kv_heads, head_dim): keys (turned) and values of
// what
//              was seen. Memory and the time of a step grow with the length. allocate_state makes
//              room for max_length positions; a step beyond is an error.
// An initial state's sequences must be equally long. Packed sequences neither take nor give states.
// On CUDA in bfloat16 and float16 flash attention computes whole sequences, else ATen's
// scaled_dot_product_attention.
class Attention : public Mixer {
 public:
  Attention(const AttentionConfig& config, int64_t d_model, int64_t layer_index, uint64_t seed);

  MixerTraits traits() const override;
  MixerOutput forward(const torch::Tensor& x, const MixerInput& input) override;
  MixerState allocate_state(int64_t sequences, int64_t max_length,
                            torch::TensorOptions options) const override;
  torch::Tensor step(const torch::Tensor& x, MixerState& state) override;

 private:
  // (..., heads or kv_heads, head_dim) of x (..., d_model).
  struct Projections {
    torch::Tensor q, k, v;
  };
  // positions (...) int64 of x, for rope.
  Projections project(const torch::Tensor& x, const torch::Tensor& positions) const;
  torch::Tensor rotated(const torch::Tensor& x, const torch::Tensor& positions) const;
  torch::Tensor attend(const Projections& p, const torch::Tensor& mask) const;
  torch::Tensor attend_whole(const Projections& p, const SequenceLayout* layout) const;

  AttentionConfig config_;
  int64_t d_model_, kv_heads_, head_dim_;
  std::shared_ptr<ParameterGroup> in_proj_, out_proj_;
};

}  // namespace strandwave
