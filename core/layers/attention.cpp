#include "core/layers/attention.h"

#include <cmath>

#include "core/base/error.h"
#include "core/base/json_config.h"
#include "core/layers/mixer_checks.h"

namespace strandwave {
namespace {

using torch::Tensor;

// The random streams of the projections, each followed by that of its bias: never renumber.
enum InitialTensor : int64_t { kInProj = 0, kOutProj = 2 };

Tensor position_row(int64_t first, int64_t length, torch::Device device) {
  return torch::arange(first, first + length,
                       torch::TensorOptions().dtype(torch::kLong).device(device));
}

// The position of every entry of a packed batch in its own sequence: (1, length).
Tensor packed_positions(const SequenceLayout& layout) {
  const Tensor begins = layout.cu_seqlens().narrow(0, 0, layout.sequences());
  const Tensor own_begin = torch::repeat_interleave(begins, layout.cu_seqlens().diff(),
                                                    /*dim=*/0, layout.total_length());
  return (position_row(0, layout.total_length(), begins.device()) - own_begin).unsqueeze(0);
}

// What flash attention computes: half precision on a GPU, short heads in steps of 8.
bool flash_fits(const Tensor& q) {
  const bool half = q.scalar_type() == torch::kHalf || q.scalar_type() == torch::kBFloat16;
  return q.is_cuda() && half && q.size(-1) % 8 == 0 && q.size(-1) <= 256 && q.numel() > 0;
}

}  // namespace

AttentionConfig AttentionConfig::from_json(const nlohmann::json& options) {
  JsonObject object(options, "attention layer");
  AttentionConfig c;
  c.heads = object.integer("heads", c.heads, 1, 4096);
  c.kv_heads = object.integer("kv_heads", c.kv_heads, 0, c.heads);
  if (c.kv_heads > 0 && c.heads % c.kv_heads != 0)
    throw usage_error("attention layer: kv_heads must divide the " + std::to_string(c.heads) +
                      " heads, got " + std::to_string(c.kv_heads));
  c.head_dim = object.integer("head_dim", c.head_dim, 0, 4096);
  c.rope = object.boolean("rope", c.rope);
  c.rope_base = object.number("rope_base", c.rope_base, 1, 1e12);
  c.bias = object.boolean("bias", c.bias);
  object.finish();
  return c;
}

Attention::Attention(const AttentionConfig& config, int64_t d_model, int64_t layer_index,
                     uint64_t seed)
    : config_(config),
      d_model_(d_model),
      kv_heads_(config.kv_heads > 0 ? config.kv_heads : config.heads),
      head_dim_(config.head_dim > 0 ? config.head_dim : d_model / config.heads) {
  if (config.head_dim == 0 && d_model % config.heads != 0)
    throw usage_error("attention layer: " + std::to_string(config.heads) +
                      " heads do not divide d_model " + std::to_string(d_model) +
                      "; give head_dim or other heads");
  if (config.rope && head_dim_ % 2 != 0)
    throw usage_error("attention layer: rope needs an even head_dim, got " +
                      std::to_string(head_dim_));
  const auto linear = [&](const char* name, int64_t out, int64_t in, int64_t tensor) {
    return register_module(name,
                           linear_parameters(out, in, config.bias, seed, layer_index + 1, tensor));
  };
  in_proj_ = linear("in_proj", (config.heads + 2 * kv_heads_) * head_dim_, d_model, kInProj);
  out_proj_ = linear("out_proj", d_model, config.heads * head_dim_, kOutProj);
}

MixerTraits Attention::traits() const {
  return {.has_state = true, .has_step = true, .packed = true, .context_parallel = false};
}

Tensor Attention::rotated(const Tensor& x, const Tensor& positions) const {
  const auto exact = torch::TensorOptions().dtype(exact_type(x.scalar_type())).device(x.device());
  const int64_t half = head_dim_ / 2;
  const Tensor frequencies = torch::exp(torch::arange(half, exact.dtype(torch::kDouble)) *
                                        (-std::log(config_.rope_base) / static_cast<double>(half)));
  // In float64: a position of a million turns the first dimension as often.
  const Tensor angles = positions.unsqueeze(-1).to(torch::kDouble) * frequencies;
  const Tensor cosine = angles.cos().to(exact).unsqueeze(-2);
  const Tensor sine = angles.sin().to(exact).unsqueeze(-2);
  const Tensor a = x.narrow(-1, 0, half).to(exact), b = x.narrow(-1, half, half).to(exact);
  return torch::cat({a * cosine - b * sine, b * cosine + a * sine}, -1).to(x.scalar_type());
}

Attention::Projections Attention::project(const Tensor& x, const Tensor& positions) const {
  const auto parts = in_proj_->linear(x)
                         .unflatten(-1, {config_.heads + 2 * kv_heads_, head_dim_})
                         .split_with_sizes({config_.heads, kv_heads_, kv_heads_}, -2);
  if (!config_.rope) return {parts[0], parts[1], parts[2]};
  return {rotated(parts[0], positions), rotated(parts[1], positions), parts[2]};
}

// q (batch, length, heads, head_dim), k and v (batch, keys, kv_heads, head_dim); mask undefined:
// causal, of as many keys as queries; else what each query sees, (length, keys) or (batch, 1,
// length, keys).
Tensor Attention::attend(const Projections& p, const Tensor& mask) const {
  const auto by_head = [](const Tensor& x) { return x.transpose(1, 2); };
  const std::optional<Tensor> given = mask.defined() ? std::optional<Tensor>(mask) : std::nullopt;
  return by_head(at::scaled_dot_product_attention(
      by_head(p.q), by_head(p.k), by_head(p.v), given, /*dropout_p=*/0.0,
      /*is_causal=*/!mask.defined(), /*scale=*/std::nullopt,
      /*enable_gqa=*/kv_heads_ != config_.heads));
}

Tensor Attention::attend_whole(const Projections& p, const SequenceLayout* layout) const {
  if (layout == nullptr) {
    if (!flash_fits(p.q)) return attend(p, {});
    return std::get<0>(at::_flash_attention_forward(p.q, p.k, p.v, {}, {}, p.q.size(1), p.k.size(1),
                                                    0.0, true, false));
  }
  if (flash_fits(p.q) && layout->cu_seqlens_int32().defined()) {
    const Tensor& borders = layout->cu_seqlens_int32();
    return std::get<0>(at::_flash_attention_forward(p.q.squeeze(0), p.k.squeeze(0), p.v.squeeze(0),
                                                    borders, borders, layout->max_length(),
                                                    layout->max_length(), 0.0, true, false))
        .unsqueeze(0);
  }
  std::vector<int64_t> lengths;
  for (size_t i = 1; i < layout->offsets().size(); ++i)
    lengths.push_back(layout->offsets()[i] - layout->offsets()[i - 1]);
  const auto q = p.q.split_with_sizes(lengths, 1), k = p.k.split_with_sizes(lengths, 1),
             v = p.v.split_with_sizes(lengths, 1);
  std::vector<Tensor> parts;
  for (size_t i = 0; i < lengths.size(); ++i)
    if (lengths[i] > 0) parts.push_back(attend({q[i], k[i], v[i]}, {}));
  return parts.empty() ? p.q : torch::cat(parts, 1);
}

MixerOutput Attention::forward(const Tensor& x, const MixerInput& input) {
  check_mixer_input("attention", x, d_model_, in_proj_->weight.scalar_type());
  const bool has_states = input.initial_state != nullptr || input.want_final_state;
  TORCH_CHECK(input.layout == nullptr || !has_states,
              "attention: packed sequences neither take nor give states");
  const int64_t length = x.size(1);
  int64_t seen = 0;
  if (input.initial_state != nullptr && x.size(0) > 0) {
    const Tensor& positions = input.initial_state->positions;
    TORCH_CHECK(positions.defined(), "attention: the initial state has no positions");
    seen = positions.max().item<int64_t>();
    TORCH_CHECK((positions == seen).all().item<bool>(),
                "attention: the sequences of an initial state must be equally long");
  }
  Projections p =
      project(x, input.layout != nullptr ? packed_positions(*input.layout)
                                         : position_row(seen, length, x.device()).unsqueeze(0));
  if (seen > 0) {
    const auto before = [&](const char* name) {
      const Tensor cache = initial_tensor("attention", input, name);
      TORCH_CHECK(cache.dim() == 4 && cache.size(0) == x.size(0) && cache.size(1) >= seen,
                  "attention: the state \"", name, "\" holds ", cache.sizes(), ", not ", seen,
                  " positions of ", x.size(0), " sequences");
      return cache.narrow(1, 0, seen);
    };
    p.k = torch::cat({before("k"), p.k}, 1);
    p.v = torch::cat({before("v"), p.v}, 1);
  }
  Tensor y;
  if (length == 0)
    y = p.q;
  else if (seen == 0)
    y = attend_whole(p, input.layout);
  else
    y = attend(p, position_row(0, seen + length, x.device()).unsqueeze(0) <=
                      position_row(seen, length, x.device()).unsqueeze(1));
  MixerOutput output{out_proj_->linear(y.flatten(2)), {}};
  if (input.want_final_state)
    output.final_state = MixerState{{{"k", p.k}, {"v", p.v}}, positions_after(x, input)};
  return output;
}

MixerState Attention::allocate_state(int64_t sequences, int64_t max_length,
                                     torch::TensorOptions options) const {
  const auto cache = [&] {
    return torch::zeros({sequences, max_length, kv_heads_, head_dim_}, options);
  };
  return {{{"k", cache()}, {"v", cache()}}, torch::zeros({sequences}, options.dtype(torch::kLong))};
}

Tensor Attention::step(const Tensor& x, MixerState& state) {
  const torch::NoGradGuard no_grad;
  Tensor& keys = state.tensors.at("k");
  Tensor& values = state.tensors.at("v");
  // Where positions can be read without waiting for a device, only what was seen is looked at.
  int64_t visible = keys.size(1);
  if (x.device().is_cpu() && x.size(0) > 0) {
    const int64_t seen = state.positions.max().item<int64_t>();
    TORCH_CHECK(seen < visible, "attention: the state has room for ", visible, " positions");
    visible = seen + 1;
  }
  const Projections p = project(x, state.positions);
  const Tensor sequence = position_row(0, x.size(0), x.device());
  keys.index_put_({sequence, state.positions}, p.k);
  values.index_put_({sequence, state.positions}, p.v);
  const Tensor mask = position_row(0, visible, x.device()).view({1, 1, 1, visible}) <=
                      state.positions.view({-1, 1, 1, 1});
  const Tensor y =
      attend({p.q.unsqueeze(1), keys.narrow(1, 0, visible), values.narrow(1, 0, visible)}, mask);
  state.positions.add_(1);
  return out_proj_->linear(y.flatten(1));
}

}  // namespace strandwave
