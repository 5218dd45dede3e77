// Training a head on labelled sequences: classes, any number of labels, or numbers.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/training/task.h"
#include "genomics/labelled_fragments.h"
#include "genomics/sequence_classifier.h"

namespace strandwave {

// What decides which checkpoint of a classifier is the best one. Multi-label heads are judged by
// the mean AUROC over labels, regressions by R2.
enum class Selection { kMacroF1, kAccuracy };

struct FinetuneOptions {
  int64_t batch = 64;        // fragments per micro-batch
  int64_t accumulation = 1;  // as in TrainerConfig
  uint64_t seed = 0;
  int64_t evaluation_per_class = 200;
  // Classes: the weight of a fragment of each class. Multi-label: that of a present label against
  // an absent one. Empty: 1. See class_weights().
  std::vector<double> class_weights;
  // Weight of the mean loss (nats) of a fragment's next bases, beside the loss of its label; only
  // where the model predicts tokens and is not frozen. It keeps the language-model head usable for
  // out-of-distribution scores.
  double lm_weight = 0.1;
  int64_t patience = 0;  // evaluations in a row without improvement after which to stop; 0: never
  bool freeze = false;   // only the head learns
  Selection selection = Selection::kMacroF1;
  std::string start_model;  // hash of the model that training starts from; empty: none
  std::map<std::string, std::string> companions;  // of the start model, kept beside the new one
};

// The loss of a step is sum_i w_i (L_i + lm_weight * B_i) / sum_i w_i over its fragments i, with
// B_i the mean cross entropy of the fragment's next bases and L_i
//   classes      -log softmax(scores)[label],  w_i the weight of the label
//   multi-label  mean over labels of the binary cross entropy, present labels weighted
//   regression   mean over outputs of ((score - value) / scale)^2, scale of the head's config
// Evaluations measure the validation split, both strands.
class FinetuneTask : public Task {
 public:
  // The model's head must be that of the data (head_for); freezes its backbone if asked to.
  FinetuneTask(std::shared_ptr<SequenceModel> model, std::shared_ptr<const LabelledFragments> data,
               FinetuneOptions options);

  Batch batch(int64_t step, int64_t micro_batch) const override;
  torch::Tensor loss(const Batch& batch) override;
  std::vector<Metric> evaluate() override;
  bool should_stop() const override {
    return options_.patience > 0 && evaluations_without_gain_ >= options_.patience;
  }
  std::string description() const override { return data_->description(); }
  nlohmann::json config() const override;
  nlohmann::json state() const override;
  void restore(const nlohmann::json& state) override;
  std::map<std::string, std::string> companions(int64_t /*step*/) const override {
    return options_.companions;
  }
  std::string token_name() const override { return "base"; }
  std::string loss_text(double nats) const override;  // of label and bases together, per fragment
  std::string memory_advice() const override {
    return "lower --batch or --length (raise --accumulation to keep the fragments of a step), or "
           "give --recompute";
  }

  const std::vector<LabelledFragment>& validation() const { return validation_; }

 private:
  bool learns_language() const;
  void add_language_targets(Batch& batch, const PackedSequences& packed,
                            const std::vector<double>& weights) const;
  torch::Tensor label_loss(const torch::Tensor& scores, const Batch& batch) const;
  std::vector<Metric> metrics(const nlohmann::json& measured) const;

  std::shared_ptr<SequenceModel> model_;
  std::shared_ptr<const LabelledFragments> data_;
  FinetuneOptions options_;
  std::vector<LabelledFragment> validation_;
  double best_ = 0;
  bool measured_ = false;  // best_ is a number
  int64_t evaluations_without_gain_ = 0;
};

// The head that fits the data: its kind, its labels, and for a regression the mean and the standard
// deviation of each output over the training split.
HeadConfig head_for(const LabelledFragments& data, HeadConfig::Pooling pooling);

// What --class-weights says: "uniform" (empty), "balanced", or a file of lines "label<TAB>weight",
// one for each label, scaled to a mean of 1. Classes are sampled equally, so "balanced" is what
// uniform weights already give them; of multi-label data it weighs a present label by the number of
// absent ones over present ones (at most 100). Throws Error(kUsage, kInput).
std::vector<double> class_weights(const std::string& choice, const LabelledFragments& data);

// Predictions of all fragments, in groups; progress(fragments done) may throw.
std::vector<Prediction> predict_fragments(const SequenceClassifier& classifier,
                                          const std::vector<LabelledFragment>& fragments,
                                          const std::function<void(int64_t)>& progress = {});

}  // namespace strandwave
