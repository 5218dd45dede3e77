#include "audio/classifier/classifier_config.h"

#include <cmath>
#include <set>

#include "audio/io/audio_format.h"
#include "core/base/error.h"
#include "core/base/json_config.h"

namespace strandwave::audio {

AudioClassifierConfig AudioClassifierConfig::of_rate(int sample_rate) {
  AudioClassifierConfig config;
  config.sample_rate = sample_rate;
  config.clip_length = sample_rate;
  config.fft = 1 << std::max(4L, std::lround(std::log2(0.128 * sample_rate)));
  config.hop = config.fft / 4;
  return config;
}

SpectrogramConfig AudioClassifierConfig::spectrogram() const {
  SpectrogramConfig config = SpectrogramConfig::of_profile(profile, sample_rate);
  config.fft = config.window = fft;
  config.hop = hop;
  config.mels = mels;
  return config;
}

nlohmann::json AudioClassifierConfig::to_json() const {
  return {{"kind", kKind},
          {"network", network},
          {"classes", classes},
          {"sample_rate", sample_rate},
          {"clip_length", clip_length},
          {"profile", profile},
          {"fft", fft},
          {"hop", hop},
          {"mels", mels}};
}

AudioClassifierConfig AudioClassifierConfig::from_json(const nlohmann::json& value,
                                                       const std::string& where) {
  JsonObject object(value, where);
  object.require({"kind", "network", "classes", "sample_rate", "clip_length"});
  object.choice("kind", kKind, {kKind});
  AudioClassifierConfig config;
  config.network = object.choice("network", "small", {"small", "resnext"});
  config.classes = object.strings("classes");
  config.sample_rate =
      static_cast<int>(object.integer("sample_rate", 0, kLowestRate, kHighestRate));
  const AudioClassifierConfig usual = of_rate(config.sample_rate);
  config.clip_length = object.integer("clip_length", 0, 2, int64_t{1} << 32);
  config.profile = object.choice("profile", "librosa", {"librosa", "librosa-0.8"});
  config.fft = static_cast<int>(object.integer("fft", usual.fft, 16, 1 << 20));
  config.hop = static_cast<int>(object.integer("hop", usual.hop, 1, 1 << 20));
  config.mels = static_cast<int>(object.integer("mels", usual.mels, 8, 512));
  object.finish();
  config.validate(where);
  return config;
}

void AudioClassifierConfig::validate(const std::string& where) const {
  const std::set<std::string> different(classes.begin(), classes.end());
  if (different.size() < 2 || different.size() != classes.size())
    throw usage_error(where + ": a classifier needs two different classes at least, got " +
                      nlohmann::json(classes).dump());
  spectrogram().validate();
}

}  // namespace strandwave::audio
