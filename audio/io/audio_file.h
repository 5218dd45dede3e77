// Audio files: reading through libsndfile and soxr, writing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace strandwave::audio {

struct Waveform {
  int sample_rate = 0;         // of the samples
  std::vector<float> samples;  // mono; full scale is 1, and some decoders go beyond
};

struct ReadOptions {
  int target_rate = 0;  // 0: the file's own
  // The most samples (over all channels, at the file's rate) to decode; 0: what half of this
  // machine's memory holds.
  int64_t max_samples = 0;
};

struct AudioFileFacts {
  int sample_rate = 0;
  int channels = 0;
  std::string format;  // "WAV", "FLAC", "OGG", "MP3", ...
};

// Formats are recognised by their content; all frames are decoded, whatever the header says their
// number is; channels are averaged, then the rate is changed (soxr HQ, as librosa does). Throws
// Error(kInput), naming the file, for: a file that is missing, empty, of no known format, cut short
// (as far as its format lets one notice: WAV, AIFF, FLAC), without a sample, with a sample that is
// not finite, too long for the memory. Throws Error(kRuntime) in a build without libsndfile.
Waveform read_audio(const std::filesystem::path& path, const ReadOptions& options = {});

// Rate and channels from the header alone: cheap. Throws as read_audio() does.
AudioFileFacts audio_file_facts(const std::filesystem::path& path);

// Whether a file's first bytes (16 are enough) are those of an audio format.
bool looks_like_audio(std::string_view first_bytes);

// Integer encodings round to the nearest and clip at full scale; what they hold reads back exactly.
enum class Encoding { kPcm16, kPcm24, kFloat };
const std::vector<std::string>& encoding_names();  // "pcm16", "pcm24", "float"
Encoding encoding_of(const std::string& name);     // throws Error(kUsage)

// The bytes of a file; container: "wav" or "flac" (which has no float, and needs libsndfile). Equal
// input gives equal bytes. *clipped, if given: samples that were beyond full scale. Throws
// Error(kUsage) for a container or encoding that there is not.
std::string audio_file_bytes(const std::string& container, std::span<const float> samples,
                             int sample_rate, Encoding encoding, int64_t* clipped = nullptr);

// The container by the path's ending, .wav or .flac; the file is complete or absent. Returns how
// many samples were clipped.
int64_t write_audio(const std::filesystem::path& path, const Waveform& waveform,
                    Encoding encoding = Encoding::kPcm16);

// Another rate (soxr HQ). Throws Error(kRuntime) in a build without soxr.
std::vector<float> resample(std::span<const float> samples, int from_rate, int to_rate);

// "libsndfile-1.2.0: WAV, FLAC, Ogg Vorbis, Ogg Opus, MP3; libsoxr-0.1.3": for `strandwave doctor`.
std::string audio_file_support();

}  // namespace strandwave::audio
