#include "genomics/baselines/kmer_lookup.h"

#include <gtest/gtest.h>

#include <map>

#include "core/base/error.h"
#include "core/base/random.h"
#include "genomics/io/tokenizer.h"

namespace strandwave {
namespace {

std::vector<uint8_t> ids_of(std::string_view letters) {
  std::vector<uint8_t> ids(letters.size());
  dna::encode(letters, ids.data());
  return ids;
}

std::vector<uint8_t> random_ids(size_t length, uint64_t seed) {
  const RandomStream stream(seed, RandomPurpose::kSynthetic);
  std::vector<uint8_t> ids;
  for (uint64_t i = 0; i < length; ++i)
    ids.push_back(static_cast<uint8_t>(dna::kA + stream.below(i, 4)));
  return ids;
}

TEST(KmerLookup, ByHand) {
  KmerLookup lookup(3, 3);
  lookup.add(0, ids_of("AACG"));    // AAC, ACG
  lookup.add(1, ids_of("CGTNGG"));  // CGT = ACG: in classes 0 and 1
  lookup.add(1, ids_of("CCC"));
  lookup.add(2, ids_of("GTT"));   // AAC: in classes 0 and 2
  lookup.add(2, ids_of("ATAT"));  // ATA, TAT = ATA
  lookup.finish();
  EXPECT_EQ(lookup.distinct(), 4);  // AAC, ACG, CCC, ATA
  EXPECT_EQ(lookup.ambiguous(), 2);
  EXPECT_EQ(lookup.hits(ids_of("GGGG")), (std::vector<int64_t>{0, 2, 0}));  // CCC twice
  EXPECT_EQ(lookup.predict(ids_of("GGGG")), 1);
  EXPECT_EQ(lookup.predict(ids_of("AACG")), KmerLookup::kUnclassified);    // known, but ambiguous
  EXPECT_EQ(lookup.predict(ids_of("CCCATA")), KmerLookup::kUnclassified);  // a tie
  EXPECT_EQ(lookup.predict(ids_of("ATACCCATA")), 2);
  EXPECT_EQ(lookup.predict(ids_of("AC")), KmerLookup::kUnclassified);
  EXPECT_EQ(lookup.predict({}), KmerLookup::kUnclassified);
}

TEST(KmerLookup, ReadsOfEitherStrandAndErrorsAtDistance) {
  const std::vector<uint8_t> a = random_ids(20000, 1), b = random_ids(20000, 2);
  KmerLookup lookup(2);
  lookup.add(0, a);
  lookup.add(1, b);
  lookup.add(0, a);  // copies add nothing
  lookup.finish();
  EXPECT_EQ(lookup.distinct(), 2 * (20000 - 30));
  EXPECT_EQ(lookup.ambiguous(), 0);
  std::vector<uint8_t> read(b.begin() + 700, b.begin() + 800);
  dna::reverse_complement(read);
  EXPECT_EQ(lookup.hits(read), (std::vector<int64_t>{0, 70}));
  EXPECT_EQ(lookup.predict(read), 1);
  for (size_t i = 15; i < read.size(); i += 30) read[i] = dna::complement(read[i]);
  EXPECT_EQ(lookup.predict(read), KmerLookup::kUnclassified);
}

// Many merges agree with a map, and memory stays within the promise.
TEST(KmerLookup, AgreesWithAMapAndStaysSmall) {
  constexpr size_t kLength = 2'000'000;
  KmerLookup lookup(4, 11);  // 2 million distinct ones at most: many are met again
  std::map<std::string, int> slow;
  for (int label = 0; label < 4; ++label) lookup.add(label, random_ids(3000, 10 + label));
  lookup.finish();
  for (int label = 0; label < 4; ++label) {
    const std::string letters = dna::decode(random_ids(3000, 10 + label));
    for (size_t i = 0; i + 11 <= letters.size(); ++i) {
      std::string forward = letters.substr(i, 11), reverse = forward;
      dna::reverse_complement_letters(reverse);
      const auto [entry, fresh] = slow.try_emplace(std::min(forward, reverse), label);
      if (!fresh && entry->second != label) entry->second = -1;
    }
  }
  int64_t ambiguous = 0;
  for (const auto& [kmer, label] : slow) {
    ambiguous += label < 0;
    EXPECT_EQ(lookup.predict(ids_of(kmer)), label);
  }
  EXPECT_GT(ambiguous, 0);
  EXPECT_EQ(lookup.ambiguous(), ambiguous);
  EXPECT_EQ(lookup.distinct(), static_cast<int64_t>(slow.size()));

  KmerLookup large(2);
  large.add(0, random_ids(kLength, 5));
  EXPECT_LT(large.bytes(), static_cast<int64_t>(20 * kLength));  // while counting
  large.finish();
  EXPECT_LT(large.bytes(), static_cast<int64_t>(12 * kLength));
}

TEST(KmerLookup, ImpossibleSettings) {
  EXPECT_THROW(KmerLookup(1), Error);
  EXPECT_THROW(KmerLookup(70000), Error);
  EXPECT_THROW(KmerLookup(2, 32), Error);
  EXPECT_THROW(KmerLookup(2, 0), Error);
}

}  // namespace
}  // namespace strandwave
