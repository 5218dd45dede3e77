// Learning to predict the next sample of clips.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "audio/models/sashimi.h"
#include "audio/next_sample_scores.h"
#include "core/training/task.h"

namespace strandwave::audio {

// A clip as codes; the caller keeps them.
struct AudioClip {
  std::span<const uint8_t> codes;
  int64_t real = 0;    // samples before the padding
  int64_t label = -1;  // class; -1: none
  std::string name;
};

struct NextSampleOptions {
  int64_t batch = 8;         // rows per micro-batch
  int64_t accumulation = 1;  // micro-batches per step, as in TrainerConfig
  uint64_t seed = 0;
  int64_t window = 0;  // 0: a row is a whole clip; else so many samples of one
  // Windows in order instead of at random, each with the state in which the one before it ended (no
  // gradient flows back); evaluation goes through whole clips in such steps.
  bool carry_state = false;
  bool pad_loss = true;     // padding counts in the loss
  double null_class = 0.1;  // share of rows whose class is hidden, where the model has classes
  int64_t evaluation_samples = 0;  // of the validation clips, evenly spread; 0: all
};

// Rows: whole clips in an order drawn for each epoch; or windows whose starts are drawn uniformly
// over all samples (a clip shorter than the window is taken whole); or, with carry_state, all
// training clips one behind the other as one line, on which the rows of a step stand at equal
// distances and walk on by one window per step. A row that nothing precedes begins with kSilence
// and a zero state.
//
// The loss is that of all samples with weight 1; padding has weight 0 unless pad_loss, and so has
// what only fills a row up. Metrics on validation: "bits_per_sample" over real samples, and
// "bits_per_sample_all" with the padding where there is some.
//
// batch():  "tokens" (rows, length + 1) uint8: the code before the row, then its codes; "weights"
//           (rows, length) float32 where some are 0; "classes" (rows) int64 where the model has
//           classes; with carry_state "restart" (rows) bool.
class NextSampleTask : public Task {
 public:
  // `data`: what identifies the clips and what they are (hashes, format, splits), for config().
  // Throws Error(kUsage) for options that do not go together, Error(kInput) when there is nothing
  // to train on.
  NextSampleTask(std::shared_ptr<Sashimi> model, std::vector<AudioClip> training,
                 std::vector<AudioClip> validation, NextSampleOptions options, nlohmann::json data);

  Batch batch(int64_t step, int64_t micro_batch) const override;
  torch::Tensor loss(const Batch& batch) override;
  torch::Tensor accumulate(const Batch& batch, GradientSum& gradients) override;
  std::vector<Metric> evaluate() override;
  void show(int64_t step) override {
    if (on_evaluation) on_evaluation(step);
  }
  std::string description() const override;
  nlohmann::json config() const override;
  std::map<std::string, torch::Tensor> carried() const override;
  void restore_carried(const std::map<std::string, torch::Tensor>& tensors) override;
  std::string token_name() const override { return "sample"; }
  std::string memory_advice() const override {
    return "lower --batch or --window (raise --accumulation to keep the samples of a step), or "
           "give "
           "--recompute";
  }

  // Called after each evaluation, the evaluated parameters in place.
  std::function<void(int64_t step)> on_evaluation;

 private:
  struct Row {
    const AudioClip* clip = nullptr;
    int64_t first = 0, length = 0;  // samples of the clip
    bool restart = true;            // nothing precedes it
  };
  void check() const;
  Row row(int64_t step, int64_t place) const;
  Row window_on_line(int64_t step, int64_t place) const;
  SashimiLoss run(const Batch& batch, const GeneratorState* initial_state, bool want_final_state);

  std::shared_ptr<Sashimi> model_;
  std::vector<AudioClip> training_, validation_;
  NextSampleOptions options_;
  nlohmann::json data_;
  std::vector<int64_t> line_;  // windows, or possible starts, of the clips up to and with this one
  std::map<int64_t, GeneratorState> states_;  // carried, per micro-batch
};

// Bits of clips under a model: sums, and the samples they are of.
struct SampleBits {
  double real = 0, all = 0;  // bits
  int64_t real_samples = 0, all_samples = 0;

  void add(const SampleBits& other);
  double per_real_sample() const { return real / static_cast<double>(real_samples); }
  double per_sample() const { return all / static_cast<double>(all_samples); }
};
// Per clip, in the order of the clips.
std::vector<SampleBits> bits_of_clips(Sashimi& model, const std::vector<AudioClip>& clips,
                                      const ClipScoring& scoring);
// Clips of about `samples` samples in all, evenly spread over the list; 0: all.
std::vector<AudioClip> spread(const std::vector<AudioClip>& clips, int64_t samples);

}  // namespace strandwave::audio
