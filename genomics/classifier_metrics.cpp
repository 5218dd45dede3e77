#include "genomics/classifier_metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/statistics/metrics.h"
#include "core/statistics/score_metrics.h"

namespace strandwave {
namespace {

using Weights = std::span<const int32_t>;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr size_t kCurvePoints = 200;
// The smallest probability a log loss believes: -log of it is 34.5.
constexpr double kSmallestProbability = 1e-15;

double mean_of_numbers(const std::vector<double>& values) {
  double sum = 0;
  int64_t n = 0;
  for (const double value : values) {
    if (std::isnan(value)) continue;
    sum += value;
    ++n;
  }
  return n > 0 ? sum / static_cast<double>(n) : kNaN;
}

double log_loss_of(double probability) {
  return -std::log(std::max(probability, kSmallestProbability));
}

// One class or label against the rest.
struct OneLabel {
  RankedScores ranked;
  std::vector<uint8_t> positive;
};

std::vector<OneLabel> one_against_rest(const Truths& truths, const PredictionTable& predictions) {
  std::vector<OneLabel> labels;
  for (size_t c = 0; c < truths.labels.size(); ++c) {
    std::vector<float> scores;
    std::vector<uint8_t> positive;
    for (size_t i = 0; i < truths.rows(); ++i) {
      scores.push_back(predictions.values[i][c]);
      positive.push_back(truths.kind == LabelKind::kClass
                             ? truths.label[i] == static_cast<int32_t>(c)
                             : truths.targets[i][c] > 0.5F);
    }
    labels.push_back({RankedScores(scores), std::move(positive)});
  }
  return labels;
}

double macro_auroc(const std::vector<OneLabel>& labels, Weights weight = {}) {
  std::vector<double> areas;
  for (const OneLabel& label : labels) areas.push_back(label.ranked.auroc(label.positive, weight));
  return mean_of_numbers(areas);
}

double macro_auprc(const std::vector<OneLabel>& labels) {
  std::vector<double> areas;
  for (const OneLabel& label : labels)
    areas.push_back(label.ranked.average_precision(label.positive));
  return mean_of_numbers(areas);
}

// `names`: what the statistics are called.
nlohmann::json intervals(const Truths& truths, const MeasureOptions& options,
                         const std::vector<const char*>& names,
                         const std::function<std::vector<double>(Weights)>& statistics) {
  nlohmann::json json = nlohmann::json::object();
  if (options.resamples <= 0 || truths.rows() == 0) return json;
  // Fewer resamples where each is expensive: a second or two per predictor.
  constexpr size_t kMostSteps = 500'000'000;
  constexpr int kFewest = 100;
  const size_t steps = truths.rows() * (truths.labels.size() + 1);
  const int affordable = static_cast<int>(std::min<size_t>(kMostSteps / steps, 1'000'000));
  const int resamples = std::min(options.resamples, std::max(affordable, kFewest));
  const auto found = bootstrap_over_blocks(truths.group, resamples, options.seed, statistics);
  for (size_t i = 0; i < names.size(); ++i)
    json[names[i]] = {found[i].value, found[i].low, found[i].high};
  json["blocks"] = found[0].blocks;
  return json;
}

// [{"group", "n", key: mean of value(row)}] for each group that occurs.
nlohmann::json per_group(const Truths& truths, const char* key,
                         const std::function<double(size_t)>& value) {
  std::vector<double> sums(truths.groups.size());
  std::vector<int64_t> counts(truths.groups.size());
  for (size_t i = 0; i < truths.rows(); ++i) {
    if (truths.group[i] < 0) continue;
    sums[static_cast<size_t>(truths.group[i])] += value(i);
    ++counts[static_cast<size_t>(truths.group[i])];
  }
  nlohmann::json list = nlohmann::json::array();
  for (size_t g = 0; g < counts.size(); ++g)
    if (counts[g] > 0)
      list.push_back({{"group", truths.groups[g]},
                      {"n", counts[g]},
                      {key, sums[g] / static_cast<double>(counts[g])}});
  return list;
}

ConfusionMatrix confusion_of(const Truths& truths, const PredictionTable& predictions,
                             Weights weight = {}) {
  ConfusionMatrix confusion(static_cast<int>(truths.labels.size()));
  for (size_t i = 0; i < truths.rows(); ++i)
    confusion.add(truths.label[i], predictions.classes[i], weight.empty() ? 1 : weight[i]);
  return confusion;
}

Reliability class_reliability(const Truths& truths, const PredictionTable& predictions) {
  std::vector<double> confidence;
  std::vector<uint8_t> right;
  for (size_t i = 0; i < truths.rows(); ++i) {
    const auto decided = static_cast<size_t>(std::max(predictions.classes[i], 0));
    confidence.push_back(predictions.values[i][decided]);
    right.push_back(predictions.classes[i] == truths.label[i]);
  }
  return reliability(confidence, right);
}

nlohmann::json measure_classes(const Truths& truths, const PredictionTable& predictions,
                               const MeasureOptions& options) {
  const ConfusionMatrix confusion = confusion_of(truths, predictions);
  const std::vector<OneLabel> labels = one_against_rest(truths, predictions);
  nlohmann::json json = {{"n", truths.rows()},
                         {"accuracy", confusion.accuracy()},
                         {"balanced_accuracy", confusion.balanced_accuracy()},
                         {"macro_f1", confusion.macro_f1()},
                         {"matthews", confusion.matthews()},
                         {"auroc", macro_auroc(labels)},
                         {"auprc", macro_auprc(labels)},
                         {"confusion", confusion.counts}};
  if (std::any_of(confusion.unclassified.begin(), confusion.unclassified.end(),
                  [](int64_t n) { return n > 0; }))
    json["unclassified"] = confusion.unclassified;
  if (predictions.probabilities) {
    double loss = 0;
    for (size_t i = 0; i < truths.rows(); ++i)
      loss += log_loss_of(predictions.values[i][static_cast<size_t>(truths.label[i])]);
    json["ece"] = class_reliability(truths, predictions).expected_error;
    json["log_loss"] = loss / static_cast<double>(truths.rows());
  }
  json["intervals"] =
      intervals(truths, options, {"accuracy", "balanced_accuracy", "macro_f1", "matthews", "auroc"},
                [&](Weights weight) {
                  const ConfusionMatrix c = confusion_of(truths, predictions, weight);
                  return std::vector<double>{c.accuracy(), c.balanced_accuracy(), c.macro_f1(),
                                             c.matthews(), macro_auroc(labels, weight)};
                });
  for (size_t c = 0; c < labels.size(); ++c) {
    const auto number = static_cast<int>(c);
    json["per_class"].push_back(
        {{"label", truths.labels[c]},
         {"n", confusion.truths(number)},
         {"precision", confusion.precision(number)},
         {"recall", confusion.recall(number)},
         {"f1", confusion.f1(number)},
         {"auroc", labels[c].ranked.auroc(labels[c].positive)},
         {"auprc", labels[c].ranked.average_precision(labels[c].positive)}});
  }
  json["per_group"] = per_group(truths, "accuracy", [&](size_t i) {
    return static_cast<double>(predictions.classes[i] == truths.label[i]);
  });
  return json;
}

// Decisions on one label as a confusion of "absent" (0) and "present" (1).
ConfusionMatrix decisions(const Truths& truths, const PredictionTable& predictions, size_t label,
                          Weights weight = {}) {
  ConfusionMatrix confusion(2);
  for (size_t i = 0; i < truths.rows(); ++i)
    confusion.add(truths.targets[i][label] > 0.5F, predictions.values[i][label] > 0.5F,
                  weight.empty() ? 1 : weight[i]);
  return confusion;
}

// Accuracy, macro F1 of "present", mean MCC.
std::vector<double> decision_figures(const Truths& truths, const PredictionTable& predictions,
                                     Weights weight = {}) {
  std::vector<double> accuracy, f1, matthews;
  for (size_t c = 0; c < truths.labels.size(); ++c) {
    const ConfusionMatrix confusion = decisions(truths, predictions, c, weight);
    accuracy.push_back(confusion.accuracy());
    f1.push_back(confusion.f1(1));
    matthews.push_back(confusion.matthews());
  }
  return {mean_of_numbers(accuracy), mean_of_numbers(f1), mean_of_numbers(matthews)};
}

Reliability label_reliability(const Truths& truths, const PredictionTable& predictions) {
  std::vector<double> confidence;
  std::vector<uint8_t> right;
  for (size_t i = 0; i < truths.rows(); ++i)
    for (size_t c = 0; c < truths.labels.size(); ++c) {
      confidence.push_back(predictions.values[i][c]);
      right.push_back(truths.targets[i][c] > 0.5F);
    }
  return reliability(confidence, right);
}

double rows_all_right(const Truths& truths, const PredictionTable& predictions) {
  double right = 0;
  for (size_t i = 0; i < truths.rows(); ++i) {
    bool all = true;
    for (size_t c = 0; c < truths.labels.size(); ++c)
      all &= (truths.targets[i][c] > 0.5F) == (predictions.values[i][c] > 0.5F);
    right += all;
  }
  return right / static_cast<double>(truths.rows());
}

nlohmann::json measure_labels(const Truths& truths, const PredictionTable& predictions,
                              const MeasureOptions& options) {
  const std::vector<OneLabel> labels = one_against_rest(truths, predictions);
  const std::vector<double> figures = decision_figures(truths, predictions);
  nlohmann::json json = {{"n", truths.rows()},
                         {"accuracy", figures[0]},
                         {"exact", rows_all_right(truths, predictions)},
                         {"macro_f1", figures[1]},
                         {"matthews", figures[2]},
                         {"auroc", macro_auroc(labels)},
                         {"auprc", macro_auprc(labels)}};
  const size_t classes = labels.size();
  if (predictions.probabilities) {
    double loss = 0;
    for (size_t i = 0; i < truths.rows(); ++i)
      for (size_t c = 0; c < classes; ++c) {
        const double p = predictions.values[i][c];
        loss += log_loss_of(truths.targets[i][c] > 0.5F ? p : 1 - p);
      }
    json["ece"] = label_reliability(truths, predictions).expected_error;
    json["log_loss"] = loss / static_cast<double>(truths.rows() * classes);
  }
  json["intervals"] = intervals(
      truths, options, {"accuracy", "macro_f1", "matthews", "auroc"}, [&](Weights weight) {
        std::vector<double> values = decision_figures(truths, predictions, weight);
        values.push_back(macro_auroc(labels, weight));
        return values;
      });
  for (size_t c = 0; c < classes; ++c) {
    const ConfusionMatrix confusion = decisions(truths, predictions, c);
    json["per_class"].push_back(
        {{"label", truths.labels[c]},
         {"n", confusion.truths(1)},
         {"precision", confusion.precision(1)},
         {"recall", confusion.recall(1)},
         {"f1", confusion.f1(1)},
         {"auroc", labels[c].ranked.auroc(labels[c].positive)},
         {"auprc", labels[c].ranked.average_precision(labels[c].positive)}});
  }
  json["per_group"] = per_group(truths, "accuracy", [&](size_t i) {
    double right = 0;
    for (size_t c = 0; c < classes; ++c)
      right += (truths.targets[i][c] > 0.5F) == (predictions.values[i][c] > 0.5F);
    return right / static_cast<double>(classes);
  });
  return json;
}

std::vector<double> values_of(const RegressionMeasures& m) {
  return {m.r2, m.pearson, m.spearman, m.mae, m.rmse};
}

nlohmann::json measure_values(const Truths& truths, const PredictionTable& predictions,
                              const MeasureOptions& options) {
  const size_t outputs = truths.labels.size();
  std::vector<std::vector<double>> truth(outputs), predicted(outputs);
  for (size_t c = 0; c < outputs; ++c)
    for (size_t i = 0; i < truths.rows(); ++i) {
      truth[c].push_back(truths.targets[i][c]);
      predicted[c].push_back(predictions.values[i][c]);
    }
  const std::vector<const char*> names = {"r2", "pearson", "spearman", "mae", "rmse"};
  const auto figures = [&](Weights weight) {
    std::vector<std::vector<double>> all(names.size());
    for (size_t c = 0; c < outputs; ++c) {
      const auto one = values_of(regression_measures(truth[c], predicted[c], weight));
      for (size_t k = 0; k < one.size(); ++k) all[k].push_back(one[k]);
    }
    std::vector<double> means;
    for (const std::vector<double>& values : all) means.push_back(mean_of_numbers(values));
    return means;
  };
  nlohmann::json json = {{"n", truths.rows()}};
  const std::vector<double> whole = figures({});
  for (size_t k = 0; k < names.size(); ++k) json[names[k]] = whole[k];
  json["intervals"] = intervals(truths, options, names, figures);
  for (size_t c = 0; c < outputs; ++c) {
    nlohmann::json one = {{"label", truths.labels[c]}, {"n", truths.rows()}};
    const auto values = values_of(regression_measures(truth[c], predicted[c]));
    for (size_t k = 0; k < names.size(); ++k) one[names[k]] = values[k];
    json["per_class"].push_back(one);
  }
  json["per_group"] = per_group(truths, "mae", [&](size_t i) {
    double sum = 0;
    for (size_t c = 0; c < outputs; ++c) sum += std::abs(predicted[c][i] - truth[c][i]);
    return sum / static_cast<double>(outputs);
  });
  return json;
}

nlohmann::json points_of(const std::vector<CurvePoint>& points) {
  nlohmann::json list = nlohmann::json::array();
  for (const CurvePoint& point : points) list.push_back({point.x, point.y});
  return list;
}

template <typename T>
std::vector<T> kept_rows(const std::vector<T>& rows, const std::vector<uint8_t>& keep) {
  std::vector<T> result;
  for (size_t i = 0; i < rows.size(); ++i)
    if (keep[i]) result.push_back(rows[i]);
  return result;
}

}  // namespace

Truths truths_of(LabelKind kind, const std::vector<std::string>& labels,
                 const std::vector<std::string>& groups,
                 const std::vector<LabelledFragment>& fragments) {
  Truths truths{kind, labels, groups, {}, {}, {}};
  for (const LabelledFragment& fragment : fragments) {
    truths.group.push_back(fragment.group);
    if (kind == LabelKind::kClass)
      truths.label.push_back(fragment.label);
    else
      truths.targets.push_back(fragment.targets);
  }
  return truths;
}

int32_t largest(const std::vector<float>& values) {
  return static_cast<int32_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

PredictionTable decided(std::vector<std::vector<float>> values) {
  PredictionTable table;
  for (const std::vector<float>& row : values) table.classes.push_back(largest(row));
  table.values = std::move(values);
  return table;
}

Truths selected(const Truths& truths, const std::vector<uint8_t>& keep) {
  return {truths.kind,
          truths.labels,
          truths.groups,
          kept_rows(truths.label, keep),
          kept_rows(truths.targets, keep),
          kept_rows(truths.group, keep)};
}

PredictionTable selected(const PredictionTable& table, const std::vector<uint8_t>& keep) {
  return {kept_rows(table.values, keep), kept_rows(table.classes, keep), table.probabilities};
}

nlohmann::json measure(const Truths& truths, const PredictionTable& predictions,
                       const MeasureOptions& options) {
  switch (truths.kind) {
    case LabelKind::kMultiLabel:
      return measure_labels(truths, predictions, options);
    case LabelKind::kRegression:
      return measure_values(truths, predictions, options);
    case LabelKind::kClass:
      break;
  }
  return measure_classes(truths, predictions, options);
}

nlohmann::json curves(const Truths& truths, const PredictionTable& predictions) {
  nlohmann::json json = nlohmann::json::object();
  if (truths.kind == LabelKind::kRegression) return json;
  const std::vector<OneLabel> labels = one_against_rest(truths, predictions);
  for (size_t c = 0; c < labels.size(); ++c) {
    const OneLabel& one = labels[c];
    json["roc"].push_back(
        {{"label", truths.labels[c]},
         {"points", points_of(one.ranked.roc_curve(one.positive, kCurvePoints))}});
    json["pr"].push_back(
        {{"label", truths.labels[c]},
         {"points", points_of(one.ranked.precision_recall_curve(one.positive, kCurvePoints))}});
  }
  if (!predictions.probabilities) return json;
  const Reliability found = truths.kind == LabelKind::kClass
                                ? class_reliability(truths, predictions)
                                : label_reliability(truths, predictions);
  for (const ReliabilityBin& bin : found.bins)
    json["reliability"].push_back(
        {{"confidence", bin.confidence}, {"accuracy", bin.accuracy}, {"n", bin.n}});
  return json;
}

}  // namespace strandwave
