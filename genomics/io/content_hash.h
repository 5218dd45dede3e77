// A fast 128-bit hash of a stream of bytes, to tell files apart. Not cryptographic.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace strandwave {

// Four lanes of 16 bytes, each folded by a 64 x 64 -> 128 bit product; the result depends on the
// bytes and their number only, never on how they were divided over add() calls. Stored in files:
// never change.
class ContentHash {
 public:
  ContentHash();
  void add(const void* bytes, size_t size);
  std::array<uint64_t, 2> value() const;

 private:
  static constexpr size_t kStripe = 64;
  void stripe(const unsigned char* bytes);

  std::array<uint64_t, 8> lanes_;
  std::array<unsigned char, kStripe> rest_{};
  size_t rest_size_ = 0;
  uint64_t total_ = 0;
};

std::array<uint64_t, 2> content_hash(std::string_view bytes);
// 32 hexadecimal digits.
std::string to_hex(const std::array<uint64_t, 2>& hash);

}  // namespace strandwave
