#include "core/training/optimizer.h"

#include <optional>

namespace strandwave {

torch::Tensor flat_norm(const torch::Tensor& flat) {
  constexpr int64_t kBlock = FlatParameters::kBlock;
  // A norm over the last dimension is never split among threads, one over all elements may be.
  torch::Tensor norms = flat;
  while (norms.numel() > kBlock) {
    const int64_t gap = (kBlock - norms.numel() % kBlock) % kBlock;
    if (gap > 0) norms = torch::constant_pad_nd(norms, {0, gap});
    norms = torch::linalg_vector_norm(norms.view({-1, kBlock}), 2, at::IntArrayRef{1});
  }
  return torch::linalg_vector_norm(norms, 2);
}

AdamW::AdamW(FlatParameters& parameters, const AdamWConfig& config)
    : parameters_(parameters), config_(config) {
  const torch::Tensor& masters = parameters.masters();
  exp_avg_ = torch::zeros_like(masters);
  exp_avg_sq_ = torch::zeros_like(masters);
  if (config.ema_decay > 0) ema_ = masters.clone();
  step_count_ = torch::zeros({}, masters.options());
  gradient_norm_ = torch::zeros({}, masters.options());
  left_out_ = torch::zeros({}, masters.options());
}

void AdamW::step(double lr, const torch::Tensor& loss) {
  const torch::NoGradGuard no_grad;
  gradient_norm_ = flat_norm(parameters_.gradients());
  const torch::Tensor finite =
      torch::isfinite(gradient_norm_).logical_and(torch::isfinite(loss)).to(torch::kFloat32);
  left_out_ = 1 - finite;
  step_count_.add_(finite);
  torch::Tensor gradient_scale;  // what the update divides by
  if (config_.clip > 0) gradient_scale = (gradient_norm_ / config_.clip).clamp_min(1);
  update(parameters_.decaying(), lr, config_.weight_decay, gradient_scale);
  update(parameters_.not_decaying(), lr, 0, gradient_scale);
  if (ema_.defined()) ema_.lerp_(parameters_.masters(), finite * (1 - config_.ema_decay));
  parameters_.zero_gradients();
  parameters_.refresh();
}

void AdamW::update(const std::vector<FlatParameters::Range>& ranges, double lr, double weight_decay,
                   const torch::Tensor& gradient_scale) {
  if (ranges.empty()) return;
  const auto parts = [&](const torch::Tensor& flat) {
    std::vector<torch::Tensor> tensors;
    for (const auto& range : ranges)
      tensors.push_back(flat.narrow(0, range.begin, range.end - range.begin));
    return tensors;
  };
  const std::vector<torch::Tensor> step_counts(ranges.size(), step_count_);
  at::_fused_adamw_(parts(parameters_.masters()), parts(parameters_.gradients()), parts(exp_avg_),
                    parts(exp_avg_sq_), /*max_exp_avg_sqs=*/{}, step_counts, lr, config_.beta1,
                    config_.beta2, weight_decay, config_.eps, /*amsgrad=*/false, /*maximize=*/false,
                    gradient_scale.defined() ? std::optional(gradient_scale) : std::nullopt,
                    /*found_inf=*/left_out_);
}

void AdamW::set_step_count(int64_t count) { step_count_.fill_(static_cast<double>(count)); }

}  // namespace strandwave
