// The test of an audio model: its bits per sample beside those of simple predictors.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "audio/io/audio_format.h"
#include "audio/next_sample_task.h"

namespace strandwave::audio {

struct NextSampleTest {
  std::string split;     // what the clips are: "test", "validation"
  ClipScoring scoring;   // chunk and carried state
  bool pad_loss = true;  // the baselines learn from padding too, as the model does
  // One line on what is going on; may throw to stop.
  std::function<void(const std::string&)> progress;
};

// Scores the model on `clips` and the baselines (audio/baselines.h), which learn from `training`,
// on the same samples.
//
// {"kind": "next_sample", "split", "clips", "samples", "padding_samples",
//  "bits_per_sample"      over real samples,
//  "bits_per_sample_all"  over all of them, padding included,
//  "baselines": [{"name", "bits_per_sample", "bits_per_sample_all"}],
//  "classes": [{"name", "clips", "bits_per_sample"}],     of a model with classes
//  "measure": {"format": AudioFormat, "pad_loss", "chunk", "carry_state", "samples",
//              "codes": sha256}}     what figures must share to be compared
//
// Throws Error(kUsage) when there are no clips.
nlohmann::json test_next_sample(Sashimi& model, const AudioFormat& format,
                                const std::vector<AudioClip>& training,
                                const std::vector<AudioClip>& clips, const NextSampleTest& test);

// A sentence that names the baselines which predict the samples better than the model does; empty
// when none does.
std::string lost_to_baselines(const nlohmann::json& result);

// Throws Error(kUsage) naming the two and the first setting in which they differ unless the results
// measure the same: bits per sample depend on codec, scale, padding, chunks and, of course, on the
// samples.
void require_comparable(const nlohmann::json& first, const std::string& first_name,
                        const nlohmann::json& second, const std::string& second_name);

}  // namespace strandwave::audio
