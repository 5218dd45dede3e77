#include "audio/clip_page.h"

#include <algorithm>
#include <cmath>

#include "audio/dsp/mel.h"

namespace strandwave::audio {
namespace {

constexpr int kMels = 64;
constexpr int kMostFrames = 400;    // wide enough for any column of the page
constexpr double kDecibels = 80;    // from dark to light
constexpr double kFaintest = 1e-4;  // power that is shown light where nothing is stronger

SpectrogramConfig config_for(int64_t samples, int sample_rate) {
  SpectrogramConfig config = SpectrogramConfig::of_profile("librosa", sample_rate);
  config.fft = 64;
  while (config.fft * 16 < sample_rate) config.fft *= 2;  // 64 ms or a little more
  config.window = config.fft;
  config.hop = static_cast<int>(std::max<int64_t>(config.fft / 8, samples / kMostFrames + 1));
  config.mels = kMels;
  return config;
}

}  // namespace

report::IndexedImage spectrogram_image(std::span<const float> samples, int sample_rate) {
  const SpectrogramConfig config = config_for(static_cast<int64_t>(samples.size()), sample_rate);
  Matrix mel = MelSpectrogram(config)(samples);
  double strongest = kFaintest;
  for (const double value : mel.values) strongest = std::max(strongest, value);
  power_to_db(mel, {.reference = strongest, .amin = 1e-12, .top_db = std::nullopt});
  report::IndexedImage image;
  image.palette = report::heat_palette();
  image.width = static_cast<int>(std::max<int64_t>(1, mel.rows));
  image.height = kMels;
  image.pixels.assign(static_cast<size_t>(image.width) * kMels, 0);
  for (int64_t frame = 0; frame < mel.rows; ++frame)
    for (int64_t band = 0; band < kMels; ++band) {
      const double share = std::clamp(mel.at(frame, band) / kDecibels + 1, 0.0, 1.0);
      image.pixels[static_cast<size_t>((kMels - 1 - band) * image.width + frame)] =
          static_cast<uint8_t>(std::lround(255 * share));
    }
  return image;
}

std::string clip_page(const ClipPage& page) {
  report::HtmlPage html(page.title, page.lead);
  if (!page.facts.empty()) html.section("Settings", {report::facts(page.facts)});
  std::vector<report::Markup> figures;
  for (const PageClip& clip : page.clips)
    figures.push_back(
        report::sound_figure(clip.title, clip.remark,
                             report::picture(spectrogram_image(clip.samples, page.sample_rate),
                                             "Mel spectrogram of " + clip.title),
                             report::player(clip.file, clip.type, clip.title)));
  std::vector<report::Markup> parts = {report::grid(figures)};
  if (page.all_clips > page.clips.size())
    parts.push_back(report::paragraph("The first " + std::to_string(page.clips.size()) + " of " +
                                          std::to_string(page.all_clips) + " clips.",
                                      report::Tone::kNote));
  parts.push_back(report::paragraph(
      "Spectrograms: mel bands, low frequencies at the bottom, 80 dB from dark to light.",
      report::Tone::kNote));
  html.section("Clips", parts);
  return html.html();
}

}  // namespace strandwave::audio
