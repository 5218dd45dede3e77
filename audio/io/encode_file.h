// A file's sound as a model's codes. No LibTorch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "audio/io/audio_format.h"

namespace strandwave::audio {

// Reads the whole file at the format's rate, scales it as the format says (all of it at once) and
// encodes it, without padding or cutting. Throws Error(kInput) as read_audio() does.
std::vector<uint8_t> encode_file(const std::filesystem::path& path, const AudioFormat& format);

// The same for samples of the format's rate.
std::vector<uint8_t> encode_samples(std::span<const float> samples, const AudioFormat& format);

}  // namespace strandwave::audio
