// Markov models of DNA, the baseline that a language model has to beat.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "genomics/io/genome.h"
#include "genomics/io/intervals.h"

namespace strandwave {

// Counts of all contexts of up to `max_order` bases, and the interpolated probabilities
//
//   p_k(b | c_1..c_k) = (n(c_1..c_k b) + s p_{k-1}(b | c_2..c_k)) / (n(c_1..c_k) + s),
//   p_{-1} = 1/4,
//
// for every order k from one pass over the data (a Dirichlet prior centred on the next shorter
// context, of strength s pseudo-counts: MacKay and Peto, "A hierarchical Dirichlet language model",
// 1995).
//
// Only A, C, G, T are counted and scored. The context begins anew at the start of an interval and
// after every N; there the longest context available is used. With both strands every interval is
// counted as read from either strand.
//
// Memory: 4^(max_order + 1) * 4 bytes * 4/3: 90 MB for order 11, 358 MB for order 12.
class MarkovModel {
 public:
  static constexpr int kMaxOrder = 12;
  static constexpr double kStrength = 16;
  enum class Smoothing {
    kInterpolated,  // the equation above
    kAddOne,        // (n(c b) + 1) / (n(c) + 4) at the longest context available up to the order
  };

  // strength: s above, > 0. Only orders from about 9 on depend on it.
  explicit MarkovModel(int max_order = kMaxOrder, double strength = kStrength);

  // Adds counts, which saturate at 2^32 - 1. Overlapping intervals count twice: merge them first.
  // Each call ends with a pass over all tables: give everything in one call where the order is
  // high.
  void count(const Genome& genome, const Intervals& intervals, bool both_strands = true);
  void count(std::span<const uint8_t> ids, bool both_strands = true);  // token ids

  // out[i][j] = -log2 probability of position interval.start + i under orders[j]; NaN where the
  // base is N, for all orders alike. Row-major, interval.length() x orders.size(). Every order <=
  // max_order.
  std::vector<float> bits(const Genome& genome, const Interval& interval,
                          std::span<const int> orders,
                          Smoothing smoothing = Smoothing::kInterpolated) const;
  std::vector<float> bits(std::span<const uint8_t> ids, std::span<const int> orders,
                          Smoothing smoothing = Smoothing::kInterpolated) const;

  struct Score {
    int order = 0;
    int64_t positions = 0;  // A, C, G, T
    double bits = 0;        // sum over positions
    double bits_per_base() const { return positions ? bits / static_cast<double>(positions) : 0; }
  };
  // The same, summed over intervals: one entry per order.
  std::vector<Score> score(const Genome& genome, const Intervals& intervals,
                           std::span<const int> orders,
                           Smoothing smoothing = Smoothing::kInterpolated) const;

  // Number of times that `context` (codes 0..3, at most max_order) was followed by base code b.
  std::array<uint64_t, 4> counts(std::span<const uint8_t> context) const;

  int max_order() const { return max_order_; }
  double strength() const { return strength_; }

 private:
  class Counter;
  class Evaluator;
  void sum_lower_orders();

  int max_order_;
  double strength_;
  // tables_[k][context * 4 + b] with the context's first base in the highest place.
  std::vector<std::vector<uint32_t>> tables_;
  // edges_[k]: indices into tables_[k] of positions that have a context of k bases only, because an
  // interval or an N ends there. The others are found by summing over the first base of order k
  // + 1.
  std::vector<std::vector<uint32_t>> edges_;
};

}  // namespace strandwave
