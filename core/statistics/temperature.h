// Temperature scaling: one number that makes a classifier's probabilities honest.
#pragma once

#include <cstdint>
#include <span>

namespace strandwave {

// The temperature T that minimises the mean log loss of softmax(logits / T), in double (Guo et al.
// 2017, "On calibration of modern neural networks"). The loss is convex in 1/T; bisection of its
// derivative. n rows, all right, would drive T to 0: the target of the label is therefore (n + 1) /
// (n + 2) (Platt 1999), and the other classes share the rest. In [0.02, 50]. 1 for no rows. logits:
// (rows, classes) row by row, two classes at least.
double fit_temperature(std::span<const double> logits, std::span<const int32_t> labels);
// The same for sigmoids: targets (rows, classes) of 0 and 1.
double fit_sigmoid_temperature(std::span<const double> logits, std::span<const float> targets);

}  // namespace strandwave
