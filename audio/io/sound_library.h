// What differs between builds with and without libsndfile and soxr, besides audio_file.h.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace strandwave::audio {

// A FLAC file of mono samples of 16 or 24 bits, each in the low bits of its number.
std::string flac_file_bytes(std::span<const int32_t> samples, int sample_rate, int bits);

}  // namespace strandwave::audio
