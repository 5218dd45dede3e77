#include "genomics/io/soft_mask.h"

#include <set>
#include <string_view>

#include "core/base/error.h"
#include "core/base/text_fields.h"

namespace strandwave {

bool carries_soft_mask(const Contig& contig) {
  constexpr double kLeast = 0.01;
  constexpr double kMost = 0.9;
  const auto letters = static_cast<double>(contig.length);
  const auto lower = static_cast<double>(contig.lower_case);
  return lower > 0 && lower >= kLeast * letters && lower <= kMost * letters;
}

SoftMaskCounts count_soft_masks(const Genome& genome, const Intervals& intervals) {
  std::set<int64_t> contigs;
  for (const Interval& interval : intervals) contigs.insert(interval.contig);
  SoftMaskCounts counts;
  for (const int64_t contig : contigs) {
    ++counts.contigs;
    if (carries_soft_mask(genome.contigs()[static_cast<size_t>(contig)])) ++counts.masked;
  }
  return counts;
}

double soft_mask_weight(const std::string& policy) {
  constexpr std::string_view kWeight = "weight";
  if (policy == "upper") return 1;
  if (policy == "ignore") return 0;
  if (policy == kWeight) return 0.1;
  if (policy.starts_with("weight=")) {
    const auto weight = parse_number<double>(std::string_view(policy).substr(kWeight.size() + 1));
    if (weight && *weight >= 0 && *weight <= 1) return *weight;
  }
  throw usage_error("the soft-mask policy \"" + policy +
                    "\" is none of upper, ignore, weight and weight=W with W from 0 to 1");
}

}  // namespace strandwave
