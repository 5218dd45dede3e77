#include "audio/io/audio_format.h"

#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "core/base/json_config.h"

namespace strandwave::audio {
namespace {

constexpr int64_t kLongestClip = int64_t{1} << 40;

size_t position_of(const std::string& name, const std::vector<std::string>& names,
                   const std::string& what) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return static_cast<size_t>(found - names.begin());
  std::string list;
  for (const std::string& known : names) list += (list.empty() ? "" : ", ") + known;
  throw usage_error("there is no " + what + " '" + name + "': choose one of " + list);
}

}  // namespace

const std::vector<std::string>& scale_names() {
  static const std::vector<std::string> kNames = {"none", "peak", "minmax"};
  return kNames;
}

const std::vector<std::string>& length_policy_names() {
  static const std::vector<std::string> kNames = {"pad", "crop", "slice", "error"};
  return kNames;
}

std::string to_string(Scale scale) { return scale_names().at(static_cast<size_t>(scale)); }
std::string to_string(LengthPolicy policy) {
  return length_policy_names().at(static_cast<size_t>(policy));
}

Scale scale_of(const std::string& name) {
  return static_cast<Scale>(position_of(name, scale_names(), "scale"));
}

LengthPolicy length_policy_of(const std::string& name) {
  return static_cast<LengthPolicy>(position_of(name, length_policy_names(), "length policy"));
}

AudioFormat AudioFormat::from_json(const nlohmann::json& value, const std::string& where) {
  JsonObject object(value, where);
  AudioFormat format;
  format.sample_rate = static_cast<int>(
      object.integer("sample_rate", format.sample_rate, kLowestRate, kHighestRate));
  format.companding =
      companding_of(object.choice("companding", to_string(format.companding), companding_names()));
  format.scale = scale_of(object.choice("scale", to_string(format.scale), scale_names()));
  format.clip_length = object.integer("clip_length", format.clip_length, 0, kLongestClip);
  format.length =
      length_policy_of(object.choice("length", to_string(format.length), length_policy_names()));
  object.choice("channels", "mean", {"mean"});
  object.choice("resampler", "soxr HQ", {"soxr HQ"});
  object.finish();
  return format;
}

nlohmann::json AudioFormat::to_json() const {
  return {{"sample_rate", sample_rate},  {"companding", to_string(companding)},
          {"scale", to_string(scale)},   {"clip_length", clip_length},
          {"length", to_string(length)}, {"channels", "mean"},
          {"resampler", "soxr HQ"}};
}

void apply_scale(Scale scale, std::span<float> samples) {
  if (scale == Scale::kNone || samples.empty()) return;
  const auto [low, high] = std::minmax_element(samples.begin(), samples.end());
  const float least = *low, most = *high;
  if (least == most) return;
  if (scale == Scale::kPeak) {
    const float peak = std::max(std::abs(least), std::abs(most));
    for (float& x : samples) x /= peak;
    return;
  }
  // The reference's formula, with its 1e-6.
  for (float& x : samples) x = 2 * (x - least) / (most - least + 1e-6F) - 1;
}

}  // namespace strandwave::audio
