// Quantities that change over a run: pure functions of the step.
#pragma once

#include <cstdint>

namespace strandwave {

// Learning rate of step `step` (from 0). During warm-up lr * (step + 1) / warmup; then, with
// t = (step - warmup) / (steps - 1 - warmup), min_lr + (lr - min_lr) * (1 + cos(pi t)) / 2, which
// gives lr at the first step after the warm-up and min_lr at the last step (SGDR, Loshchilov and
// Hutter 2017).
double learning_rate_at_step(int64_t step, int64_t steps, int64_t warmup_steps, double lr,
                             double min_lr);

// Sequence length of step `step` under a warm-up: doubles from `start` in equal stretches over the
// first `warmup_steps` steps until it reaches `length`; constant afterwards. start and length > 0.
int64_t length_at_step(int64_t step, int64_t warmup_steps, int64_t start, int64_t length);

}  // namespace strandwave
