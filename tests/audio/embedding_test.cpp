// Clips as feature vectors against plain formulas.
#include "audio/embedding.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdlib>
#include <numbers>

#include "audio/metrics/feature_moments.h"
#include "core/base/error.h"
#include "core/base/random.h"
#include "core/checkpoint/tensor_file.h"
#include "tests/support/error_testing.h"
#include "tests/support/temporary_folder.h"

namespace strandwave::audio {
namespace {

using std::numbers::pi;
using test::error_of;
using testing::TemporaryFolder;

std::vector<float> noisy_tone(int64_t length, double loudness, uint64_t seed) {
  const RandomStream stream(seed, RandomPurpose::kSynthetic, 81);
  std::vector<float> samples(static_cast<size_t>(length));
  for (size_t i = 0; i < samples.size(); ++i)
    samples[i] = static_cast<float>(
        loudness * (0.5 * std::sin(0.3 * static_cast<double>(i)) + 0.1 * stream.normal(i)));
  return samples;
}

// The logmel embedding ---------------------------------------------------------------------------

double slaney_hertz(double mel) {
  return mel < 15 ? mel * 200 / 3 : 1000 * std::exp((mel - 15) * std::log(6.4) / 27);
}

double slaney_mel(double hertz) {
  return hertz < 1000 ? hertz * 3 / 200 : 15 + 27 * std::log(hertz / 1000) / std::log(6.4);
}

// (frames, 32) in dB: windows of 1,024 centred on every 256th sample of zeros around the clip.
std::vector<std::vector<double>> plain_logmel(const std::vector<float>& clip, double rate) {
  constexpr int kWindow = 1024, kHop = 256, kBands = 32, kBins = kWindow / 2 + 1;
  const double top = slaney_mel(rate / 2);
  const auto edge = [&](int i) { return slaney_hertz(top * i / (kBands + 1)); };
  const auto length = static_cast<int>(clip.size());
  std::vector<std::vector<double>> frames;
  for (int centre = 0; centre <= length; centre += kHop) {
    std::vector<double> bands(kBands), power(kBins);
    for (int bin = 0; bin < kBins; ++bin) {
      std::complex<double> sum = 0;
      for (int i = 0; i < kWindow; ++i) {
        const int at = centre - kWindow / 2 + i;
        if (at < 0 || at >= length) continue;
        const double window = 0.5 - 0.5 * std::cos(2 * pi * i / kWindow);
        sum += window * clip[static_cast<size_t>(at)] *
               std::polar(1.0, -2 * pi * ((bin * i) % kWindow) / kWindow);
      }
      power[static_cast<size_t>(bin)] = std::norm(sum);
    }
    for (int band = 0; band < kBands; ++band) {
      const double low = edge(band), middle = edge(band + 1), high = edge(band + 2);
      for (int bin = 0; bin < kBins; ++bin) {
        const double hertz = bin * rate / kWindow;
        const double height =
            std::min((hertz - low) / (middle - low), (high - hertz) / (high - middle));
        bands[static_cast<size_t>(band)] +=
            std::max(height, 0.0) * 2 / (high - low) * power[static_cast<size_t>(bin)];
      }
    }
    for (double& band : bands) band = 10 * std::log10(std::max(band, 0.01));
    frames.push_back(bands);
  }
  return frames;
}

TEST(LogMelEmbeddingTest, EqualsThePlainFormulas) {
  const std::vector<float> clip = noisy_tone(1500, 1, 1);
  EmbeddedClips embedded;
  logmel_embedding(8000)->add({clip}, embedded);
  ASSERT_EQ(embedded.features.sizes(), (std::vector<int64_t>{1, 96}));
  const auto frames = plain_logmel(clip, 8000);
  const auto n = static_cast<double>(frames.size());
  for (size_t band = 0; band < 32; ++band) {
    double mean = 0, variance = 0, step = 0;
    for (const auto& frame : frames) mean += frame[band] / n;
    for (const auto& frame : frames) variance += std::pow(frame[band] - mean, 2) / n;
    for (size_t t = 1; t < frames.size(); ++t)
      step += std::abs(frames[t][band] - frames[t - 1][band]) / (n - 1);
    const auto value = [&](size_t part) {
      return embedded.features[0][static_cast<int64_t>(32 * part + band)].item<double>();
    };
    EXPECT_NEAR(mean, value(0), 1e-3) << band;
    EXPECT_NEAR(std::sqrt(variance), value(1), 1e-3) << band;
    EXPECT_NEAR(step, value(2), 1e-3) << band;
  }
}

TEST(LogMelEmbeddingTest, SilenceAndOneSampleAreFinite) {
  EmbeddedClips embedded;
  logmel_embedding(16000)->add({std::vector<float>(3000), {0.5F}}, embedded);
  EXPECT_TRUE(torch::isfinite(embedded.features).all().item<bool>());
  const torch::Tensor silence = torch::zeros({96});
  silence.slice(0, 0, 32).fill_(-20);
  EXPECT_LE((embedded.features[0] - silence).abs().max().item<double>(), 1e-4);
}

TEST(EmbeddedClipsTest, GoThroughAFile) {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "clips.safetensors").string();
  EmbeddedClips made;
  const auto embedding = logmel_embedding(8000);
  made.names = {"a.wav", "b \"2\".wav"};
  made.embedding = embedding->description();
  embedding->add({noisy_tone(900, 1, 2), noisy_tone(700, 1, 3)}, made);
  made.save(path);
  EXPECT_TRUE(EmbeddedClips::is_one(path));
  const EmbeddedClips read = EmbeddedClips::open(path);
  EXPECT_EQ(made.names, read.names);
  EXPECT_EQ(made.embedding, read.embedding);
  EXPECT_TRUE(torch::equal(made.features, read.features));
  EXPECT_FALSE(read.log_probabilities.defined());
  write_tensors(path, {{"features", torch::zeros({1, 2})}});
  EXPECT_FALSE(EmbeddedClips::is_one(path));
  EXPECT_CONTAINS(error_of([&] { EmbeddedClips::open(path); }), "clips.safetensors");
}

// VGGish -----------------------------------------------------------------------------------------

std::vector<float> part(const std::vector<float>& clip, int64_t from, int64_t to) {
  return {clip.begin() + from, clip.begin() + to};
}

std::vector<float> times(std::vector<float> clip, float factor) {
  for (float& sample : clip) sample *= factor;
  return clip;
}

void expect_close(const torch::Tensor& expected, const torch::Tensor& actual, double tolerance) {
  ASSERT_EQ(expected.sizes(), actual.sizes());
  EXPECT_LE((expected - actual).abs().max().item<double>(), tolerance);
}

TEST(VggishPatchesTest, CountsAreThoseOfTheProfiles) {
  const auto counts = [](int64_t length) {
    const std::vector<float> clip = noisy_tone(length, 1, 4);
    return std::pair{vggish_patches(clip, VggishProfile::kGoogle).size(0),
                     vggish_patches(clip, VggishProfile::kTorch).size(0)};
  };
  using Counts = std::pair<int64_t, int64_t>;
  EXPECT_EQ(counts(1), Counts(1, 1));  // silence is added
  EXPECT_EQ(counts(16000), Counts(1, 1));
  EXPECT_EQ(counts(23999), Counts(1, 1));
  EXPECT_EQ(counts(24000), Counts(2, 1));
  // 192 frames are 191 hops of 160 samples and one window of 400.
  EXPECT_EQ(counts(191 * 160 + 399), Counts(2, 1));
  EXPECT_EQ(counts(191 * 160 + 400), Counts(2, 2));
  EXPECT_EQ(counts(6 * 16000), Counts(11, 6));
}

TEST(VggishPatchesTest, WindowsAndLoudnessAreThoseOfTheProfiles) {
  std::vector<float> clip = noisy_tone(40000, 0.6, 5);
  clip[100] = 0.8F;
  clip[200] = -1.0F;  // only the positive maximum counts
  const torch::Tensor google = vggish_patches(clip, VggishProfile::kGoogle);
  for (int64_t i = 0; i < google.size(0); ++i)
    expect_close(vggish_patches(times(part(clip, 8000 * i, 8000 * i + 16000), 1 / 0.8F),
                                VggishProfile::kTorch)[0],
                 google[i], 1e-4);
  const std::vector<float> quiet = noisy_tone(16000, 0.02, 6);  // 10 is the most
  expect_close(vggish_patches(times(quiet, 10), VggishProfile::kTorch),
               vggish_patches(quiet, VggishProfile::kGoogle), 1e-4);
  // Patches of the ports are 96 frames one behind the other.
  const torch::Tensor ports = vggish_patches(clip, VggishProfile::kTorch);
  ASSERT_EQ(ports.size(0), 2);
  expect_close(vggish_patches(part(clip, 96 * 160, 40000), VggishProfile::kTorch)[0], ports[1],
               1e-5);
}

// The graph as TensorFlow has it: (n, height, width, channels), weights (3, 3, in, out).
torch::Tensor channels_last_vggish(const Vggish& network, torch::Tensor x) {
  namespace F = torch::nn::functional;
  const auto weights = network.named_parameters();
  const auto convolve = [&](const std::string& name) {
    const torch::Tensor kernel = weights[name + ".weight"].permute({2, 3, 1, 0});
    const torch::Tensor wide = F::pad(x, F::PadFuncOptions({0, 0, 1, 1, 1, 1}));
    torch::Tensor sum = weights[name + ".bias"];
    for (int64_t dy = 0; dy < 3; ++dy)
      for (int64_t dx = 0; dx < 3; ++dx)
        sum = sum +
              wide.slice(1, dy, dy + x.size(1)).slice(2, dx, dx + x.size(2)).matmul(kernel[dy][dx]);
    x = F::relu(sum);
  };
  const auto pool = [&] {
    x = x.view({x.size(0), x.size(1) / 2, 2, x.size(2) / 2, 2, x.size(3)}).amax({2, 4});
  };
  for (const char* name : {"features.0", "features.3"}) convolve(name), pool();
  convolve("features.6"), convolve("features.8"), pool();
  convolve("features.11"), convolve("features.13"), pool();
  x = x.reshape({x.size(0), -1});
  for (const char* name : {"embeddings.0", "embeddings.2", "embeddings.4"}) {
    x = x.matmul(weights[std::string(name) + ".weight"].t()) + weights[std::string(name) + ".bias"];
    if (std::string(name) != "embeddings.4") x = F::relu(x);
  }
  return x;
}

TEST(VggishTest, EqualsTheChannelsLastGraphAlsoThroughAFile) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  Vggish network;
  NamedTensors tensors;
  for (auto& item : network.named_parameters()) {
    const torch::Tensor& value = item.value();
    const auto inputs = static_cast<double>(value.dim() > 1 ? value[0].numel() : 100);
    value.uniform_(-1, 1).mul_(std::sqrt(6 / inputs));
    tensors.emplace_back(item.key(), value);
  }
  const std::vector<float> clip = noisy_tone(24000, 1, 7);
  const torch::Tensor patches = vggish_patches(clip, VggishProfile::kGoogle);
  const torch::Tensor expected = channels_last_vggish(network, patches.unsqueeze(3));
  const double scale = expected.abs().max().item<double>();
  ASSERT_GT((expected[0] - expected[1]).abs().max().item<double>(), 1e-3 * scale);
  expect_close(expected, network.forward(patches.unsqueeze(1)), 1e-4 * scale);

  const TemporaryFolder folder;
  const auto path = folder.path() / "vggish.safetensors";
  write_tensors(path, tensors);
  const auto embedding = vggish_embedding(path, VggishProfile::kGoogle);
  EmbeddedClips embedded;
  embedding->add({clip}, embedded);
  expect_close(expected, embedded.features, 1e-4 * scale);
  EXPECT_EQ(16000, embedding->sample_rate());
  EXPECT_EQ("google", embedding->description().at("profile"));
}

TEST(VggishTest, FilesThatAreNotItsWeightsNameTheTensor) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "weights.safetensors";
  const auto message = [&](const NamedTensors& tensors) {
    write_tensors(path, tensors);
    return error_of([&] { vggish_embedding(path, VggishProfile::kTorch); });
  };
  const std::string missing = message({{"other", torch::zeros({2})}});
  EXPECT_CONTAINS(missing, "features.0.weight");
  EXPECT_CONTAINS(missing, "missing");
  const std::string shape = message({{"features.0.weight", torch::zeros({64, 1, 5, 5})}});
  for (const char* expected : {"features.0.weight", "(64, 1, 5, 5)", "(64, 1, 3, 3)"})
    EXPECT_CONTAINS(shape, expected);
  const std::string text = folder.write("weights.pth", "no weights");
  EXPECT_CONTAINS(error_of([&] { vggish_embedding(text, VggishProfile::kTorch); }), "weights.pth");
}

// The published check of the Frechet audio distance: sines of 6 s from 100 to 1,000 Hz, as many
// files as given, with noise of `noise` standard deviations of the maximum. Values outside of 16
// bits wrap around, as they do in the public script. Its noise is not seeded, so that values are
// only reproduced up to the draw.
std::vector<std::vector<float>> sines(int files, double noise) {
  constexpr int kLength = 6 * 16000;
  std::vector<std::vector<float>> result;
  for (int file = 0; file < files; ++file) {
    const double hertz = 100 + 900.0 * file / (files - 1);
    const RandomStream stream(9, RandomPurpose::kSynthetic, 82, static_cast<uint64_t>(file));
    std::vector<float> clip(kLength);
    for (size_t i = 0; i < clip.size(); ++i) {
      const double t = 6.0 * static_cast<double>(i) / (kLength - 1);
      const double x = std::sin(2 * pi * t * hertz) + noise * stream.normal(i);
      const auto sample = static_cast<int16_t>(static_cast<int32_t>(32768 * x));
      clip[i] = static_cast<float>(sample) / 32768;
    }
    result.push_back(std::move(clip));
  }
  return result;
}

TEST(VggishTest, GoldenSines) {
  const char* weights = std::getenv("STRANDWAVE_VGGISH_WEIGHTS");
  if (weights == nullptr)
    GTEST_SKIP() << "STRANDWAVE_VGGISH_WEIGHTS does not name VGGish's published weights";
  const auto embedding = vggish_embedding(weights, VggishProfile::kGoogle);
  const auto moments = [&](int files, double noise) {
    EmbeddedClips embedded;
    embedding->add(sines(files, noise), embedded);
    return FeatureMoments(embedded.features);
  };
  const FeatureMoments background = moments(10, 0);
  EXPECT_NEAR(12.4375, frechet_distance(moments(5, 1e-4), background), 0.05 * 12.4375);
  EXPECT_NEAR(4.7680, frechet_distance(moments(5, 1e-5), background), 0.05 * 4.7680);
}

}  // namespace
}  // namespace strandwave::audio
