// What a model in training makes of its clips, to look at and listen to.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "audio/io/audio_format.h"
#include "audio/models/sashimi.h"

namespace strandwave::audio {

struct TrainingSamples {
  std::filesystem::path folder;  // RUN/samples
  int64_t clips = 4;
  int64_t length = 0;  // samples of each
  uint64_t seed = 0;
};

// FOLDER/step-000001200/ with generated clips (audio/generate.h), and FOLDER/index.html over all
// steps so far, the newest first. Clips of all steps are drawn with the same random numbers, a
// class each where the model has classes. Can be interrupted as generate_clips() can.
void write_training_samples(const std::shared_ptr<Sashimi>& model, const AudioFormat& format,
                            int64_t step, const TrainingSamples& samples);

}  // namespace strandwave::audio
