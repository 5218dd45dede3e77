// Draws the next sample from logits.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace strandwave::audio {

struct SamplingOptions {
  double temperature = 1;  // 0: the most probable class, the first one of equals
  double top_p = 1;        // keeps the smallest set of classes that holds so much probability

  // Throws Error(kUsage) naming the setting, its value and what it must be.
  void validate() const;
};

// One class per stream.
struct Draw {
  torch::Tensor ids;              // (S) int64
  torch::Tensor log_probability;  // (S) float64, nats: of the class in the distribution drawn from
};

// For each row of logits (S, V), in this order:
//   p = softmax(logits / temperature)
//   the classes are sorted by p, falling, equals by their number; the first ones are kept until
//   their sum reaches top_p; the others get 0
//   p / sum(p); with a uniform number u in [0, 1) the first class whose cumulated p exceeds u
// With temperature 0 the class is argmax and its probability 1.
//
// Probabilities are float64, then whole multiples of 2^-40, and all sums are of whole numbers: the
// same on every device, in any order, with any number of threads. What is less probable than 2^-41
// is never drawn.
//
// uniforms: (S) float64 on the device of the logits.
Draw draw(const torch::Tensor& logits, const SamplingOptions& options,
          const torch::Tensor& uniforms);

// (S, V) float64: the distribution that draw() draws from.
torch::Tensor drawn_distribution(const torch::Tensor& logits, const SamplingOptions& options);

// (samples, streams) float64 on the host: the numbers with which samples first_sample,
// first_sample + 1, ... of the clips first_clip, first_clip + 1, ... are drawn. Entry (t, i) is a
// pure function of (seed, clip, sample): Philox, so that neither batches nor order change a clip.
torch::Tensor sampling_uniforms(uint64_t seed, int64_t first_clip, int64_t streams,
                                int64_t first_sample, int64_t samples);

}  // namespace strandwave::audio
