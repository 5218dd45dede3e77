// Counter-based random numbers: every value is a pure function of what it is for.
#pragma once

#include <array>
#include <cstdint>

namespace strandwave {

// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// What a random value is for, so that two uses never share a stream. Values are stored in files
// (through results that must be reproducible): never renumber.
enum class RandomPurpose : uint32_t {
  kInitialization = 1,
  kShuffle = 2,
  kWindow = 3,
  kStrand = 4,
  kDropout = 5,
  kSampling = 6,
  kBootstrap = 7,
  kSynthetic = 8,
  kAugmentation = 9,
};

// The stream of (seed, purpose, a, b): for instance a = layer or step, b = global sample index.
// value(i) is the i-th value: no state, so any order and any thread gives the same numbers.
class RandomStream {
 public:
  RandomStream(uint64_t seed, RandomPurpose purpose, uint64_t a = 0, uint64_t b = 0);

  uint64_t bits(uint64_t index) const;                   // 64 uniform bits
  double uniform(uint64_t index) const;                  // [0, 1)
  double normal(uint64_t index) const;                   // mean 0, standard deviation 1
  uint64_t below(uint64_t index, uint64_t bound) const;  // [0, bound), bound > 0

 private:
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 2> high_;  // upper half of the counter
};

// The finaliser of splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
// generators", OOPSLA 2014): a bijection that makes neighbouring numbers look independent. Values
// are stored in files: never change it.
constexpr uint64_t mix_bits(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

// A keyed bijection of [0, size): the order of an epoch without a list.
uint64_t permute_index(uint64_t index, uint64_t size, uint64_t seed, uint64_t epoch);

}  // namespace strandwave
