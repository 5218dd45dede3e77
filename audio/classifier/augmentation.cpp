#include "audio/classifier/augmentation.h"

#include <algorithm>
#include <cmath>

namespace strandwave::audio {
namespace {

// Values of the stream: one each for shift, gain and level, then the noise.
enum : uint64_t { kShiftValue, kGainValue, kLevelValue, kFirstNoiseValue };

double between_ends(const RandomStream& stream, uint64_t value) {
  return 2 * stream.uniform(value) - 1;
}

void shift(std::vector<float>& clip, int64_t by) {
  const auto n = static_cast<int64_t>(clip.size());
  by = std::clamp(by, -n, n);
  if (by >= 0) {
    std::copy_backward(clip.begin(), clip.end() - by, clip.end());
    std::fill_n(clip.begin(), by, 0.0F);
  } else {
    std::copy(clip.begin() - by, clip.end(), clip.begin());
    std::fill(clip.end() + by, clip.end(), 0.0F);
  }
}

void add_noise(std::vector<float>& clip, double share, const RandomStream& stream) {
  double power = 0;
  for (const float x : clip) power += static_cast<double>(x) * x;
  const double deviation = share * std::sqrt(power / static_cast<double>(clip.size()));
  for (size_t t = 0; t < clip.size(); ++t)
    clip[t] += static_cast<float>(deviation * stream.normal(kFirstNoiseValue + t));
}

}  // namespace

nlohmann::json Augmentation::to_json() const {
  return {{"shift", shift}, {"gain", gain}, {"noise", noise}};
}

void augment(std::vector<float>& clip, int sample_rate, const Augmentation& augmentation,
             const RandomStream& stream) {
  if (clip.empty()) return;
  if (augmentation.shift > 0)
    shift(clip, std::llround(between_ends(stream, kShiftValue) * augmentation.shift * sample_rate));
  if (augmentation.gain > 0) {
    const double decibels = between_ends(stream, kGainValue) * augmentation.gain;
    const auto factor = static_cast<float>(std::pow(10, decibels / 20));
    for (float& x : clip) x *= factor;
  }
  if (augmentation.noise > 0)
    add_noise(clip, stream.uniform(kLevelValue) * augmentation.noise, stream);
}

}  // namespace strandwave::audio
