#include "audio/dsp/mel.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/base/error.h"
#include "core/base/spelling.h"

namespace strandwave::audio {
namespace {

// Slaney's scale (Auditory Toolbox): linear up to 1 kHz, 27 steps per factor of 6.4 above.
constexpr double kLinearHertz = 200.0 / 3, kCorner = 1000, kCornerMel = kCorner / kLinearHertz;
const double kLogStep = std::log(6.4) / 27;

double to_mel(SpectrogramConfig::MelScale scale, double hertz) {
  if (scale == SpectrogramConfig::MelScale::kHtk) return 1127 * std::log1p(hertz / 700);
  return hertz < kCorner ? hertz / kLinearHertz : kCornerMel + std::log(hertz / kCorner) / kLogStep;
}

double to_hertz(SpectrogramConfig::MelScale scale, double mel) {
  if (scale == SpectrogramConfig::MelScale::kHtk) return 700 * std::expm1(mel / 1127);
  return mel < kCornerMel ? mel * kLinearHertz : kCorner * std::exp((mel - kCornerMel) * kLogStep);
}

// Position i of a signal of n samples that is mirrored at both ends, again and again.
int64_t reflected(int64_t i, int64_t n) {
  if (n == 1) return 0;
  const int64_t period = 2 * (n - 1);
  i = ((i % period) + period) % period;
  return i < n ? i : period - i;
}

std::vector<double> hann(int length) {
  std::vector<double> window(static_cast<size_t>(length));
  for (int i = 0; i < length; ++i)
    window[static_cast<size_t>(i)] = 0.5 - 0.5 * std::cos(2 * std::numbers::pi * i / length);
  return window;
}

}  // namespace

const std::vector<std::string>& SpectrogramConfig::profiles() {
  static const std::vector<std::string> names = {"librosa", "librosa-0.8", "torchaudio", "vggish"};
  return names;
}

SpectrogramConfig SpectrogramConfig::of_profile(const std::string& name, int sample_rate) {
  SpectrogramConfig config;
  config.profile = name;
  config.sample_rate = sample_rate;
  config.high = sample_rate / 2.0;
  if (name == "librosa" || name == "librosa-0.8") {
    if (name == "librosa-0.8") config.padding = Padding::kReflect;
    return config;
  }
  config.scale = MelScale::kHtk;
  config.equal_area = false;
  config.window = 400;
  if (name == "torchaudio") {
    config.fft = 400;
    config.hop = 200;
    config.padding = Padding::kReflect;
    return config;
  }
  if (name != "vggish") {
    const std::string near = nearest_word(name, profiles());
    throw usage_error("there is no spectrogram profile \"" + name + "\"" +
                      (near.empty() ? "" : "; the nearest is \"" + near + "\"") +
                      " (librosa, librosa-0.8, torchaudio, vggish)");
  }
  if (sample_rate != 16000)
    throw usage_error("the spectrogram profile vggish is for 16000 samples per second, got " +
                      std::to_string(sample_rate) + ": resample first");
  config.fft = 512;
  config.hop = 160;
  config.padding = Padding::kNone;
  config.power = 1;
  config.mels = 64;
  config.low = 125;
  config.high = 7500;
  config.triangles_in_mel = true;
  config.log_offset = 0.01;
  return config;
}

int64_t SpectrogramConfig::frames(int64_t samples) const {
  if (samples == 0) return 0;
  if (padding != Padding::kNone) return 1 + samples / hop;
  return samples < window ? 0 : 1 + (samples - window) / hop;
}

void SpectrogramConfig::validate() const {
  const auto fail = [](const std::string& text) { throw usage_error("spectrogram: " + text); };
  if (sample_rate < 1) fail("a sample rate must be 1 or more, got " + std::to_string(sample_rate));
  if (fft < 2 || fft > 1 << 24)
    fail("fft must be between 2 and 2^24 samples, got " + std::to_string(fft));
  if (window < 1 || window > fft)
    fail("a window must have between 1 and fft = " + std::to_string(fft) + " samples, got " +
         std::to_string(window));
  if (hop < 1) fail("hop must be 1 sample or more, got " + std::to_string(hop));
  if (power != 1 && power != 2) fail("power must be 1 or 2, got " + std::to_string(power));
  if (mels < 1) fail("mels must be 1 or more, got " + std::to_string(mels));
  if (!(low >= 0 && low < high && high <= sample_rate / 2.0))
    fail("bands must lie between 0 and half the sample rate, " + std::to_string(sample_rate / 2.0) +
         " Hz, got " + std::to_string(low) + " to " + std::to_string(high));
}

Matrix mel_filters(const SpectrogramConfig& config) {
  const int bins = config.fft / 2 + 1;
  std::vector<double> edges;  // of the triangles, in Hz or in mel
  const double from = to_mel(config.scale, config.low), to = to_mel(config.scale, config.high);
  for (int i = 0; i < config.mels + 2; ++i) {
    const double mel = from + (to - from) * i / (config.mels + 1);
    edges.push_back(config.triangles_in_mel ? mel : to_hertz(config.scale, mel));
  }
  Matrix weights(bins, config.mels);
  for (int k = config.triangles_in_mel ? 1 : 0; k < bins; ++k) {
    const double hertz = static_cast<double>(k) * config.sample_rate / config.fft;
    const double x = config.triangles_in_mel ? to_mel(config.scale, hertz) : hertz;
    for (int m = 0; m < config.mels; ++m) {
      const double* edge = edges.data() + m;
      const double up = (x - edge[0]) / (edge[1] - edge[0]);
      const double down = (edge[2] - x) / (edge[2] - edge[1]);
      const double height = config.equal_area ? 2 / (edge[2] - edge[0]) : 1;
      weights.at(k, m) = height * std::max(0.0, std::min(up, down));
    }
  }
  return weights;
}

Spectrogram::Spectrogram(const SpectrogramConfig& config)
    : config_((config.validate(), config)), window_(hann(config.window)), fft_(config.fft) {}

Matrix Spectrogram::operator()(std::span<const float> samples) const {
  const auto n = static_cast<int64_t>(samples.size());
  const bool padded = config_.padding != SpectrogramConfig::Padding::kNone;
  // A window shorter than the transform lies in its middle where frames are centred.
  const int64_t before = padded ? (config_.fft - config_.window) / 2 : 0;
  Matrix result(config_.frames(n), fft_.bins());
  RealFft::Buffers buffers(fft_);
  const std::span<double> frame = buffers.input();
  std::fill(frame.begin(), frame.end(), 0.0);
  for (int64_t t = 0; t < result.rows; ++t) {
    const int64_t start = t * config_.hop - (padded ? config_.fft / 2 : 0) + before;
    for (int64_t i = 0; i < config_.window; ++i) {
      int64_t at = start + i;
      double x = 0;
      if (config_.padding == SpectrogramConfig::Padding::kReflect) at = reflected(at, n);
      if (at >= 0 && at < n) x = samples[static_cast<size_t>(at)];
      frame[static_cast<size_t>(before + i)] = x * window_[static_cast<size_t>(i)];
    }
    fft_.transform(buffers);
    for (int64_t k = 0; k < result.columns; ++k) {
      const std::complex<double> value = buffers.output()[static_cast<size_t>(k)];
      const double power = std::norm(value);
      result.at(t, k) = config_.power == 1 ? std::sqrt(power) : power;
    }
  }
  return result;
}

MelSpectrogram::MelSpectrogram(const SpectrogramConfig& config)
    : spectrogram_(config), bands_(static_cast<size_t>(config.mels)) {
  const Matrix weights = mel_filters(config);
  for (int64_t m = 0; m < weights.columns; ++m) {
    Band& band = bands_[static_cast<size_t>(m)];
    for (int64_t k = 0; k < weights.rows; ++k) {
      if (weights.at(k, m) == 0) continue;
      if (band.weights.empty()) band.first = static_cast<int>(k);
      band.weights.push_back(weights.at(k, m));
    }
  }
}

Matrix MelSpectrogram::operator()(std::span<const float> samples) const {
  const Matrix spectrum = spectrogram_(samples);
  Matrix result(spectrum.rows, static_cast<int64_t>(bands_.size()));
  for (int64_t t = 0; t < result.rows; ++t)
    for (int64_t m = 0; m < result.columns; ++m) {
      const Band& band = bands_[static_cast<size_t>(m)];
      const double* bins = spectrum.row(t).data() + band.first;
      double sum = 0;
      for (size_t k = 0; k < band.weights.size(); ++k) sum += band.weights[k] * bins[k];
      result.at(t, m) = config().log_offset > 0 ? std::log(sum + config().log_offset) : sum;
    }
  return result;
}

void power_to_db(Matrix& spectrogram, const DecibelOptions& options) {
  std::vector<double>& values = spectrogram.values;
  if (values.empty()) return;
  const double largest = *std::max_element(values.begin(), values.end());
  const double reference = std::max(options.reference.value_or(largest), options.amin);
  for (double& value : values)
    value = 10 * std::log10(std::max(value, options.amin)) - 10 * std::log10(reference);
  if (!options.top_db) return;
  const double floor = *std::max_element(values.begin(), values.end()) - *options.top_db;
  for (double& value : values) value = std::max(value, floor);
}

}  // namespace strandwave::audio
