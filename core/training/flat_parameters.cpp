#include "core/training/flat_parameters.h"

#include <algorithm>
#include <set>

namespace strandwave {
namespace {

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Position of an entry's group in the buffer.
int group(const FlatParameters::Entry& entry) {
  if (entry.lowered) return entry.decays ? 1 : 0;
  return entry.decays ? 2 : 3;
}

}  // namespace

FlatParameters::FlatParameters(std::shared_ptr<torch::nn::Module> module, const Predicate& decays,
                               const Predicate& lowered, bool lower, torch::Device device)
    : module_(std::move(module)) {
  const torch::NoGradGuard no_grad;
  TORCH_CHECK(module_->buffers().empty(), "a module with buffers cannot be trained: found ",
              module_->named_buffers().front().key());
  module_->to(device);
  lay_out(decays, lowered, lower);
  const int64_t last = entries_.empty() ? 0 : entries_.back().offset + entries_.back().size;
  const auto options = torch::TensorOptions().dtype(torch::kFloat32).device(device);
  masters_ = torch::zeros({round_up(std::max<int64_t>(last, 1), kBlock)}, options);
  gradients_ = torch::zeros_like(masters_);
  take_over(lower);
}

void FlatParameters::lay_out(const Predicate& decays, const Predicate& lowered, bool lower) {
  std::set<const c10::TensorImpl*> seen;
  for (const auto& item : module_->named_parameters()) {
    const torch::Tensor& parameter = item.value();
    TORCH_CHECK(parameter.is_floating_point(), "parameter ", item.key(), " has type ",
                parameter.scalar_type(), ", which cannot be trained");
    TORCH_CHECK(seen.insert(parameter.unsafeGetTensorImpl()).second, "parameter ", item.key(),
                " is registered twice");
    if (!parameter.requires_grad()) {
      freeze(item.key(), parameter, lower && lowered && lowered(item.key(), parameter));
      continue;
    }
    Entry entry{.name = item.key(), .shape = parameter.sizes().vec(), .size = parameter.numel()};
    entry.decays = decays ? decays(item.key(), parameter) : parameter.dim() >= 2;
    entry.lowered = lower && lowered && lowered(item.key(), parameter);
    entries_.push_back(entry);
  }
  TORCH_CHECK(frozen_.empty() || !entries_.empty(), "all parameters are frozen");
  std::stable_sort(entries_.begin(), entries_.end(),
                   [](const Entry& a, const Entry& b) { return group(a) < group(b); });
  int64_t offset = 0;
  for (Entry& entry : entries_) {
    entry.offset = offset;
    offset += round_up(entry.size, kAlignment);
    if (!entry.decays) continue;
    if (decaying_.end == 0) decaying_.begin = entry.offset;
    decaying_.end = offset;
  }
}

void FlatParameters::freeze(const std::string& name, torch::Tensor parameter, bool lower) {
  const torch::Tensor value = parameter.detach().to(torch::kFloat32);
  parameter.mutable_grad().reset();
  parameter.set_data(lower ? value.to(torch::kBFloat16) : value);
  frozen_.emplace_back(name, value);
}

void FlatParameters::take_over(bool lower) {
  int64_t lowered_size = 0;
  for (const Entry& entry : entries_)
    if (entry.lowered) lowered_size = round_up(entry.offset + entry.size, kAlignment);
  if (lower && lowered_size > 0) {
    lowered_ = torch::zeros({lowered_size}, masters_.options().dtype(torch::kBFloat16));
    lowered_gradients_ = torch::zeros_like(lowered_);
  }
  const auto parameters = module_->named_parameters();
  for (const Entry& entry : entries_) {
    torch::Tensor parameter = parameters[entry.name];
    view(masters_, entry).copy_(parameter);
    parameter.mutable_grad().reset();
    parameter.set_data(view(entry.lowered ? lowered_ : masters_, entry));
    parameter.mutable_grad() = view(entry.lowered ? lowered_gradients_ : gradients_, entry);
    parameters_.push_back(parameter);
  }
  refresh();
}

int64_t FlatParameters::parameter_count() const {
  int64_t count = 0;
  for (const Entry& entry : entries_) count += entry.size;
  return count;
}

std::vector<FlatParameters::Range> FlatParameters::decaying() const {
  if (decaying_.begin == decaying_.end) return {};
  return {decaying_};
}

std::vector<FlatParameters::Range> FlatParameters::not_decaying() const {
  std::vector<Range> ranges;
  if (decaying_.begin > 0) ranges.push_back({0, decaying_.begin});
  if (decaying_.end < size()) ranges.push_back({decaying_.end, size()});
  return ranges;
}

void FlatParameters::collect_gradients() {
  if (!lowered_.defined()) return;
  const torch::NoGradGuard no_grad;
  gradients_.narrow(0, 0, lowered_gradients_.numel()).add_(lowered_gradients_);
  lowered_gradients_.zero_();
}

void FlatParameters::zero_gradients() {
  gradients_.zero_();
  if (lowered_.defined()) lowered_gradients_.zero_();
}

void FlatParameters::refresh() {
  if (!lowered_.defined()) return;
  const torch::NoGradGuard no_grad;
  lowered_.copy_(masters_.narrow(0, 0, lowered_.numel()));
}

torch::Tensor FlatParameters::view(const torch::Tensor& flat, const Entry& entry) {
  return flat.narrow(0, entry.offset, entry.size).view(entry.shape);
}

}  // namespace strandwave
