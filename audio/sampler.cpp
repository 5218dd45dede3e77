#include "audio/sampler.h"

#include <cmath>
#include <string>

#include "core/base/error.h"
#include "core/base/random.h"

namespace strandwave::audio {
namespace {

constexpr double kUnits = 0x1p40;  // a probability of 1

// Probabilities (S, V) in units of 2^-40 with what top_p leaves out at 0; int64.
torch::Tensor weights_of(const torch::Tensor& logits, const SamplingOptions& options) {
  const torch::Tensor p = torch::softmax(logits.to(torch::kFloat64) / options.temperature, -1);
  const torch::Tensor weights = (p * kUnits).round().to(torch::kInt64);
  if (options.top_p >= 1) return weights;
  const auto [sorted, order] = weights.sort(/*stable=*/true, /*dim=*/-1, /*descending=*/true);
  const torch::Tensor before = sorted.cumsum(-1) - sorted;
  const torch::Tensor kept =
      before.to(torch::kFloat64) < options.top_p * sorted.sum(-1, true).to(torch::kFloat64);
  const torch::Tensor place = order.argsort(/*stable=*/true, /*dim=*/-1, /*descending=*/false);
  return weights * kept.gather(-1, place);
}

}  // namespace

void SamplingOptions::validate() const {
  if (!(temperature >= 0 && std::isfinite(temperature)))
    throw usage_error("the temperature is " + std::to_string(temperature) +
                      "; it must be 0 or more");
  if (!(top_p > 0 && top_p <= 1))
    throw usage_error("top-p is " + std::to_string(top_p) +
                      "; it must be more than 0 and at most 1");
}

Draw draw(const torch::Tensor& logits, const SamplingOptions& options,
          const torch::Tensor& uniforms) {
  if (options.temperature == 0) return {logits.argmax(-1), torch::zeros_like(uniforms)};
  const torch::Tensor weights = weights_of(logits, options);
  const torch::Tensor cumulated = weights.cumsum(-1);
  const torch::Tensor total = cumulated.select(-1, cumulated.size(-1) - 1);
  // Less than the total: u <= 1 - 2^-53 and the total is about 2^40.
  const torch::Tensor target = (uniforms * total).floor().to(torch::kInt64);
  const torch::Tensor ids =
      (cumulated <= target.unsqueeze(-1)).sum(-1).clamp_max(cumulated.size(-1) - 1);
  const torch::Tensor chosen = weights.gather(-1, ids.unsqueeze(-1)).squeeze(-1);
  return {ids, (chosen.to(torch::kFloat64) / total).log()};
}

torch::Tensor drawn_distribution(const torch::Tensor& logits, const SamplingOptions& options) {
  if (options.temperature == 0)
    return torch::one_hot(logits.argmax(-1), logits.size(-1)).to(torch::kFloat64);
  const torch::Tensor weights = weights_of(logits, options).to(torch::kFloat64);
  return weights / weights.sum(-1, true);
}

torch::Tensor sampling_uniforms(uint64_t seed, int64_t first_clip, int64_t streams,
                                int64_t first_sample, int64_t samples) {
  torch::Tensor uniforms = torch::empty({samples, streams}, torch::kFloat64);
  auto* values = uniforms.data_ptr<double>();
  for (int64_t i = 0; i < streams; ++i) {
    const RandomStream stream(seed, RandomPurpose::kSampling,
                              static_cast<uint64_t>(first_clip + i));
    for (int64_t t = 0; t < samples; ++t)
      values[t * streams + i] = stream.uniform(static_cast<uint64_t>(first_sample + t));
  }
  return uniforms;
}

}  // namespace strandwave::audio
