// CRC-32C (Castagnoli, reflected polynomial 0x82f63b78; RFC 3720 appendix B.4).
#pragma once

#include <cstdint>
#include <string_view>

namespace strandwave {

uint32_t crc32c(std::string_view data);

// As TFRecord files store it: rotated right by 15 bits plus 0xa282ead8.
uint32_t masked_crc32c(std::string_view data);

}  // namespace strandwave
