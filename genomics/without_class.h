// Labelled data without one of its classes: how well does a model notice what it never saw?
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "genomics/labelled_fragments.h"

namespace strandwave {

// A view of class data that leaves one class out of every split; later classes move down by one.
// Throws Error(kUsage) for other kinds of labels and when fewer than two classes would remain.
class WithoutClass : public LabelledFragments {
 public:
  WithoutClass(std::shared_ptr<const LabelledFragments> all, int32_t left_out);

  LabelledFragment sample(uint64_t seed, uint64_t index) const override;
  std::vector<LabelledFragment> fixed(Split split, int64_t max_per_class,
                                      const FixedOptions& how = {}) const override;
  std::vector<int64_t> class_counts(Split split) const override;
  nlohmann::json leakage() const override { return all_->leakage(); }
  void for_each_training_sequence(
      const std::function<void(int32_t label, std::span<const uint8_t> ids)>& visit) const override;
  int64_t longest_training_sequence() const override { return all_->longest_training_sequence(); }
  // One class is left out already; `left_out` does not matter.
  std::string description_without(int32_t left_out) const override;
  std::string hash() const override;

 private:
  int32_t moved(int32_t label) const { return label > left_out_ ? label - 1 : label; }

  std::shared_ptr<const LabelledFragments> all_;
  int32_t left_out_;
};

}  // namespace strandwave
