// Spectrograms and mel spectrograms, number for number as the Python libraries make them.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "audio/dsp/fft.h"
#include "audio/dsp/matrix.h"

namespace strandwave::audio {

// Frame t holds x[t hop - offset ... + window) times a periodic Hann window, zeros around it up to
// fft; offset is fft / 2 where the signal is padded, 0 where it is not. S = |DFT|^power.
//
//                 librosa           librosa-0.8   torchaudio     vggish
//   fft, window   2048, 2048        as librosa    400, 400       512, 400
//   hop           512                             200            160
//   padding       zeros             reflect       reflect        none
//   power         2                               2              1
//   mel scale     Slaney (linear to 1 kHz)        HTK            HTK: 1127 ln(1 + f / 700)
//   triangles     linear in Hz                    linear in Hz   linear in mel, bin 0 left out
//   area          divided by width in Hz          height 1       height 1
//   mels          128                             128            64
//   from, to      0, rate / 2                     0, rate / 2    125, 7500 Hz
//   afterwards    -                               -              ln(S + 0.01)
//
// librosa: librosa.feature.melspectrogram, 0.9 and later (before: reflect). torchaudio:
// torchaudio.transforms.MelSpectrogram. vggish: the front end of AudioSet's VGGish, 16 kHz.
struct SpectrogramConfig {
  enum class Padding { kNone, kZeros, kReflect };
  enum class MelScale { kSlaney, kHtk };

  std::string profile;  // the name of the profile that these values came from
  int sample_rate = 0;  // per second
  int fft = 2048;
  int window = 2048;  // at most fft
  int hop = 512;
  Padding padding = Padding::kZeros;
  double power = 2;  // 1 or 2
  int mels = 128;
  double low = 0, high = 0;  // Hz
  MelScale scale = MelScale::kSlaney;
  bool equal_area = true;
  bool triangles_in_mel = false;
  double log_offset = 0;  // above 0: ln(S + log_offset)

  // Throws Error(kUsage) for an unknown name, and for vggish at another rate than 16 kHz.
  static SpectrogramConfig of_profile(const std::string& name, int sample_rate);
  static const std::vector<std::string>& profiles();

  // Frames of a signal: with padding 1 + samples / hop, else as many as fit.
  int64_t frames(int64_t samples) const;
  // Throws Error(kUsage) naming the setting and its value.
  void validate() const;
};

// (bins, mels): the weights of each band, column by column as the table above says.
Matrix mel_filters(const SpectrogramConfig& config);

class Spectrogram {
 public:
  explicit Spectrogram(const SpectrogramConfig& config);
  const SpectrogramConfig& config() const { return config_; }
  // (frames, fft / 2 + 1). No samples: no frames. From any number of threads at once.
  Matrix operator()(std::span<const float> samples) const;

 private:
  SpectrogramConfig config_;
  std::vector<double> window_;
  RealFft fft_;
};

class MelSpectrogram {
 public:
  explicit MelSpectrogram(const SpectrogramConfig& config);
  const SpectrogramConfig& config() const { return spectrogram_.config(); }
  // (frames, mels)
  Matrix operator()(std::span<const float> samples) const;

 private:
  struct Band {
    int first = 0;  // bin
    std::vector<double> weights;
  };
  Spectrogram spectrogram_;
  std::vector<Band> bands_;
};

// 10 log10(max(S, amin)) - 10 log10(max(reference, amin)), then raised to the largest value minus
// top_db (librosa.power_to_db, torchaudio.transforms.AmplitudeToDB).
struct DecibelOptions {
  std::optional<double> reference = 1;  // nothing: the largest value of S
  double amin = 1e-10;
  std::optional<double> top_db = 80;
};
void power_to_db(Matrix& spectrogram, const DecibelOptions& options = {});

}  // namespace strandwave::audio
