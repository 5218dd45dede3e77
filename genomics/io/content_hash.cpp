#include "genomics/io/content_hash.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace strandwave {
namespace {

constexpr std::array<uint64_t, 8> kKeys = {
    0x9e3779b97f4a7c15U, 0xbf58476d1ce4e5b9U, 0x94d049bb133111ebU, 0xd6e8feb86659fd93U,
    0xa0761d6478bd642fU, 0xe7037ed1a0b428dbU, 0x8ebc6af09c88c6e3U, 0x589965cc75374cc3U};

uint64_t fold(uint64_t a, uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t load(const unsigned char* bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}

}  // namespace

ContentHash::ContentHash() : lanes_(kKeys) {}

void ContentHash::stripe(const unsigned char* bytes) {
  for (size_t lane = 0; lane < 4; ++lane) {
    const uint64_t a = load(bytes + 16 * lane);
    const uint64_t b = load(bytes + 16 * lane + 8);
    // Adding the words beside the product keeps a zero factor from losing them.
    lanes_[2 * lane] = fold(lanes_[2 * lane] ^ a, kKeys[2 * lane + 1] ^ b) + b;
    lanes_[2 * lane + 1] =
        ((lanes_[2 * lane + 1] << 27) | (lanes_[2 * lane + 1] >> 37)) * kKeys[2] + a;
  }
}

void ContentHash::add(const void* data, size_t size) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  if (size == 0) return;
  total_ += size;
  if (rest_size_ > 0) {
    const size_t take = std::min(size, kStripe - rest_size_);
    std::memcpy(rest_.data() + rest_size_, bytes, take);
    rest_size_ += take;
    bytes += take;
    size -= take;
    if (rest_size_ < kStripe) return;
    stripe(rest_.data());
    rest_size_ = 0;
  }
  for (; size >= kStripe; bytes += kStripe, size -= kStripe) stripe(bytes);
  if (size > 0) std::memcpy(rest_.data(), bytes, size);
  rest_size_ = size;
}

std::array<uint64_t, 2> ContentHash::value() const {
  ContentHash last = *this;
  std::fill(last.rest_.begin() + static_cast<std::ptrdiff_t>(rest_size_), last.rest_.end(),
            static_cast<unsigned char>(0));
  if (rest_size_ > 0) last.stripe(last.rest_.data());
  std::array<uint64_t, 2> result = {total_ ^ kKeys[0], total_ + kKeys[1]};
  for (size_t lane = 0; lane < 8; ++lane) {
    result[0] = fold(result[0] ^ last.lanes_[lane], kKeys[lane]) + last.lanes_[lane];
    result[1] =
        fold(result[1] + last.lanes_[7 - lane], kKeys[7 - lane] ^ result[0]) ^ last.lanes_[lane];
  }
  return result;
}

std::array<uint64_t, 2> content_hash(std::string_view bytes) {
  ContentHash hash;
  hash.add(bytes.data(), bytes.size());
  return hash.value();
}

std::string to_hex(const std::array<uint64_t, 2>& hash) {
  char text[33];
  std::snprintf(text, sizeof(text), "%016llx%016llx", static_cast<unsigned long long>(hash[0]),
                static_cast<unsigned long long>(hash[1]));
  return text;
}

}  // namespace strandwave
