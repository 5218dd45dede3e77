// Accuracy of a classifier beside 6-mer naive Bayes and the majority class.
#pragma once

#include <iosfwd>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "genomics/baselines/kmer_bayes.h"
#include "genomics/finetune_task.h"
#include "genomics/labelled_fragments.h"

namespace strandwave::apps {

// Naive Bayes on everything in the training split.
KmerBayes train_naive_bayes(const LabelledFragments& data);
// Naive Bayes on everything in a file that is not held out, as whole sequences.
KmerBayes train_naive_bayes(const std::string& path, const FragmentOptions& options);

// Prints the table and returns it as JSON. `bayes` may be null.
nlohmann::json report_classifier(const SequenceClassifier& classifier,
                                 const std::vector<LabelledFragment>& fragments,
                                 const KmerBayes* bayes, const std::string& title,
                                 std::ostream& out);

// Every sequence of a labelled file; `baseline` (may be empty) is naive Bayes' training data.
nlohmann::json evaluate_on_labelled(const SequenceClassifier& classifier, const std::string& path,
                                    const std::string& baseline, const std::string& cache,
                                    std::ostream& out);

}  // namespace strandwave::apps
