#include "genomics/io/sequence_clusters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <set>
#include <string>

#include "genomics/io/tokenizer.h"
#include "tests/genomics_io/test_files.h"

namespace strandwave {
namespace {

std::vector<uint8_t> ids_of(const std::string& letters) {
  std::vector<uint8_t> ids(letters.size());
  dna::encode(letters, ids.data());
  return ids;
}

std::vector<uint8_t> turned(std::vector<uint8_t> ids) {
  dna::reverse_complement(ids);
  return ids;
}

std::set<std::string> kmers_of(const std::vector<uint8_t>& ids) {
  std::set<std::string> kmers;
  for (size_t i = 0; i + kLeakageKmer <= ids.size(); ++i) {
    const std::vector<uint8_t> piece(ids.begin() + static_cast<ptrdiff_t>(i),
                                     ids.begin() + static_cast<ptrdiff_t>(i) + kLeakageKmer);
    const std::string forward = dna::decode(piece);
    if (forward.find('N') == std::string::npos)
      kmers.insert(std::min(forward, dna::decode(turned(piece))));
  }
  return kmers;
}

double shared(const std::set<std::string>& a, const std::set<std::string>& b) {
  size_t common = 0;
  for (const std::string& kmer : a) common += b.contains(kmer);
  return static_cast<double>(common);
}

// Every pair compared: what cluster_sequences must find.
std::vector<int32_t> clusters_by_all_pairs(const TokenSequences& sequences) {
  DisjointSets sets(sequences.size());
  std::vector<std::set<std::string>> kmers;
  for (const auto& ids : sequences) kmers.push_back(kmers_of(ids));
  for (size_t i = 0; i < sequences.size(); ++i)
    for (size_t j = 0; j < i; ++j) {
      const auto fewer = static_cast<double>(std::min(kmers[i].size(), kmers[j].size()));
      const bool copies = sequences[i] == sequences[j] || sequences[i] == turned(sequences[j]);
      if (copies || (fewer > 0 && shared(kmers[i], kmers[j]) >= kLeakageShare * fewer))
        sets.join(static_cast<int32_t>(i), static_cast<int32_t>(j));
    }
  std::vector<int32_t> result;
  for (size_t i = 0; i < sequences.size(); ++i)
    result.push_back(sets.find(static_cast<int32_t>(i)));
  return result;
}

TEST(DisjointSetsTest, TheLeastMemberStandsForASet) {
  DisjointSets sets(6);
  EXPECT_TRUE(sets.join(5, 3));
  EXPECT_TRUE(sets.join(3, 4));
  EXPECT_FALSE(sets.join(4, 5));
  EXPECT_EQ(sets.find(5), 3);
  EXPECT_TRUE(sets.join(1, 5));
  EXPECT_EQ(sets.find(4), 1);
  EXPECT_EQ(sets.find(0), 0);
}

TEST(SequenceClustersTest, CopiesOnEitherStrand) {
  std::mt19937_64 random(1);
  const std::vector<uint8_t> a = ids_of(test::random_letters(40, random));
  const std::vector<uint8_t> b = ids_of(test::random_letters(40, random));
  const std::vector<uint8_t> palindrome = ids_of("ACGCGT");
  EXPECT_EQ(first_copies({a, b, turned(a), palindrome, b, palindrome, {}, {}}),
            (std::vector<int32_t>{0, 1, 0, 3, 1, 3, 6, 6}));
  EXPECT_EQ(strandless_hash(a), strandless_hash(turned(a)));
  EXPECT_NE(strandless_hash(a), strandless_hash(b));
}

TEST(SequenceClustersTest, AgreesWithComparingAllPairs) {
  std::mt19937_64 random(7);
  // Pieces of a small genome overlap by any amount; some are turned, changed, short, or hold N.
  const std::string genome = test::random_letters(4000, random);
  TokenSequences sequences;
  for (int i = 0; i < 300; ++i) {
    const size_t length = i % 10 == 0 ? 20 + random() % 15 : 60 + random() % 100;
    std::string letters = genome.substr(random() % (genome.size() - length), length);
    for (char& letter : letters) {
      if (i % 3 == 0 && random() % 40 == 0) letter = "ACGT"[random() % 4];
      if (i % 7 == 0 && random() % 60 == 0) letter = 'N';
    }
    sequences.push_back(i % 2 == 0 ? ids_of(letters) : turned(ids_of(letters)));
    if (i % 20 == 0) sequences.push_back(turned(sequences.back()));
  }
  const std::vector<int32_t> found = cluster_sequences(sequences);
  EXPECT_EQ(found, clusters_by_all_pairs(sequences));
  EXPECT_GT(std::set<int32_t>(found.begin(), found.end()).size(), 20U);
}

TEST(SequenceClustersTest, ManyNearCopiesOfOneSequenceAreOneCluster) {
  std::mt19937_64 random(3);
  const std::string common = test::random_letters(300, random);
  TokenSequences sequences;
  for (int i = 0; i < 1000; ++i) {  // more than the neighbours that are compared
    std::string letters = common;
    letters[random() % letters.size()] = 'A';
    sequences.push_back(ids_of(letters));
  }
  sequences.push_back(ids_of(test::random_letters(300, random)));
  const std::vector<int32_t> cluster = cluster_sequences(sequences);
  EXPECT_EQ(std::count(cluster.begin(), cluster.end(), 0), 1000);
  EXPECT_EQ(cluster.back(), 1000);
}

TEST(SequenceClustersTest, ASharedRepeatAloneDoesNotLink) {
  std::mt19937_64 random(5);
  const std::string repeat = test::random_letters(100, random);
  TokenSequences sequences;
  for (int i = 0; i < 200; ++i)
    sequences.push_back(ids_of(test::random_letters(200, random) + repeat));
  std::vector<int32_t> alone(sequences.size());
  std::iota(alone.begin(), alone.end(), 0);
  EXPECT_EQ(cluster_sequences(sequences), alone);
}

TEST(TrainingOverlapsTest, CountsTheShareOfAllTrainingTogether) {
  std::mt19937_64 random(9);
  const std::string text = test::random_letters(161, random);  // 131 31-mers
  const std::string short_text = "ACGTTGCATT";
  const TokenSequences sequences = {ids_of(text.substr(0, 80)),
                                    turned(ids_of(text.substr(90))),  // 50 and 41 of them
                                    ids_of(text),
                                    ids_of(test::random_letters(100, random)),
                                    ids_of(short_text),
                                    turned(ids_of(short_text)),
                                    ids_of(short_text + "A"),
                                    turned(ids_of(text.substr(0, 80)))};
  const std::vector<int32_t> training = {0, 1, 4}, held_out = {2, 3, 5, 6, 7};
  const auto overlaps = training_overlaps(sequences, training, held_out);
  ASSERT_EQ(overlaps.size(), 5U);
  EXPECT_NEAR(overlaps[0].share, 91.0 / 131, 1e-12);
  EXPECT_FALSE(overlaps[0].exact);
  EXPECT_TRUE(overlaps[0].overlaps());
  EXPECT_EQ(overlaps[1].share, 0);
  EXPECT_FALSE(overlaps[1].overlaps());
  EXPECT_TRUE(overlaps[2].exact && overlaps[2].overlaps());
  EXPECT_FALSE(overlaps[3].overlaps());
  EXPECT_TRUE(overlaps[4].exact);
  EXPECT_EQ(overlaps[4].share, 1);
  const std::vector<int32_t> half = {0};  // 50 of 131
  EXPECT_FALSE(training_overlaps(sequences, half, held_out)[0].overlaps());
}

}  // namespace
}  // namespace strandwave
