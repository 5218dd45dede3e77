// Canonical k-mers, sketches of them, MD5 of contigs.
#include "genomics/io/kmer_sketch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/base/random.h"
#include "genomics/io/contig_md5.h"
#include "genomics/io/kmers.h"
#include "genomics/io/tokenizer.h"
#include "tests/genomics_io/test_files.h"

namespace strandwave {
namespace {

std::vector<uint8_t> random_bases(int64_t length, uint64_t seed) {
  const RandomStream stream(seed, RandomPurpose::kSynthetic);
  std::vector<uint8_t> ids;
  for (int64_t i = 0; i < length; ++i)
    ids.push_back(static_cast<uint8_t>(dna::kA + stream.below(static_cast<uint64_t>(i), 4)));
  return ids;
}

std::vector<uint8_t> reversed(std::vector<uint8_t> ids) {
  dna::reverse_complement(ids);
  return ids;
}

std::vector<uint8_t> joined(std::vector<uint8_t> a, const std::vector<uint8_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(KmersTest, EqualTheObviousOnes) {
  std::vector<uint8_t> ids = random_bases(300, 1);
  for (const size_t n : {50U, 51U, 120U, 299U}) ids[n] = dna::kN;
  for (const int k : {1, 2, 5, 21, kLongestKmer}) {
    std::vector<std::pair<int64_t, uint64_t>> expected, found;
    for (size_t start = 0; start + static_cast<size_t>(k) <= ids.size(); ++start) {
      const std::vector<uint8_t> window(ids.begin() + static_cast<int64_t>(start),
                                        ids.begin() + static_cast<int64_t>(start) + k);
      if (!std::all_of(window.begin(), window.end(), dna::is_base)) continue;
      const auto code = [](const std::vector<uint8_t>& w) {
        uint64_t value = 0;
        for (const uint8_t id : w) value = 4 * value + static_cast<uint64_t>(dna::base_code(id));
        return value;
      };
      expected.emplace_back(start, std::min(code(window), code(reversed(window))));
    }
    for_each_canonical_kmer(ids, k,
                            [&](int64_t start, uint64_t kmer) { found.emplace_back(start, kmer); });
    EXPECT_EQ(found, expected) << k;
  }
}

TEST(KmersTest, MixIsThatOfSplitmix64) {
  // The first outputs of splitmix64 with the seed 0 (its state grows by the golden ratio).
  EXPECT_EQ(mix_kmer(0x9e3779b97f4a7c15U), 0xe220a8397b1dcdafU);
  EXPECT_EQ(mix_kmer(2 * 0x9e3779b97f4a7c15U), 0x6e789e6aa1b965f4U);
}

TEST(KmerSketchTest, SmallSequencesAreKeptWhole) {
  KmerSketch sketch;
  sketch.add(random_bases(1000, 2));
  EXPECT_EQ(sketch.scale(), 1U);
  EXPECT_EQ(sketch.hashes().size(), 980U);
}

TEST(KmerSketchTest, StrandAndOrderDoNotMatter) {
  const std::vector<uint8_t> a = random_bases(200000, 3), b = random_bases(200000, 4);
  KmerSketch forward, backward, joined_later, other;
  forward.add(a);
  forward.add(b);
  backward.add(reversed(b));
  backward.add(reversed(a));
  joined_later.add(a);
  other.add(b);
  joined_later.merge(other);
  EXPECT_EQ(forward.scale(), 4U);  // 399,960 k-mers
  EXPECT_LE(forward.hashes().size(), KmerSketch::kMostHashes);
  EXPECT_GT(forward.hashes().size(), KmerSketch::kMostHashes / 2);
  for (const KmerSketch* sketch : {&backward, &joined_later}) {
    EXPECT_EQ(sketch->scale(), forward.scale());
    EXPECT_EQ(sketch->hashes(), forward.hashes());
  }
}

TEST(KmerSketchTest, ContainmentIsTheSharedPart) {
  const std::vector<uint8_t> training = random_bases(400000, 5), other = random_bases(60000, 6);
  const std::vector<uint8_t> inside(training.begin() + 1000, training.begin() + 41000);
  KmerSketch sketch;
  sketch.add(training);
  const auto containment = [&](const std::vector<uint8_t>& targets) {
    KmerSketch made;
    made.add(targets);
    return sketch.containment_of(made);
  };
  EXPECT_EQ(containment(inside).fraction, 1);
  EXPECT_EQ(containment(reversed(inside)).fraction, 1);
  EXPECT_EQ(containment(other).fraction, 0);
  const KmerSketch::Containment mixed = containment(joined(inside, other));
  EXPECT_NEAR(mixed.fraction, 0.4, 4 * std::sqrt(0.24 / static_cast<double>(mixed.compared)));
  EXPECT_NEAR(static_cast<double>(mixed.compared), 100000 / 4.0, 1000);
  EXPECT_EQ(containment({}).compared, 0);
  // The k-mer of A only is one like any other: it is not in every sketch.
  EXPECT_EQ(containment(std::vector<uint8_t>(1000, dna::kA)).fraction, 0);
}

TEST(KmerSketchTest, GenomesAreReadInPieces) {
  const test::TemporaryFolder folder;
  const std::vector<uint8_t> ids = random_bases((int64_t{1} << 20) + 5000, 7);
  const Genome genome =
      Genome::open({folder.write("g.fa", ">a\n" + dna::decode(ids) + "\n")}, folder.path("cache"));
  KmerSketch whole, pieces;
  whole.add(ids);
  pieces.add(genome, whole_genome(genome));
  EXPECT_EQ(pieces.hashes(), whole.hashes());
  EXPECT_EQ(pieces.scale(), whole.scale());
}

TEST(KmerSketchTest, RestoredSketchesAreChecked) {
  KmerSketch sketch;
  sketch.add(random_bases(400000, 8));
  const KmerSketch again = KmerSketch::restore(sketch.scale(), sketch.hashes(), "f");
  EXPECT_EQ(again.hashes(), sketch.hashes());
  const auto refused = [](uint64_t scale, const std::vector<uint64_t>& hashes) {
    try {
      KmerSketch::restore(scale, hashes, "file.safetensors");
    } catch (const Error& error) {
      return std::string(error.what()).find("file.safetensors") == 0;
    }
    return false;
  };
  EXPECT_FALSE(refused(1, {1, 2, 3}));
  EXPECT_TRUE(refused(0, {}));
  EXPECT_TRUE(refused(3, {}));
  EXPECT_TRUE(refused(1, {2, 2}));
  EXPECT_TRUE(refused(1, {3, 2}));
  EXPECT_TRUE(refused(2, {uint64_t{1} << 63}));
  EXPECT_TRUE(refused(1, std::vector<uint64_t>(KmerSketch::kMostHashes + 1)));
}

TEST(ContigMd5Test, IsThatOfTheUpperCaseLetters) {
  const test::TemporaryFolder folder;
  const Genome genome =
      Genome::open({folder.write("g.fa", ">a\nACGTNN\n>b\nacgtn\nN\n>c\nACGT\n>d\n" +
                                             std::string((1 << 20) + 3, 'a') + "\n")},
                   folder.path("cache"));
  // printf ACGTNN | md5sum; printf ACGT | md5sum; head -c 1048579 /dev/zero | tr '\0' A | md5sum
  EXPECT_EQ(contig_md5(genome, 0), "247326f3ddab5b675f000e844a6dde4b");
  EXPECT_EQ(contig_md5(genome, 1), contig_md5(genome, 0));
  EXPECT_EQ(contig_md5(genome, 2), "f1f8f4bf413b16ad135722aa4591043e");
  EXPECT_EQ(contig_md5(genome, 3), "8717f48e14fcd253a12226556896698c");
}

}  // namespace
}  // namespace strandwave
