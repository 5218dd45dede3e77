#include "audio/models/sashimi_import.h"

#include <gtest/gtest.h>

#include <functional>

#include "core/base/error.h"
#include "core/checkpoint/torch_file.h"
#include "tests/support/temporary_folder.h"

namespace strandwave::audio {
namespace {

const std::string kFixtures = STRANDWAVE_SOURCE_DIR "/tests/fixtures/sashimi/";

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInput);
    return error.what();
  }
  return "";
}

torch::Tensor expected(const std::string& name) {
  for (const auto& [key, tensor] : read_torch_file(kFixtures + "expected.pt"))
    if (key == name) return tensor;
  ADD_FAILURE() << "no tensor " << name;
  return {};
}

// Writes a state dict as torch.save does.
std::string write(const strandwave::testing::TemporaryFolder& folder, const NamedTensors& tensors) {
  c10::Dict<std::string, torch::Tensor> dictionary;
  for (const auto& [name, tensor] : tensors) dictionary.insert(name, tensor);
  const std::vector<char> bytes = torch::pickle_save(dictionary);
  return folder.write("model.pt", std::string(bytes.begin(), bytes.end()));
}

class SashimiImportTest : public ::testing::TestWithParam<std::string> {};

// The fixtures' logits are computed in float64 from dense matrices.
TEST_P(SashimiImportTest, GivesTheLogitsOfThePublicCode) {
  const torch::NoGradGuard no_grad;
  const auto model = import_sashimi(kFixtures + GetParam() + ".pt");
  model->to(torch::kDouble);
  const torch::Tensor ids = expected("ids").unsqueeze(0), logits = expected(GetParam());
  EXPECT_LT((model->logits(ids)[0] - logits).abs().max().item<double>(), 1e-10);
  const auto generator = make_generator(model);
  GeneratorState state = generator->allocate(1, ids.size(1));
  for (int64_t t = 0; t < ids.size(1); ++t)
    ASSERT_LT((generator->step(ids.select(1, t), state)[0] - logits[t]).abs().max().item<double>(),
              1e-9)
        << "step " << t;
}

INSTANTIATE_TEST_SUITE_P(Files, SashimiImportTest,
                         ::testing::Values("sashimi_v4", "sashimi_v3", "unet_v4",
                                           "standalone_unet_v4"),
                         [](const auto& info) { return info.param; });

TEST(SashimiImportTest, SettingsFollowFromTheTensors) {
  const SashimiConfig config = import_sashimi(kFixtures + "sashimi_v3.pt")->config();
  EXPECT_EQ(config.pool, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(config.skips, SashimiConfig::Skips::kPools);
  EXPECT_EQ(config.norm, NormKind::kScalar);
  EXPECT_TRUE(config.weight_norm);
  EXPECT_EQ(config.stages[1].blocks[0].options.at("l_kernel"), 8);
  EXPECT_EQ(config.stages[1].blocks[0].options.at("n_ssm"), 1);
  const AudioFormat format = AudioFormat::from_json(config.audio, "audio");
  EXPECT_EQ(format.companding, Companding::kS4);
  EXPECT_EQ(format.scale, Scale::kMinMax);
  EXPECT_EQ(format.clip_length, 16);
  const SashimiConfig unet = import_sashimi(kFixtures + "unet_v4.pt")->config();
  EXPECT_EQ(unet.skips, SashimiConfig::Skips::kLayers);
  EXPECT_FALSE(unet.weight_norm);
  EXPECT_EQ(unet.stages[0].blocks[0].options.at("n_ssm"), 0);
  ReleasedModel options;
  options.dt_transform = "softplus";
  EXPECT_EQ(import_sashimi(kFixtures + "unet_v4.pt", options)
                ->config()
                .stages[2]
                .blocks[0]
                .options.at("dt_transform"),
            "softplus");
}

TEST(SashimiImportTest, WhatDoesNotFitIsNamed) {
  const strandwave::testing::TemporaryFolder folder;
  const NamedTensors whole = read_torch_file(kFixtures + "sashimi_v4.pt");
  const auto error_with = [&](const std::function<void(std::string&, torch::Tensor&)>& change) {
    NamedTensors changed;
    for (auto [name, tensor] : whole) {
      change(name, tensor);
      if (tensor.defined()) changed.emplace_back(name, tensor);
    }
    return message_of([&] { import_sashimi(write(folder, changed)); });
  };
  const auto without = [&](const std::string& key) {
    return error_with([&](const std::string& name, torch::Tensor& tensor) {
      if (name == key) tensor.reset();
    });
  };
  EXPECT_NE(without("encoder.0.weight").find("no tensor encoder.weight"), std::string::npos);
  EXPECT_NE(without("model.c_layers.0.layer.layer.kernel.C").find("no tensor mixer.kernel.C"),
            std::string::npos);
  EXPECT_NE(without("model.c_layers.0.layer.layer.D").find("\"stages.2.layers.0.mixer.D\""),
            std::string::npos);
  EXPECT_NE(without("model.d_layers.0.linear.bias"), "");
  EXPECT_NE(without("model.norm.bias").find("\"norm.bias\""), std::string::npos);
  EXPECT_NE(error_with([](std::string& name, const torch::Tensor&) {
              if (name.ends_with("c_layers.0.layer.layer.D"))
                name = "model.c_layers.0.layer.layer.kernel.Q";
            }).find("older than version 3"),
            std::string::npos);
  EXPECT_NE(error_with([](std::string& name, const torch::Tensor&) {
              if (name == "model.norm.bias") name = "wavenet.0.bias";
            }).find("wavenet.0.bias does not belong to a SaShiMi"),
            std::string::npos);
  EXPECT_NE(error_with([](const std::string& name, torch::Tensor& tensor) {
              if (name == "model.u_layers.1.1.layer.layer.D") tensor = torch::ones({1, 5});
            }).find("has shape (1, 5), the configuration needs (1, 4)"),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              import_sashimi(write(folder, {{"fc.weight", torch::ones({2, 2})}}));
            }).find("does not belong"),
            std::string::npos);
}

}  // namespace
}  // namespace strandwave::audio
