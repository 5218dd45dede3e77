#include "core/base/random.h"

#include <cmath>
#include <numbers>

namespace strandwave {
namespace {

uint64_t mix(uint64_t x) {  // the finaliser of SplitMix64
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9U;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

uint64_t hash(uint64_t seed, uint64_t value) {
  return mix(mix(seed + 0x9e3779b97f4a7c15U) ^ value);
}

}  // namespace

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53U} * c[0];
    const uint64_t b = uint64_t{0xCD9E8D57U} * c[2];
    c = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(a)};
    k[0] += 0x9E3779B9U;
    k[1] += 0xBB67AE85U;
  }
  return c;
}

RandomStream::RandomStream(uint64_t seed, RandomPurpose purpose, uint64_t a, uint64_t b) {
  const uint64_t key = hash(hash(seed, static_cast<uint32_t>(purpose)), a);
  const uint64_t high = hash(key, b);
  key_ = {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)};
  high_ = {static_cast<uint32_t>(high), static_cast<uint32_t>(high >> 32)};
}

uint64_t RandomStream::bits(uint64_t index) const {
  const auto r = philox4x32(
      {static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), high_[0], high_[1]}, key_);
  return (uint64_t{r[1]} << 32) | r[0];
}

double RandomStream::uniform(uint64_t index) const {
  return static_cast<double>(bits(index) >> 11) * 0x1p-53;
}

double RandomStream::normal(uint64_t index) const {  // Box-Muller
  const auto r = philox4x32(
      {static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), high_[0], high_[1]}, key_);
  const double u1 = (static_cast<double>(((uint64_t{r[1]} << 32) | r[0]) >> 11) + 1.0) * 0x1p-53;
  const double u2 = static_cast<double>(((uint64_t{r[3]} << 32) | r[2]) >> 11) * 0x1p-53;
  return std::sqrt(-2.0 * std::log(u1)) * std::cos(2.0 * std::numbers::pi * u2);
}

uint64_t RandomStream::below(uint64_t index, uint64_t bound) const {
  // Multiply-shift: the bias is below bound / 2^64.
  return static_cast<uint64_t>((static_cast<unsigned __int128>(bits(index)) * bound) >> 64);
}

uint64_t permute_index(uint64_t index, uint64_t size, uint64_t seed, uint64_t epoch) {
  // A four-round Feistel network over the next even power of two, walked until it falls inside.
  int half_bits = 1;
  while ((uint64_t{1} << (2 * half_bits)) < size) ++half_bits;
  const uint64_t mask = (uint64_t{1} << half_bits) - 1;
  const uint64_t key = hash(hash(seed, static_cast<uint32_t>(RandomPurpose::kShuffle)), epoch);
  do {
    uint64_t left = index >> half_bits;
    uint64_t right = index & mask;
    for (uint64_t round = 0; round < 4; ++round) {
      const uint64_t next = left ^ (hash(key + round, right) & mask);
      left = right;
      right = next;
    }
    index = (left << half_bits) | right;
  } while (index >= size);
  return index;
}

}  // namespace strandwave
