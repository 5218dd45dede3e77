// Layers against their equations written with ATen; what all kinds promise is in mixers_test.cpp,
// Mamba has its own.
#include <gtest/gtest.h>

#include <cmath>

#include "core/layers/channel_norm.h"
#include "core/layers/parameters.h"
#include "core/layers/registry.h"
#include "core/layers/s4.h"
#include "core/layers/s4d.h"

namespace strandwave {
namespace {

using torch::Tensor;

constexpr int64_t kModel = 12;

Tensor values(at::IntArrayRef shape, uint64_t seed) {
  return normal_tensor(shape, 1.0, RandomStream(seed, RandomPurpose::kSynthetic))
      .to(torch::kDouble);
}

struct Layer {
  std::shared_ptr<Mixer> mixer;
  torch::OrderedDict<std::string, Tensor> p;

  Tensor linear(const char* name, const Tensor& x) const {
    const Tensor* bias = p.find(std::string(name) + ".bias");
    return torch::linear(x, p[std::string(name) + ".weight"], bias ? *bias : Tensor());
  }
};

// In float64, with parameters that no term of an equation is trivial for.
Layer make(const char* kind, const char* options) {
  Layer layer;
  layer.mixer = make_mixer({kind, nlohmann::json::parse(options)}, kModel, 0, 5);
  layer.mixer->to(torch::kDouble);
  layer.p = layer.mixer->named_parameters();
  const torch::NoGradGuard no_grad;
  for (auto& item : layer.p)
    if (item.key() == "D") item.value().copy_(values(item.value().sizes(), 77));
  return layer;
}

void expect_near(const Tensor& a, const Tensor& b, double tolerance = 1e-10) {
  ASSERT_EQ(a.sizes(), b.sizes());
  EXPECT_LT((a - b).abs().max().item<double>(), tolerance * b.abs().max().item<double>());
}

// The state space alone, with the parameters that `layer` calls kernel.*.
template <typename Kernel>
Tensor kernel_output(const Layer& layer, const StateSpaceConfig& config, const Tensor& u) {
  Kernel kernel(config, u.size(2), 0, 1, 0);
  kernel.to(torch::kDouble);
  const torch::NoGradGuard no_grad;
  for (auto& item : kernel.named_parameters()) item.value().copy_(layer.p["kernel." + item.key()]);
  return kernel.forward(u, layer.p["D"].reshape({-1}), {}, false).y;
}

TEST(LayerEquations, S4AndS4D) {
  const torch::NoGradGuard no_grad;
  const Tensor x = values({2, 50, kModel}, 1);
  StateSpaceConfig config;
  config.d_state = 8;
  config.l_kernel = 50;
  const Layer s4 = make("s4", R"({"d_state": 8, "l_kernel": 50})");
  const auto mixed = s4.linear("output_linear", torch::gelu(kernel_output<S4>(s4, config, x)));
  expect_near(s4.mixer->forward(x, {}).y,
              mixed.narrow(2, 0, kModel) * mixed.narrow(2, kModel, kModel).sigmoid());
  const Layer s4d = make("s4d", R"({"d_state": 8, "postact": "none"})");
  expect_near(s4d.mixer->forward(x, {}).y,
              s4d.linear("output_linear", torch::gelu(kernel_output<S4D>(s4d, config, x))));
}

TEST(LayerEquations, MambaLti) {
  const torch::NoGradGuard no_grad;
  const Tensor x = values({2, 50, kModel}, 1);
  const Layer layer = make("mamba_lti", R"({"d_state": 8, "d_conv": 3})");
  StateSpaceConfig config;
  config.d_state = 8;
  const Tensor xz = layer.linear("in_proj", x);
  const Tensor padded = torch::constant_pad_nd(xz.narrow(2, 0, 2 * kModel), {0, 0, 2, 0});
  Tensor u = layer.p["conv1d.bias"].expand({2, 50, 2 * kModel});
  for (int64_t k = 0; k < 3; ++k)
    u = u + layer.p["conv1d.weight"].select(2, k).squeeze(1) * padded.narrow(1, k, 50);
  const Tensor y = kernel_output<S4D>(layer, config, torch::silu(u));
  expect_near(layer.mixer->forward(x, {}).y,
              layer.linear("out_proj", y * torch::silu(xz.narrow(2, 2 * kModel, 2 * kModel))));
}

TEST(LayerEquations, Mlp) {
  const torch::NoGradGuard no_grad;
  const Tensor x = values({2, 5, kModel}, 1);
  const Layer plain = make("mlp", R"({"hidden_factor": 1.5})");
  EXPECT_EQ(plain.p["fc1.weight"].sizes(), (std::vector<int64_t>{18, kModel}));
  const Tensor hidden = plain.linear("fc1", x);
  expect_near(plain.mixer->forward(x, {}).y,
              plain.linear("fc2", hidden / 2 * (1 + torch::erf(hidden / std::sqrt(2.0)))));
  const Layer gated = make("mlp", R"({"gated": true, "activation": "silu", "bias": false})");
  EXPECT_EQ(gated.p["fc1.weight"].sizes(), (std::vector<int64_t>{48, kModel}));
  EXPECT_EQ(gated.p.size(), 2);
  const auto halves = gated.linear("fc1", x).chunk(2, -1);
  expect_near(gated.mixer->forward(x, {}).y,
              gated.linear("fc2", halves[0] * halves[1] * halves[1].sigmoid()));
  const Layer relu = make("mlp", R"({"activation": "relu"})");
  expect_near(relu.mixer->forward(x, {}).y, relu.linear("fc2", relu.linear("fc1", x).clamp_min(0)));
}

// Query by query, head by head.
Tensor attention(const Layer& layer, const Tensor& x, int64_t heads, int64_t kv_heads,
                 int64_t head_dim, bool rope) {
  const int64_t length = x.size(0);
  const Tensor qkv = layer.linear("in_proj", x).view({length, heads + 2 * kv_heads, head_dim});
  const auto turned = [&](const Tensor& v, int64_t position) {
    if (!rope) return v;
    Tensor out = v.clone();
    for (int64_t i = 0; i < head_dim / 2; ++i) {
      const double angle =
          static_cast<double>(position) *
          std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
      const Tensor a = v[i], b = v[i + head_dim / 2];
      out[i] = a * std::cos(angle) - b * std::sin(angle);
      out[i + head_dim / 2] = b * std::cos(angle) + a * std::sin(angle);
    }
    return out;
  };
  Tensor y = torch::zeros({length, heads * head_dim}, x.options());
  for (int64_t t = 0; t < length; ++t) {
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t kv = h / (heads / kv_heads);
      std::vector<Tensor> scores, seen;
      for (int64_t s = 0; s <= t; ++s) {
        scores.push_back(torch::dot(turned(qkv[t][h], t), turned(qkv[s][heads + kv], s)) /
                         std::sqrt(static_cast<double>(head_dim)));
        seen.push_back(qkv[s][heads + kv_heads + kv]);
      }
      y[t].narrow(0, h * head_dim, head_dim)
          .copy_(torch::softmax(torch::stack(scores), 0).matmul(torch::stack(seen)));
    }
  }
  return layer.linear("out_proj", y);
}

TEST(LayerEquations, Attention) {
  const torch::NoGradGuard no_grad;
  const Tensor x = values({1, 7, kModel}, 1);
  const Layer plain = make("attention", R"({"heads": 3, "bias": true})");
  expect_near(plain.mixer->forward(x, {}).y[0], attention(plain, x[0], 3, 3, 4, false));
  const Layer rope =
      make("attention", R"({"heads": 4, "kv_heads": 2, "head_dim": 6, "rope": true})");
  expect_near(rope.mixer->forward(x, {}).y[0], attention(rope, x[0], 4, 2, 6, true));
}

TEST(LayerEquations, AStepBeyondTheCacheIsAnError) {
  const Layer layer = make("attention", R"({"heads": 3})");
  MixerState state = layer.mixer->allocate_state(1, 2, torch::kDouble);
  const Tensor x = values({1, kModel}, 1);
  layer.mixer->step(x, state);
  layer.mixer->step(x, state);
  try {
    layer.mixer->step(x, state);
    FAIL() << "no error";
  } catch (const c10::Error& error) {
    EXPECT_NE(std::string(error.what()).find("room for 2 positions"), std::string::npos);
  }
}

TEST(ChannelNorm, LayerAndScalar) {
  const torch::NoGradGuard no_grad;
  const Tensor x = values({2, 3, kModel}, 1);
  const Tensor mean = x.mean(-1, true);
  const Tensor variance = (x - mean).square().mean(-1, true);
  ChannelNorm layer(NormKind::kLayer, kModel);
  layer.to(torch::kDouble);
  auto p = layer.named_parameters();
  p["weight"].copy_(values({kModel}, 2));
  p["bias"].copy_(values({kModel}, 3));
  expect_near(layer.forward(x), (x - mean) / (variance + 1e-5).sqrt() * p["weight"] + p["bias"]);

  ChannelNorm scalar(NormKind::kScalar, kModel);
  scalar.to(torch::kDouble);
  p = scalar.named_parameters();
  EXPECT_EQ(p.size(), 2);
  p["s"].fill_(1.7);
  p["m"].fill_(-0.4);
  expect_near(scalar.forward(x), 1.7 / variance.sqrt() * (x - mean - 0.4));
}

TEST(ChannelNorm, AConstantVectorStaysFinite) {
  for (const NormKind kind : {NormKind::kLayer, NormKind::kScalar}) {
    ChannelNorm norm(kind, kModel);
    Tensor x = torch::full({1, kModel}, 3.0).requires_grad_();
    const Tensor y = norm.forward(x);
    EXPECT_TRUE(torch::isfinite(y).all().item<bool>());
    y.square().sum().backward();
    EXPECT_TRUE(torch::isfinite(x.grad()).all().item<bool>());
  }
}

}  // namespace
}  // namespace strandwave
