// Small sound files that the tests write for themselves.
#pragma once

#include <sndfile.h>

#include <cmath>
#include <numbers>
#include <stdexcept>
#include <string>
#include <vector>

namespace strandwave::audio::test {

inline std::vector<float> sine(size_t length, double frequency, int rate, double amplitude = 0.5) {
  std::vector<float> samples(length);
  for (size_t t = 0; t < length; ++t)
    samples[t] = static_cast<float>(amplitude *
                                    std::sin(2 * std::numbers::pi * frequency *
                                             static_cast<double>(t) / static_cast<double>(rate)));
  return samples;
}

// Through libsndfile; interleaved channels. format: SF_FORMAT_...
inline std::string write_sound(const std::string& path, int format, int rate, int channels,
                               const std::vector<float>& samples) {
  SF_INFO info = {};
  info.samplerate = rate;
  info.channels = channels;
  info.format = format;
  SNDFILE* file = sf_open(path.c_str(), SFM_WRITE, &info);
  if (file == nullptr) throw std::runtime_error(sf_strerror(nullptr));
  // Blocks: libsndfile's Vorbis encoder overruns its stack on long ones.
  constexpr size_t kBlock = 1024;
  for (size_t at = 0; at < samples.size(); at += kBlock)
    sf_write_float(file, samples.data() + at,
                   static_cast<sf_count_t>(std::min(kBlock, samples.size() - at)));
  sf_close(file);
  return path;
}

}  // namespace strandwave::audio::test
