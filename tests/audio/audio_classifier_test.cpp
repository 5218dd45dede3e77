// The networks, their files, the importer, augmentation and measures.
#include "audio/classifier/audio_classifier.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>

#include "audio/classifier/augmentation.h"
#include "audio/classifier/classifier_measures.h"
#include "core/base/error.h"
#include "core/checkpoint/checkpoint.h"
#include "core/checkpoint/tensor_file.h"
#include "tests/support/temporary_folder.h"

namespace strandwave::audio {
namespace {

using strandwave::testing::TemporaryFolder;

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

uint32_t mixed(uint32_t x) {
  x ^= x >> 16;
  x *= 0x85EBCA6BU;
  x ^= x >> 13;
  x *= 0xC2B2AE35U;
  return x ^ (x >> 16);
}

// weight() of tests/python/make_audio_fixtures.py.
void set_weight(torch::Tensor tensor, const std::string& name, uint32_t position) {
  const int64_t count = tensor.numel();
  const double fan_in = tensor.dim() > 1 ? static_cast<double>(count / tensor.size(0)) : 0;
  const bool last = name.ends_with("weight");
  std::vector<float> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const double u = mixed((position << 24) + static_cast<uint32_t>(i)) / 2147483648.0 - 1;
    double value = (last ? 1 : 0) + 0.2 * u;
    if (name.ends_with("running_var")) value = 1 + 0.5 * u;
    if (tensor.dim() > 1) value = u * std::sqrt(6 / fan_in);
    values[static_cast<size_t>(i)] = static_cast<float>(value);
  }
  const torch::NoGradGuard no_grad;
  tensor.copy_(torch::tensor(values).view(tensor.sizes()));
}

AudioClassifierConfig tiny_config(std::vector<std::string> classes = {"low", "high"}) {
  AudioClassifierConfig config = AudioClassifierConfig::of_rate(8000);
  config.classes = std::move(classes);
  return config;
}

std::vector<float> tone(double hertz, int length = 8000, double amplitude = 0.5) {
  std::vector<float> clip(static_cast<size_t>(length));
  for (size_t t = 0; t < clip.size(); ++t)
    clip[t] = static_cast<float>(
        amplitude * std::sin(2 * std::numbers::pi * hertz * static_cast<double>(t) / 8000));
  return clip;
}

class PublishedResNeXt : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    AudioClassifierConfig config = AudioClassifierConfig::of_rate(16000);
    config.network = "resnext";
    config.classes = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
    network_ = make_classifier_network(config, 0);
    network_->eval();
    std::map<std::string, torch::Tensor> sorted;
    for (const auto& [name, tensor] : named_tensors(*network_)) sorted.emplace(name, tensor);
    uint32_t position = 0;
    for (const auto& [name, tensor] : sorted) set_weight(tensor, name, position++);
  }
  static void TearDownTestSuite() { network_.reset(); }

  static std::shared_ptr<ClassifierNetwork> network_;
};
std::shared_ptr<ClassifierNetwork> PublishedResNeXt::network_;

TEST_F(PublishedResNeXt, HasItsParameters) { EXPECT_EQ(network_->parameter_count(), 34425546); }

TEST_F(PublishedResNeXt, ComputesWhatThePythonNetworkDoes) {
  const torch::NoGradGuard no_grad;
  const NamedTensors fixture =
      read_tensors(STRANDWAVE_SOURCE_DIR "/tests/fixtures/audio/resnext.safetensors");
  const std::map<std::string, torch::Tensor> expected(fixture.begin(), fixture.end());
  const torch::Tensor features = network_->features(expected.at("image").view({1, 1, 32, 32}));
  const auto compare = [&](const torch::Tensor& actual, const std::string& name) {
    const torch::Tensor wanted = expected.at(name);
    ASSERT_EQ(actual.numel(), wanted.numel());
    const double largest = wanted.abs().max().item<double>();
    EXPECT_GT(largest, 0.1);
    EXPECT_LE((actual.flatten() - wanted).abs().max().item<double>(), 1e-4 * largest) << name;
  };
  compare(features, "features");
  compare(network_->logits(features), "logits");
}

// Without "module.": tests/cli/audio_classifier_test.py.
TEST_F(PublishedResNeXt, IsImportedFromAParallelModule) {
  NamedTensors state_dict;
  for (const auto& [name, tensor] : named_tensors(*network_)) {
    state_dict.emplace_back("module." + name, tensor);
    if (name.ends_with("running_var"))
      state_dict.emplace_back("module." + name.substr(0, name.size() - 11) + "num_batches_tracked",
                              torch::tensor(int64_t{7}));
  }
  const ImportedClassifier imported = import_resnext(state_dict, "librosa-0.8", "resnext.pt");
  EXPECT_EQ(imported.config.classes[7], "seven");
  EXPECT_EQ(imported.config.fft, 2048);
  EXPECT_EQ(imported.config.hop, 512);
  const NamedTensors before = named_tensors(*network_), after = named_tensors(*imported.network);
  ASSERT_EQ(before.size(), after.size());
  for (size_t i = 0; i < before.size(); ++i)
    EXPECT_TRUE(torch::equal(before[i].second, after[i].second)) << before[i].first;
}

TEST(AudioClassifierConfigTest, FrontEndOfTheSpeechMetrics) {
  const AudioClassifierConfig low = AudioClassifierConfig::of_rate(8000);
  const AudioClassifierConfig high = AudioClassifierConfig::of_rate(16000);
  EXPECT_EQ(low.fft, 1024);
  EXPECT_EQ(low.hop, 256);
  EXPECT_EQ(high.fft, 2048);
  EXPECT_EQ(high.hop, 512);
  for (const AudioClassifierConfig& config : {low, high}) {
    const ClassifierFrontEnd front_end(config);
    EXPECT_EQ(front_end.mels(), 32);
    EXPECT_EQ(front_end.frames(), 32);
  }
}

TEST(AudioClassifierConfigTest, JsonAndItsErrors) {
  const AudioClassifierConfig config = tiny_config();
  const nlohmann::json json = config.to_json();
  EXPECT_EQ(AudioClassifierConfig::from_json(json, "c").to_json(), json);
  const auto message = [&](const char* key, nlohmann::json value) {
    nlohmann::json changed = json;
    changed[key] = std::move(value);
    return message_of([&] { AudioClassifierConfig::from_json(changed, "m/config.json"); });
  };
  EXPECT_TRUE(contains(message("clases", 1), "classes"));
  EXPECT_TRUE(contains(message("network", "large"), "large"));
  EXPECT_TRUE(contains(message("classes", {"a"}), "two"));
  EXPECT_TRUE(contains(message("classes", {"a", "a"}), "different"));
  EXPECT_TRUE(contains(message("profile", "vggish"), "vggish"));
}

TEST(ClassifierFrontEndTest, ClipsAreCutOrFilledUpAndLoudnessDoesNotMatter) {
  const ClassifierFrontEnd front_end(tiny_config());
  const auto image = [&](const std::vector<float>& clip) {
    const std::vector<std::vector<float>> clips = {clip};
    return front_end.images(clips);
  };
  std::vector<float> filled = tone(700, 3000);
  filled.resize(8000);
  EXPECT_TRUE(torch::equal(image(tone(700, 3000)), image(filled)));
  EXPECT_TRUE(torch::equal(image(tone(700, 9000)), image(tone(700, 8000))));
  EXPECT_TRUE(torch::allclose(image(tone(700, 8000, 0.01)), image(tone(700)), 0, 1e-3));
  EXPECT_EQ(image(tone(700)).max().item<float>(), 0);
  EXPECT_GE(image(tone(700)).min().item<float>(), -80);
  EXPECT_EQ(image({}).abs().max().item<float>(), 0);  // silence
  std::vector<float> wrong = tone(700);
  wrong[17] = std::nanf("");
  EXPECT_TRUE(contains(message_of([&] { image(wrong); }), "sample 17"));
}

TEST(AudioClassifierTest, RunningStatisticsFollowTheDefinition) {
  BatchNorm norm(2);
  const torch::Tensor x = torch::arange(24, torch::kFloat).view({3, 2, 2, 2}).square();
  norm.train();
  const torch::Tensor trained = norm.forward(x);
  const torch::Tensor mean = x.mean({0, 2, 3});
  const torch::Tensor channels = x.transpose(0, 1).flatten(1);
  EXPECT_TRUE(torch::allclose(norm.named_parameters()["running_mean"], 0.1 * mean));
  EXPECT_TRUE(torch::allclose(norm.named_parameters()["running_var"],
                              0.9 + 0.1 * channels.var(1, /*unbiased=*/true)));
  EXPECT_TRUE(torch::allclose(trained.mean({0, 2, 3}), torch::zeros(2), 0, 1e-5));
  norm.eval();
  const torch::Tensor kept = norm.named_parameters()["running_mean"].clone();
  (void)norm.forward(x);
  EXPECT_TRUE(torch::equal(norm.named_parameters()["running_mean"], kept));
}

TEST(AudioClassifierTest, PredictsAndComesBackFromItsFolder) {
  const TemporaryFolder folder;
  const AudioClassifierConfig config = tiny_config();
  const auto network = make_classifier_network(config, 3);
  network->eval();
  EXPECT_EQ(network->feature_size(), 64);
  AudioClassifier classifier(config, network);
  std::vector<std::vector<float>> clips;
  for (int i = 0; i < 70; ++i) clips.push_back(tone(200 + 50 * i));  // more than one batch
  const auto before = classifier.predict(clips);
  ASSERT_EQ(before.log_probabilities.size(), clips.size());
  ASSERT_EQ(before.features.size(), clips.size());
  EXPECT_EQ(before.features[0].size(), 64U);
  for (const std::vector<float>& row : before.log_probabilities)
    EXPECT_NEAR(std::exp(row[0]) + std::exp(row[1]), 1, 1e-5);
  EXPECT_TRUE(classifier.predict({}).features.empty());

  save_audio_classifier(folder.path() / "m", config, *network);
  EXPECT_FALSE(load_audio_classifier(folder.path() / "m").accuracy());
  add_companion(folder.path() / "m", kClassifierFile,
                R"({"temperature": 2, "validation": {"accuracy": 0.5}, "test": null})");
  const AudioClassifier loaded = load_audio_classifier(folder.path() / "m");
  EXPECT_EQ(loaded.labels(), config.classes);
  EXPECT_EQ(loaded.accuracy(), 0.5);
  EXPECT_EQ(loaded.hash().size(), 64U);
  const auto after = loaded.predict(clips);
  EXPECT_EQ(after.features, before.features);
  // Half the difference of the logits.
  EXPECT_NEAR(after.log_probabilities[0][0] - after.log_probabilities[0][1],
              (before.log_probabilities[0][0] - before.log_probabilities[0][1]) / 2, 1e-5);
}

TEST(AudioClassifierTest, OtherClassesGetANewLastLayer) {
  const AudioClassifierConfig config = tiny_config();
  AudioClassifier start(config, make_classifier_network(config, 3));
  const auto tensors = [](const ClassifierNetwork& network) {
    const NamedTensors list = named_tensors(network);
    return std::map<std::string, torch::Tensor>(list.begin(), list.end());
  };
  const auto before = tensors(*start.network());
  const auto same = tensors(*with_classes(start, config.classes, 9));
  const auto other = tensors(*with_classes(start, {"a", "b", "c"}, 9));
  for (const auto& [name, tensor] : before) {
    EXPECT_TRUE(torch::equal(same.at(name), tensor)) << name;
    if (!name.starts_with("classifier.")) EXPECT_TRUE(torch::equal(other.at(name), tensor));
  }
  EXPECT_EQ(other.at("classifier.weight").size(0), 3);
}

TEST(AudioClassifierTest, AnotherKindOfModelIsRefused) {
  const TemporaryFolder folder;
  save_checkpoint(folder.path() / "m",
                  {{{"kind", "sashimi"}}, {{"x", torch::zeros(1)}}, {}, {}, {}});
  EXPECT_TRUE(
      contains(message_of([&] { load_audio_classifier(folder.path() / "m"); }), "\"sashimi\""));
}

TEST(AugmentationTest, MovesScalesAndAddsNoise) {
  const RandomStream stream(5, RandomPurpose::kAugmentation, 12);
  const std::vector<float> clip = tone(440, 1000);
  std::vector<float> same = clip, again = clip, other = clip;
  augment(same, 8000, {}, stream);
  EXPECT_EQ(same, clip);
  const Augmentation all{.shift = 0.05, .gain = 6, .noise = 0.3};
  augment(same, 8000, all, stream);
  augment(again, 8000, all, stream);
  augment(other, 8000, all, RandomStream(5, RandomPurpose::kAugmentation, 13));
  EXPECT_EQ(same, again);
  EXPECT_NE(same, other);
  EXPECT_EQ(same.size(), clip.size());
}

TEST(AugmentationTest, EachKindKeepsItsBounds) {
  std::vector<float> mark(1000, 0.0F);
  mark[500] = 1;
  std::set<int64_t> places;
  double least = 1e9, most = 0, loudest_noise = 0;
  const std::vector<float> clip = tone(440, 1000);
  for (uint64_t i = 0; i < 300; ++i) {
    const RandomStream stream(1, RandomPurpose::kAugmentation, i);
    std::vector<float> shifted = mark, scaled = mark, noisy = clip;
    augment(shifted, 1000, {.shift = 0.02}, stream);
    ASSERT_EQ(std::count(shifted.begin(), shifted.end(), 1.0F), 1);
    places.insert(std::find(shifted.begin(), shifted.end(), 1.0F) - shifted.begin());
    augment(scaled, 1000, {.gain = 6}, stream);
    least = std::min<double>(least, scaled[500]);
    most = std::max<double>(most, scaled[500]);
    augment(noisy, 1000, {.noise = 0.5}, stream);
    double noise = 0, power = 0;
    for (size_t t = 0; t < clip.size(); ++t) {
      noise += std::pow(noisy[t] - clip[t], 2);
      power += std::pow(clip[t], 2);
    }
    loudest_noise = std::max(loudest_noise, std::sqrt(noise / power));
  }
  EXPECT_EQ(*places.begin(), 480);
  EXPECT_EQ(*places.rbegin(), 520);
  EXPECT_NEAR(least, std::pow(10, -0.3), 0.02);
  EXPECT_NEAR(most, std::pow(10, 0.3), 0.04);
  EXPECT_NEAR(loudest_noise, 0.5, 0.06);
  std::vector<float> away = mark;  // farther than the clip is long
  augment(away, 1000, {.shift = 1e6}, RandomStream(1, RandomPurpose::kAugmentation));
  EXPECT_EQ(std::count(away.begin(), away.end(), 0.0F), 1000);
}

TEST(ClassifierMeasuresTest, HandComputed) {
  const float sure = std::log(0.9F), rest = std::log(0.1F);
  const std::vector<std::vector<float>> rows = {
      {sure, rest}, {sure, rest}, {rest, sure}, {rest, sure}};
  const std::vector<int64_t> truth = {0, 1, 1, 1};
  const nlohmann::json found = classifier_measures({"a", "b"}, truth, rows);
  EXPECT_EQ(found.at("n"), 4);
  EXPECT_DOUBLE_EQ(found.at("accuracy"), 0.75);
  EXPECT_NEAR(found.at("ece"), 0.15, 1e-6);
  EXPECT_NEAR(found.at("log_loss"), -(3 * std::log(0.9) + std::log(0.1)) / 4, 1e-6);
  EXPECT_EQ(found.at("recall").at("a"), 1.0);
  EXPECT_NEAR(found.at("recall").at("b"), 2.0 / 3, 1e-12);
  EXPECT_EQ(found.at("confusion"), nlohmann::json({{1, 0}, {1, 2}}));
  // Three of four right at confidence 0.9: with targets of 5/6 and 1/6 for right and wrong the best
  // confidence is (3 * 5/6 + 1/6) / 4 = 2/3.
  const double temperature = fit_clip_temperature(truth, rows);
  EXPECT_NEAR(temperature, std::log(9.0) / std::log(2.0), 1e-5);
  for (const auto& row : at_temperature(rows, temperature))
    EXPECT_NEAR(std::exp(std::max(row[0], row[1])), 2.0 / 3, 1e-6);
  EXPECT_TRUE(contains(message_of([] { classifier_measures({"a", "b"}, {}, {}); }), "no labelled"));
}

TEST(ClassifierMeasuresTest, LabelsAndClasses) {
  const TemporaryFolder folder;
  const std::vector<std::string> classes = {"zero", "one"};
  EXPECT_EQ(classes_of_labels({"one", "zero"}, classes), (std::vector<int64_t>{1, 0}));
  const std::string map = folder.write("map.tsv", "# digits\n1\tone\n0\tzero\n");
  EXPECT_EQ(classes_of_labels({"0", "1", "one"}, classes, read_translation(map)),
            (std::vector<int64_t>{0, 1, 1}));
  const std::string message = message_of([&] { classes_of_labels({"ones", "two"}, classes); });
  EXPECT_TRUE(contains(message, "\"ones\" (nearest: \"one\")")) << message;
  EXPECT_TRUE(contains(message, "\"two\"")) << message;
  EXPECT_TRUE(contains(message, "zero, one")) << message;
  EXPECT_TRUE(contains(message_of([&] { read_translation(folder.write("a", "1\tone\n2 two\n")); }),
                       "line 2"));
  EXPECT_TRUE(contains(message_of([&] { read_translation(folder.write("b", "1\tone\n1\ttwo\n")); }),
                       "twice"));
}

}  // namespace
}  // namespace strandwave::audio
