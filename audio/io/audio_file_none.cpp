// A build without libsndfile and soxr.
#include "audio/io/audio_file.h"
#include "audio/io/sound_library.h"
#include "core/base/error.h"

namespace strandwave::audio {
namespace {

Error without_library(const std::string& what) {
  return runtime_failure(what +
                         ": this program was built without libsndfile and soxr "
                         "(STRANDWAVE_SNDFILE=OFF). Prepare the data with one that has them: "
                         "strandwave audio prepare DATA -o FILE");
}

}  // namespace

Waveform read_audio(const std::filesystem::path& path, const ReadOptions& /*options*/) {
  throw without_library(path.string());
}

AudioFileFacts audio_file_facts(const std::filesystem::path& path) {
  throw without_library(path.string());
}

std::vector<float> resample(std::span<const float> samples, int from_rate, int to_rate) {
  if (from_rate == to_rate) return {samples.begin(), samples.end()};
  throw without_library("from " + std::to_string(from_rate) + " to " + std::to_string(to_rate) +
                        " samples per second");
}

std::string flac_file_bytes(std::span<const int32_t> /*samples*/, int /*sample_rate*/,
                            int /*bits*/) {
  throw without_library("FLAC");
}

std::string audio_file_support() {
  return "none: this program was built without libsndfile and soxr; it reads prepared datasets and "
         "writes WAV";
}

}  // namespace strandwave::audio
