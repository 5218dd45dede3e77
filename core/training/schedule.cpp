#include "core/training/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace strandwave {

double learning_rate_at_step(int64_t step, int64_t steps, int64_t warmup_steps, double lr,
                             double min_lr) {
  if (step < warmup_steps)
    return lr * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  const int64_t decay_steps = steps - 1 - warmup_steps;
  if (decay_steps <= 0) return lr;
  const double t =
      std::min(1.0, static_cast<double>(step - warmup_steps) / static_cast<double>(decay_steps));
  return min_lr + (lr - min_lr) * 0.5 * (1 + std::cos(std::numbers::pi * t));
}

int64_t length_at_step(int64_t step, int64_t warmup_steps, int64_t start, int64_t length) {
  if (step >= warmup_steps || start >= length) return length;
  int64_t doublings = 0;
  while ((start << doublings) < length) ++doublings;
  // `doublings` lengths below the full one share the warm-up.
  const int64_t stage = step * doublings / warmup_steps;
  return start << stage;
}

}  // namespace strandwave
