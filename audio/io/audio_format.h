// What the numbers of a waveform model are: kept with every dataset and every checkpoint.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "audio/io/companding.h"

namespace strandwave::audio {

// How a file's samples are scaled, once, before it is cut:
//   none     full scale is 1
//   peak     x / max |x|
//   minmax   the range from least to greatest becomes [-1, 1], which loses loudness and shifts the
//            zero line (the public SaShiMi code does this)
enum class Scale { kNone, kPeak, kMinMax };

// What becomes of a file that has not `clip_length` samples:
//   pad      shorter ones get silence at their end, longer ones are cut
//   crop     longer ones are cut; shorter ones stay short
//   slice    longer ones become clips of that length one behind the other, the last one shorter
//   error    it is refused
enum class LengthPolicy { kPad, kCrop, kSlice, kError };

const std::vector<std::string>& scale_names();          // "none", "peak", "minmax"
const std::vector<std::string>& length_policy_names();  // "pad", "crop", "slice", "error"
std::string to_string(Scale scale);
std::string to_string(LengthPolicy policy);
Scale scale_of(const std::string& name);                 // throws Error(kUsage)
LengthPolicy length_policy_of(const std::string& name);  // throws Error(kUsage)

// Scales a whole file. Where all samples are equal there is nothing to scale by: they stay.
void apply_scale(Scale scale, std::span<float> samples);

// {"sample_rate": 16000, "companding": "mu-law", "scale": "none", "clip_length": 16000,
//  "length": "pad", "channels": "mean", "resampler": "soxr HQ"}
// The last two are how files of several channels and other rates were read: one way each.
struct AudioFormat {
  int sample_rate = 16000;  // per second
  Companding companding = Companding::kMuLaw;
  Scale scale = Scale::kNone;
  LengthPolicy length = LengthPolicy::kPad;
  int64_t clip_length = 0;  // samples; 0: clips are as long as their files

  // Throws Error(kUsage) with the key and its value: unknown key, wrong type, impossible value.
  static AudioFormat from_json(const nlohmann::json& value, const std::string& where);
  nlohmann::json to_json() const;

  bool operator==(const AudioFormat&) const = default;
};

// Samples per second that files and formats may have.
inline constexpr int kLowestRate = 100, kHighestRate = 768000;

}  // namespace strandwave::audio
