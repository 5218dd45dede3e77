#include "audio/models/audio_checkpoint.h"

#include <gtest/gtest.h>

#include <functional>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/checkpoint/checkpoint.h"
#include "tests/support/temporary_folder.h"

namespace strandwave::audio {
namespace {

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

SashimiConfig small_config() {
  SashimiConfig config;
  config.d_model = 8;
  config.pool = {2};
  config.stages.assign(2, {1, stage_blocks("mamba")});
  config.classes = {"zero", "one"};
  AudioFormat format;
  format.sample_rate = 8000;
  format.clip_length = 4096;
  config.audio = format.to_json();
  return config;
}

TEST(AudioCheckpointTest, WhatIsSavedIsLoaded) {
  const strandwave::testing::TemporaryFolder folder;
  const Sashimi model(small_config(), 3);
  save_audio_model(folder.path() / "m", model, {{"origin", "test"}}, {{"notes.txt", "hello"}});
  const LoadedAudioModel loaded = load_audio_model(folder.path() / "m");
  EXPECT_EQ(loaded.model->config().to_json(), model.config().to_json());
  EXPECT_EQ(loaded.format.sample_rate, 8000);
  EXPECT_EQ(loaded.format.clip_length, 4096);
  EXPECT_EQ(loaded.classes(), (std::vector<std::string>{"zero", "one"}));
  EXPECT_EQ(loaded.state.at("origin"), "test");
  EXPECT_EQ(loaded.companions.at("notes.txt"), "hello");
  EXPECT_EQ(loaded.hash.size(), 64U);
  const NamedTensors expected = model.named_tensors(), actual = loaded.model->named_tensors();
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(actual[i].first, expected[i].first);
    EXPECT_TRUE(torch::equal(actual[i].second, expected[i].second)) << expected[i].first;
  }
}

TEST(AudioCheckpointTest, OtherModelsAreRefusedWithWhatTheyAre) {
  const strandwave::testing::TemporaryFolder folder;
  save_audio_model(folder.path() / "audio", Sashimi(small_config(), 3));
  EXPECT_NE(message_of([&] {
              load_model(folder.path() / "audio");
            }).find("of kind \"sashimi\", this command needs one of kind \"sequence\""),
            std::string::npos);
  ModelConfig config;
  config.d_model = 8;
  config.stack = "M";
  save_model(folder.path() / "dna", SequenceModel(config, 1));
  EXPECT_NE(message_of([&] {
              load_audio_model(folder.path() / "dna");
            }).find("of kind \"sequence\", this command needs one of kind \"sashimi\""),
            std::string::npos);
  EXPECT_NE(message_of([&] { load_audio_model(folder.path() / "none"); }).find("no directory"),
            std::string::npos);
}

TEST(AudioCheckpointTest, AConfigurationThatDoesNotFitIsNamed) {
  const strandwave::testing::TemporaryFolder folder;
  const Sashimi model(small_config(), 3);
  Checkpoint checkpoint;
  checkpoint.model = model.named_tensors();
  for (const auto& [key, value, expected] : std::vector<std::array<nlohmann::json, 3>>{
           {"d_model", 16, "has shape (256, 8), the configuration needs (256, 16)"},
           {"sample_rat", 16, "sample_rat"},
           {"audio", {{"sample_rate", "fast"}}, "config.json: audio"}}) {
    checkpoint.config = model.config().to_json();
    checkpoint.config[key.get<std::string>()] = value;
    save_checkpoint(folder.path() / "m", checkpoint);
    EXPECT_NE(message_of([&] {
                load_audio_model(folder.path() / "m");
              }).find(expected.get<std::string>()),
              std::string::npos)
        << key;
  }
}

}  // namespace
}  // namespace strandwave::audio
