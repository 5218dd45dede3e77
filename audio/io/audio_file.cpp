#include "audio/io/audio_file.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "audio/io/sound_library.h"
#include "core/base/error.h"
#include "core/base/files.h"

namespace strandwave::audio {
namespace {

int bits_of(Encoding encoding) {
  switch (encoding) {
    case Encoding::kPcm16:
      return 16;
    case Encoding::kPcm24:
      return 24;
    case Encoding::kFloat:
      return 32;
  }
  return 0;
}

// x * 2^(bits - 1), as readers divide by that.
std::vector<int32_t> to_integers(std::span<const float> samples, int bits, int64_t* clipped) {
  const double scale = std::exp2(bits - 1);
  std::vector<int32_t> integers(samples.size());
  for (size_t i = 0; i < samples.size(); ++i) {
    const double value = std::nearbyint(double{samples[i]} * scale);
    const double inside = std::clamp(value, -scale, scale - 1);
    // Full scale itself is one step too far: that is no clipping to speak of.
    *clipped += std::abs(double{samples[i]}) > 1 ? 1 : 0;
    integers[i] = static_cast<int32_t>(inside);
  }
  return integers;
}

void append_little_endian(std::string& out, uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>((value >> (8 * i)) & 0xFF);
}

// RIFF WAVE: 1 is integer PCM, 3 is IEEE float, whose fmt chunk has a size of extensions and which
// needs a fact chunk.
std::string wav_header(size_t frames, int sample_rate, int bits) {
  const bool floating = bits == 32;
  const auto bytes = static_cast<uint32_t>(bits / 8);
  const auto data = static_cast<uint32_t>(frames) * bytes;
  const uint32_t padding = data & 1;
  const uint32_t before = floating ? 4 + 8 + 18 + 8 + 4 + 8 : 4 + 8 + 16 + 8;
  std::string out = "RIFF";
  append_little_endian(out, before + data + padding, 4);
  out += "WAVEfmt ";
  append_little_endian(out, floating ? 18 : 16, 4);
  append_little_endian(out, floating ? 3 : 1, 2);
  append_little_endian(out, 1, 2);  // channels
  append_little_endian(out, static_cast<uint32_t>(sample_rate), 4);
  append_little_endian(out, static_cast<uint32_t>(sample_rate) * bytes, 4);
  append_little_endian(out, bytes, 2);
  append_little_endian(out, static_cast<uint32_t>(bits), 2);
  if (floating) {
    append_little_endian(out, 0, 2);
    out += "fact";
    append_little_endian(out, 4, 4);
    append_little_endian(out, static_cast<uint32_t>(frames), 4);
  }
  out += "data";
  append_little_endian(out, data, 4);
  return out;
}

void check_sound(std::span<const float> samples, int sample_rate) {
  if (sample_rate <= 0)
    throw usage_error("a sound of " + std::to_string(sample_rate) + " samples per second");
  const auto bad =
      std::find_if(samples.begin(), samples.end(), [](float x) { return !std::isfinite(x); });
  if (bad != samples.end())
    throw runtime_failure("sample " + std::to_string(bad - samples.begin()) +
                          " of a sound to be written is not finite");
}

std::string wav_file_bytes(std::span<const float> samples, int sample_rate, Encoding encoding,
                           int64_t* clipped) {
  const int bits = bits_of(encoding);
  const uint64_t data = uint64_t{samples.size()} * static_cast<uint64_t>(bits / 8);
  if (data > std::numeric_limits<uint32_t>::max() - 64)
    throw usage_error("a sound of " + std::to_string(samples.size()) +
                      " samples is too long for a WAV file (4 GiB): write pieces, or FLAC");
  std::string out = wav_header(samples.size(), sample_rate, bits);
  out.reserve(out.size() + data + 1);
  if (encoding == Encoding::kFloat) {
    for (const float x : samples) append_little_endian(out, std::bit_cast<uint32_t>(x), 4);
    return out;
  }
  for (const int32_t value : to_integers(samples, bits, clipped))
    append_little_endian(out, static_cast<uint32_t>(value), bits / 8);
  if (data % 2 != 0) out += '\0';
  return out;
}

bool begins(std::string_view bytes, size_t at, std::string_view magic) {
  return bytes.size() >= at + magic.size() && bytes.substr(at, magic.size()) == magic;
}

// MPEG audio of layer II or III: eleven bits set, a version and a layer that exist. (Layer I would
// also be what UTF-16 text begins with.)
bool looks_like_mpeg(std::string_view bytes) {
  if (bytes.size() < 2 || static_cast<uint8_t>(bytes[0]) != 0xFF) return false;
  const auto second = static_cast<uint8_t>(bytes[1]);
  const int version = (second >> 3) & 3, layer = (second >> 1) & 3;
  return (second & 0xE0) == 0xE0 && version != 1 && (layer == 1 || layer == 2);
}

}  // namespace

bool looks_like_audio(std::string_view bytes) {
  const bool riff =
      begins(bytes, 0, "RIFF") || begins(bytes, 0, "RIFX") || begins(bytes, 0, "RF64");
  if (riff && begins(bytes, 8, "WAVE")) return true;
  if (begins(bytes, 0, "FORM") && (begins(bytes, 8, "AIFF") || begins(bytes, 8, "AIFC")))
    return true;
  for (const char* magic : {"fLaC", "OggS", "ID3", ".snd", "caff", "riff\x2e\x91\xcf\x11"})
    if (begins(bytes, 0, magic)) return true;
  return looks_like_mpeg(bytes);
}

const std::vector<std::string>& encoding_names() {
  static const std::vector<std::string> kNames = {"pcm16", "pcm24", "float"};
  return kNames;
}

Encoding encoding_of(const std::string& name) {
  const auto& names = encoding_names();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end())
    throw usage_error("there is no encoding '" + name + "': choose pcm16, pcm24 or float");
  return static_cast<Encoding>(found - names.begin());
}

std::string audio_file_bytes(const std::string& container, std::span<const float> samples,
                             int sample_rate, Encoding encoding, int64_t* clipped) {
  check_sound(samples, sample_rate);
  int64_t count = 0;
  std::string bytes;
  if (container == "wav") {
    bytes = wav_file_bytes(samples, sample_rate, encoding, &count);
  } else if (container == "flac") {
    if (encoding == Encoding::kFloat)
      throw usage_error("FLAC holds no floating-point samples: take pcm16 or pcm24, or a WAV file");
    bytes = flac_file_bytes(to_integers(samples, bits_of(encoding), &count), sample_rate,
                            bits_of(encoding));
  } else {
    throw usage_error("sound is written as wav or flac, not as '" + container + "'");
  }
  if (clipped != nullptr) *clipped = count;
  return bytes;
}

int64_t write_audio(const std::filesystem::path& path, const Waveform& waveform,
                    Encoding encoding) {
  std::string ending = path.extension().string();
  if (ending != ".wav" && ending != ".flac")
    throw usage_error(path.string() + ": the name of a sound file must end in .wav or .flac");
  int64_t clipped = 0;
  write_file_atomically(path, audio_file_bytes(ending.substr(1), waveform.samples,
                                               waveform.sample_rate, encoding, &clipped));
  return clipped;
}

}  // namespace strandwave::audio
