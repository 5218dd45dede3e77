// From a clip to the image that a classifier sees.
#pragma once

#include <torch/torch.h>

#include <span>
#include <vector>

#include "audio/classifier/classifier_config.h"

namespace strandwave::audio {

// The log-mel image of the SC09 metrics: the clip at exactly clip_length samples (silence at the
// end, or cut), its mel power spectrogram, 10 log10 of it relative to its own maximum, not below
// -80 dB. A clip that is all zeros becomes an image of zeros.
class ClassifierFrontEnd {
 public:
  explicit ClassifierFrontEnd(const AudioClassifierConfig& config);

  int64_t mels() const { return mel_.config().mels; }
  int64_t frames() const { return mel_.config().frames(clip_length_); }
  // mels() rows of frames() values. Throws Error(kInput) for a sample that is not finite.
  void image(std::span<const float> clip, float* to) const;
  // (clips, 1, mels, frames), float32, on the host; in parallel.
  torch::Tensor images(std::span<const std::vector<float>> clips) const;

 private:
  int64_t clip_length_;
  MelSpectrogram mel_;
};

}  // namespace strandwave::audio
