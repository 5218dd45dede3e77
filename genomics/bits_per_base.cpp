#include "genomics/bits_per_base.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numbers>

#include "genomics/io/tokenizer.h"

namespace strandwave {
namespace {

constexpr int64_t kBlock = 100000;  // bases of a bootstrap block

int64_t total_length(const std::vector<Window>& windows) {
  int64_t sum = 0;
  for (const Window& window : windows) sum += window.length();
  return sum;
}

// Bits of `count` windows of one length, starting at windows[first].
void score_batch(SequenceModel& model, const Genome& genome, const std::vector<Window>& windows,
                 size_t first, size_t count, float* bits) {
  const int64_t length = windows[first].length();
  torch::Tensor ids = torch::empty({static_cast<int64_t>(count), length}, torch::kUInt8);
  for (size_t i = 0; i < count; ++i) {
    const Window& window = windows[first + i];
    genome.fetch(window.contig, window.start, window.end,
                 ids.data_ptr<uint8_t>() + static_cast<int64_t>(i) * length, window.reverse);
  }
  const torch::Tensor on_device = ids.to(model.device());
  const torch::Tensor targets = base_targets(on_device);
  torch::Tensor loss = model.language_model_loss(shifted_inputs(on_device), targets).loss;
  loss = (loss * std::numbers::log2e)
             .masked_fill(targets < 0, std::numeric_limits<float>::quiet_NaN());
  loss = loss.to(torch::kFloat).cpu().contiguous();
  std::copy_n(loss.const_data_ptr<float>(), loss.numel(), bits);
}

}  // namespace

int64_t ScoredWindows::positions() const {
  return std::count_if(bits.begin(), bits.end(), [](float b) { return !std::isnan(b); });
}

double ScoredWindows::total_bits() const {
  double sum = 0;
  for (const float b : bits)
    if (!std::isnan(b)) sum += b;
  return sum;
}

double ScoredWindows::bits_per_base() const {
  const int64_t n = positions();
  return n ? total_bits() / static_cast<double>(n) : 0;
}

torch::Tensor shifted_inputs(const torch::Tensor& ids) {
  const torch::Tensor start =
      torch::full({ids.size(0), 1}, static_cast<int64_t>(dna::kBos), ids.options());
  return torch::cat({start, ids.slice(1, 0, std::max<int64_t>(ids.size(1) - 1, 0))}, 1);
}

torch::Tensor base_targets(const torch::Tensor& ids) {
  const torch::Tensor wide = ids.to(torch::kLong);
  return wide.masked_fill((wide < dna::kA) | (wide > dna::kT), -1);
}

ScoredWindows score_windows(SequenceModel& model, const Genome& genome,
                            const std::vector<Window>& windows, int64_t batch_tokens,
                            const std::function<void(int64_t)>& progress) {
  const torch::NoGradGuard no_grad;
  ScoredWindows scored{windows, std::vector<float>(static_cast<size_t>(total_length(windows)))};
  int64_t done = 0;
  for (size_t first = 0; first < windows.size();) {
    const int64_t length = windows[first].length();
    size_t count = 1;
    while (first + count < windows.size() && windows[first + count].length() == length &&
           static_cast<int64_t>(count + 1) * length <= batch_tokens)
      ++count;
    score_batch(model, genome, windows, first, count, scored.bits.data() + done);
    done += static_cast<int64_t>(count) * length;
    first += count;
    if (progress) progress(done);
  }
  return scored;
}

std::vector<Window> evaluation_windows(const Genome& genome, const Intervals& intervals,
                                       int64_t window, int64_t max_bases) {
  std::vector<Window> all = tile_windows(genome, intervals, window, window, true, 0.99);
  if (max_bases <= 0 || total_length(all) <= max_bases) return all;
  const size_t wanted = std::max<size_t>(1, static_cast<size_t>(max_bases / window));
  std::vector<Window> chosen;
  for (size_t i = 0; i < wanted; ++i)
    chosen.push_back(all[(2 * i + 1) * all.size() / (2 * wanted)]);
  return chosen;
}

std::vector<MarkovComparison> compare_with_markov(const ScoredWindows& scored, const Genome& genome,
                                                  const Intervals& intervals,
                                                  const MarkovModel& markov,
                                                  const std::vector<int>& orders) {
  std::map<std::pair<int64_t, int64_t>, size_t> block_of;
  std::vector<double> positions;
  std::vector<std::vector<double>> differences(orders.size());
  std::vector<double> totals(orders.size(), 0);
  size_t at = 0;
  for (const Window& window : scored.windows) {
    Interval reach{window.contig, window.start, window.end, {}, '.'};
    for (const Interval& interval : intervals)
      if (interval.contig == window.contig && interval.start <= window.start &&
          window.start < interval.end)
        reach.start = std::max(interval.start, window.start - markov.max_order());
    const std::vector<float> baseline = markov.bits(genome, reach, orders);
    const size_t skip = static_cast<size_t>(window.start - reach.start);
    for (int64_t i = 0; i < window.length(); ++i, ++at) {
      const float* row = baseline.data() + (skip + static_cast<size_t>(i)) * orders.size();
      if (std::isnan(scored.bits[at]) || std::isnan(row[0])) continue;
      const auto [entry, fresh] =
          block_of.try_emplace({window.contig, (window.start + i) / kBlock}, positions.size());
      if (fresh) {
        positions.push_back(0);
        for (auto& difference : differences) difference.push_back(0);
      }
      positions[entry->second] += 1;
      for (size_t j = 0; j < orders.size(); ++j) {
        differences[j][entry->second] += static_cast<double>(scored.bits[at]) - row[j];
        totals[j] += row[j];
      }
    }
  }
  double all = 0;
  for (const double n : positions) all += n;
  std::vector<MarkovComparison> comparisons;
  for (size_t j = 0; j < orders.size(); ++j)
    comparisons.push_back({orders[j], all > 0 ? totals[j] / all : 0,
                           block_bootstrap(differences[j], positions, 1000, 0)});
  return comparisons;
}

std::vector<ContextBits> bits_by_context(const ScoredWindows& scored) {
  std::vector<ContextBits> buckets;
  const std::vector<int64_t> edges = {0, 128, 1024, 8192, 131072, int64_t{1} << 62};
  for (size_t e = 0; e + 1 < edges.size(); ++e) buckets.push_back({edges[e], edges[e + 1], 0, 0});
  size_t at = 0;
  for (const Window& window : scored.windows) {
    size_t bucket = 0;
    for (int64_t i = 0; i < window.length(); ++i, ++at) {
      while (i >= buckets[bucket].last) ++bucket;
      if (std::isnan(scored.bits[at])) continue;
      ++buckets[bucket].positions;
      buckets[bucket].bits_per_base += scored.bits[at];
    }
  }
  for (ContextBits& bucket : buckets)
    if (bucket.positions > 0) bucket.bits_per_base /= static_cast<double>(bucket.positions);
  std::erase_if(buckets, [](const ContextBits& bucket) { return bucket.positions == 0; });
  return buckets;
}

}  // namespace strandwave
