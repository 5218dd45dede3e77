// Kernel audio distance and how near generated clips come to those of the training set.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "audio/metrics/resampling.h"

namespace strandwave::audio {

// The median of the pairwise distances of the rows (pairs of different rows; of 2,000 of them drawn
// by `seed` where there are more). Throws Error(kInput) when it is 0.
double median_distance(const torch::Tensor& features, uint64_t seed);

// KAD (Chung et al. 2025): 100 times the unbiased estimate of the squared maximum mean discrepancy
// (Gretton et al. 2012), pairs of a clip with itself left out, with the kernel
// exp(-|x - y|^2 / (2 bandwidth^2)). Unbiased: around 0 for sets of one distribution, and then
// negative as often as not. The bandwidth is the reference's median_distance() unless given, so
// that candidates are measured with one kernel. In double, differences taken before squaring.
struct KernelDistance {
  Interval95 interval;  // value, and value -+ 1.96 standard errors of a jackknife over 20 blocks
  double bandwidth = 0;
};
KernelDistance kernel_distance(const torch::Tensor& candidate, const torch::Tensor& reference,
                               uint64_t seed, double bandwidth = 0);

// For each row the distance to the nearest row of `training`, and which one that is.
struct NearestClips {
  torch::Tensor distance;  // (n) float64
  torch::Tensor index;     // (n) int64
};
NearestClips nearest_clips(const torch::Tensor& rows, const torch::Tensor& training);

}  // namespace strandwave::audio
