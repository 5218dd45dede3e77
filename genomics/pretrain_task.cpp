#include "genomics/pretrain_task.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/signals.h"
#include "core/training/schedule.h"
#include "genomics/bits_per_base.h"
#include "genomics/io/byte_reader.h"
#include "genomics/io/soft_mask.h"
#include "genomics/io/tokenizer.h"

namespace strandwave {
namespace {

nlohmann::json split_config(const Genome& genome, const Intervals& intervals) {
  return {{"bases", total_length(intervals)}, {"sha256", hash_of_intervals(genome, intervals)}};
}

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

// The window with the base that a stream read before it.
Window with_base_before(Window window) {
  (window.reverse ? window.end : window.start) += window.reverse ? 1 : -1;
  return window;
}

void fetch(const Genome& genome, const Window& window, uint8_t* ids) {
  genome.fetch(window.contig, window.start, window.end, ids, window.reverse);
}

// The inputs and targets of tokens (rows, window + 1).
torch::Tensor inputs_of(const torch::Tensor& tokens) {
  return tokens.slice(1, 0, tokens.size(1) - 1).contiguous();
}
torch::Tensor targets_of(const torch::Tensor& tokens) { return base_targets(tokens.slice(1, 1)); }

std::optional<torch::Tensor> weights_of(const Batch& batch) {
  const auto found = batch.tensors.find("weights");
  return found == batch.tensors.end() ? std::nullopt : std::optional<torch::Tensor>(found->second);
}

}  // namespace

PretrainTask::PretrainTask(std::shared_ptr<SequenceModel> model, Genome genome, Splits splits,
                           PretrainOptions options)
    : model_(std::move(model)),
      genome_(std::move(genome)),
      splits_(std::move(splits)),
      options_(std::move(options)),
      states_(options_.accumulation) {
  check_options();
  weighted_ = options_.masked_weight != 1 && count_soft_masks(genome_, splits_.train).masked > 0;
  if (options_.stream) {
    streams_.emplace(genome_, splits_.train, options_.window,
                     options_.batch * options_.accumulation,
                     WindowStreams::Options{options_.reverse_complement, options_.genome_weights,
                                            options_.seed});
  } else {
    const WindowSampler::Options sampling{0.5, options_.reverse_complement,
                                          options_.genome_weights};
    for (int64_t window = options_.warmup_window > 0 ? options_.warmup_window : options_.window;;
         window = std::min(2 * window, options_.window)) {
      samplers_.emplace_back(genome_, splits_.train, window, sampling);
      if (window == options_.window) break;
    }
  }
  validation_ = evaluation_windows(
      genome_, splits_.validation,
      options_.evaluation_window > 0 ? options_.evaluation_window : options_.window,
      options_.evaluation_bases);
}

void PretrainTask::check_options() const {
  if (options_.warmup_window > options_.window)
    throw usage_error("--warmup-window " + std::to_string(options_.warmup_window) +
                      " is longer than --window " + std::to_string(options_.window));
  if (options_.chunk > options_.window)
    throw usage_error("--chunk " + std::to_string(options_.chunk) + " is longer than --window " +
                      std::to_string(options_.window));
  if (options_.stream && options_.warmup_window > 0)
    throw usage_error(
        "--warmup-window does not go with --stream: a stream moves on by one window of fixed "
        "length per step. Leave one of the two out");
}

int64_t PretrainTask::window_at(int64_t step) const {
  if (options_.warmup_window <= 0) return options_.window;
  return length_at_step(step, options_.warmup_steps, options_.warmup_window, options_.window);
}

std::vector<StreamWindow> PretrainTask::windows(int64_t step, int64_t micro_batch) const {
  std::vector<StreamWindow> rows;
  if (streams_) {
    for (int64_t i = 0; i < options_.batch; ++i)
      rows.push_back(streams_->window(micro_batch * options_.batch + i, step));
    return rows;
  }
  const int64_t length = window_at(step);
  const WindowSampler& sampler =
      *std::find_if(samplers_.begin(), samplers_.end(),
                    [&](const WindowSampler& s) { return s.length() == length; });
  // A shorter window leaves room for more of them.
  const int64_t count = options_.batch * (options_.window / length);
  const auto first = static_cast<uint64_t>((step * options_.accumulation + micro_batch) * count);
  // Every length draws from a stream of its own: windows of a warm-up do not repeat.
  const uint64_t seed = options_.seed + static_cast<uint64_t>(length) * 0x9e3779b97f4a7c15U;
  for (int64_t i = 0; i < count; ++i)
    rows.push_back({sampler.window(seed, first + static_cast<uint64_t>(i)), true});
  return rows;
}

Batch PretrainTask::batch(int64_t step, int64_t micro_batch) const {
  const std::vector<StreamWindow> rows = windows(step, micro_batch);
  const auto count = static_cast<int64_t>(rows.size());
  const int64_t length = window_at(step);
  torch::Tensor tokens =
      torch::full({count, length + 1}, static_cast<int64_t>(dna::kPad), torch::kUInt8);
  torch::Tensor weights, restart;
  if (weighted_) weights = torch::zeros({count, length});
  if (streams_) restart = torch::ones({count}, torch::kBool);
  Batch batch;
  for (int64_t i = 0; i < count; ++i) {
    const StreamWindow& row = rows[static_cast<size_t>(i)];
    uint8_t* bases = tokens.data_ptr<uint8_t>() + i * (length + 1) + 1;
    if (row.restart) {
      bases[-1] = dna::kBos;
      fetch(genome_, row.window, bases);
    } else {
      fetch(genome_, with_base_before(row.window), bases - 1);
    }
    if (streams_) restart.data_ptr<bool>()[i] = row.restart;
    batch.tokens += row.window.length();
    batch.weight +=
        weighted_
            ? fill_weights(row.window, bases, weights.data_ptr<float>() + i * length)
            : static_cast<double>(std::count_if(bases, bases + row.window.length(), dna::is_base));
  }
  batch.tensors["tokens"] = std::move(tokens);
  if (weighted_) batch.tensors["weights"] = std::move(weights);
  if (streams_) batch.tensors["restart"] = std::move(restart);
  return batch;
}

// Returns the sum of the weights.
double PretrainTask::fill_weights(const Window& window, const uint8_t* bases,
                                  float* weights) const {
  const auto length = static_cast<size_t>(window.length());
  std::vector<uint8_t> masked(length, 0);
  if (carries_soft_mask(genome_.contigs()[static_cast<size_t>(window.contig)]))
    genome_.fetch_lower_case(window.contig, window.start, window.end, masked.data(),
                             window.reverse);
  int64_t full = 0;
  int64_t reduced = 0;
  for (size_t i = 0; i < length; ++i) {
    if (!dna::is_base(bases[i])) continue;
    weights[i] = masked[i] != 0 ? static_cast<float>(options_.masked_weight) : 1.0F;
    ++(masked[i] != 0 ? reduced : full);
  }
  return static_cast<double>(full) + options_.masked_weight * static_cast<double>(reduced);
}

torch::Tensor PretrainTask::loss(const Batch& batch) {
  const torch::Tensor& tokens = batch.at("tokens");
  return model_->language_model_loss(inputs_of(tokens), targets_of(tokens), weights_of(batch))
      .loss.sum();
}

torch::Tensor PretrainTask::accumulate(const Batch& batch, GradientSum& gradients) {
  if (!streams_ && options_.chunk == 0) return Task::accumulate(batch, gradients);
  const torch::Tensor& tokens = batch.at("tokens");
  ChunkedBatch window;
  window.ids = inputs_of(tokens);
  window.targets = targets_of(tokens);
  window.token_weight = weights_of(batch);
  window.chunk = options_.chunk;
  window.gradients = options_.chunk_gradients;
  std::optional<ModelState> start;
  if (streams_) {
    start = states_.begin(batch.micro_batch, batch.at("restart"));
    window.initial_state = start ? &*start : nullptr;
    window.want_final_state = true;
  }
  ChunkedLoss result = accumulate_in_chunks(*model_, window, gradients);
  if (streams_) states_.end(batch.micro_batch, std::move(*result.final_state));
  return result.loss;
}

std::vector<Metric> PretrainTask::evaluate() {
  if (validation_.empty()) return {};
  const int64_t batch_tokens = options_.batch * options_.window;
  const ScoredWindows scored = score_windows(*model_, genome_, validation_, batch_tokens,
                                             [](int64_t) { throw_if_interrupted(); });
  return {{"bits_per_base", scored.bits_per_base(), false}};
}

Intervals PretrainTask::seen(int64_t steps) const {
  constexpr size_t kMerged = 1 << 20;  // so that memory stays bounded
  if (steps < seen_.steps) seen_ = {};
  Intervals& all = seen_.intervals;
  for (int64_t step = seen_.steps; step < steps; ++step) {
    for (int64_t micro_batch = 0; micro_batch < options_.accumulation; ++micro_batch)
      for (const StreamWindow& row : windows(step, micro_batch))
        all.push_back({row.window.contig, row.window.start, row.window.end, "", '.'});
    if (all.size() >= kMerged && step % 1024 == 0) all = merge_intervals(all);
  }
  all = merge_intervals(all);
  seen_.steps = steps;
  return all;
}

std::vector<std::string> PretrainTask::warnings() const {
  std::vector<std::string> lines;
  const SoftMaskCounts counts = count_soft_masks(genome_, splits_.train);
  if (options_.masked_weight != 1 && counts.masked < counts.contigs)
    lines.push_back(std::to_string(counts.contigs - counts.masked) + " of " +
                    std::to_string(counts.contigs) +
                    " training contigs carry no soft mask (less than 1 % or more than 90 % of "
                    "their letters are lower case): all their bases count fully");
  constexpr double kMuchPadding = 0.2;
  if (streams_ && streams_->padding() > kMuchPadding)
    lines.push_back(
        short_number(100 * streams_->padding()) +
        " % of the positions are padding behind intervals that end within a window of " +
        std::to_string(options_.window) + " bases: shorter windows waste less");
  return lines;
}

std::string PretrainTask::mask_description() const {
  const SoftMaskCounts counts = count_soft_masks(genome_, splits_.train);
  if (counts.masked == 0) return "no soft mask: every base counts 1";
  return "soft-masked bases (" + std::to_string(counts.masked) + " of " +
         std::to_string(counts.contigs) + " contigs carry a mask) count " +
         short_number(options_.masked_weight) + ", others 1";
}

// The share of each file in the windows, when they are not in proportion to their bases.
std::string PretrainTask::genomes_description() const {
  const std::vector<double>& weights = options_.genome_weights;
  double sum = 0;
  for (const double weight : weights) sum += weight;
  std::string text;
  for (size_t i = 0; i < weights.size(); ++i)
    text += (i == 0 ? "; windows of " : ", ") + display_path(genome_.files()[i].path) + " " +
            short_number(100 * weights[i] / sum) + " %";
  return text;
}

std::map<std::string, std::string> PretrainTask::companions(int64_t step) const {
  if (!training_data_) {
    training_data_.emplace();
    training_data_->add(genome_, splits_.train);
    if (options_.start_training) training_data_->merge(*options_.start_training);
  }
  TrainingData data = *training_data_;
  data.add_seen(genome_, seen(step));
  return {{TrainingData::kCompanion, data.to_bytes()}};
}

std::string PretrainTask::description() const {
  std::string text = "next base, " +
                     format_count(static_cast<double>(total_length(splits_.train))) +
                     " training bases in " + std::to_string(splits_.train.size()) +
                     " intervals, windows of " + std::to_string(options_.window);
  if (streams_)
    text += " in " + std::to_string(streams_->streams()) + " streams along the chromosomes";
  if (options_.chunk > 0)
    text += ", pieces of " + std::to_string(options_.chunk) + " with gradients " +
            (options_.chunk_gradients == ChunkGradients::kCut ? "cut" : "kept") + " between them";
  return text + "; " + mask_description() + genomes_description();
}

nlohmann::json PretrainTask::config() const {
  return {{"objective", "next_base"},
          {"genome", genome_.hash()},
          {"window", options_.window},
          {"batch", options_.batch},
          {"reverse_complement", options_.reverse_complement},
          {"warmup_window", options_.warmup_window},
          {"warmup_window_steps", options_.warmup_steps},
          {"stream", options_.stream},
          {"chunk", options_.chunk},
          {"chunk_gradients", options_.chunk_gradients == ChunkGradients::kCut ? "cut" : "keep"},
          {"soft_mask_weight", options_.masked_weight},
          {"genome_weights", options_.genome_weights},
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
