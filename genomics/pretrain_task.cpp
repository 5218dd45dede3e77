#include "genomics/pretrain_task.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/signals.h"
#include "core/training/schedule.h"
#include "genomics/bits_per_base.h"
#include "genomics/io/tokenizer.h"

namespace strandwave {
namespace {

nlohmann::json split_config(const Genome& genome, const Intervals& intervals) {
  return {{"bases", total_length(intervals)}, {"sha256", hash_of_intervals(genome, intervals)}};
}

}  // namespace

PretrainTask::PretrainTask(std::shared_ptr<SequenceModel> model, Genome genome, Splits splits,
                           PretrainOptions options)
    : model_(std::move(model)),
      genome_(std::move(genome)),
      splits_(std::move(splits)),
      options_(options) {
  if (options_.warmup_window > options_.window)
    throw usage_error("--warmup-window " + std::to_string(options_.warmup_window) +
                      " is longer than --window " + std::to_string(options_.window));
  const WindowSampler::Options sampling{0.5, options_.reverse_complement};
  for (int64_t window = options_.warmup_window > 0 ? options_.warmup_window : options_.window;;
       window = std::min(2 * window, options_.window)) {
    samplers_.emplace_back(genome_, splits_.train, window, sampling);
    if (window == options_.window) break;
  }
  validation_ = evaluation_windows(
      genome_, splits_.validation,
      options_.evaluation_window > 0 ? options_.evaluation_window : options_.window,
      options_.evaluation_bases);
}

int64_t PretrainTask::window_at(int64_t step) const {
  if (options_.warmup_window <= 0) return options_.window;
  return length_at_step(step, options_.warmup_steps, options_.warmup_window, options_.window);
}

const WindowSampler& PretrainTask::sampler(int64_t window) const {
  return *std::find_if(samplers_.begin(), samplers_.end(),
                       [&](const WindowSampler& s) { return s.length() == window; });
}

Batch PretrainTask::batch(int64_t step, int64_t micro_batch) const {
  const int64_t window = window_at(step);
  // A shorter window leaves room for more of them.
  const int64_t count = options_.batch * (options_.window / window);
  const WindowSampler& windows = sampler(window);
  torch::Tensor ids = torch::empty({count, window}, torch::kUInt8);
  uint8_t* row = ids.data_ptr<uint8_t>();
  const auto first = static_cast<uint64_t>((step * options_.accumulation + micro_batch) * count);
  Batch batch;
  for (int64_t i = 0; i < count; ++i, row += window) {
    // Every length draws from a stream of its own: windows of a warm-up do not repeat.
    const Window w =
        windows.window(options_.seed + static_cast<uint64_t>(window) * 0x9e3779b97f4a7c15U,
                       first + static_cast<uint64_t>(i));
    genome_.fetch(w.contig, w.start, w.end, row, w.reverse);
    batch.weight += static_cast<double>(std::count_if(row, row + window, dna::is_base));
  }
  batch.tokens = ids.numel();
  batch.tensors["ids"] = std::move(ids);
  return batch;
}

torch::Tensor PretrainTask::loss(const Batch& batch) {
  const torch::Tensor& ids = batch.at("ids");
  return model_->language_model_loss(shifted_inputs(ids), base_targets(ids)).loss.sum();
}

std::vector<Metric> PretrainTask::evaluate() {
  if (validation_.empty()) return {};
  const int64_t batch_tokens = options_.batch * options_.window;
  const ScoredWindows scored = score_windows(*model_, genome_, validation_, batch_tokens,
                                             [](int64_t) { throw_if_interrupted(); });
  return {{"bits_per_base", scored.bits_per_base(), false}};
}

std::string PretrainTask::description() const {
  return "next base, " + format_count(static_cast<double>(total_length(splits_.train))) +
         " training bases in " + std::to_string(splits_.train.size()) + " intervals, windows of " +
         std::to_string(options_.window);
}

nlohmann::json PretrainTask::config() const {
  return {{"objective", "next_base"},
          {"genome", genome_.hash()},
          {"window", options_.window},
          {"batch", options_.batch},
          {"reverse_complement", options_.reverse_complement},
          {"warmup_window", options_.warmup_window},
          {"warmup_window_steps", options_.warmup_steps},
          {"evaluation_window",
           options_.evaluation_window > 0 ? options_.evaluation_window : options_.window},
          {"evaluation_bases", options_.evaluation_bases},
          {"start_model", options_.start_model},
          {"splits",
           {{"train", split_config(genome_, splits_.train)},
            {"validation", split_config(genome_, splits_.validation)},
            {"test", split_config(genome_, splits_.test)}}}};
}

}  // namespace strandwave
