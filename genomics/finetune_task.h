// Training a sequence classifier.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/training/task.h"
#include "genomics/labelled_fragments.h"
#include "genomics/metrics.h"
#include "genomics/sequence_classifier.h"

namespace strandwave {

struct FinetuneOptions {
  int64_t batch = 64;        // fragments per micro-batch
  int64_t accumulation = 1;  // as in TrainerConfig
  uint64_t seed = 0;
  int64_t evaluation_per_class = 200;
  std::string start_model;  // hash of the model that training starts from; empty: none
};

// Cross entropy of the label. The metrics are accuracy and loss on the validation split, both
// strands.
class FinetuneTask : public Task {
 public:
  FinetuneTask(std::shared_ptr<SequenceModel> model, std::shared_ptr<const LabelledFragments> data,
               FinetuneOptions options);

  Batch batch(int64_t step, int64_t micro_batch) const override;
  torch::Tensor loss(const Batch& batch) override;
  std::vector<Metric> evaluate() override;
  std::string description() const override { return data_->description(); }
  nlohmann::json config() const override;
  std::string token_name() const override { return "base"; }
  std::string memory_advice() const override {
    return "lower --batch or --length (raise --accumulation to keep the fragments of a step), or "
           "give --recompute";
  }

 private:
  std::shared_ptr<SequenceModel> model_;
  std::shared_ptr<const LabelledFragments> data_;
  FinetuneOptions options_;
  std::vector<LabelledFragment> validation_;
};

struct ClassifierEvaluation {
  ConfusionMatrix confusion;
  double cross_entropy = 0;  // nats per fragment
};
ClassifierEvaluation evaluate_classifier(const SequenceClassifier& classifier,
                                         const std::vector<LabelledFragment>& fragments,
                                         const std::function<void(int64_t)>& progress = {});

}  // namespace strandwave
