// Sound from a pipe, as it comes. No LibTorch, no libsndfile.
#pragma once

#include <cstdint>
#include <istream>
#include <optional>
#include <span>
#include <string>

namespace strandwave::audio {

// Reads WAV (PCM of 8, 16, 24, 32 bits, float of 32 bits, any number of channels, which are
// averaged) or, with raw_rate, bare 16-bit little-endian mono samples. The length in a WAV header
// is a bound only: a stream that ends before it, or whose header says 0 or 2^32 - 1 as that of a
// recorder still running, is read to its end.
class WavStream {
 public:
  // Reads the header. Throws Error(kInput) naming `where` for what is no WAV or a kind of WAV that
  // is not listed above.
  WavStream(std::istream& in, std::string where, std::optional<int> raw_rate = {});

  int sample_rate() const { return sample_rate_; }
  // Fills `samples` as far as the stream goes on and returns how many there are; fewer than asked
  // for at the end only. Throws Error(kInput) when the stream breaks inside a frame or holds a
  // sample that is not finite.
  size_t read(std::span<float> samples);

 private:
  void read_header();
  void read_format(const std::string& chunk);
  std::string bytes(size_t count);
  float sample_at(const unsigned char* bytes) const;

  std::istream& in_;
  std::string where_;
  int sample_rate_ = 0, channels_ = 1, bits_ = 16;
  bool floating_ = false;
  std::optional<uint64_t> left_;  // bytes; nothing: to the end
  uint64_t done_ = 0;             // frames
};

}  // namespace strandwave::audio
