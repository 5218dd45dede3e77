#include "genomics/sequence_classifier.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/base/error.h"
#include "genomics/io/tokenizer.h"
#include "genomics/long_sequence.h"

namespace strandwave {
namespace {

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

std::vector<float> row(const torch::Tensor& rows, size_t i) {
  const int64_t size = rows.size(1);
  const float* values = rows.const_data_ptr<float>() + static_cast<int64_t>(i) * size;
  return {values, values + size};
}

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
  const torch::NoGradGuard no_grad;
  const int64_t strands = options_.both_strands ? 2 : 1;
  std::vector<SequenceScores> all;
  all.reserve(sequences.size());
  std::vector<std::span<const uint8_t>> batch;
  int64_t bases = 0;
  const auto flush = [&] {
    if (!batch.empty())
      for (SequenceScores& scores : batch_scores(batch)) all.push_back(std::move(scores));
    batch.clear();
    bases = 0;
  };
  for (const std::vector<uint8_t>& sequence : sequences) {
    const int64_t size = strands * static_cast<int64_t>(sequence.size());
    if (bases + size > options_.batch_bases) flush();
    if (size > options_.batch_bases) {
      LongSequence run(*this);
      run.add(sequence);
      all.push_back(run.finish_scores());
      continue;
    }
    batch.emplace_back(sequence);
    bases += size;
  }
  flush();
  return all;
}

std::vector<SequenceScores> SequenceClassifier::batch_scores(
    const std::vector<std::span<const uint8_t>>& sequences) const {
  // Both strands in one batch.
  std::vector<std::span<const uint8_t>> strands = sequences;
  std::vector<std::vector<uint8_t>> turned;
  if (options_.both_strands) {
    turned.reserve(sequences.size());
    for (const auto& sequence : sequences) {
      turned.emplace_back(sequence.begin(), sequence.end());
      dna::reverse_complement(turned.back());
      strands.emplace_back(turned.back());
    }
  }
  const PackedSequences packed = pack_sequences(strands, model_->device());
  ModelInput input;
  input.layout = packed.layout ? &*packed.layout : nullptr;
  const torch::Tensor hidden = model_->hidden(packed.ids, input).hidden;
  const torch::Tensor logits =
      model_->classify_hidden(hidden, input).to(torch::kFloat).cpu().contiguous();
  torch::Tensor loss;
  if (options_.want_out_of_distribution && scores_likelihood())
    loss = model_->language_model_loss_of(hidden, next_base_targets(packed))
               .loss.to(torch::kFloat)
               .cpu()
               .contiguous();

  const size_t n = sequences.size();
  std::vector<SequenceScores> all(n);
  const float* nats = loss.defined() ? loss.const_data_ptr<float>() : nullptr;
  for (size_t i = 0; i < strands.size(); ++i) {
    SequenceScores& scores = all[i % n];
    (i < n ? scores.forward : scores.reverse) = row(logits, i);
    if (i < n) count_bases(strands[i], scores);
    if (nats == nullptr) continue;
    double sum = 0;
    int64_t scored = 0;
    for (size_t j = 1; j < strands[i].size(); ++j) {
      if (!dna::is_base(strands[i][j])) continue;
      sum += nats[j - 1];
      ++scored;
    }
    nats += strands[i].size();
    (i < n ? scores.forward_bits : scores.reverse_bits) = sum * std::numbers::log2e;
    (i < n ? scores.forward_scored : scores.reverse_scored) = scored;
  }
  return all;
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

std::vector<std::vector<float>> SequenceClassifier::probabilities(
    const std::vector<std::vector<uint8_t>>& sequences) const {
  std::vector<std::vector<float>> rows;
  for (Prediction& one : predict(sequences)) rows.push_back(std::move(one.probabilities));
  return rows;
}

}  // namespace strandwave
