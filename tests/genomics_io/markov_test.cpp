#include "genomics/baselines/markov.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "genomics/io/tokenizer.h"
#include "tests/genomics_io/test_files.h"

namespace strandwave {
namespace {

using Counts = std::array<uint64_t, 4>;

std::vector<uint8_t> encoded(std::string_view letters) {
  std::vector<uint8_t> ids(letters.size());
  dna::encode(letters, ids.data());
  return ids;
}

std::vector<uint8_t> codes(std::string_view letters) {
  std::vector<uint8_t> result = encoded(letters);
  for (uint8_t& id : result) id = static_cast<uint8_t>(dna::base_code(id));
  return result;
}

// The obvious way: every suffix of the known context of every base on every strand.
class NaiveMarkov {
 public:
  explicit NaiveMarkov(int max_order) : max_order_(max_order) {}
  void count(const std::string& letters, bool both) {
    count_strand(letters);
    std::string other = letters;
    dna::reverse_complement_letters(other);
    if (both) count_strand(other);
  }
  Counts counts(const std::string& context) const {
    const auto found = counts_.find(context);
    return found == counts_.end() ? Counts{} : found->second;
  }
  double probability(const std::string& context, size_t base, double strength) const {
    const double shorter = context.empty() ? 0.25 : probability(context.substr(1), base, strength);
    const Counts n = counts(context);
    return (static_cast<double>(n[base]) + strength * shorter) /
           (static_cast<double>(n[0] + n[1] + n[2] + n[3]) + strength);
  }
  // The context that a position has, at most `order` bases.
  static std::string context(const std::string& letters, size_t position, int order) {
    std::string result;
    while (static_cast<int>(result.size()) < order && result.size() < position &&
           letters[position - result.size() - 1] != 'N') {
      result.insert(result.begin(), letters[position - result.size() - 1]);
    }
    return result;
  }

 private:
  void count_strand(const std::string& letters) {
    for (size_t i = 0; i < letters.size(); ++i) {
      if (letters[i] == 'N') continue;
      const std::string longest = context(letters, i, max_order_);
      for (size_t skip = 0; skip <= longest.size(); ++skip) {
        ++counts_[longest.substr(skip)][codes(letters.substr(i, 1))[0]];
      }
    }
  }
  int max_order_;
  std::map<std::string, Counts> counts_;
};

TEST(Markov, CountsByHand) {
  MarkovModel model(2);
  model.count(encoded("AACAAC"), false);
  EXPECT_EQ(model.counts({}), (Counts{4, 2, 0, 0}));
  EXPECT_EQ(model.counts(codes("A")), (Counts{2, 2, 0, 0}));
  EXPECT_EQ(model.counts(codes("C")), (Counts{1, 0, 0, 0}));
  EXPECT_EQ(model.counts(codes("AA")), (Counts{0, 2, 0, 0}));
  EXPECT_EQ(model.counts(codes("CA")), (Counts{1, 0, 0, 0}));
  MarkovModel both(1);
  both.count(encoded("AAC"), true);  // and GTT
  EXPECT_EQ(both.counts({}), (Counts{2, 1, 1, 2}));
  EXPECT_EQ(both.counts(codes("A")), (Counts{1, 1, 0, 0}));
  EXPECT_EQ(both.counts(codes("G")), (Counts{0, 0, 0, 1}));
  EXPECT_EQ(both.counts(codes("T")), (Counts{0, 0, 0, 1}));
}

TEST(Markov, ProbabilitiesByHand) {
  MarkovModel model(1, 2.0);
  model.count(encoded("AACAAC"), false);
  const std::vector<int> orders = {0, 1};
  const std::vector<float> bits = model.bits(encoded("ACNC"), orders);
  const double p0a = (4 + 2 * 0.25) / (6 + 2);
  const double p0c = (2 + 2 * 0.25) / (6 + 2);
  const double p1ac = (2 + 2 * p0c) / (4 + 2);
  ASSERT_EQ(bits.size(), 8U);
  EXPECT_FLOAT_EQ(bits[0], static_cast<float>(-std::log2(p0a)));
  EXPECT_FLOAT_EQ(bits[1], bits[0]);  // no context yet
  EXPECT_FLOAT_EQ(bits[2], static_cast<float>(-std::log2(p0c)));
  EXPECT_FLOAT_EQ(bits[3], static_cast<float>(-std::log2(p1ac)));
  EXPECT_TRUE(std::isnan(bits[4]) && std::isnan(bits[5]));
  EXPECT_FLOAT_EQ(bits[7], bits[6]);  // the context begins anew after N
  EXPECT_FLOAT_EQ(bits[6], static_cast<float>(-std::log2(p0c)));
  const std::vector<float> add_one =
      model.bits(encoded("AC"), orders, MarkovModel::Smoothing::kAddOne);
  EXPECT_FLOAT_EQ(add_one[0], static_cast<float>(-std::log2(5.0 / 10)));
  EXPECT_FLOAT_EQ(add_one[3], static_cast<float>(-std::log2(3.0 / 8)));
}

TEST(Markov, AgreesWithTheObviousWay) {
  std::mt19937_64 random(11);
  for (const int order : {0, 1, 3, 6, 12}) {
    for (const bool both : {false, true}) {
      MarkovModel model(order, 3.0);
      NaiveMarkov naive(order);
      for (const size_t size : {1U, 2U, 7U, 12U, 13U, 14U, 300U}) {
        const std::string text =
            test::random_letters(size, random, size == 300 ? "AACCGTN" : "ACGT");
        naive.count(text, both);
        model.count(encoded(text), both);
      }
      const std::string text = test::random_letters(200, random, "AACCGTN");
      const std::vector<float> bits = model.bits(encoded(text), std::array{order});
      for (size_t i = 0; i < text.size(); ++i) {
        ASSERT_EQ(std::isnan(bits[i]), text[i] == 'N');
        if (text[i] == 'N') continue;
        const std::string context = NaiveMarkov::context(text, i, order);
        ASSERT_EQ(model.counts(codes(context)), naive.counts(context)) << context;
        const double expected =
            -std::log2(naive.probability(context, codes(text.substr(i, 1))[0], 3.0));
        ASSERT_NEAR(bits[i], expected, 1e-5);
      }
    }
  }
}

TEST(Markov, ProbabilitiesSumToOne) {
  std::mt19937_64 random(12);
  MarkovModel model(5);
  model.count(encoded(test::random_letters(5000, random, "AAAAAAACCGT")), true);
  const std::vector<int> orders = {0, 3, 5};
  for (int round = 0; round < 50; ++round) {
    const std::string context = test::random_letters(5, random);
    std::array<double, 3> sums{};
    for (const char base : {'A', 'C', 'G', 'T'}) {
      const std::vector<float> bits = model.bits(encoded(context + base), orders);
      for (size_t j = 0; j < 3; ++j) sums[j] += std::exp2(-static_cast<double>(bits[15 + j]));
    }
    for (const double sum : sums) EXPECT_NEAR(sum, 1.0, 1e-5);
  }
}

TEST(Markov, GenomesAreReadInPiecesWithoutATrace) {
  std::mt19937_64 random(13);
  const test::TemporaryFolder folder;
  const std::string text = test::random_letters((size_t{1} << 20) + 1000, random, "AACCGTN");
  const Genome genome =
      Genome::open({folder.write("g.fa", ">a\n" + test::wrap(text, 80))}, folder.path("cache"));
  const Interval interval = {0, 7, static_cast<int64_t>(text.size()) - 3, "", '.'};
  const std::vector<uint8_t> ids = encoded(text.substr(7, text.size() - 10));
  MarkovModel from_genome(6);
  MarkovModel from_ids(6);
  from_genome.count(genome, {interval});
  from_ids.count(ids);
  const std::vector<int> orders = {2, 6};
  const std::vector<float> a = from_genome.bits(genome, interval, orders);
  const std::vector<float> b = from_ids.bits(ids, orders);
  ASSERT_EQ(a.size(), b.size());
  double sum = 0;
  int64_t positions = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_TRUE(a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) << i;
    if (i % 2 == 1 && !std::isnan(a[i])) {
      sum += a[i];
      ++positions;
    }
  }
  const auto scores = from_genome.score(genome, {interval}, orders);
  ASSERT_EQ(scores.size(), 2U);
  EXPECT_EQ(scores[1].order, 6);
  EXPECT_EQ(scores[1].positions, positions);
  EXPECT_EQ(scores[0].positions, positions);
  EXPECT_NEAR(scores[1].bits, sum, 1e-6 * sum);
  EXPECT_NEAR(scores[1].bits_per_base(), sum / static_cast<double>(positions), 1e-9);
}

// Two intervals side by side share no context.
TEST(Markov, ContextStaysInsideAnInterval) {
  const test::TemporaryFolder folder;
  const Genome genome = Genome::open({folder.write("g.fa", ">a\nAACAAC\n")}, folder.path("cache"));
  MarkovModel model(2);
  model.count(genome, {{0, 0, 3, "", '.'}, {0, 3, 6, "", '.'}}, false);
  EXPECT_EQ(model.counts(codes("C")), (Counts{0, 0, 0, 0}));
  EXPECT_EQ(model.counts(codes("AA")), (Counts{0, 2, 0, 0}));
  const std::array orders{2};
  const double halves =
      model.score(genome, {{0, 0, 3, "", '.'}, {0, 3, 6, "", '.'}}, orders)[0].bits;
  EXPECT_NEAR(halves, 2 * model.score(genome, {{0, 0, 3, "", '.'}}, orders)[0].bits, 1e-6);
}

TEST(Markov, RefusesImpossibleSettings) {
  test::error_of([] { MarkovModel(13); }, ErrorKind::kUsage);
  test::error_of([] { MarkovModel(2, 0.0); }, ErrorKind::kUsage);
  const MarkovModel model(2);
  const std::string message =
      test::error_of([&] { model.bits(encoded("A"), std::array{3}); }, ErrorKind::kUsage);
  EXPECT_CONTAINS(message, "order 3 is not among the counted orders 0 to 2");
}

}  // namespace
}  // namespace strandwave
