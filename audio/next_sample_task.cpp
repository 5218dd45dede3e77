#include "audio/next_sample_task.h"

#include <algorithm>
#include <cstdio>
#include <numbers>
#include <numeric>
#include <utility>

#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/random.h"
#include "core/base/signals.h"

namespace strandwave::audio {
namespace {

int64_t length_of(const AudioClip& clip) { return static_cast<int64_t>(clip.codes.size()); }

int64_t samples_of(const std::vector<AudioClip>& clips) {
  return std::accumulate(clips.begin(), clips.end(), int64_t{0},
                         [](int64_t sum, const AudioClip& clip) { return sum + length_of(clip); });
}

void drop_empty(std::vector<AudioClip>& clips) {
  clips.erase(std::remove_if(clips.begin(), clips.end(),
                             [](const AudioClip& clip) { return clip.codes.empty(); }),
              clips.end());
}

// Zero in the rows (first dimension) where `restart`, and what is not finite becomes 0: the step
// after one that was left out begins anew.
torch::Tensor restarted(const torch::Tensor& tensor, const torch::Tensor& restart) {
  std::vector<int64_t> shape(static_cast<size_t>(tensor.dim()), 1);
  shape[0] = tensor.size(0);
  torch::Tensor mask = restart.view(shape);
  if (tensor.is_floating_point() || tensor.is_complex())
    mask = mask.logical_or(torch::isfinite(tensor).logical_not());
  return torch::where(mask, torch::zeros_like(tensor), tensor);
}

}  // namespace

NextSampleTask::NextSampleTask(std::shared_ptr<Sashimi> model, std::vector<AudioClip> training,
                               std::vector<AudioClip> validation, NextSampleOptions options,
                               nlohmann::json data)
    : model_(std::move(model)),
      training_(std::move(training)),
      validation_(std::move(validation)),
      options_(options),
      data_(std::move(data)) {
  drop_empty(training_);
  drop_empty(validation_);
  validation_ = spread(validation_, options_.evaluation_samples);
  check();
  if (options_.window == 0) return;
  int64_t sum = 0;
  for (const AudioClip& clip : training_) {
    sum += options_.carry_state ? (length_of(clip) + options_.window - 1) / options_.window
                                : std::max<int64_t>(1, length_of(clip) - options_.window + 1);
    line_.push_back(sum);
  }
}

void NextSampleTask::check() const {
  if (training_.empty())
    throw input_error("there is nothing to train on: no clip of the data is for training");
  if (!options_.carry_state) return;
  if (options_.window == 0)
    throw usage_error(
        "--carry-state needs --window: the samples of a row, from which the next "
        "step goes on");
  const int64_t pooling = model_->config().pooling();
  if (options_.window % pooling != 0)
    throw usage_error("--window " + std::to_string(options_.window) +
                      ": with --carry-state it must be a multiple of " + std::to_string(pooling) +
                      ", the samples that the model pools into one frame");
  if (!model_->has_state())
    throw usage_error(
        "--carry-state: a layer of this model has no state to carry; use s4d, s4 or "
        "mamba stages");
}

// Rows of a step are numbered through its micro-batches.
NextSampleTask::Row NextSampleTask::row(int64_t step, int64_t place) const {
  if (options_.carry_state) return window_on_line(step, place);
  const auto number = static_cast<uint64_t>(step * options_.batch * options_.accumulation + place);
  if (options_.window == 0) {
    const auto clips = static_cast<uint64_t>(training_.size());
    const AudioClip& clip =
        training_[permute_index(number % clips, clips, options_.seed, number / clips)];
    return {&clip, 0, length_of(clip), true};
  }
  const RandomStream stream(options_.seed, RandomPurpose::kWindow, 0, number);
  const auto start = static_cast<int64_t>(stream.below(0, static_cast<uint64_t>(line_.back())));
  const auto found = std::upper_bound(line_.begin(), line_.end(), start);
  const AudioClip& clip = training_[static_cast<size_t>(found - line_.begin())];
  const int64_t first = start - (found == line_.begin() ? 0 : found[-1]);
  return {&clip, first, std::min(options_.window, length_of(clip)), true};
}

NextSampleTask::Row NextSampleTask::window_on_line(int64_t step, int64_t place) const {
  const int64_t windows = line_.back();
  const int64_t rows = options_.batch * options_.accumulation;
  const int64_t at = (place * windows / rows + step) % windows;
  const auto found = std::upper_bound(line_.begin(), line_.end(), at);
  const AudioClip& clip = training_[static_cast<size_t>(found - line_.begin())];
  const int64_t number = at - (found == line_.begin() ? 0 : found[-1]);
  const int64_t first = number * options_.window;
  return {&clip, first, std::min(options_.window, length_of(clip) - first),
          number == 0 || step == 0};
}

Batch NextSampleTask::batch(int64_t step, int64_t micro_batch) const {
  std::vector<Row> rows;
  int64_t length = options_.carry_state ? options_.window : 0;
  for (int64_t i = 0; i < options_.batch; ++i) {
    rows.push_back(row(step, micro_batch * options_.batch + i));
    length = std::max(length, rows.back().length);
  }
  const bool classes = !model_->config().classes.empty();
  torch::Tensor tokens =
      torch::full({options_.batch, length + 1}, int64_t{kSilence}, torch::kUInt8);
  torch::Tensor weights = torch::zeros({options_.batch, length});
  torch::Tensor labels = torch::full({options_.batch}, int64_t{-1}, torch::kLong);
  torch::Tensor restart = torch::ones({options_.batch}, torch::kBool);
  Batch batch;
  int64_t counted = 0;
  for (int64_t i = 0; i < options_.batch; ++i) {
    const Row& row = rows[static_cast<size_t>(i)];
    uint8_t* token = tokens.data_ptr<uint8_t>() + i * (length + 1);
    const uint8_t* codes = row.clip->codes.data() + row.first;
    if (!row.restart) token[0] = codes[-1];
    std::copy(codes, codes + row.length, token + 1);
    const int64_t counts = options_.pad_loss
                               ? row.length
                               : std::clamp<int64_t>(row.clip->real - row.first, 0, row.length);
    std::fill_n(weights.data_ptr<float>() + i * length, counts, 1.0F);
    counted += counts;
    batch.tokens += row.length;
    restart.data_ptr<bool>()[i] = row.restart;
    const RandomStream hidden(options_.seed, RandomPurpose::kDropout, static_cast<uint64_t>(step),
                              static_cast<uint64_t>(micro_batch * options_.batch + i));
    if (hidden.uniform(0) >= options_.null_class) labels.data_ptr<int64_t>()[i] = row.clip->label;
  }
  batch.weight = static_cast<double>(counted);
  batch.tensors["tokens"] = std::move(tokens);
  if (counted < options_.batch * length) batch.tensors["weights"] = std::move(weights);
  if (classes) batch.tensors["classes"] = std::move(labels);
  if (options_.carry_state) batch.tensors["restart"] = std::move(restart);
  return batch;
}

SashimiLoss NextSampleTask::run(const Batch& batch, const GeneratorState* initial_state,
                                bool want_final_state) {
  const torch::Tensor& tokens = batch.at("tokens");
  SashimiInput input;
  if (const auto found = batch.tensors.find("classes"); found != batch.tensors.end())
    input.classes = found->second;
  input.initial_state = initial_state;
  input.want_final_state = want_final_state;
  std::optional<torch::Tensor> weights;
  if (const auto found = batch.tensors.find("weights"); found != batch.tensors.end())
    weights = found->second;
  return model_->loss(tokens.slice(1, 0, tokens.size(1) - 1).contiguous(),
                      tokens.slice(1, 1).to(torch::kLong), weights, input);
}

torch::Tensor NextSampleTask::loss(const Batch& batch) {
  return run(batch, nullptr, false).loss.sum();
}

torch::Tensor NextSampleTask::accumulate(const Batch& batch, GradientSum& gradients) {
  if (!options_.carry_state) return Task::accumulate(batch, gradients);
  const auto found = states_.find(batch.micro_batch);
  std::optional<GeneratorState> start;
  if (found != states_.end()) {
    start = std::move(found->second);
    for (MixerState& layer : start->layers) {
      for (auto& [name, tensor] : layer.tensors)
        tensor = restarted(tensor.detach(), batch.at("restart"));
      if (layer.positions.defined())
        layer.positions = restarted(layer.positions, batch.at("restart"));
    }
  }
  SashimiLoss result = run(batch, start ? &*start : nullptr, true);
  const torch::Tensor sum = result.loss.sum();
  gradients.add(sum);
  for (MixerState& layer : result.final_state->layers)
    for (auto& [name, tensor] : layer.tensors) tensor = tensor.detach();
  states_.insert_or_assign(batch.micro_batch, std::move(*result.final_state));
  return sum.detach();
}

std::map<std::string, torch::Tensor> NextSampleTask::carried() const {
  std::map<std::string, torch::Tensor> all;
  for (const auto& [micro_batch, state] : states_)
    for (const auto& [name, tensor] : state.tensors())
      all.emplace(std::to_string(micro_batch) + "." + name, tensor);
  return all;
}

void NextSampleTask::restore_carried(const std::map<std::string, torch::Tensor>& tensors) {
  states_.clear();
  std::map<int64_t, std::map<std::string, torch::Tensor>> by_micro_batch;
  for (const auto& [name, tensor] : tensors) {
    const size_t dot = name.find('.');
    if (dot == std::string::npos || name.find_first_not_of("0123456789") != dot)
      throw input_error("the checkpoint carries a tensor " + name +
                        " that is none of this training's");
    by_micro_batch[std::stoll(name)].emplace(name.substr(dot + 1), tensor);
  }
  for (const auto& [micro_batch, state] : by_micro_batch) {
    GeneratorState fresh = model_->allocate_state(options_.batch, options_.window);
    fresh.restore(state, "the checkpoint");
    states_.emplace(micro_batch, std::move(fresh));
  }
}

std::vector<Metric> NextSampleTask::evaluate() {
  if (validation_.empty()) return {};
  ClipScoring scoring;
  scoring.chunk = options_.window;
  scoring.carry_state = options_.carry_state;
  SampleBits sum;
  for (const SampleBits& bits : bits_of_clips(*model_, validation_, scoring)) sum.add(bits);
  std::vector<Metric> metrics = {{"bits_per_sample", sum.per_real_sample(), false}};
  if (sum.all_samples > sum.real_samples)
    metrics.push_back({"bits_per_sample_all", sum.per_sample(), false});
  return metrics;
}

std::string NextSampleTask::description() const {
  std::string text = "next sample, " + std::to_string(training_.size()) + " clips with " +
                     format_count(static_cast<double>(samples_of(training_))) +
                     " samples, validation on " + std::to_string(validation_.size());
  if (options_.window > 0)
    text += ", windows of " + std::to_string(options_.window) +
            (options_.carry_state ? " in order, the state carried" : " at random places");
  if (!model_->config().classes.empty())
    text += ", " + std::to_string(model_->config().classes.size()) + " classes";
  return text + (options_.pad_loss ? "" : ", padding not counted");
}

nlohmann::json NextSampleTask::config() const {
  return {{"objective", "next_sample"},
          {"data", data_},
          {"batch", options_.batch},
          {"window", options_.window},
          {"carry_state", options_.carry_state},
          {"pad_loss", options_.pad_loss},
          {"null_class", model_->config().classes.empty() ? 0.0 : options_.null_class},
          {"evaluation_samples", options_.evaluation_samples}};
}

void SampleBits::add(const SampleBits& other) {
  real += other.real;
  all += other.all;
  real_samples += other.real_samples;
  all_samples += other.all_samples;
}

std::vector<SampleBits> bits_of_clips(Sashimi& model, const std::vector<AudioClip>& clips,
                                      const ClipScoring& scoring) {
  std::vector<ClipToScore> inputs;
  std::vector<SampleBits> bits(clips.size());
  for (const AudioClip& clip : clips) inputs.push_back({clip.codes, clip.label});
  score_clips(model, inputs, scoring, [&](size_t clip, int64_t first, std::span<const float> nats) {
    throw_if_interrupted();
    SampleBits& sum = bits[clip];
    for (size_t t = 0; t < nats.size(); ++t) {
      const double value = nats[t] / std::numbers::ln2;
      const bool real = first + static_cast<int64_t>(t) < clips[clip].real;
      sum.all += value;
      ++sum.all_samples;
      if (real) sum.real += value;
      if (real) ++sum.real_samples;
    }
  });
  return bits;
}

std::vector<AudioClip> spread(const std::vector<AudioClip>& clips, int64_t samples) {
  const int64_t total = samples_of(clips);
  if (samples <= 0 || total <= samples) return clips;
  const auto wanted = std::max<int64_t>(
      1, static_cast<int64_t>(static_cast<double>(clips.size()) * static_cast<double>(samples) /
                              static_cast<double>(total)));
  std::vector<AudioClip> chosen;
  for (int64_t i = 0; i < wanted; ++i)
    chosen.push_back(clips[static_cast<size_t>(i * static_cast<int64_t>(clips.size()) / wanted)]);
  return chosen;
}

}  // namespace strandwave::audio
