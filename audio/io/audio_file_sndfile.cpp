// A build with libsndfile and soxr.
#include <fcntl.h>
#include <sndfile.h>
#include <soxr.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>

#include "audio/io/audio_file.h"
#include "audio/io/audio_format.h"
#include "audio/io/sound_library.h"
#include "core/base/error.h"
#include "core/base/progress.h"

namespace strandwave::audio {
namespace {

struct CloseSound {
  void operator()(SNDFILE* file) const { sf_close(file); }
};
using SoundFile = std::unique_ptr<SNDFILE, CloseSound>;

class Descriptor {
 public:
  explicit Descriptor(const std::filesystem::path& path)
      : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd_ < 0) throw input_error(path.string() + ": cannot be opened: " + std::strerror(errno));
    struct stat status = {};
    if (fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode))
      throw_closed(path.string() + ": is not a regular file");
    size_ = static_cast<uint64_t>(status.st_size);
    if (size_ == 0) throw_closed(path.string() + ": is empty (0 bytes)");
  }
  ~Descriptor() { close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return fd_; }
  uint64_t size() const { return size_; }
  // Short at the end of the file.
  std::string bytes(uint64_t offset, size_t count) const {
    std::string out(count, '\0');
    const ssize_t got = pread(fd_, out.data(), count, static_cast<off_t>(offset));
    out.resize(got < 0 ? 0 : static_cast<size_t>(got));
    return out;
  }

 private:
  [[noreturn]] void throw_closed(const std::string& message) {
    close(fd_);
    throw input_error(message);
  }

  int fd_;
  uint64_t size_ = 0;
};

uint32_t word_at(const std::string& bytes, size_t at, bool big_endian) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) {
    const auto byte = static_cast<uint8_t>(bytes[at + (big_endian ? i : 3 - i)]);
    value = (value << 8) | byte;
  }
  return value;
}

// libsndfile reads a WAV or AIFF file that was cut short as if its header had said so. Recorders
// that could not go back to the header leave a length of 0 or near 2^31 or 2^32.
void refuse_cut_chunks(const Descriptor& file, const std::string& where) {
  const std::string head = file.bytes(0, 12);
  if (head.size() < 12) return;
  const bool little = head.substr(0, 4) == "RIFF", big = head.substr(0, 4) == "FORM";
  if (!little && !big) return;
  uint64_t at = 12;
  for (int chunks = 0; chunks < 10000; ++chunks) {
    const std::string chunk = file.bytes(at, 8);
    if (chunk.size() < 8) return;
    const uint32_t size = word_at(chunk, 4, big);
    const std::string name = chunk.substr(0, 4);
    if (name == "data" || name == "SSND") {
      const bool unknown = size == 0 || (size & 0x7FFFFFFFU) >= 0x7FFFF000U;
      if (!unknown && at + 8 + size > file.size())
        throw input_error(where + ": was cut short: its header announces " + std::to_string(size) +
                          " bytes of sound and " + std::to_string(file.size() - at - 8) +
                          " are there");
      return;
    }
    at += 8 + uint64_t{size} + (size & 1);
  }
}

std::string format_name(int format) {
  SF_FORMAT_INFO info = {};
  info.format = format & SF_FORMAT_TYPEMASK;
  if (sf_command(nullptr, SFC_GET_FORMAT_INFO, &info, sizeof info) != 0 || info.name == nullptr)
    return "sound";
  const std::string name = info.name;  // "WAV (Microsoft)"
  return name.substr(0, name.find(' '));
}

struct OpenSound {
  SoundFile file;
  SF_INFO info = {};
};

OpenSound open_sound(const Descriptor& descriptor, const std::string& where) {
  if (!looks_like_audio(descriptor.bytes(0, 16)))
    throw input_error(where + ": is no audio file that libsndfile knows (" + audio_file_support() +
                      ")");
  refuse_cut_chunks(descriptor, where);
  OpenSound sound;
  // By descriptor, so that the content alone decides on the format.
  sound.file.reset(sf_open_fd(descriptor.get(), SFM_READ, &sound.info, SF_FALSE));
  if (!sound.file)
    throw input_error(where + ": is damaged, or no audio file: " + sf_strerror(nullptr));
  if (sound.info.samplerate < kLowestRate || sound.info.samplerate > kHighestRate)
    throw input_error(where + ": has " + std::to_string(sound.info.samplerate) +
                      " samples per second, which is not between " + std::to_string(kLowestRate) +
                      " and " + std::to_string(kHighestRate));
  return sound;
}

// Decoded and resampled, a frame takes up to 3 x 4 bytes while vectors grow.
int64_t samples_that_fit() {
  const auto memory = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  return memory / 2 / 12;
}

std::string duration(int64_t samples, int rate) {
  return format_duration(static_cast<double>(samples) / rate);
}

// The mean of each frame's channels.
void append_mono(const std::vector<float>& frames, size_t count, size_t channels,
                 std::vector<float>& out) {
  for (size_t i = 0; i < count; ++i) {
    double sum = 0;
    for (size_t channel = 0; channel < channels; ++channel)
      sum += double{frames[i * channels + channel]};
    out.push_back(static_cast<float>(sum / static_cast<double>(channels)));
  }
}

std::vector<float> decode_mono(OpenSound& sound, const std::string& where, int64_t most) {
  constexpr int64_t kBlock = 16384;  // samples
  const auto channels = static_cast<int64_t>(sound.info.channels);
  const int64_t frames = std::max<int64_t>(1, kBlock / channels);
  std::vector<float> block(static_cast<size_t>(frames * channels));
  std::vector<float> mono;
  for (;;) {
    const auto got = static_cast<int64_t>(sf_readf_float(sound.file.get(), block.data(), frames));
    if (got <= 0) break;
    if (static_cast<int64_t>(mono.size()) + got > most)
      throw input_error(where + ": is longer than " + duration(most, sound.info.samplerate) +
                        ", which is as much as this machine's memory holds: cut it into pieces");
    append_mono(block, static_cast<size_t>(got), static_cast<size_t>(channels), mono);
  }
  if (sf_error(sound.file.get()) != SF_ERR_NO_ERROR)
    throw input_error(where + ": is damaged after " +
                      duration(static_cast<int64_t>(mono.size()), sound.info.samplerate) + ": " +
                      sf_strerror(sound.file.get()));
  return mono;
}

// FLAC counts its samples; the frame counts of MP3 and Ogg are estimates.
void refuse_cut_flac(const SF_INFO& info, size_t decoded, const std::string& where) {
  const bool is_flac = (info.format & SF_FORMAT_TYPEMASK) == SF_FORMAT_FLAC;
  if (is_flac && info.frames<SF_COUNT_MAX&& static_cast<size_t>(info.frames)> decoded)
    throw input_error(where + ": was cut short: its header announces " +
                      std::to_string(info.frames) + " samples and " + std::to_string(decoded) +
                      " are there");
}

bool can_write(int format) {
  SF_INFO info = {};
  info.samplerate = 48000;
  info.channels = 1;
  info.format = format;
  return sf_format_check(&info) == SF_TRUE;
}

// A file in memory, as libsndfile writes it.
struct MemoryFile {
  std::string bytes;
  size_t position = 0;

  static sf_count_t size(void* self) {
    return static_cast<sf_count_t>(static_cast<MemoryFile*>(self)->bytes.size());
  }
  static sf_count_t seek(sf_count_t offset, int whence, void* self) {
    auto& file = *static_cast<MemoryFile*>(self);
    const auto base = whence == SEEK_SET   ? 0
                      : whence == SEEK_CUR ? static_cast<sf_count_t>(file.position)
                                           : size(self);
    file.position = static_cast<size_t>(std::max<sf_count_t>(0, base + offset));
    return static_cast<sf_count_t>(file.position);
  }
  static sf_count_t read(void* to, sf_count_t count, void* self) {
    auto& file = *static_cast<MemoryFile*>(self);
    const size_t left = file.bytes.size() - std::min(file.position, file.bytes.size());
    const size_t got = std::min(static_cast<size_t>(count), left);
    std::memcpy(to, file.bytes.data() + std::min(file.position, file.bytes.size()), got);
    file.position += got;
    return static_cast<sf_count_t>(got);
  }
  static sf_count_t write(const void* from, sf_count_t count, void* self) {
    auto& file = *static_cast<MemoryFile*>(self);
    const size_t end = file.position + static_cast<size_t>(count);
    if (end > file.bytes.size()) file.bytes.resize(end);
    std::memcpy(file.bytes.data() + file.position, from, static_cast<size_t>(count));
    file.position = end;
    return count;
  }
  static sf_count_t tell(void* self) {
    return static_cast<sf_count_t>(static_cast<MemoryFile*>(self)->position);
  }
};

}  // namespace

Waveform read_audio(const std::filesystem::path& path, const ReadOptions& options) {
  const std::string where = path.string();
  const Descriptor descriptor(path);
  OpenSound sound = open_sound(descriptor, where);
  const int64_t most = options.max_samples > 0 ? options.max_samples : samples_that_fit();
  Waveform wave;
  wave.sample_rate = sound.info.samplerate;
  wave.samples = decode_mono(sound, where, most);
  refuse_cut_flac(sound.info, wave.samples.size(), where);
  if (wave.samples.empty()) throw input_error(where + ": holds no samples");
  const auto bad = std::find_if(wave.samples.begin(), wave.samples.end(),
                                [](float x) { return !std::isfinite(x); });
  if (bad != wave.samples.end())
    throw input_error(where + ": sample " + std::to_string(bad - wave.samples.begin()) +
                      " is not finite (" + (std::isnan(*bad) ? "NaN" : "infinite") + ")");
  if (options.target_rate > 0 && options.target_rate != wave.sample_rate) {
    wave.samples = resample(wave.samples, wave.sample_rate, options.target_rate);
    wave.sample_rate = options.target_rate;
  }
  return wave;
}

AudioFileFacts audio_file_facts(const std::filesystem::path& path) {
  const Descriptor descriptor(path);
  const OpenSound sound = open_sound(descriptor, path.string());
  return {sound.info.samplerate, sound.info.channels, format_name(sound.info.format)};
}

std::vector<float> resample(std::span<const float> samples, int from_rate, int to_rate) {
  if (from_rate == to_rate) return {samples.begin(), samples.end()};
  const double ratio = static_cast<double>(to_rate) / from_rate;
  const auto wanted =
      static_cast<size_t>(std::llround(static_cast<double>(samples.size()) * ratio));
  // Room for one sample more: soxr's own rounding may differ.
  std::vector<float> out(wanted + 1);
  const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
  const soxr_io_spec_t types = soxr_io_spec(SOXR_FLOAT32_I, SOXR_FLOAT32_I);
  const soxr_runtime_spec_t one_thread = soxr_runtime_spec(1);
  size_t read = 0, made = 0;
  const soxr_error_t error =
      soxr_oneshot(from_rate, to_rate, 1, samples.data(), samples.size(), &read, out.data(),
                   out.size(), &made, &types, &quality, &one_thread);
  if (error != nullptr)
    throw runtime_failure("resampling from " + std::to_string(from_rate) + " to " +
                          std::to_string(to_rate) + " failed: " + error);
  out.resize(std::min(made, std::max<size_t>(wanted, 1)));
  return out;
}

std::string flac_file_bytes(std::span<const int32_t> samples, int sample_rate, int bits) {
  SF_VIRTUAL_IO io = {MemoryFile::size, MemoryFile::seek, MemoryFile::read, MemoryFile::write,
                      MemoryFile::tell};
  MemoryFile memory;
  SF_INFO info = {};
  info.samplerate = sample_rate;
  info.channels = 1;
  info.format = SF_FORMAT_FLAC | (bits == 16 ? SF_FORMAT_PCM_16 : SF_FORMAT_PCM_24);
  SoundFile file(sf_open_virtual(&io, SFM_WRITE, &info, &memory));
  if (!file) throw runtime_failure(std::string("FLAC cannot be written: ") + sf_strerror(nullptr));
  // libsndfile takes the highest bits.
  std::vector<int> shifted(samples.size());
  std::transform(samples.begin(), samples.end(), shifted.begin(),
                 [&](int32_t x) { return x * (1 << (32 - bits)); });
  const auto count = static_cast<sf_count_t>(shifted.size());
  if (sf_write_int(file.get(), shifted.data(), count) != count)
    throw runtime_failure(std::string("FLAC cannot be written: ") + sf_strerror(file.get()));
  file.reset();
  return memory.bytes;
}

std::string audio_file_support() {
  std::array<char, 128> version = {};
  sf_command(nullptr, SFC_GET_LIB_VERSION, version.data(), version.size());
  std::string text = version.data();
  text += ": WAV, AIFF, AU";
  if (can_write(SF_FORMAT_FLAC | SF_FORMAT_PCM_16)) text += ", FLAC";
  if (can_write(SF_FORMAT_OGG | SF_FORMAT_VORBIS)) text += ", Ogg Vorbis";
  if (can_write(SF_FORMAT_OGG | SF_FORMAT_OPUS)) text += ", Ogg Opus";
  if (can_write(SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III)) text += ", MP3";
  return text + "; " + soxr_version();
}

}  // namespace strandwave::audio
