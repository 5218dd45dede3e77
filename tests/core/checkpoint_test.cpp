#include "core/checkpoint/checkpoint.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <functional>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/checkpoint/tensor_file.h"

namespace strandwave {
namespace {

namespace fs = std::filesystem;

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

ModelConfig small_config() {
  ModelConfig config;
  config.d_model = 8;
  config.stack = "M";
  config.layers['M'].options = {{"d_state", 2}};
  return config;
}

void truncate_file(const fs::path& path) { fs::resize_file(path, fs::file_size(path) - 1); }

void flip_last_byte(const fs::path& path) {
  std::string bytes = read_file(path);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write_file_atomically(path, bytes);
}

class CheckpointTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "strandwave-ckpt-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    run_ = pattern;
  }
  void TearDown() override { fs::remove_all(run_); }

  static Checkpoint checkpoint(int64_t step) {
    const SequenceModel model(small_config(), static_cast<uint64_t>(step));
    Checkpoint made;
    made.config = model.config().to_json();
    made.model = model.named_tensors();
    made.training = {{"backbone.norm_f.weight.exp_avg", torch::full({8}, 0.5)},
                     {"mask", torch::ones({3}, torch::kBool)},
                     {"half", torch::full({2, 2}, 1.5, torch::kBFloat16)}};
    made.state = {{"step", step}};
    return made;
  }

  fs::path save(int64_t step) const {
    const fs::path path = checkpoint_path(run_, step);
    save_checkpoint(path, checkpoint(step));
    return path;
  }

  fs::path run_;
};

TEST_F(CheckpointTest, RoundTripIsExact) {
  const fs::path path = save(12);
  EXPECT_EQ(path.filename(), "step-000000012");
  const Checkpoint saved = checkpoint(12);
  const Checkpoint loaded = load_checkpoint(path);
  EXPECT_EQ(loaded.config, saved.config);
  EXPECT_EQ(loaded.state, saved.state);
  ASSERT_EQ(loaded.model.size(), saved.model.size());
  std::map<std::string, torch::Tensor> by_name(loaded.model.begin(), loaded.model.end());
  by_name.insert(loaded.training.begin(), loaded.training.end());
  for (const auto* list : {&saved.model, &saved.training})
    for (const auto& [name, tensor] : *list) {
      EXPECT_EQ(by_name.at(name).scalar_type(), tensor.scalar_type()) << name;
      EXPECT_TRUE(torch::equal(by_name.at(name), tensor)) << name;
    }
}

TEST_F(CheckpointTest, TensorsOfEveryTypeAndForm) {
  const NamedTensors tensors = {
      {"transposed", torch::arange(6).view({2, 3}).t()},
      {"scalar", torch::tensor(2.5, torch::kDouble)},
      {"empty", torch::empty({0, 3})},
      {"slice", torch::arange(10, torch::kFloat).narrow(0, 3, 4)},
      {"int8", torch::tensor({-1, 2}, torch::kChar)},
      {"half", torch::tensor({0.5, -0.25}, torch::kHalf)},
      {"conjugate", torch::complex(torch::tensor({1.5f}), torch::tensor({-2.0f})).conj()},
  };
  write_tensors(run_ / "t", tensors);
  const NamedTensors read = read_tensors(run_ / "t");
  const std::map<std::string, torch::Tensor> by_name(read.begin(), read.end());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(by_name.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(torch::equal(by_name.at(name), tensor)) << name;
  }
  EXPECT_NE(message_of([&] {
              write_tensors(run_ / "c", {{"z", torch::zeros({1}, torch::kComplexDouble)}});
            }).find("\"z\""),
            std::string::npos);
}

TEST_F(CheckpointTest, DamageIsNamed) {
  struct Row {
    std::function<void(const fs::path&)> damage;
    const char* expected;
  };
  const Row rows[] = {
      {[](const fs::path& p) { truncate_file(p / "model.safetensors"); },
       "model.safetensors is truncated or changed"},
      {[](const fs::path& p) { flip_last_byte(p / "training.safetensors"); },
       "training.safetensors is truncated or changed"},
      {[](const fs::path& p) { flip_last_byte(p / "config.json"); },
       "config.json is truncated or changed"},
      {[](const fs::path& p) { fs::remove(p / "model.safetensors"); },
       "model.safetensors is missing"},
      {[](const fs::path& p) { fs::remove(p / "training.safetensors"); },
       "training.safetensors is missing"},
      {[](const fs::path& p) { fs::remove(p / "state.json"); }, "it has no state.json"},
      {[](const fs::path& p) { write_file_atomically(p / "state.json", ""); }, "not valid JSON"},
      {[](const fs::path& p) { write_file_atomically(p / "state.json", "{}"); },
       "\"format_version\" is missing"},
      {[](const fs::path& p) {
         write_file_atomically(p / "state.json",
                               R"({"format_version": 1, "files": {"../../etc/passwd": "x"}})");
       },
       "unexpected file"},
      {[](const fs::path& p) {
         write_file_atomically(p / "state.json", R"({"format_version": 1, "files": {}})");
       },
       "lacks config.json"},
      {[](const fs::path& p) {
         write_file_atomically(p / "state.json", R"({"format_version": 9, "files": {}})");
       },
       "got 9"},
      {[](const fs::path& p) { fs::remove_all(p); }, "no directory"},
  };
  for (const Row& row : rows) {
    const fs::path path = save(1);
    EXPECT_EQ(message_of([&] { load_checkpoint(path); }), "");
    row.damage(path);
    for (const std::string& message :
         {message_of([&] { load_checkpoint(path); }), message_of([&] { verify_checkpoint(path); })})
      EXPECT_NE(message.find(row.expected), std::string::npos) << row.expected << " / " << message;
  }
}

TEST_F(CheckpointTest, FallsBackToTheNewestWholeOne) {
  EXPECT_FALSE(latest_valid(run_).has_value());
  for (const int64_t step : {5, 10, 1000}) save(step);
  EXPECT_EQ(latest_valid(run_)->step, 1000);
  EXPECT_TRUE(latest_valid(run_)->skipped.empty());
  truncate_file(checkpoint_path(run_, 1000) / "model.safetensors");
  const auto found = latest_valid(run_);
  EXPECT_EQ(found->step, 10);
  EXPECT_EQ(found->directory, checkpoint_path(run_, 10));
  ASSERT_EQ(found->skipped.size(), 1U);
  EXPECT_NE(found->skipped[0].find("step-000001000"), std::string::npos);
  for (const int64_t step : {5, 10}) fs::remove(checkpoint_path(run_, step) / "config.json");
  const std::string message = message_of([&] { latest_valid(run_); });
  for (const char* part : {"step-000000005", "step-000000010", "step-000001000", "truncated"})
    EXPECT_NE(message.find(part), std::string::npos) << message;
}

TEST_F(CheckpointTest, UnfinishedOnesAreInvisibleAndPruned) {
  for (const int64_t step : {1, 2, 3}) save(step);
  const fs::path unfinished = run_ / "checkpoints" / "step-000000004.tmp-123-0";
  fs::create_directories(unfinished);
  fs::create_directories(run_ / "checkpoints" / "notes");
  EXPECT_EQ(checkpoint_steps(run_), (std::vector<int64_t>{1, 2, 3}));
  prune_checkpoints(run_, 2);
  EXPECT_EQ(checkpoint_steps(run_), (std::vector<int64_t>{2, 3}));
  EXPECT_FALSE(fs::exists(unfinished));
  EXPECT_TRUE(fs::exists(run_ / "checkpoints" / "notes"));
}

TEST_F(CheckpointTest, AFullDiskLeavesTheOldOne) {
  const fs::path path = save(1);
  std::string message;
  {
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit old = {};
    ::getrlimit(RLIMIT_FSIZE, &old);
    const rlimit limit{1200, old.rlim_max};  // config.json fits, the tensors do not
    ::setrlimit(RLIMIT_FSIZE, &limit);
    message = message_of([&] { save_checkpoint(path, checkpoint(2)); });
    EXPECT_NE(message_of([&] { save(3); }), "");
    ::setrlimit(RLIMIT_FSIZE, &old);
  }
  EXPECT_NE(message.find("cannot write"), std::string::npos) << message;
  EXPECT_NE(message.find("model.safetensors"), std::string::npos) << message;
  EXPECT_EQ(load_checkpoint(path).state, (nlohmann::json{{"step", 1}}));
  EXPECT_EQ(checkpoint_steps(run_), std::vector<int64_t>{1});
  EXPECT_EQ(std::distance(fs::directory_iterator(run_ / "checkpoints"), {}), 1);
}

TEST_F(CheckpointTest, ModelsLoadFromModelAndRunDirectories) {
  const SequenceModel model(small_config(), 42);
  save_model(run_ / "model", model, {{"origin", "test"}});
  const LoadedModel loaded = load_model_with_state(run_ / "model");
  EXPECT_EQ(loaded.state["origin"], "test");
  EXPECT_EQ(loaded.hash.size(), 64U);
  EXPECT_FALSE(fs::exists(run_ / "model" / "training.safetensors"));
  const auto expect_equal = [](const SequenceModel& a, const SequenceModel& b) {
    for (const auto& [name, tensor] : a.named_tensors())
      EXPECT_TRUE(torch::equal(tensor, b.named_parameters()[name])) << name;
  };
  expect_equal(model, *loaded.model);

  save(1);
  const fs::path newest = save(2);
  write_file_atomically(run_ / "config.json", "{}");  // the run's own, no model configuration
  EXPECT_EQ(load_model_with_state(run_).directory, newest);
  expect_equal(SequenceModel(small_config(), 2), *load_model(run_));
  expect_equal(SequenceModel(small_config(), 1), *load_model(checkpoint_path(run_, 1)));
  save_model(run_ / "best", model);
  EXPECT_EQ(load_model_with_state(run_).directory, run_ / "best");
  expect_equal(model, *load_model(run_));
}

TEST_F(CheckpointTest, ALoweredModelIsSavedInFloat32) {
  SequenceModel model(small_config(), 42);
  for (const auto& [name, tensor] : model.named_tensors())
    if (SequenceModel::lowered(name, tensor))
      model.replace_parameter(name, tensor.detach().to(torch::kBFloat16));
  save_model(run_ / "m", model);
  for (const auto& [name, tensor] : read_tensors(run_ / "m" / "model.safetensors"))
    EXPECT_EQ(tensor.scalar_type(), torch::kFloat) << name;
}

TEST_F(CheckpointTest, LoadingSaysWhatADirectoryLacks) {
  EXPECT_NE(message_of([&] { load_model(run_ / "none"); }).find("no directory"), std::string::npos);
  EXPECT_NE(message_of([&] { load_model(run_); }).find("holds no model"), std::string::npos);
  write_file_atomically(run_ / "config.json", R"({"model_type": "mamba"})");
  EXPECT_NE(message_of([&] { load_model(run_); }).find("strandwave model import"),
            std::string::npos);
  save_model(run_ / "m", SequenceModel(small_config(), 1));
  fs::remove(run_ / "m" / "state.json");
  EXPECT_NE(message_of([&] { load_model(run_ / "m"); }).find("state.json is missing"),
            std::string::npos);
}

TEST_F(CheckpointTest, EqualContentsGiveEqualBytes) {
  save_model(run_ / "a", SequenceModel(small_config(), 1));
  save_model(run_ / "b", SequenceModel(small_config(), 1));
  for (const char* file : {"config.json", "model.safetensors", "state.json"})
    EXPECT_EQ(read_file(run_ / "a" / file), read_file(run_ / "b" / file)) << file;
}

TEST_F(CheckpointTest, CompanionsGoWithTheModel) {
  const fs::path model = run_ / "m";
  const std::string bytes("a\0b\n", 4);
  save_model(model, SequenceModel(small_config(), 1), {{"origin", "test"}}, torch::kFloat,
             {{"training_data.safetensors", bytes}});
  EXPECT_EQ(read_companion(model, "training_data.safetensors"), bytes);
  EXPECT_EQ(read_companion(model, "calibration.json"), std::nullopt);
  EXPECT_EQ(load_model_with_state(model).companions.at("training_data.safetensors"), bytes);
  EXPECT_EQ(load_checkpoint(model).companions.size(), 1U);

  add_companion(model, "calibration.json", "{}");
  add_companion(model, "calibration.json", "{\"t\": 1}");
  EXPECT_EQ(read_companion(model, "calibration.json"), "{\"t\": 1}");
  EXPECT_EQ(read_companion(model, "training_data.safetensors"), bytes);
  EXPECT_EQ(load_model_with_state(model).state["origin"], "test");

  flip_last_byte(model / "calibration.json");
  EXPECT_NE(message_of([&] {
              read_companion(model, "calibration.json");
            }).find("calibration.json is truncated or changed"),
            std::string::npos);
  EXPECT_NE(message_of([&] { load_model(model); }), "");
  add_companion(model, "calibration.json", "{}");
  load_model(model);

  for (const char* name : {"", "../x", "a/b", ".hidden", "state.json", "model.safetensors", "x y"})
    EXPECT_NE(message_of([&] { add_companion(model, name, "x"); }).find("cannot be the name"),
              std::string::npos)
        << name;
}

TEST_F(CheckpointTest, CompanionsAreFoundThroughTheRun) {
  save(1);
  EXPECT_EQ(read_companion(run_, "c.json"), std::nullopt);
  add_companion(checkpoint_path(run_, 1), "c.json", "1");
  EXPECT_EQ(read_companion(run_, "c.json"), "1");
  save_model(run_ / "best", SequenceModel(small_config(), 1), nlohmann::json::object(),
             torch::kFloat, {{"c.json", "best"}});
  EXPECT_EQ(read_companion(run_, "c.json"), "best");
}

}  // namespace
}  // namespace strandwave
