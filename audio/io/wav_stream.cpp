#include "audio/io/wav_stream.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "core/base/error.h"

namespace strandwave::audio {
namespace {

constexpr uint32_t kMostHeader = 1 << 20;  // bytes of a chunk that is not sound

uint32_t word_at(const std::string& bytes, size_t at, size_t count) {
  uint32_t value = 0;
  for (size_t i = 0; i < count; ++i)
    value |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
  return value;
}

}  // namespace

WavStream::WavStream(std::istream& in, std::string where, std::optional<int> raw_rate)
    : in_(in), where_(std::move(where)) {
  if (raw_rate)
    sample_rate_ = *raw_rate;
  else
    read_header();
}

std::string WavStream::bytes(size_t count) {
  std::string data(count, '\0');
  in_.read(data.data(), static_cast<std::streamsize>(count));
  data.resize(static_cast<size_t>(in_.gcount()));
  return data;
}

void WavStream::read_header() {
  const std::string start = bytes(12);
  const bool riff = start.size() == 12 &&
                    (start.starts_with("RIFF") || start.starts_with("RF64")) &&
                    start.substr(8) == "WAVE";
  if (!riff)
    throw input_error(where_ +
                      " is no WAV stream (it begins with neither RIFF nor RF64): convert it on the "
                      "way, or give --raw RATE for bare 16-bit samples");
  bool format = false;
  while (true) {
    const std::string chunk = bytes(8);
    if (chunk.size() < 8)
      throw input_error(where_ + " ends inside its WAV header: there is no chunk with sound");
    const uint32_t size = word_at(chunk, 4, 4);
    if (chunk.starts_with("data")) {
      if (!format)
        throw input_error(where_ + " has sound before its format chunk: not a valid WAV");
      if (size != 0 && size != 0xFFFFFFFFU) left_ = size;
      return;
    }
    if (size > kMostHeader)
      throw input_error(where_ + ": a header chunk of " + std::to_string(size) +
                        " bytes is not to be believed");
    const std::string content = bytes(size + (size & 1));
    if (!chunk.starts_with("fmt ")) continue;
    read_format(content);
    format = true;
  }
}

void WavStream::read_format(const std::string& chunk) {
  if (chunk.size() < 16) throw input_error(where_ + ": the WAV format chunk is cut off");
  uint32_t tag = word_at(chunk, 0, 2);
  if (tag == 0xFFFE && chunk.size() >= 26) tag = word_at(chunk, 24, 2);  // WAVE_FORMAT_EXTENSIBLE
  channels_ = static_cast<int>(word_at(chunk, 2, 2));
  const uint32_t rate = word_at(chunk, 4, 4);
  bits_ = static_cast<int>(word_at(chunk, 14, 2));
  floating_ = tag == 3;
  const bool pcm = tag == 1 && (bits_ == 8 || bits_ == 16 || bits_ == 24 || bits_ == 32);
  if (!pcm && !(floating_ && bits_ == 32))
    throw input_error(where_ + ": WAV of kind " + std::to_string(tag) + " with " +
                      std::to_string(bits_) +
                      " bits cannot be read as a stream; PCM of 8 to 32 bits and 32-bit float can");
  if (channels_ < 1 || rate < 1 || rate > 10'000'000)
    throw input_error(where_ + ": WAV with " + std::to_string(channels_) + " channels at " +
                      std::to_string(rate) + " Hz");
  sample_rate_ = static_cast<int>(rate);
}

float WavStream::sample_at(const unsigned char* data) const {
  if (floating_) {
    float value;
    std::memcpy(&value, data, sizeof value);
    return value;
  }
  if (bits_ == 8) return (static_cast<float>(data[0]) - 128) / 128;
  uint32_t value = 0;
  const int count = bits_ / 8;
  for (int i = 0; i < count; ++i) value |= static_cast<uint32_t>(data[i]) << (32 - bits_ + 8 * i);
  return static_cast<float>(static_cast<int32_t>(value)) * 0x1p-31F;
}

size_t WavStream::read(std::span<float> samples) {
  const auto width = static_cast<size_t>(bits_ / 8);
  const size_t frame = width * static_cast<size_t>(channels_);
  size_t wanted = samples.size() * frame;
  if (left_) wanted = static_cast<size_t>(std::min<uint64_t>(wanted, *left_));
  const std::string data = bytes(wanted);
  if (left_) *left_ -= data.size();
  if (data.size() % frame != 0)
    throw input_error(where_ + " ends inside sample " +
                      std::to_string(done_ + data.size() / frame) + ": it was cut off");
  const size_t frames = data.size() / frame;
  const auto* at = reinterpret_cast<const unsigned char*>(data.data());
  for (size_t t = 0; t < frames; ++t) {
    float sum = 0;
    for (int channel = 0; channel < channels_; ++channel, at += width) sum += sample_at(at);
    samples[t] = sum / static_cast<float>(channels_);
    if (!std::isfinite(samples[t]))
      throw input_error(where_ + ", sample " + std::to_string(done_ + t) +
                        " is not a finite number");
  }
  done_ += frames;
  return frames;
}

}  // namespace strandwave::audio
