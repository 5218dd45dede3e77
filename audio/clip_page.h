// A page to look at and listen to clips.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/report/html_page.h"
#include "core/report/media.h"

namespace strandwave::audio {

struct PageClip {
  std::string title, remark;
  std::string file;  // the bytes of its WAV or FLAC file
  std::string type;  // "audio/wav", "audio/flac"
  std::vector<float> samples;
};

// A page holds so many clips at most and says how many are left out.
constexpr size_t kMostPageClips = 64;

struct ClipPage {
  std::string title, lead;
  std::vector<report::Fact> facts;
  int sample_rate = 0;
  std::vector<PageClip> clips;
  size_t all_clips = 0;  // of which `clips` are the first; 0: that is all
};

// Mel spectrogram, low frequencies at the bottom, 80 dB from dark to light.
report::IndexedImage spectrogram_image(std::span<const float> samples, int sample_rate);

// One self-contained HTML file: players with the sound inside, spectrograms as PNG.
std::string clip_page(const ClipPage& page);

}  // namespace strandwave::audio
