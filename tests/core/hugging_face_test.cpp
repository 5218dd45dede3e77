#include "core/checkpoint/hugging_face.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/json_config.h"
#include "core/checkpoint/tensor_file.h"

namespace strandwave {
namespace {

namespace fs = std::filesystem;
using torch::Tensor;

// Made by tests/python/make_hf_mamba_fixture.py with Hugging Face transformers. A bundle for
// another host (scripts/bundle) has it beside the folder of the program.
fs::path find_fixture() {
  const fs::path bundled =
      fs::read_symlink("/proc/self/exe").parent_path().parent_path() / "fixtures/hf_mamba_tiny";
  if (fs::exists(bundled)) return bundled;
  return fs::path(STRANDWAVE_SOURCE_DIR) / "tests/fixtures/hf_mamba_tiny";
}

const fs::path kFixture = find_fixture();

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::map<std::string, Tensor> as_map(const NamedTensors& tensors) {
  return {tensors.begin(), tensors.end()};
}

void expect_equal_models(const SequenceModel& a, const SequenceModel& b) {
  EXPECT_EQ(a.named_tensors().size(), b.named_tensors().size());
  for (const auto& [name, tensor] : a.named_tensors())
    EXPECT_TRUE(torch::equal(tensor, b.named_parameters()[name])) << name;
}

class HuggingFaceTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "strandwave-hf-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { fs::remove_all(directory_); }

  static nlohmann::json fixture_config() { return read_json_file(kFixture / "config.json"); }
  static NamedTensors fixture_tensors() { return read_tensors(kFixture / "model.safetensors"); }

  void write_config(const nlohmann::json& config) const {
    write_file_atomically(directory_ / "config.json", config.dump());
  }
  void write(const nlohmann::json& config, const NamedTensors& tensors) const {
    write_config(config);
    write_tensors(directory_ / "model.safetensors", tensors);
  }

  fs::path directory_;
};

class HuggingFaceDeviceTest : public testing::TestWithParam<torch::DeviceType> {};

TEST_P(HuggingFaceDeviceTest, LogitsAndContinuationAreThoseOfTransformers) {
  if (GetParam() == torch::kCUDA && !torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
  torch::globalContext().setAllowTF32CuBLAS(false);
  const torch::NoGradGuard no_grad;
  const auto model = import_model(kFixture);
  const torch::Device device(GetParam());
  model->to(device);
  const auto expected = as_map(read_tensors(kFixture / "expected.safetensors"));
  const Tensor prompt = expected.at("prompt").to(device);
  const Tensor logits = model->logits(model->hidden(prompt).hidden).cpu();
  const Tensor reference = expected.at("logits");
  EXPECT_LT((logits - reference).abs().max().item<double>(),
            1e-4 * reference.abs().max().item<double>());

  ModelState state = model->allocate_state(prompt.size(0), 64);
  Tensor last;
  for (int64_t t = 0; t < prompt.size(1); ++t) last = model->step(prompt.select(1, t), state);
  const Tensor continuation = expected.at("continuation");
  for (int64_t t = 0; t < continuation.size(1); ++t) {
    const Tensor token = last.argmax(1);
    EXPECT_TRUE(torch::equal(token.cpu(), continuation.select(1, t))) << "new token " << t;
    last = model->step(token, state);
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, HuggingFaceDeviceTest, testing::Values(torch::kCPU));
INSTANTIATE_TEST_SUITE_P(Cuda, HuggingFaceDeviceTest, testing::Values(torch::kCUDA));

TEST_F(HuggingFaceTest, ExportAndImportAreInverse) {
  const auto model = import_model(kFixture);
  export_hugging_face(directory_ / "out", *model);
  expect_equal_models(*model, *import_model(directory_ / "out"));
  const auto ours = as_map(read_tensors(directory_ / "out" / "model.safetensors"));
  const auto theirs = as_map(fixture_tensors());
  ASSERT_EQ(ours.size(), theirs.size());
  for (const auto& [name, tensor] : theirs)
    EXPECT_TRUE(torch::equal(ours.at(name), tensor)) << name;
  // Where both write a key, they write the same.
  const auto config = read_json_file(directory_ / "out" / "config.json");
  const auto fixture = fixture_config();
  for (const auto& [key, value] : fixture.items())
    if (config.contains(key) && !value.is_number_float()) EXPECT_EQ(config[key], value) << key;
  EXPECT_NE(message_of([&] { export_hugging_face(directory_ / "out", *model); }).find("exists"),
            std::string::npos);
  export_hugging_face(directory_ / "out", *model, /*replace=*/true);
}

TEST_F(HuggingFaceTest, TheRowsThatAreTokensAreKept) {
  ModelConfig config;
  config.d_model = 8;
  config.stack = "M";
  config.vocab_size = 16;
  config.valid_vocab_size = 12;
  const SequenceModel model(config, 1);
  export_hugging_face(directory_ / "out", model);
  const auto imported = import_model(directory_ / "out");
  EXPECT_EQ(imported->config().valid_vocab_size, 12);
  expect_equal_models(model, *imported);
  auto changed = read_json_file(directory_ / "out" / "config.json");
  changed["valid_vocab_size"] = 17;
  write_file_atomically(directory_ / "out" / "config.json", changed.dump());
  const std::string message = message_of([&] { import_model(directory_ / "out"); });
  EXPECT_NE(message.find("\"valid_vocab_size\" must be an integer from 0 to 16, got 17"),
            std::string::npos)
      << message;
}

TEST_F(HuggingFaceTest, UntiedHead) {
  auto config = fixture_config();
  config["tie_word_embeddings"] = false;
  NamedTensors tensors = fixture_tensors();
  tensors.emplace_back("lm_head.weight", torch::randn({32, 24}));
  write(config, tensors);
  const auto model = import_model(directory_);
  EXPECT_TRUE(torch::equal(model->named_parameters()["lm_head.weight"], tensors.back().second));
  export_hugging_face(directory_ / "out", *model);
  expect_equal_models(*model, *import_model(directory_ / "out"));
  // The same head as the embedding is no second parameter.
  tensors.back().second = as_map(tensors).at("backbone.embeddings.weight");
  write(config, tensors);
  EXPECT_TRUE(import_model(directory_)->config().tie_embeddings);
}

TEST_F(HuggingFaceTest, NamesAndTypesOfOtherWriters) {
  const auto expected = import_model(kFixture);
  NamedTensors tensors = fixture_tensors();
  for (auto& [name, tensor] : tensors)  // an early release wrote "embedding"
    if (name == "backbone.embeddings.weight") name = "backbone.embedding.weight";
  write(fixture_config(), tensors);
  expect_equal_models(*expected, *import_model(directory_));

  for (auto& [name, tensor] : tensors) name = name.substr(std::string("backbone.").size());
  write(fixture_config(), tensors);  // MambaModel, without a head
  expect_equal_models(*expected, *import_model(directory_));

  for (auto& [name, tensor] : tensors) tensor = tensor.to(torch::kBFloat16);
  write(fixture_config(), tensors);
  const auto lowered = import_model(directory_);
  for (const auto& [name, tensor] : lowered->named_tensors()) {
    EXPECT_EQ(tensor.scalar_type(), torch::kFloat) << name;
    EXPECT_TRUE(torch::equal(
        tensor, expected->named_parameters()[name].to(torch::kBFloat16).to(torch::kFloat)))
        << name;
  }
}

TEST_F(HuggingFaceTest, ShardedFiles) {
  const NamedTensors tensors = fixture_tensors();
  nlohmann::json map = nlohmann::json::object();
  NamedTensors parts[2];
  for (size_t i = 0; i < tensors.size(); ++i) {
    parts[i % 2].push_back(tensors[i]);
    map[tensors[i].first] = i % 2 == 0 ? "a.safetensors" : "b.safetensors";
  }
  write_tensors(directory_ / "a.safetensors", parts[0]);
  write_tensors(directory_ / "b.safetensors", parts[1]);
  write_config(fixture_config());
  const fs::path index = directory_ / "model.safetensors.index.json";
  write_file_atomically(index, nlohmann::json{{"weight_map", map}}.dump());
  expect_equal_models(*import_model(kFixture), *import_model(directory_));

  map[tensors[0].first] = "b.safetensors";  // it is not there
  write_file_atomically(index, nlohmann::json{{"weight_map", map}}.dump());
  EXPECT_NE(message_of([&] { import_model(directory_); }).find("no tensor"), std::string::npos);
  map[tensors[0].first] = "../a.safetensors";
  write_file_atomically(index, nlohmann::json{{"weight_map", map}}.dump());
  EXPECT_NE(message_of([&] { import_model(directory_); }).find("in this directory"),
            std::string::npos);
}

TEST_F(HuggingFaceTest, StateSpacesConfiguration) {
  NamedTensors tensors = fixture_tensors();
  for (auto& [name, tensor] : tensors)
    if (name == "backbone.embeddings.weight") name = "backbone.embedding.weight";
  nlohmann::json config = {{"d_model", 24},          {"n_layer", 2},
                           {"vocab_size", 27},       {"ssm_cfg", {{"d_state", 8}, {"dt_rank", 3}}},
                           {"rms_norm", true},       {"residual_in_fp32", true},
                           {"fused_add_norm", true}, {"pad_vocab_size_multiple", 8}};
  write(config, tensors);
  const auto model = import_model(directory_);
  expect_equal_models(*import_model(kFixture), *model);
  EXPECT_EQ(model->config().vocab_size, 32);
  EXPECT_EQ(model->config().valid_vocabulary(), 27);

  const std::pair<const char*, const char*> bad[] = {
      {R"({"ssm_cfg": {"layer": "Mamba2"}})", "got \"Mamba2\""},
      {R"({"ssm_cfg": {"d_sate": 8}})", "did you mean \"d_state\""},
      {R"({"attn_layer_idx": [1]})", "\"attn_layer_idx\" is [1]; only [] is supported"},
      {R"({"d_intermediate": 64})", "\"d_intermediate\" is 64"},
      {R"({"rms_norm": false})", "\"rms_norm\" is false"},
      {R"({"n_layer": 3})", "backbone.layers.2"},
      {R"({"n_layer": 1})", "does not belong"},
      {R"({"vocab_size": 50277})", "the embedding has shape (32, 24)"},
      {R"({"d_model": "x"})", "\"d_model\""},
  };
  for (const auto& [patch, expected] : bad) {
    nlohmann::json changed = config;
    changed.update(nlohmann::json::parse(patch));
    write_config(changed);
    const std::string message = message_of([&] { import_model(directory_); });
    EXPECT_NE(message.find(expected), std::string::npos) << patch << " -> " << message;
  }
}

TEST_F(HuggingFaceTest, ErrorsNameFileKeyAndTensor) {
  const std::pair<const char*, const char*> bad[] = {
      {R"({"model_type": "mamba2"})", "\"model_type\" is \"mamba2\""},
      {R"({"hidden_act": "gelu"})", "\"hidden_act\" is \"gelu\""},
      {R"({"intermediate_size": 50})", "\"intermediate_size\" is 50; only 48"},
      {R"({"state_size": 9})", "A_log"},
      {R"({"time_step_rank": 4})", "x_proj.weight"},
      {R"({"conv_kernel": 5})", "\"conv_kernel\""},
      {R"({"use_conv_bias": false})", "does not belong"},
      {R"({"use_bias": true})", "is missing"},
      {R"({"num_hidden_layers": -1})", "got -1"},
  };
  for (const auto& [patch, expected] : bad) {
    nlohmann::json config = fixture_config();
    config.update(nlohmann::json::parse(patch));
    write(config, fixture_tensors());
    const std::string message = message_of([&] { import_model(directory_); });
    EXPECT_NE(message.find(expected), std::string::npos) << patch << " -> " << message;
    EXPECT_NE(message.find(directory_.string()), std::string::npos) << message;
  }
  write_config(nlohmann::json::object());
  EXPECT_NE(message_of([&] { import_model(directory_); }).find("neither a Hugging Face"),
            std::string::npos);
  write_config(fixture_config());
  fs::remove(directory_ / "model.safetensors");
  EXPECT_NE(message_of([&] { import_model(directory_); }).find("has neither"), std::string::npos);
  write_file_atomically(directory_ / "pytorch_model.bin", "x");
  EXPECT_NE(message_of([&] { import_model(directory_); }).find("can run code"), std::string::npos);
  EXPECT_NE(message_of([&] { import_model(directory_ / "none"); }).find("no directory"),
            std::string::npos);
}

TEST_F(HuggingFaceTest, ExportRefusesWhatTheFormLacks) {
  ModelConfig config;
  config.d_model = 8;
  config.stack = "MN";
  config.layers['N'] = {"mamba", {{"d_state", 4}}};
  EXPECT_NE(message_of([&] {
              export_hugging_face(directory_ / "x", SequenceModel(config, 1));
            }).find("layers differ"),
            std::string::npos);
  config.stack = "M";
  config.head.kind = HeadConfig::Kind::kClassifier;
  config.head.classes = {"a", "b"};
  EXPECT_NE(message_of([&] {
              export_hugging_face(directory_ / "x", SequenceModel(config, 1));
            }).find("classifier head"),
            std::string::npos);
  EXPECT_FALSE(fs::exists(directory_ / "x"));
}

}  // namespace
}  // namespace strandwave
