#include "audio/classifier/front_end.h"

#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "kernels/common/parallel.h"

namespace strandwave::audio {

ClassifierFrontEnd::ClassifierFrontEnd(const AudioClassifierConfig& config)
    : clip_length_(config.clip_length), mel_(config.spectrogram()) {}

void ClassifierFrontEnd::image(std::span<const float> clip, float* to) const {
  const size_t length = std::min(clip.size(), static_cast<size_t>(clip_length_));
  std::vector<float> samples(static_cast<size_t>(clip_length_), 0.0F);
  std::copy_n(clip.begin(), length, samples.begin());
  const auto wrong = std::find_if(samples.begin(), samples.end(),
                                  [](float sample) { return !std::isfinite(sample); });
  if (wrong != samples.end())
    throw input_error("sample " + std::to_string(wrong - samples.begin()) +
                      " of a clip is not a finite number");
  Matrix mel = mel_(samples);
  power_to_db(mel, {.reference = {}, .amin = 1e-10, .top_db = 80});
  for (int64_t t = 0; t < mel.rows; ++t)
    for (int64_t m = 0; m < mel.columns; ++m)
      to[m * mel.rows + t] = static_cast<float>(mel.at(t, m));
}

torch::Tensor ClassifierFrontEnd::images(std::span<const std::vector<float>> clips) const {
  const auto n = static_cast<int64_t>(clips.size());
  torch::Tensor images = torch::empty({n, 1, mels(), frames()});
  float* to = images.data_ptr<float>();
  const int64_t size = mels() * frames();
  parallel_for(n, [&](int64_t i) { image(clips[static_cast<size_t>(i)], to + i * size); });
  return images;
}

}  // namespace strandwave::audio
