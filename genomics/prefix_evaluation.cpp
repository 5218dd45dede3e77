// Accuracy of early decisions against the bases they took.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "genomics/labelled_fragments.h"
#include "genomics/prefix_classifier.h"

namespace strandwave {
namespace {

constexpr size_t kGroup = 512;        // reads between two calls of progress
constexpr size_t kLatencyReads = 33;  // decided one by one
constexpr float kLeastProbability = 1e-30F;

double milliseconds(const std::function<void()>& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

double ratio(double part, double whole) { return whole > 0 ? part / whole : std::nan(""); }

// Sums that become a PrefixStep.
struct StepSums {
  int64_t reads = 0, right = 0, decided = 0, decided_right = 0;
  double log_loss = 0, confidence = 0;

  void add(const PrefixDecision& answer, int32_t label, bool decides) {
    const std::vector<float>& p = answer.prediction.probabilities;
    const auto best = std::max_element(p.begin(), p.end());
    const bool is_right = best - p.begin() == label;
    ++reads;
    right += is_right;
    decided += decides;
    decided_right += decides && is_right;
    confidence += *best;
    log_loss -= std::log(std::max(p[static_cast<size_t>(label)], kLeastProbability));
  }

  PrefixStep step(int64_t bases) const {
    const auto n = static_cast<double>(reads);
    return {bases,
            reads,
            ratio(static_cast<double>(right), n),
            ratio(log_loss, n),
            ratio(confidence, n),
            decided,
            ratio(static_cast<double>(decided_right), static_cast<double>(decided))};
  }
};

nlohmann::json number(double value) {
  return std::isnan(value) ? nlohmann::json() : nlohmann::json(value);
}

std::string text_of(const char* format, double value) {
  if (std::isnan(value)) return "-";
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

}  // namespace

nlohmann::json PrefixEvaluation::to_json() const {
  nlohmann::json list = nlohmann::json::array();
  for (const PrefixStep& step : steps)
    list.push_back({{"bases", step.bases > 0 ? nlohmann::json(step.bases) : nlohmann::json()},
                    {"reads", step.reads},
                    {"accuracy", number(step.accuracy)},
                    {"log_loss", number(step.log_loss)},
                    {"mean_confidence", number(step.mean_confidence)},
                    {"decided", step.decided},
                    {"decided_accuracy", number(step.decided_accuracy)}});
  return {{"min_prob", min_prob},
          {"reads", reads},
          {"accuracy", number(accuracy)},
          {"confident", number(confident)},
          {"mean_bases", number(mean_bases)},
          {"milliseconds_per_read", number(milliseconds_per_read)},
          {"latency_milliseconds", number(latency_milliseconds)},
          {"steps", list}};
}

PrefixEvaluation evaluate_prefixes(const PrefixClassifier& classifier,
                                   const std::vector<LabelledFragment>& fragments,
                                   const std::function<void()>& progress) {
  const std::vector<int64_t>& lengths = classifier.options().lengths;
  std::vector<StepSums> sums(lengths.size() + 1);
  double bases = 0, spent = 0;
  int64_t right = 0, confident = 0;
  for (size_t first = 0; first < fragments.size(); first += kGroup) {
    std::vector<std::vector<uint8_t>> reads;
    for (size_t i = first; i < std::min(first + kGroup, fragments.size()); ++i)
      reads.push_back(fragments[i].ids);
    const auto answers = classifier.all_prefixes(reads);
    for (size_t i = 0; i < reads.size(); ++i) {
      const int32_t label = fragments[first + i].label;
      const std::vector<PrefixDecision>& own = answers[i];
      const auto found = std::find_if(own.begin(), own.end(),
                                      [](const PrefixDecision& one) { return one.confident; });
      const auto decision = found == own.end() ? own.end() - 1 : found;
      for (auto answer = own.begin(); answer != own.end(); ++answer) {
        const bool at_end = answer + 1 == own.end();
        const auto step = at_end ? lengths.size() : static_cast<size_t>(answer - own.begin());
        sums[step].add(*answer, label, answer == decision && decision->confident);
      }
      const std::vector<float>& p = decision->prediction.probabilities;
      right += std::max_element(p.begin(), p.end()) - p.begin() == label;
      confident += decision->confident;
      bases += static_cast<double>(decision->bases);
    }
    spent += milliseconds([&] { classifier.decide(reads); });
    if (progress) progress();
  }
  std::vector<double> alone;
  for (size_t i = 0; i < std::min(kLatencyReads, fragments.size()); ++i)
    alone.push_back(milliseconds([&] { classifier.decide({&fragments[i].ids, 1}); }));
  std::sort(alone.begin(), alone.end());

  const auto n = static_cast<double>(fragments.size());
  PrefixEvaluation result;
  result.min_prob = classifier.options().min_prob;
  result.reads = static_cast<int64_t>(fragments.size());
  result.accuracy = ratio(static_cast<double>(right), n);
  result.confident = ratio(static_cast<double>(confident), n);
  result.mean_bases = ratio(bases, n);
  result.milliseconds_per_read = ratio(spent, n);
  result.latency_milliseconds = alone.empty() ? std::nan("") : alone[alone.size() / 2];
  for (size_t i = 0; i < sums.size(); ++i)
    result.steps.push_back(sums[i].step(i < lengths.size() ? lengths[i] : 0));
  return result;
}

std::vector<std::vector<std::string>> decision_table(const PrefixEvaluation& evaluation) {
  std::vector<std::vector<std::string>> rows = {{"after bases", "reads", "accuracy of all",
                                                 "mean confidence", "log loss", "decided",
                                                 "accuracy of these"}};
  for (const PrefixStep& step : evaluation.steps)
    rows.push_back({step.bases > 0 ? std::to_string(step.bases) : "the read's end",
                    std::to_string(step.reads), text_of("%.3f", step.accuracy),
                    text_of("%.3f", step.mean_confidence), text_of("%.3f", step.log_loss),
                    std::to_string(step.decided), text_of("%.3f", step.decided_accuracy)});
  return rows;
}

std::string decision_sentence(const PrefixEvaluation& evaluation) {
  return "at a probability of " + text_of("%g", evaluation.min_prob) + ": " +
         text_of("%.1f", 100 * evaluation.confident) + " % of the reads decided, mean " +
         text_of("%.0f", evaluation.mean_bases) + " bases read, accuracy " +
         text_of("%.3f", evaluation.accuracy) + "; " +
         text_of("%.2f", evaluation.milliseconds_per_read) + " ms per read in batches, " +
         text_of("%.2f", evaluation.latency_milliseconds) + " ms for a read alone";
}

}  // namespace strandwave
