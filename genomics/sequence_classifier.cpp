#include "genomics/sequence_classifier.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/base/error.h"
#include "genomics/io/tokenizer.h"
#include "genomics/long_sequence.h"
#include "kernels/common/parallel.h"

namespace strandwave {
namespace {

// A batch on a CPU runs on one thread, and as many at once as there are threads. Measured: fewer
// positions cost calls, more fall out of the cache; with fewer rows the scan shares less.
constexpr int64_t kCpuPositions = 2048;
constexpr int64_t kLeastRows = 8;

constexpr double kLeastProbability = 1e-30;  // before a logarithm of a float

void softmax(std::vector<double>& values) {
  const double top = *std::max_element(values.begin(), values.end());
  double sum = 0;
  for (double& value : values) sum += value = std::exp(value - top);
  for (double& value : values) value /= sum;
}

std::vector<double> normalised_log_prior(const std::vector<double>& prior,
                                         const SequenceModel& model) {
  if (prior.empty()) return {};
  const HeadConfig& head = model.config().head;
  if (head.kind != HeadConfig::Kind::kClassifier)
    throw usage_error("a prior belongs to a classifier of classes; this model has a " +
                      to_string(head.kind) + " head");
  if (prior.size() != head.classes.size())
    throw usage_error("the prior has " + std::to_string(prior.size()) + " weights, the model " +
                      std::to_string(head.classes.size()) + " classes");
  double sum = 0;
  for (size_t c = 0; c < prior.size(); ++c) {
    if (!(prior[c] >= 0) || !std::isfinite(prior[c]))
      throw usage_error("the prior of class \"" + head.classes[c] + "\" must be 0 or more, got " +
                        std::to_string(prior[c]));
    sum += prior[c];
  }
  if (!(sum > 0)) throw usage_error("a prior needs at least one class with a weight above 0");
  std::vector<double> logs;
  for (const double weight : prior) logs.push_back(std::log(weight / sum));
  return logs;
}

void count_bases(std::span<const uint8_t> ids, SequenceScores& scores) {
  scores.length += static_cast<int64_t>(ids.size());
  for (const uint8_t id : ids)
    if (dna::is_base(id)) ++scores.bases[dna::base_code(id)];
}

// Reads of about one length, longest first, each strand a row. They advance together, some
// positions at a time with their states carried, so that the activations stay in the cache.
class ReadBatch {
 public:
  ReadBatch(const SequenceClassifier& classifier, std::span<const std::vector<uint8_t>> sequences,
            std::span<const size_t> members)
      : classifier_(classifier), model_(*classifier.model()), members_(members) {
    // The strands of a read lie side by side: the rows stay sorted by length.
    turned_.reserve(members.size());
    for (const size_t member : members) {
      const std::vector<uint8_t>& sequence = sequences[member];
      rows_.push_back({sequence, 0, 0});
      if (classifier.strands() == 1) continue;
      dna::reverse_complement(turned_.emplace_back(sequence));
      rows_.push_back({turned_.back(), 0, 0});
    }
    sum_ = torch::zeros({static_cast<int64_t>(rows_.size()), model_.config().d_model},
                        torch::TensorOptions(model_.device()).dtype(torch::kDouble));
  }

  void run(std::vector<SequenceScores>& all) {
    const auto longest = static_cast<int64_t>(rows_[0].ids.size());
    const int64_t step =
        std::max<int64_t>(1, classifier_.positions_at_once() / static_cast<int64_t>(rows_.size()));
    for (int64_t at = 0; at < longest; at += step) advance(at, std::min(step, longest - at));
    const torch::Tensor lengths = row_lengths(0, longest).clamp_min(1).to(torch::kDouble);
    const torch::Tensor pooled = mean() ? sum_ / lengths.unsqueeze(1).to(sum_.device()) : sum_;
    const auto exact = model_.compute_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
    const torch::Tensor logits =
        model_.score(pooled.to(exact)).to(torch::kFloat).cpu().contiguous();
    const auto classes = static_cast<size_t>(logits.size(1));
    const float* values = logits.const_data_ptr<float>();
    const auto strands = static_cast<size_t>(classifier_.strands());
    for (size_t i = 0; i < rows_.size(); ++i, values += classes) {
      SequenceScores& scores = all[members_[i / strands]];
      const bool forward = i % strands == 0;
      (forward ? scores.forward : scores.reverse).assign(values, values + classes);
      (forward ? scores.forward_bits : scores.reverse_bits) = rows_[i].bits;
      (forward ? scores.forward_scored : scores.reverse_scored) = rows_[i].scored;
      if (forward) count_bases(rows_[i].ids, scores);
    }
  }

 private:
  struct Row {
    std::span<const uint8_t> ids;
    double bits = 0;
    int64_t scored = 0;
  };

  bool mean() const { return model_.config().head.pooling == HeadConfig::Pooling::kMean; }

  // How many of the positions [at, at + size) each row has.
  torch::Tensor row_lengths(int64_t at, int64_t size) const {
    torch::Tensor lengths = torch::empty({static_cast<int64_t>(rows_.size())}, torch::kLong);
    for (size_t i = 0; i < rows_.size(); ++i)
      lengths.data_ptr<int64_t>()[i] =
          std::clamp<int64_t>(static_cast<int64_t>(rows_[i].ids.size()) - at, 0, size);
    return lengths;
  }

  void advance(int64_t at, int64_t size) {
    const torch::Tensor lengths = row_lengths(at, size);
    const int64_t alive = (lengths > 0).sum().item<int64_t>();  // the first ones
    const torch::Tensor own = lengths.narrow(0, 0, alive);
    torch::Tensor ids = torch::full({alive, size}, static_cast<int64_t>(dna::kPad), torch::kUInt8);
    for (int64_t i = 0; i < alive; ++i)
      std::copy_n(rows_[static_cast<size_t>(i)].ids.begin() + at, own.const_data_ptr<int64_t>()[i],
                  ids.data_ptr<uint8_t>() + i * size);
    if (state_)
      for (MixerState& layer : state_->layers) {
        for (auto& [name, tensor] : layer.tensors) tensor = tensor.narrow(0, 0, alive);
        if (layer.positions.defined()) layer.positions = layer.positions.narrow(0, 0, alive);
      }
    ModelInput input;
    input.initial_state = state_ ? &*state_ : nullptr;
    input.want_final_state = at + size < static_cast<int64_t>(rows_[0].ids.size());
    HiddenOutput output = model_.hidden(ids.to(model_.device()), input);
    state_ = std::move(output.final_state);

    ModelInput pooling;
    if ((own < size).any().item<bool>()) pooling.lengths = own.to(model_.device());
    const torch::Tensor pooled =
        model_.pool(output.hidden, pooling, model_.config().head.pooling).to(torch::kDouble);
    torch::Tensor sum = sum_.narrow(0, 0, alive);
    if (mean())
      sum.add_(pooled * own.to(torch::kDouble).unsqueeze(1).to(pooled.device()));
    else
      sum.copy_(pooled);
    if (classifier_.options().want_out_of_distribution && classifier_.scores_likelihood())
      add_likelihood(output.hidden, at, own);
  }

  void add_likelihood(const torch::Tensor& hidden, int64_t at, const torch::Tensor& lengths) {
    torch::Tensor targets = torch::full(hidden.sizes().slice(0, 2), -1, torch::kLong);
    for (int64_t i = 0; i < targets.size(0); ++i) {
      Row& row = rows_[static_cast<size_t>(i)];
      int64_t* target = targets.data_ptr<int64_t>() + i * targets.size(1);
      const auto size = static_cast<int64_t>(row.ids.size());
      for (int64_t j = 0; j < lengths.const_data_ptr<int64_t>()[i] && at + j + 1 < size; ++j) {
        const uint8_t next = row.ids[static_cast<size_t>(at + j + 1)];
        if (!dna::is_base(next)) continue;
        target[j] = next;
        ++row.scored;
      }
    }
    const torch::Tensor nats = model_.language_model_loss_of(hidden, targets.to(hidden.device()))
                                   .loss.sum(1, /*keepdim=*/false, torch::kDouble)
                                   .cpu();
    for (int64_t i = 0; i < nats.size(0); ++i)
      rows_[static_cast<size_t>(i)].bits += nats.const_data_ptr<double>()[i] * std::numbers::log2e;
  }

  const SequenceClassifier& classifier_;
  SequenceModel& model_;
  std::span<const size_t> members_;
  std::vector<std::vector<uint8_t>> turned_;
  std::vector<Row> rows_;
  std::optional<ModelState> state_;
  torch::Tensor sum_;  // (rows, d_model) double: of hidden states, or the last ones
};

}  // namespace

double SequenceScores::logit(size_t c) const {
  const double value = forward[c];
  return reverse.empty() ? value : (value + reverse[c]) / 2;
}

float SequenceScores::out_of_distribution() const {
  double bits = 0;
  int strands = 0;
  if (forward_scored > 0) bits += forward_bits / static_cast<double>(forward_scored), ++strands;
  if (reverse_scored > 0) bits += reverse_bits / static_cast<double>(reverse_scored), ++strands;
  if (strands == 0) return std::numeric_limits<float>::quiet_NaN();
  double all = 0, entropy = 0;
  for (const int64_t n : bases) all += static_cast<double>(n);
  for (const int64_t n : bases)
    if (n > 0) entropy -= static_cast<double>(n) / all * std::log2(static_cast<double>(n) / all);
  return static_cast<float>(bits / strands - entropy);
}

SequenceClassifier::SequenceClassifier(std::shared_ptr<SequenceModel> model,
                                       ClassifierOptions options)
    : model_(std::move(model)), options_(std::move(options)) {
  const HeadConfig& head = model_->config().head;
  if (head.kind == HeadConfig::Kind::kLanguageModel)
    throw usage_error("this model is no classifier (its head is: " + to_string(head.kind) +
                      "): fine-tune it first with `strandwave dna finetune`");
  if (!options_.calibration.labels.empty() && options_.calibration.labels != head.classes)
    throw usage_error(std::string(kCalibrationFile) +
                      " is for other labels than the model's: fine-tune again, or remove the file");
  log_prior_ = normalised_log_prior(options_.prior, *model_);
}

std::vector<SequenceScores> SequenceClassifier::scores(
    std::span<const std::vector<uint8_t>> sequences) const {
  std::vector<SequenceScores> all(sequences.size());
  std::vector<size_t> order;
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (strands() * static_cast<int64_t>(sequences[i].size()) <= options_.batch_bases) {
      order.push_back(i);
      continue;
    }
    LongSequence run(*this);
    run.add(sequences[i]);
    all[i] = run.finish_scores();
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return sequences[a].size() > sequences[b].size(); });
  const std::vector<std::span<const size_t>> batches = divide(order, sequences);
  const auto run = [&](int64_t batch) {
    const torch::NoGradGuard no_grad;
    ReadBatch(*this, sequences, batches[static_cast<size_t>(batch)]).run(all);
  };
  const auto count = static_cast<int64_t>(batches.size());
  if (model_->device().is_cpu())
    parallel_for(count, run);
  else
    for (int64_t i = 0; i < count; ++i) run(i);
  return all;
}

std::vector<std::span<const size_t>> SequenceClassifier::divide(
    std::span<const size_t> order, std::span<const std::vector<uint8_t>> sequences) const {
  std::vector<std::span<const size_t>> batches;
  for (size_t first = 0; first < order.size();) {
    const size_t longest = sequences[order[first]].size();
    const int64_t rows = std::max(
        kLeastRows, positions_at_once() / std::max<int64_t>(1, static_cast<int64_t>(longest)));
    const auto most = static_cast<size_t>(std::max<int64_t>(1, rows / strands()));
    size_t count = 1;
    while (count < most && first + count < order.size() &&
           4 * sequences[order[first + count]].size() >= 3 * longest)
      ++count;
    batches.push_back(order.subspan(first, count));
    first += count;
  }
  return batches;
}

int64_t SequenceClassifier::positions_at_once() const {
  return model_->device().is_cpu() ? std::min(kCpuPositions, options_.batch_bases)
                                   : options_.batch_bases;
}

Prediction SequenceClassifier::prediction(const SequenceScores& scores) const {
  std::vector<double> values;
  for (size_t c = 0; c < labels().size(); ++c) values.push_back(scores.logit(c));
  if (kind() != HeadConfig::Kind::kRegression) {
    const double temperature =
        calibration().temperature(scores.length, /*both=*/!scores.reverse.empty());
    for (double& value : values) value /= temperature;
  }
  if (kind() == HeadConfig::Kind::kClassifier) {
    for (size_t c = 0; c < log_prior_.size(); ++c) values[c] += log_prior_[c];
    softmax(values);
  } else if (kind() == HeadConfig::Kind::kMultiLabel) {
    for (double& value : values) value = 1 / (1 + std::exp(-value));
  }
  return {{values.begin(), values.end()}, scores.out_of_distribution()};
}

std::vector<Prediction> SequenceClassifier::predict(
    std::span<const std::vector<uint8_t>> sequences) const {
  std::vector<Prediction> predictions;
  predictions.reserve(sequences.size());
  for (const SequenceScores& one : scores(sequences)) predictions.push_back(prediction(one));
  return predictions;
}

Prediction SequenceClassifier::pair(const Prediction& first, const Prediction& second) const {
  const auto logarithm = [](double p) { return std::log(std::max(p, kLeastProbability)); };
  std::vector<double> values;
  for (size_t c = 0; c < labels().size(); ++c) {
    const double a = first.probabilities[c], b = second.probabilities[c];
    switch (kind()) {
      case HeadConfig::Kind::kClassifier: {
        // Each mate's probabilities hold the prior; it counts once.
        const double prior = log_prior_.empty() ? 0 : log_prior_[c];
        values.push_back(std::isinf(prior) ? prior : logarithm(a) + logarithm(b) - prior);
        break;
      }
      case HeadConfig::Kind::kMultiLabel: {
        const double odds = logarithm(a) + logarithm(b) - logarithm(1 - a) - logarithm(1 - b);
        values.push_back(1 / (1 + std::exp(-odds)));
        break;
      }
      default:
        values.push_back((a + b) / 2);
    }
  }
  if (kind() == HeadConfig::Kind::kClassifier) softmax(values);
  Prediction both{{values.begin(), values.end()}, first.out_of_distribution};
  if (std::isnan(both.out_of_distribution))
    both.out_of_distribution = second.out_of_distribution;
  else if (!std::isnan(second.out_of_distribution))
    both.out_of_distribution = (both.out_of_distribution + second.out_of_distribution) / 2;
  return both;
}

}  // namespace strandwave
