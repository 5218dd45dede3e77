#include "audio/io/encode_file.h"

#include "audio/io/audio_file.h"
#include "audio/io/companding.h"

namespace strandwave::audio {

std::vector<uint8_t> encode_file(const std::filesystem::path& path, const AudioFormat& format) {
  return encode_samples(read_audio(path, {.target_rate = format.sample_rate}).samples, format);
}

std::vector<uint8_t> encode_samples(std::span<const float> samples, const AudioFormat& format) {
  std::vector<float> scaled(samples.begin(), samples.end());
  apply_scale(format.scale, scaled);
  std::vector<uint8_t> codes(scaled.size());
  encode(format.companding, scaled, codes);
  return codes;
}

}  // namespace strandwave::audio
