// 8-bit codes of samples.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace strandwave::audio {

// All have 256 codes, and 128 is silence.
//   mu-law   ITU-T G.711's curve, mu = 255, as torchaudio.functional computes it:
//            y = sign(x) ln(1 + 255 |x|) / ln 256, code = trunc((y + 1) / 2 * 255 + 0.5);
//            y = code / 255 * 2 - 1. Every code decodes to a value that has that code; code 128
//            decodes to 8.6e-5.
//   s4       the same curve as the public SaShiMi code quantises it (dataloaders/audio.py):
//            code = trunc((y + 1) / 2 * 255.99 + 0.005), y = code / 128 - 1. Only 130 codes decode
//            to a value that has that code. For models that were trained with it.
//   linear   code = round((x + 1) * 128), x = code / 128 - 1.
// Samples beyond [-1, 1] are clipped. (Linear: to [-1, 1 - 1/128].)
enum class Companding { kMuLaw, kS4, kLinear };

inline constexpr uint8_t kSilence = 128;

const std::vector<std::string>& companding_names();  // "mu-law", "s4", "linear"
std::string to_string(Companding companding);
Companding companding_of(const std::string& name);  // throws Error(kUsage)

// Returns how many samples were beyond [-1, 1]. The samples must be finite; both spans have the
// same length.
int64_t encode(Companding companding, std::span<const float> samples, std::span<uint8_t> codes);
void decode(Companding companding, std::span<const uint8_t> codes, std::span<float> samples);

}  // namespace strandwave::audio
