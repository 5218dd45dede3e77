#include "genomics/baselines/markov.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "core/base/error.h"
#include "genomics/io/tokenizer.h"

namespace strandwave {
namespace {

// Bases read at a time. A piece begins with the context of the last one, so pieces leave no trace.
constexpr int64_t kPiece = int64_t{1} << 20;

void increment(uint32_t& count) { count += count != std::numeric_limits<uint32_t>::max() ? 1 : 0; }

void require_orders(std::span<const int> orders, int max_order) {
  for (const int order : orders) {
    if (order < 0 || order > max_order) {
      throw usage_error("order " + std::to_string(order) +
                        " is not among the counted orders 0 to " + std::to_string(max_order) + ".");
    }
  }
}

// Calls visit(ids) for consecutive pieces of an interval.
template <typename Visit>
void for_each_piece(const Genome& genome, const Interval& interval, Visit visit) {
  std::vector<uint8_t> ids(static_cast<size_t>(std::min(kPiece, interval.length())));
  for (int64_t start = interval.start; start < interval.end; start += kPiece) {
    const int64_t end = std::min(start + kPiece, interval.end);
    genome.fetch(interval.contig, start, end, ids.data());
    visit(std::span<const uint8_t>(ids.data(), static_cast<size_t>(end - start)));
  }
}

// The codes of the bases before a position, newest in the two low bits.
struct Context {
  uint32_t codes = 0;
  int length = 0;  // how many are known

  void push(int code, int max_length) {
    codes = ((codes << 2) | static_cast<uint32_t>(code)) & ((uint32_t{1} << (2 * max_length)) - 1);
    length = std::min(length + 1, max_length);
  }
};

}  // namespace

// Counts words of max_order + 1 bases on one or both strands as bases come by.
class MarkovModel::Counter {
 public:
  Counter(MarkovModel& model, bool both_strands)
      : top_(model.tables_.back()),
        edges_(model.edges_),
        word_(model.max_order_ + 1),
        both_(both_strands) {}
  Counter(const Counter&) = delete;
  Counter& operator=(const Counter&) = delete;

  void add(std::span<const uint8_t> ids) {
    const uint32_t mask = word_ == 16 ? ~uint32_t{0} : (uint32_t{1} << (2 * word_)) - 1;
    const int high = 2 * (word_ - 1);
    for (const uint8_t id : ids) {
      if (!dna::is_base(id)) {
        end_run();
        continue;
      }
      const auto code = static_cast<uint32_t>(dna::base_code(id));
      forward_ = ((forward_ << 2) | code) & mask;
      reverse_ = (reverse_ >> 2) | ((3 - code) << high);
      if (++run_ >= word_) {
        count_word();
      } else {
        edges_[static_cast<size_t>(run_ - 1)].push_back(forward_ &
                                                        ((uint32_t{1} << (2 * run_)) - 1));
      }
    }
  }

  void finish() {
    end_run();
    flush();
  }

  // On the other strand the last bases of a run come first, with short contexts.
  void end_run() {
    if (both_) {
      for (int size = 1; size <= std::min<int64_t>(run_, word_ - 1); ++size) {
        edges_[static_cast<size_t>(size - 1)].push_back(reverse_ >> (2 * (word_ - size)));
      }
    }
    run_ = 0;
  }

 private:
  // The table of order 12 is larger than any cache: increments wait until their lines have come.
  void count_word() {
    wait(forward_);
    if (both_) wait(reverse_);
  }
  void wait(uint32_t index) {
    __builtin_prefetch(&top_[index], 1);
    waiting_[waiting_size_++] = index;
    if (waiting_size_ == waiting_.size()) flush();
  }
  void flush() {
    for (size_t i = 0; i < waiting_size_; ++i) increment(top_[waiting_[i]]);
    waiting_size_ = 0;
  }

  std::vector<uint32_t>& top_;
  std::vector<std::vector<uint32_t>>& edges_;
  int word_;
  bool both_;
  uint32_t forward_ = 0;
  uint32_t reverse_ = 0;
  int64_t run_ = 0;  // bases since the last border
  std::array<uint32_t, 64> waiting_;
  size_t waiting_size_ = 0;
};

MarkovModel::MarkovModel(int max_order, double strength)
    : max_order_(max_order), strength_(strength) {
  if (max_order < 0 || max_order > kMaxOrder) {
    throw usage_error("a Markov model has an order of 0 to " + std::to_string(kMaxOrder) +
                      ", not " + std::to_string(max_order) + ".");
  }
  if (!(strength > 0)) {
    throw usage_error("the strength of a Markov model's prior must be > 0, not " +
                      std::to_string(strength) + ".");
  }
  for (int order = 0; order <= max_order; ++order) tables_.emplace_back(size_t{4} << (2 * order));
  edges_.resize(static_cast<size_t>(max_order));
}

void MarkovModel::count(const Genome& genome, const Intervals& intervals, bool both_strands) {
  Counter counter(*this, both_strands);
  for (const Interval& interval : intervals) {
    for_each_piece(genome, interval, [&](std::span<const uint8_t> ids) { counter.add(ids); });
    counter.end_run();
  }
  counter.finish();
  sum_lower_orders();
}

void MarkovModel::count(std::span<const uint8_t> ids, bool both_strands) {
  Counter counter(*this, both_strands);
  counter.add(ids);
  counter.finish();
  sum_lower_orders();
}

void MarkovModel::sum_lower_orders() {
  for (size_t order = static_cast<size_t>(max_order_); order-- > 0;) {
    std::vector<uint32_t>& table = tables_[order];
    const std::vector<uint32_t>& longer = tables_[order + 1];
    const size_t size = table.size();
    for (size_t i = 0; i < size; ++i) {
      const uint64_t sum =
          uint64_t{longer[i]} + longer[i + size] + longer[i + 2 * size] + longer[i + 3 * size];
      table[i] =
          static_cast<uint32_t>(std::min<uint64_t>(sum, std::numeric_limits<uint32_t>::max()));
    }
    for (const uint32_t index : edges_[order]) increment(table[index]);
  }
}

// Probabilities of the bases of consecutive pieces under all orders up to `highest`.
class MarkovModel::Evaluator {
 public:
  Evaluator(const MarkovModel& model, std::span<const int> orders, Smoothing smoothing)
      : model_(model), orders_(orders), smoothing_(smoothing) {
    require_orders(orders, model.max_order_);
    for (const int order : orders) highest_ = std::max(highest_, order);
  }

  // bits: ids.size() x orders.size(), NaN for what is no base.
  void add(std::span<const uint8_t> ids, float* bits) {
    for (const uint8_t id : ids) {
      if (dna::is_base(id)) {
        const int code = dna::base_code(id);
        probabilities(code);
        for (const int order : orders_) {
          *bits++ = -std::log2(probability_[static_cast<size_t>(std::min(order, context_.length))]);
        }
        context_.push(code, kMaxOrder);
      } else {
        bits = std::fill_n(bits, orders_.size(), std::numeric_limits<float>::quiet_NaN());
        context_ = {};
      }
    }
  }
  void end_interval() { context_ = {}; }

 private:
  // probability_[k] for every order with a context.
  void probabilities(int code) {
    const bool add_one = smoothing_ == Smoothing::kAddOne;
    const double weight = add_one ? 4.0 : model_.strength_;
    double shorter = 0.25;
    for (int order = 0; order <= std::min(highest_, context_.length); ++order) {
      const uint32_t context = context_.codes & ((uint32_t{1} << (2 * order)) - 1);
      const uint32_t* counts = &model_.tables_[static_cast<size_t>(order)][size_t{4} * context];
      const auto total =
          static_cast<double>(uint64_t{counts[0]} + counts[1] + counts[2] + counts[3]);
      shorter = (counts[code] + weight * (add_one ? 0.25 : shorter)) / (total + weight);
      probability_[static_cast<size_t>(order)] = static_cast<float>(shorter);
    }
  }

  const MarkovModel& model_;
  std::span<const int> orders_;
  Smoothing smoothing_;
  int highest_ = 0;
  Context context_;
  std::array<float, kMaxOrder + 1> probability_{};
};

std::vector<float> MarkovModel::bits(const Genome& genome, const Interval& interval,
                                     std::span<const int> orders, Smoothing smoothing) const {
  Evaluator evaluator(*this, orders, smoothing);
  std::vector<float> result(static_cast<size_t>(interval.length()) * orders.size());
  float* next = result.data();
  for_each_piece(genome, interval, [&](std::span<const uint8_t> ids) {
    evaluator.add(ids, next);
    next += ids.size() * orders.size();
  });
  return result;
}

std::vector<float> MarkovModel::bits(std::span<const uint8_t> ids, std::span<const int> orders,
                                     Smoothing smoothing) const {
  Evaluator evaluator(*this, orders, smoothing);
  std::vector<float> result(ids.size() * orders.size());
  evaluator.add(ids, result.data());
  return result;
}

std::vector<MarkovModel::Score> MarkovModel::score(const Genome& genome, const Intervals& intervals,
                                                   std::span<const int> orders,
                                                   Smoothing smoothing) const {
  std::vector<Score> scores;
  for (const int order : orders) scores.push_back({order, 0, 0.0});
  Evaluator evaluator(*this, orders, smoothing);
  std::vector<float> piece;
  for (const Interval& interval : intervals) {
    for_each_piece(genome, interval, [&](std::span<const uint8_t> ids) {
      piece.resize(ids.size() * orders.size());
      evaluator.add(ids, piece.data());
      for (size_t i = 0; i < piece.size(); ++i) {
        if (std::isnan(piece[i])) continue;
        scores[i % orders.size()].bits += piece[i];
        ++scores[i % orders.size()].positions;
      }
    });
    evaluator.end_interval();
  }
  return scores;
}

std::array<uint64_t, 4> MarkovModel::counts(std::span<const uint8_t> context) const {
  const int order = static_cast<int>(context.size());
  require_orders(std::span(&order, 1), max_order_);
  size_t index = 0;
  for (const uint8_t code : context) index = index * 4 + (code & 3);
  const uint32_t* entry = &tables_[context.size()][4 * index];
  return {entry[0], entry[1], entry[2], entry[3]};
}

}  // namespace strandwave
