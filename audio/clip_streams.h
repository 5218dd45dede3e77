// A batch of clips that grow sample by sample.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "audio/sampler.h"
#include "core/runtime/device_graph.h"
#include "core/runtime/generator.h"

namespace strandwave::audio {

struct ClipStreamOptions {
  SamplingOptions sampling;
  uint64_t seed = 0;
  int64_t length = 0;           // samples of a clip, its prefix included
  double guidance = 1;          // g in logits = without + g (with - without the class); 1: with
  std::vector<uint8_t> prefix;  // codes with which every clip begins
  // On a GPU: a block of samples is recorded and then repeated by one launch. The bits are those of
  // samples drawn one by one.
  bool recorded = true;
};

// Clips first_clip, first_clip + 1, ... of a seed, `streams` of them at once. Sample t of clip i is
// drawn (audio/sampler.h) with the uniform number of (seed, i, t): on one device and with one
// number of streams equal options give equal bits, whether or not the work is cut by tensors() and
// restore(). Throws Error(kUsage) for a prefix that is not shorter than the clip, guidance without
// classes, and what Generator::allocate refuses; Error(kRuntime) when the model's logits are not
// finite.
class ClipStreams {
 public:
  // classes: one per stream, -1 for the null class; empty: the model has none. The prefix is read
  // here, in parallel along its length. `generator` must outlive this.
  ClipStreams(Generator& generator, int64_t first_clip, int64_t streams,
              const std::vector<int64_t>& classes, ClipStreamOptions options);

  int64_t streams() const { return streams_; }
  int64_t position() const { return position_; }  // samples there are, with the prefix
  bool done() const { return position_ == options_.length; }

  // Draws the next `samples` samples, or as many as are left.
  void advance(int64_t samples);

  // What there is of a clip.
  std::vector<uint8_t> codes(int64_t stream) const;
  // Per stream the sum over the drawn samples (not the prefix) of ln p, p being the probability of
  // the sample in the distribution it was drawn from: after guidance, temperature and top-p.
  std::vector<double> log_likelihoods() const;

  // Everything that the next samples depend on, for a file; restore() of an equal object goes on
  // bit by bit as the one before would have. Throws Error(kInput) naming `where` and the tensor
  // that is missing or does not fit.
  std::map<std::string, torch::Tensor> tensors() const;
  void restore(const std::map<std::string, torch::Tensor>& tensors, const std::string& where);

 private:
  void read_prefix();
  bool guided() const { return options_.guidance != 1; }
  // (rows) -> (rows of the state): guided streams come twice, with and without their class.
  torch::Tensor for_rows(const torch::Tensor& values) const;
  torch::Tensor combined(const torch::Tensor& logits) const;
  void one_sample(const torch::Tensor& uniforms, const torch::Tensor& codes, bool last);
  // Whether the next block_ samples, of `left` ones, can be a recorded block.
  bool block_fits(int64_t left) const;
  void one_block(const torch::Tensor& uniforms);
  void record();
  void require_finite() const;

  Generator& generator_;
  int64_t first_clip_, streams_, position_ = 0;
  ClipStreamOptions options_;
  GeneratorState state_;
  torch::Tensor logits_;  // (rows, vocabulary), at a fixed address: of the sample at position_
  torch::Tensor codes_;   // (length, streams) uint8
  torch::Tensor log_likelihood_;  // (streams) float64
  torch::Tensor check_;           // () float64: not finite once logits were not

  // A recorded block begins where the state's position modulo block_ is block_phase_.
  int64_t block_ = 0, block_phase_ = 0;  // samples; block_ 0: nothing is recorded
  int64_t single_samples_ = 0;           // drawn one by one in this advance()
  torch::Tensor block_uniforms_, block_codes_;
  std::unique_ptr<DeviceGraph> graph_;
};

}  // namespace strandwave::audio
