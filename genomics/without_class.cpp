#include "genomics/without_class.h"

#include "core/base/error.h"
#include "core/base/hash.h"

namespace strandwave {

WithoutClass::WithoutClass(std::shared_ptr<const LabelledFragments> all, int32_t left_out)
    : LabelledFragments(all->options()), all_(std::move(all)), left_out_(left_out) {
  if (all_->task() != LabelKind::kClass)
    throw usage_error("only classes can be left out: these data have other labels");
  if (all_->labels().size() < 3)
    throw usage_error("leaving a class out takes at least three classes; there are " +
                      std::to_string(all_->labels().size()));
  labels_ = all_->labels();
  labels_.erase(labels_.begin() + left_out);
  groups_ = all_->groups();
}

// Every class is equally likely, so few of the underlying fragments are passed over.
LabelledFragment WithoutClass::sample(uint64_t seed, uint64_t index) const {
  constexpr uint64_t kMostAttempts = uint64_t{1} << 16;
  for (uint64_t attempt = 0; attempt < kMostAttempts; ++attempt) {
    LabelledFragment fragment = all_->sample(seed, index * kMostAttempts + attempt);
    if (fragment.label == left_out_) continue;
    fragment.label = moved(fragment.label);
    return fragment;
  }
  throw runtime_failure("no training fragment of any other class than \"" +
                        all_->labels()[static_cast<size_t>(left_out_)] + "\" was drawn");
}

std::vector<LabelledFragment> WithoutClass::fixed(Split split, int64_t max_per_class,
                                                  const FixedOptions& how) const {
  std::vector<LabelledFragment> fragments = all_->fixed(split, max_per_class, how);
  std::erase_if(fragments,
                [&](const LabelledFragment& fragment) { return fragment.label == left_out_; });
  for (LabelledFragment& fragment : fragments) fragment.label = moved(fragment.label);
  return fragments;
}

std::vector<int64_t> WithoutClass::class_counts(Split split) const {
  std::vector<int64_t> counts = all_->class_counts(split);
  counts.erase(counts.begin() + left_out_);
  return counts;
}

void WithoutClass::for_each_training_sequence(
    const std::function<void(int32_t label, std::span<const uint8_t> ids)>& visit) const {
  all_->for_each_training_sequence([&](int32_t label, std::span<const uint8_t> ids) {
    if (label != left_out_) visit(moved(label), ids);
  });
}

std::string WithoutClass::description_without(int32_t /*left_out*/) const {
  return all_->description_without(left_out_) + ", without " +
         all_->labels()[static_cast<size_t>(left_out_)];
}

std::string WithoutClass::hash() const {
  return sha256_hex(all_->hash() + " without " + all_->labels()[static_cast<size_t>(left_out_)]);
}

}  // namespace strandwave
