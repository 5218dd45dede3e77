#include <gtest/gtest.h>
#include <torch/torch.h>

#include <vector>

#include "audio/io/companding.h"

namespace strandwave::audio {
namespace {

// torchaudio.functional.mu_law_encoding and mu_law_decoding, operation by operation in float32.
torch::Tensor torchaudio_encode(const torch::Tensor& x) {
  const torch::Tensor mu = torch::tensor(255, x.options());
  const torch::Tensor y = x.sign() * torch::log1p(mu * x.abs()) / torch::log1p(mu);
  return ((y + 1) / 2 * mu + 0.5).to(torch::kInt64);
}

torch::Tensor torchaudio_decode(const torch::Tensor& codes) {
  const torch::Tensor mu = torch::tensor(255.0F);
  const torch::Tensor y = codes.to(torch::kFloat32) / mu * 2 - 1.0;
  return y.sign() * (torch::exp(y.abs() * torch::log1p(mu)) - 1.0) / mu;
}

TEST(CompandingTorchTest, MuLawOfAll16BitSamplesIsThatOfTorchaudio) {
  const torch::Tensor samples = torch::arange(-32768, 32768).to(torch::kFloat32) / 32768;
  std::vector<uint8_t> codes(65536);
  encode(Companding::kMuLaw, {samples.data_ptr<float>(), codes.size()}, codes);
  const torch::Tensor ours =
      torch::from_blob(codes.data(), {65536}, torch::kUInt8).to(torch::kInt64);
  EXPECT_EQ((ours != torchaudio_encode(samples)).sum().item<int64_t>(), 0);
}

TEST(CompandingTorchTest, MuLawDecodesAsTorchaudioDoes) {
  std::vector<uint8_t> codes(256);
  for (size_t i = 0; i < 256; ++i) codes[i] = static_cast<uint8_t>(i);
  std::vector<float> values(256);
  decode(Companding::kMuLaw, codes, values);
  const torch::Tensor expected = torchaudio_decode(torch::arange(256));
  EXPECT_LT((torch::tensor(values) - expected).abs().max().item<float>(), 5e-7F);
}

// dataloaders/audio.py of the public SaShiMi code, on samples that are scaled already.
TEST(CompandingTorchTest, S4IsThePublicCode) {
  const torch::Tensor x = torch::arange(-32768, 32768).to(torch::kFloat32) / 32768;
  const torch::Tensor mu = torch::tensor(255);
  const torch::Tensor y = x.sign() * (torch::log1p(mu * torch::abs(x + 1e-8)) / torch::log1p(mu));
  const torch::Tensor expected = ((y + 1) / 2 * (256 - 0.01) + 0.01 / 2).to(torch::kInt64);
  std::vector<uint8_t> codes(65536);
  encode(Companding::kS4, {x.data_ptr<float>(), codes.size()}, codes);
  const torch::Tensor ours =
      torch::from_blob(codes.data(), {65536}, torch::kUInt8).to(torch::kInt64);
  // At an edge between codes the last bit of log1p decides, and math libraries differ in that.
  EXPECT_LE((ours - expected).abs().max().item<int64_t>(), 1);
  EXPECT_LE((ours != expected).sum().item<int64_t>(), 2);
}

}  // namespace
}  // namespace strandwave::audio
