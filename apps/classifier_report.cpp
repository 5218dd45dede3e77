#include "apps/classifier_report.h"

#include <cmath>
#include <ostream>

#include "apps/table.h"
#include "genomics/io/tokenizer.h"

namespace strandwave::apps {
namespace {

std::vector<std::string> figures(const std::string& name, const ConfusionMatrix& confusion) {
  return {name, format_number("%.4f", confusion.accuracy()),
          format_number("%.4f", confusion.balanced_accuracy()),
          format_number("%.4f", confusion.macro_f1()), format_number("%.4f", confusion.matthews())};
}

nlohmann::json to_json(const ConfusionMatrix& confusion) {
  return {{"accuracy", confusion.accuracy()},
          {"balanced_accuracy", confusion.balanced_accuracy()},
          {"macro_f1", confusion.macro_f1()},
          {"matthews", confusion.matthews()},
          {"confusion", confusion.counts}};
}

ConfusionMatrix majority(const std::vector<LabelledFragment>& fragments, int classes) {
  std::vector<int64_t> counts(static_cast<size_t>(classes));
  for (const LabelledFragment& fragment : fragments) ++counts[static_cast<size_t>(fragment.label)];
  ConfusionMatrix confusion(classes);
  for (const LabelledFragment& fragment : fragments)
    confusion.add(fragment.label, majority_class(counts));
  return confusion;
}

}  // namespace

KmerBayes train_naive_bayes(const LabelledFragments& data) {
  KmerBayes bayes(static_cast<int>(data.labels().size()));
  data.for_each_training_sequence(
      [&](int32_t label, std::span<const uint8_t> ids) { bayes.add(label, ids); });
  return bayes;
}

KmerBayes train_naive_bayes(const std::string& path, const FragmentOptions& options) {
  KmerBayes bayes(static_cast<int>(options.labels.size()));
  for_each_labelled_sequence(
      path, options, [&](int32_t label, std::span<const uint8_t> ids) { bayes.add(label, ids); });
  return bayes;
}

nlohmann::json report_classifier(const SequenceClassifier& classifier,
                                 const std::vector<LabelledFragment>& fragments,
                                 const KmerBayes* bayes, const std::string& title,
                                 std::ostream& out) {
  const auto classes = static_cast<int>(classifier.labels().size());
  const ClassifierEvaluation evaluation = evaluate_classifier(classifier, fragments);
  nlohmann::json result = {{"sequences", fragments.size()}, {"labels", classifier.labels()}};
  result["model"] = to_json(evaluation.confusion);
  result["model"]["cross_entropy"] = evaluation.cross_entropy;
  std::vector<std::vector<std::string>> rows = {
      {"classifier", "accuracy", "balanced", "macro F1", "MCC"}};
  rows.push_back(figures("this model", evaluation.confusion));
  if (bayes != nullptr) {
    ConfusionMatrix confusion(classes);
    for (const LabelledFragment& fragment : fragments)
      confusion.add(fragment.label, bayes->predict(fragment.ids));
    rows.push_back(figures("6-mer naive Bayes", confusion));
    result["naive_bayes"] = to_json(confusion);
  }
  const ConfusionMatrix constant = majority(fragments, classes);
  rows.push_back(figures("most frequent class", constant));
  result["majority"] = to_json(constant);
  out << title << ": " << fragments.size() << " sequences\n";
  print_table(out, rows);

  std::vector<std::vector<std::string>> confusion = {{"true \\ predicted"}};
  for (const std::string& label : classifier.labels()) confusion[0].push_back(label);
  for (int truth = 0; truth < classes; ++truth) {
    confusion.push_back({classifier.labels()[static_cast<size_t>(truth)]});
    for (const int64_t count : evaluation.confusion.counts[static_cast<size_t>(truth)])
      confusion.back().push_back(std::to_string(count));
  }
  print_table(out, confusion);
  return result;
}

nlohmann::json evaluate_on_labelled(const SequenceClassifier& classifier, const std::string& path,
                                    const std::string& baseline, const std::string& cache,
                                    std::ostream& out) {
  LabelledOptions reading;
  reading.labels = classifier.labels();
  std::vector<LabelledFragment> fragments;
  for (const LabelledSequence& sequence : read_labelled(path, reading).sequences) {
    LabelledFragment& fragment = fragments.emplace_back();
    fragment.ids.resize(sequence.sequence.size());
    fragment.label = sequence.label;
    dna::encode(sequence.sequence, fragment.ids.data());
  }
  if (baseline.empty()) return report_classifier(classifier, fragments, nullptr, path, out);
  FragmentOptions options;
  options.labels = classifier.labels();
  options.cache_dir = cache;
  const KmerBayes bayes = train_naive_bayes(baseline, options);
  return report_classifier(classifier, fragments, &bayes, path, out);
}

}  // namespace strandwave::apps
