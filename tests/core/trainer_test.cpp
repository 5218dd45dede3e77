#include "core/training/trainer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <torch/torch.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <fstream>
#include <iterator>
#include <limits>
#include <thread>

#include "core/base/error.h"
#include "core/base/json_lines.h"
#include "core/base/random.h"
#include "core/base/signals.h"
#include "core/checkpoint/checkpoint.h"
#include "core/models/model_config.h"
#include "core/models/sequence_model.h"
#include "core/training/schedule.h"

namespace strandwave {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kVocabulary = 16;
constexpr int64_t kWidth = 32;

// Next-token model of one hidden layer; initial values without any generator.
struct TinyModel : torch::nn::Module {
  TinyModel() {
    embedding = wave("embedding", {kVocabulary, kWidth}, 0.3);
    hidden = wave("hidden", {kWidth, 64}, 0.11);
    bias = register_parameter("bias", torch::zeros({64}));
    output = wave("output", {64, kVocabulary}, 0.17);
  }
  torch::Tensor wave(const std::string& name, std::vector<int64_t> shape, double frequency) {
    const torch::Tensor values =
        torch::sin(torch::arange(shape[0] * shape[1], torch::kFloat64) * frequency);
    return register_parameter(name, (values * 0.2).to(torch::kFloat32).view(shape));
  }
  // tokens (n) -> logits (n, vocabulary) in float32
  torch::Tensor forward(const torch::Tensor& tokens) {
    const torch::Tensor one_hot = tokens.unsqueeze(1)
                                      .eq(torch::arange(kVocabulary, tokens.options()))
                                      .to(embedding.scalar_type());
    const torch::Tensor x = one_hot.matmul(embedding).matmul(hidden).to(torch::kFloat32) + bias;
    return torch::tanh(x).to(output.scalar_type()).matmul(output).to(torch::kFloat32);
  }
  torch::Tensor embedding, hidden, bias, output;
};

struct TaskOptions {
  int64_t rows = 8;           // per micro-batch
  int64_t micro_batches = 1;  // per step
  int64_t nan_step = -1;
  int64_t signal_step = -1;  // raises SIGTERM while this step is computed
  int64_t fail_step = -1;    // batch() throws
  int64_t huge_step = -1;    // loss() asks for more memory than there is
  bool zero_weights = false;
  int sleep_milliseconds = 0;
  bool interrupted_evaluation = false;
  bool measured = true;
  int64_t stop_after = -1;  // evaluations
};

// Tokens follow next = 5 * token + 3 (mod 16), one in eight is random; weights are 0, 1 or 2. A
// pure function of the global index of the row.
class TinyTask : public Task {
 public:
  TinyTask(std::shared_ptr<TinyModel> model, TaskOptions options)
      : model_(std::move(model)), options_(options) {}

  Batch batch(int64_t step, int64_t micro_batch) const override {
    if (step == options_.fail_step) throw input_error("genome.fa: record 7 is broken");
    const int64_t n = options_.rows;
    torch::Tensor tokens = torch::empty({n}, torch::kInt64), targets = torch::empty_like(tokens);
    torch::Tensor weights = torch::empty({n});
    Batch batch;
    for (int64_t row = 0; row < n; ++row) {
      const int64_t sample = (step * options_.micro_batches + micro_batch) * n + row;
      const RandomStream random(7, RandomPurpose::kSynthetic, 0, static_cast<uint64_t>(sample));
      const auto token = static_cast<int64_t>(random.below(0, kVocabulary));
      const bool noise = random.below(1, 8) == 0;
      tokens[row] = token;
      targets[row] = noise ? static_cast<int64_t>(random.below(2, kVocabulary))
                           : (5 * token + 3) % kVocabulary;
      const double weight = options_.zero_weights ? 0.0 : static_cast<double>(random.below(3, 3));
      weights[row] = weight;
      batch.weight += weight;
    }
    const bool poisoned = step == options_.nan_step;
    batch.tensors = {{"tokens", tokens},
                     {"targets", targets},
                     {"weights", weights},
                     {"factor", torch::full({}, poisoned ? std::nanf("") : 1.0f)}};
    batch.tokens = n;
    return batch;
  }

  torch::Tensor loss(const Batch& batch) override {
    ++losses_;
    if (losses_ == options_.signal_step) std::raise(SIGTERM);
    if (losses_ == options_.huge_step)
      return torch::empty({int64_t{1} << 46}, batch.at("weights").options()).sum();
    if (options_.sleep_milliseconds > 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(options_.sleep_milliseconds));
    return weighted_loss(batch) * batch.at("factor");
  }

  std::vector<Metric> evaluate() override {
    ++evaluations;
    EXPECT_FALSE(torch::GradMode::is_enabled());
    EXPECT_FALSE(model_->is_training());
    if (options_.interrupted_evaluation) {
      std::raise(SIGINT);
      throw_if_interrupted();
    }
    if (!options_.measured) return {};
    // The very first row of batches far beyond the training data.
    const Batch held_out = batch(1'000'000, 0).to(model_->bias.device());
    const double value = weighted_loss(held_out).item<double>() / held_out.weight;
    return {{"nats", value}, {"norm", model_->bias.abs().sum().item<double>()}};
  }

  std::string description() const override { return "an affine map of 16 tokens"; }
  nlohmann::json config() const override { return {{"rows", options_.rows}}; }
  nlohmann::json state() const override { return {{"visits", 17}}; }
  void restore(const nlohmann::json& state) override { restored = state; }
  std::map<std::string, std::string> companions(int64_t) const override {
    return {{"notes.txt", "n"}};
  }
  std::string memory_advice() const override { return "lower rows"; }
  bool should_stop() const override { return evaluations == options_.stop_after; }

  int64_t evaluations = 0;
  nlohmann::json restored;

 private:
  torch::Tensor weighted_loss(const Batch& batch) {
    const torch::Tensor log_probabilities =
        torch::log_softmax(model_->forward(batch.at("tokens")), 1);
    const torch::Tensor targets = batch.at("targets");
    const torch::Tensor one_hot =
        targets.unsqueeze(1).eq(torch::arange(kVocabulary, targets.options()));
    return -((log_probabilities * one_hot).sum(1) * batch.at("weights")).sum();
  }

  std::shared_ptr<TinyModel> model_;
  TaskOptions options_;
  int64_t losses_ = 0;
};

struct Placement {
  torch::DeviceType device;
  std::string precision;
};

void PrintTo(const Placement& setup, std::ostream* out) {
  *out << torch::Device(setup.device) << " " << setup.precision;
}

TrainerConfig base_config(const Placement& setup) {
  TrainerConfig config;
  config.precision = setup.precision;
  config.steps = 20;
  config.lr = 0.02;
  config.min_lr = 0.002;
  config.warmup_steps = 4;
  config.log_every = 3;
  config.eval_every = 8;
  config.save_every = 5;
  config.ema_decay = 0.9;
  return config;
}

struct Trained {
  TrainingResult result;
  std::shared_ptr<TinyModel> model;
  std::shared_ptr<TinyTask> task;
};

// The model is too small to share; waiting threads would cost most of the time on a busy machine.
struct OneThread {
  OneThread() { at::set_num_threads(1); }
  ~OneThread() { at::set_num_threads(former); }
  const int former = at::get_num_threads();
};

Trained train(const fs::path& directory, const Placement& setup, const TrainerConfig& config,
              TaskOptions task_options = {}, bool force = false) {
  const OneThread one_thread;
  task_options.micro_batches = config.accumulation;
  Trained run;
  run.model = std::make_shared<TinyModel>();
  run.task = std::make_shared<TinyTask>(run.model, task_options);
  TrainableModel model;
  model.module = run.model;
  model.lowered = [](const std::string&, const torch::Tensor& tensor) { return tensor.dim() == 2; };
  model.config = ModelConfig{}.to_json();
  RunOptions options;
  options.directory = directory;
  options.device = setup.device;
  options.force = force;
  options.quiet = true;
  options.version = "test";
  run.result = Trainer(model, *run.task, config, options).run();
  return run;
}

std::string message_of(ErrorKind kind, const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

// Records of the log without what depends on the clock.
std::vector<nlohmann::json> records(const fs::path& directory, const std::string& type = "") {
  std::vector<nlohmann::json> result;
  for (nlohmann::json record : read_json_lines(directory / "log.jsonl")) {
    if (record["type"] == "run" || (!type.empty() && record["type"] != type)) continue;
    record.erase("tokens_per_second");
    record.erase("memory_bytes");
    result.push_back(record);
  }
  return result;
}

std::string file_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

void expect_same_run(const fs::path& actual, const fs::path& expected) {
  EXPECT_EQ(records(actual), records(expected));
  const std::vector<int64_t> steps = checkpoint_steps(expected);
  ASSERT_EQ(checkpoint_steps(actual), steps);
  for (const char* file : {"model.safetensors", "training.safetensors"})
    EXPECT_EQ(file_bytes(checkpoint_path(actual, steps.back()) / file),
              file_bytes(checkpoint_path(expected, steps.back()) / file));
  EXPECT_EQ(file_bytes(actual / "best" / "model.safetensors"),
            file_bytes(expected / "best" / "model.safetensors"));
}

class TrainerTest : public testing::TestWithParam<Placement> {
 protected:
  void SetUp() override {
    if (GetParam().device == torch::kCUDA && !torch::cuda::is_available())
      GTEST_SKIP() << "no GPU is visible";
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  Placement setup_ = GetParam();
  fs::path root_ = fs::temp_directory_path() / ("trainer_test_" + std::to_string(getpid()));
};

TEST_P(TrainerTest, LearnsAndLogs) {
  TrainerConfig config = base_config(setup_);
  config.steps = 300;
  config.log_every = 10;
  config.eval_every = 100;
  config.save_every = 100;
  TaskOptions options;
  options.rows = 64;
  const Trained run = train(root_ / "run", setup_, config, options);
  const auto log = records(root_ / "run", "train");
  ASSERT_EQ(log.size(), 30u);
  EXPECT_GT(log.front()["loss"].get<double>(), 2.0);  // ln 16 = 2.77 at the start
  EXPECT_LT(log.back()["loss"].get<double>(), 1.1);   // entropy of the source: 0.70
  EXPECT_EQ(run.result.step, 300);
  EXPECT_EQ(run.result.loss, log.back()["loss"].get<double>());
  EXPECT_EQ(run.result.skipped, 0);
  for (const auto& record : log) {
    const int64_t step = record["step"];
    EXPECT_EQ(record["lr"].get<double>(), learning_rate_at_step(step - 1, 300, 4, 0.02, 0.002));
    EXPECT_EQ(record["tokens"].get<int64_t>(), step * 64);
    EXPECT_NEAR(record["bits"].get<double>() * std::log(2.0), record["loss"].get<double>(), 1e-12);
    EXPECT_GT(record["grad_norm"].get<double>(), 0);
  }
  const auto evaluations = records(root_ / "run", "eval");
  ASSERT_EQ(evaluations.size(), 3u);
  EXPECT_EQ(evaluations[0]["step"], 100);
  EXPECT_EQ(run.result.evaluation.at(0).value, evaluations[2]["metrics"]["nats"].get<double>());
  const auto header = read_json_lines(root_ / "run" / "log.jsonl").front();
  EXPECT_EQ(header["type"], "run");
  EXPECT_EQ(header["parameters"], 16 * 32 + 32 * 64 + 64 + 64 * 16);
  EXPECT_TRUE(fs::exists(root_ / "run" / "config.json"));
  EXPECT_GT(fs::file_size(root_ / "run" / "events.out.tfevents.strandwave"), 1000u);
}

// Weights differ between micro-batches: a mean of means would fail here.
TEST_P(TrainerTest, AccumulationDoesNotChangeTheGradient) {
  TrainerConfig config = base_config(setup_);
  config.steps = 5;
  config.log_every = 1;
  config.eps =
      1e-3;  // else rounding decides the sign of a step where the gradient cancels to nothing
  TaskOptions options;
  options.rows = 32;
  train(root_ / "whole", setup_, config, options);
  config.accumulation = 8;
  options.rows = 4;
  train(root_ / "parts", setup_, config, options);
  const double tolerance = setup_.precision == "fp32" ? 1e-6 : 2e-2;
  const auto whole = records(root_ / "whole", "train");
  const auto parts = records(root_ / "parts", "train");
  ASSERT_EQ(whole.size(), parts.size());
  for (size_t i = 0; i < whole.size(); ++i)
    for (const char* key : {"loss", "grad_norm"})
      EXPECT_NEAR(whole[i][key].get<double>(), parts[i][key].get<double>(), 2 * tolerance) << key;
  if (setup_.precision != "fp32") return;
  const Checkpoint a = load_checkpoint(checkpoint_path(root_ / "whole", 5));
  const Checkpoint b = load_checkpoint(checkpoint_path(root_ / "parts", 5));
  for (size_t i = 0; i < a.model.size(); ++i)
    EXPECT_LT((a.model[i].second - b.model[i].second).abs().max().item<double>(), tolerance)
        << a.model[i].first;
}

// Stopped off every grid: between two log records, two saves and two evaluations.
TEST_P(TrainerTest, StoppedAndContinuedEqualsUnbroken) {
  const TrainerConfig config = base_config(setup_);
  train(root_ / "unbroken", setup_, config);
  TaskOptions options;
  options.signal_step = 11;
  const std::string message = message_of(
      ErrorKind::kInterrupted, [&] { train(root_ / "stopped", setup_, config, options); });
  EXPECT_NE(message.find("step 11 of 20"), std::string::npos) << message;
  EXPECT_EQ(checkpoint_steps(root_ / "stopped").back(), 11);
  const Trained continued = train(root_ / "stopped", setup_, config);
  EXPECT_EQ(continued.task->restored, (nlohmann::json{{"visits", 17}}));
  EXPECT_EQ(continued.result.step, 20);
  expect_same_run(root_ / "stopped", root_ / "unbroken");
  EXPECT_EQ(fs::file_size(root_ / "stopped" / "events.out.tfevents.strandwave"),
            fs::file_size(root_ / "unbroken" / "events.out.tfevents.strandwave"));
}

TEST_P(TrainerTest, EvaluationInterruptedComesAgain) {
  const TrainerConfig config = base_config(setup_);
  train(root_ / "unbroken", setup_, config);
  TaskOptions options;
  options.interrupted_evaluation = true;
  message_of(ErrorKind::kInterrupted, [&] { train(root_ / "stopped", setup_, config, options); });
  EXPECT_EQ(checkpoint_steps(root_ / "stopped").back(), 8);
  const Trained continued = train(root_ / "stopped", setup_, config);
  EXPECT_EQ(continued.task->evaluations, 3);
  expect_same_run(root_ / "stopped", root_ / "unbroken");
}

TEST_P(TrainerTest, LogsAreCutBackToTheCheckpoint) {
  const TrainerConfig config = base_config(setup_);
  train(root_ / "unbroken", setup_, config);
  TaskOptions options;
  options.fail_step = 14;  // records up to step 12, a checkpoint of step 10
  const std::string message =
      message_of(ErrorKind::kInput, [&] { train(root_ / "failed", setup_, config, options); });
  EXPECT_EQ(message, "genome.fa: record 7 is broken");
  EXPECT_EQ(records(root_ / "failed", "train").back()["step"], 12);
  std::ofstream(root_ / "failed" / "log.jsonl", std::ios::app) << "{\"step\": 15, \"lo";
  train(root_ / "failed", setup_, config);
  expect_same_run(root_ / "failed", root_ / "unbroken");
}

TEST_P(TrainerTest, DamagedCheckpointIsPassedOver) {
  const TrainerConfig config = base_config(setup_);
  train(root_ / "unbroken", setup_, config);
  TaskOptions options;
  options.signal_step = 11;
  message_of(ErrorKind::kInterrupted, [&] { train(root_ / "damaged", setup_, config, options); });
  const fs::path file = checkpoint_path(root_ / "damaged", 11) / "training.safetensors";
  std::string bytes = file_bytes(file);
  bytes[bytes.size() / 2] ^= 1;
  std::ofstream(file, std::ios::binary) << bytes;
  const Trained continued = train(root_ / "damaged", setup_, config);
  EXPECT_EQ(continued.result.step, 20);
  EXPECT_EQ(records(root_ / "damaged"), records(root_ / "unbroken"));
  for (const char* name : {"model.safetensors", "training.safetensors"})
    EXPECT_EQ(file_bytes(checkpoint_path(root_ / "damaged", 20) / name),
              file_bytes(checkpoint_path(root_ / "unbroken", 20) / name));
}

TEST_P(TrainerTest, StepsWithoutFiniteGradientAreSkipped) {
  TrainerConfig config = base_config(setup_);
  config.log_every = 1;
  TaskOptions options;
  options.nan_step = 6;
  const Trained run = train(root_ / "run", setup_, config, options);
  EXPECT_EQ(run.result.skipped, 1);
  const auto log = records(root_ / "run", "train");
  EXPECT_EQ(log[5]["skipped"], 0);
  EXPECT_EQ(log[6]["skipped"], 1);
  EXPECT_TRUE(log[6]["loss"].is_null());
  EXPECT_TRUE(log[6]["grad_norm"].is_null());
  EXPECT_GT(log[7]["loss"].get<double>(), 0);
  for (const auto& [name, tensor] : load_checkpoint(run.result.checkpoint).model)
    EXPECT_TRUE(torch::isfinite(tensor).all().item<bool>()) << name;
  // Stopped after the skipped step: the optimizer's own count goes on where it was.
  options.signal_step = 9;
  message_of(ErrorKind::kInterrupted, [&] { train(root_ / "stopped", setup_, config, options); });
  options.signal_step = -1;
  train(root_ / "stopped", setup_, config, options);
  expect_same_run(root_ / "stopped", root_ / "run");
}

TEST_P(TrainerTest, AverageIsMeasuredAndKept) {
  const TrainerConfig config = base_config(setup_);
  const Trained run = train(root_ / "run", setup_, config);
  ASSERT_EQ(run.result.best_step, 20);  // still learning
  const Checkpoint best = load_checkpoint(run.result.best_model);
  const Checkpoint last = load_checkpoint(run.result.checkpoint);
  EXPECT_TRUE(best.training.empty());
  const std::map<std::string, torch::Tensor> training(last.training.begin(), last.training.end());
  for (size_t i = 0; i < best.model.size(); ++i) {
    const auto& [name, averaged] = best.model[i];
    EXPECT_TRUE(torch::equal(averaged, training.at(name + ".ema"))) << name;
    EXPECT_FALSE(torch::equal(averaged, last.model[i].second)) << name;
    if (name == "bias")
      EXPECT_NEAR(averaged.abs().sum().item<double>(), run.result.evaluation[1].value, 1e-4);
  }
  // The model in memory is the trained one again.
  for (const auto& [name, tensor] : last.model)
    if (name == "bias") EXPECT_TRUE(torch::equal(tensor, run.model->bias.detach().cpu()));
}

TEST_P(TrainerTest, MemoryErrorNamesWhatToLower) {
  TaskOptions options;
  options.huge_step = 3;
  const std::string message = message_of(
      ErrorKind::kRuntime, [&] { train(root_ / "run", setup_, base_config(setup_), options); });
  EXPECT_NE(message.find("out of memory on "), std::string::npos) << message;
  EXPECT_NE(message.find("lower rows"), std::string::npos) << message;
}

// ---- Killed processes --------------------------------------------------------------------------

constexpr const char* kRunVariable = "STRANDWAVE_TRAINER_TEST_RUN";
constexpr const char* kDeviceVariable = "STRANDWAVE_TRAINER_TEST_DEVICE";
constexpr const char* kPrecisionVariable = "STRANDWAVE_TRAINER_TEST_PRECISION";

TrainerConfig child_config(const Placement& setup) {
  TrainerConfig config = base_config(setup);
  config.steps = 60;
  config.log_every = 2;
  config.save_every = 3;
  config.eval_every = 7;
  return config;
}

// What a child process of the tests below runs; alone it has nothing to do.
TEST(TrainerChild, DISABLED_Trains) {
  const char* directory = std::getenv(kRunVariable);
  if (directory == nullptr) GTEST_SKIP() << "only for the tests that start it";
  const Placement setup{
      std::string(std::getenv(kDeviceVariable)) == "cuda" ? torch::kCUDA : torch::kCPU,
      std::getenv(kPrecisionVariable)};
  TaskOptions options;
  options.sleep_milliseconds = 8;
  try {
    train(directory, setup, child_config(setup), options);
  } catch (const Error& error) {
    std::_Exit(error.kind() == ErrorKind::kInterrupted ? 75 : 1);
  }
  std::_Exit(0);
}

// A fresh process: a forked one would inherit threads and the state of the GPU.
pid_t start_child(const fs::path& directory, const Placement& setup) {
  const pid_t child = fork();
  if (child != 0) return child;
  setenv(kRunVariable, directory.c_str(), 1);
  setenv(kDeviceVariable, setup.device == torch::kCUDA ? "cuda" : "cpu", 1);
  setenv(kPrecisionVariable, setup.precision.c_str(), 1);
  const int null = ::open("/dev/null", O_WRONLY);
  ::dup2(null, STDOUT_FILENO);
  execl("/proc/self/exe", "trainer_child", "--gtest_filter=TrainerChild.DISABLED_Trains",
        "--gtest_also_run_disabled_tests", nullptr);
  _exit(127);
}

int64_t bytes_in(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return error ? 0 : static_cast<int64_t>(size);
}

// Waits until the child has logged `bytes` more, then a little longer.
void wait_for_log(const fs::path& directory, int64_t bytes, int milliseconds) {
  const int64_t start = bytes_in(directory / "log.jsonl");
  for (int i = 0; i < 6000 && bytes_in(directory / "log.jsonl") < start + bytes; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

int wait_for(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

TEST_P(TrainerTest, KilledAtAnyTimeContinuesExactly) {
  train(root_ / "unbroken", setup_, child_config(setup_));
  // Different places within step, log and save in every run of this test, printed for the record.
  const auto seed =
      static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  const RandomStream random(seed, RandomPurpose::kSynthetic);
  int killed = 0;
  for (uint64_t i = 0; i < 3; ++i) {
    const pid_t child = start_child(root_ / "killed", setup_);
    wait_for_log(root_ / "killed", 600 + static_cast<int64_t>(random.below(2 * i, 1200)),
                 static_cast<int>(random.below(2 * i + 1, 40)));
    kill(child, SIGKILL);
    killed += WIFSIGNALED(wait_for(child)) ? 1 : 0;
  }
  EXPECT_GE(killed, 1);
  const int status = wait_for(start_child(root_ / "killed", setup_));
  ASSERT_TRUE(WIFEXITED(status));
  ASSERT_EQ(WEXITSTATUS(status), 0);
  expect_same_run(root_ / "killed", root_ / "unbroken");
}

TEST_P(TrainerTest, SigtermSavesAndExits75) {
  const pid_t child = start_child(root_ / "run", setup_);
  wait_for_log(root_ / "run", 600, 5);
  kill(child, SIGTERM);
  const int status = wait_for(child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 75);
  const auto newest = latest_valid(root_ / "run");
  ASSERT_TRUE(newest.has_value());
  EXPECT_GE(newest->step, records(root_ / "run").back()["step"].get<int64_t>());
}

// ---- A real model ------------------------------------------------------------------------------

// Counts upwards: token_t = (start + t) mod 16.
class CountingTask : public Task {
 public:
  explicit CountingTask(std::shared_ptr<SequenceModel> model) : model_(std::move(model)) {}

  Batch batch(int64_t step, int64_t) const override {
    const torch::Tensor starts = torch::arange(step, step + 4, torch::kInt64).unsqueeze(1);
    const torch::Tensor tokens = (starts + torch::arange(33, torch::kInt64)).remainder(16);
    Batch batch;
    batch.tensors = {{"ids", tokens.slice(1, 0, 32).contiguous()},
                     {"targets", tokens.slice(1, 1, 33).contiguous()}};
    batch.weight = static_cast<double>(4 * 32);
    batch.tokens = 4 * 32;
    return batch;
  }
  torch::Tensor loss(const Batch& batch) override {
    return model_->language_model_loss(batch.at("ids"), batch.at("targets")).loss.sum();
  }
  std::vector<Metric> evaluate() override {
    const Batch one = batch(7, 0).to(model_->device());
    return {{"nats", loss(one).item<double>() / one.weight}};
  }
  std::string description() const override { return "counting"; }
  nlohmann::json config() const override { return nlohmann::json::object(); }

 private:
  std::shared_ptr<SequenceModel> model_;
};

TEST_P(TrainerTest, SequenceModelLearnsAndContinues) {
  const OneThread one_thread;
  ModelConfig model_config;
  model_config.d_model = 32;
  model_config.stack = "M{2}";
  TrainerConfig config = base_config(setup_);
  config.steps = 30;
  config.recompute = true;
  for (const std::string name : {"unbroken", "stopped"}) {
    for (int part = 0; part < 2; ++part) {
      const auto model = std::make_shared<SequenceModel>(model_config, 3);
      CountingTask task(model);
      RunOptions options;
      options.directory = root_ / name;
      options.device = setup_.device;
      options.quiet = true;
      Trainer trainer(trainable(model), task, config, options);
      EXPECT_EQ(model->compute_type(),
                setup_.precision == "bf16" ? torch::kBFloat16 : torch::kFloat32);
      EXPECT_EQ(trainer.run().step, 30);
      // A crash before the last checkpoint; the unbroken run has nothing to do in its second part.
      if (name == "stopped") fs::remove_all(checkpoint_path(root_ / name, 30));
    }
  }
  // The second part of the "stopped" run went on from step 25 and its last checkpoint was removed
  // too.
  EXPECT_EQ(records(root_ / "stopped"), records(root_ / "unbroken"));
  EXPECT_EQ(file_bytes(root_ / "stopped" / "best" / "model.safetensors"),
            file_bytes(root_ / "unbroken" / "best" / "model.safetensors"));
  const auto log = records(root_ / "unbroken", "train");
  EXPECT_LT(log.back()["loss"].get<double>(), 0.7 * log.front()["loss"].get<double>());
}

INSTANTIATE_TEST_SUITE_P(Cpu, TrainerTest, testing::Values(Placement{torch::kCPU, "fp32"}));
INSTANTIATE_TEST_SUITE_P(Cuda, TrainerTest,
                         testing::Values(Placement{torch::kCUDA, "fp32"},
                                         Placement{torch::kCUDA, "bf16"}));

// ---- What does not depend on the device --------------------------------------------------------

class TrainerRunTest : public testing::Test {
 protected:
  TrainerRunTest() { fs::create_directories(root_); }
  ~TrainerRunTest() override { fs::remove_all(root_); }

  Placement setup_{torch::kCPU, "fp32"};
  TrainerConfig config_ = base_config(setup_);
  fs::path root_ = fs::temp_directory_path() / ("trainer_run_test_" + std::to_string(getpid()));
};

TEST_F(TrainerRunTest, NewestCheckpointsAreKept) {
  config_.save_every = 3;
  config_.keep = 3;
  train(root_ / "run", setup_, config_);
  EXPECT_EQ(checkpoint_steps(root_ / "run"), (std::vector<int64_t>{15, 18, 20}));
}

TEST_F(TrainerRunTest, BestEvaluationIsKept) {
  config_.lr = 2.0;  // soon worse than at the first evaluation
  config_.min_lr = 1.0;
  config_.eval_every = 1;
  config_.ema_decay = 0;
  const Trained run = train(root_ / "run", setup_, config_);
  double lowest = std::numeric_limits<double>::infinity();
  int64_t step = 0;
  for (const auto& record : records(root_ / "run", "eval")) {
    const double value = record["metrics"]["nats"];
    EXPECT_EQ(record["best"].get<bool>(), value < lowest);
    if (value < lowest) step = record["step"];
    lowest = std::min(lowest, value);
  }
  ASSERT_LT(step, 20);
  EXPECT_EQ(run.result.best_step, step);
  EXPECT_EQ(run.result.best, lowest);
  EXPECT_EQ(load_checkpoint(root_ / "run" / "best").state.at("step"), step);
  for (const fs::path& path : {root_ / "run" / "best", run.result.checkpoint})
    EXPECT_EQ(read_companion(path, "notes.txt"), "n");
}

TEST_F(TrainerRunTest, FinishedRunIsLeftAlone) {
  const Trained first = train(root_ / "run", setup_, config_);
  const auto log = records(root_ / "run");
  const Trained second = train(root_ / "run", setup_, config_);
  EXPECT_EQ(second.task->evaluations, 0);
  EXPECT_EQ(second.result.step, 20);
  EXPECT_EQ(second.result.loss, first.result.loss);
  EXPECT_EQ(second.result.best, first.result.best);
  EXPECT_EQ(records(root_ / "run"), log);
}

TEST_F(TrainerRunTest, TaskMayEndTheRun) {
  config_.eval_every = 6;
  TaskOptions options;
  options.stop_after = 2;
  const Trained trained = train(root_ / "run", setup_, config_, options);
  EXPECT_EQ(trained.result.step, 12);
  EXPECT_EQ(trained.result.checkpoint, checkpoint_path(root_ / "run", 12));
  EXPECT_EQ(load_checkpoint(trained.result.checkpoint).state.at("run").at("step"), 12);
}

TEST_F(TrainerRunTest, FrozenParametersAreSavedAsTheyWere) {
  ModelConfig model_config;
  model_config.d_model = 16;
  model_config.stack = "M";
  const auto model = std::make_shared<SequenceModel>(model_config, 3);
  NamedTensors before;
  for (const auto& [name, tensor] : model->named_tensors()) {
    before.emplace_back(name, tensor.detach().clone());
    if (name != "backbone.norm_f.weight") tensor.set_requires_grad(false);
  }
  CountingTask task(model);
  RunOptions options;
  options.directory = root_ / "run";
  options.quiet = true;
  const TrainingResult result = Trainer(trainable(model), task, config_, options).run();
  const Checkpoint saved = load_checkpoint(result.checkpoint);
  const NamedTensors after = load_model(result.best_model)->named_tensors();
  ASSERT_EQ(after.size(), before.size());
  for (size_t i = 0; i < before.size(); ++i)
    EXPECT_EQ(torch::equal(after[i].second, before[i].second),
              before[i].first != "backbone.norm_f.weight")
        << before[i].first;
  EXPECT_EQ(saved.training.size(), 3u);  // moments and average of the one parameter that learns
}

TEST_F(TrainerRunTest, TaskWithoutMetrics) {
  TaskOptions options;
  options.measured = false;
  const Trained run = train(root_ / "run", setup_, config_, options);
  EXPECT_FALSE(run.result.best.has_value());
  EXPECT_EQ(run.result.best_model, run.result.checkpoint);
  EXPECT_FALSE(fs::exists(root_ / "run" / "best"));
}

TEST_F(TrainerRunTest, OtherSettingsAreNamed) {
  train(root_ / "run", setup_, config_);
  config_.lr = 0.03;
  std::string message =
      message_of(ErrorKind::kUsage, [&] { train(root_ / "run", setup_, config_); });
  EXPECT_NE(message.find("trainer.lr is 0.02 there and 0.03 now"), std::string::npos) << message;
  config_.lr = 0.02;
  TaskOptions options;
  options.rows = 4;
  message = message_of(ErrorKind::kUsage, [&] { train(root_ / "run", setup_, config_, options); });
  EXPECT_NE(message.find("task.rows is 8 there and 4 now"), std::string::npos) << message;
  // With force the run is replaced, with what commands put beside it.
  std::ofstream(root_ / "run" / "test.json") << "{}";
  std::ofstream(root_ / "run" / "split.bed") << "a";
  std::ofstream(root_ / "run" / "notes.txt") << "mine";
  const Trained run = train(root_ / "run", setup_, config_, options, true);
  EXPECT_EQ(records(root_ / "run", "train").back()["tokens"], 80);
  EXPECT_EQ(run.result.step, 20);
  EXPECT_FALSE(fs::exists(root_ / "run" / "test.json"));
  EXPECT_FALSE(fs::exists(root_ / "run" / "split.bed"));
  EXPECT_TRUE(fs::exists(root_ / "run" / "notes.txt"));
}

TEST_F(TrainerRunTest, ForeignDirectoryIsRefused) {
  fs::create_directories(root_ / "thesis");
  std::ofstream(root_ / "thesis" / "chapter1.tex") << "x";
  for (const bool force : {false, true}) {
    const std::string message =
        message_of(ErrorKind::kUsage, [&] { train(root_ / "thesis", setup_, config_, {}, force); });
    EXPECT_NE(message.find("holds other files"), std::string::npos) << message;
  }
  std::ofstream(root_ / "thesis" / "config.json") << "{\"page\": \"A4\"}";
  message_of(ErrorKind::kUsage, [&] { train(root_ / "thesis", setup_, config_, {}, true); });
  EXPECT_TRUE(fs::exists(root_ / "thesis" / "config.json"));
  std::ofstream(root_ / "file") << "x";
  message_of(ErrorKind::kRuntime, [&] { train(root_ / "file", setup_, config_); });
}

TEST_F(TrainerRunTest, OneProcessPerRun) {
  const pid_t child = start_child(root_ / "run", setup_);
  wait_for_log(root_ / "run", 300, 0);
  const std::string message =
      message_of(ErrorKind::kRuntime, [&] { train(root_ / "run", setup_, child_config(setup_)); });
  EXPECT_NE(message.find("another process"), std::string::npos) << message;
  kill(child, SIGKILL);
  wait_for(child);
}

// A file-size limit stands for a full disk: logs fit, parameters don't.
TEST_F(TrainerRunTest, FullDiskKeepsThePreviousCheckpoint) {
  TaskOptions options;
  options.signal_step = 7;
  message_of(ErrorKind::kInterrupted, [&] { train(root_ / "run", setup_, config_, options); });
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit former{};
  getrlimit(RLIMIT_FSIZE, &former);
  const rlimit limit{12000, former.rlim_max};
  setrlimit(RLIMIT_FSIZE, &limit);
  const std::string message =
      message_of(ErrorKind::kRuntime, [&] { train(root_ / "run", setup_, config_); });
  setrlimit(RLIMIT_FSIZE, &former);
  EXPECT_NE(message.find("safetensors"), std::string::npos) << message;
  EXPECT_EQ(latest_valid(root_ / "run").value().step, 7);
  EXPECT_EQ(train(root_ / "run", setup_, config_).result.step, 20);
}

TEST_F(TrainerRunTest, DivergedRunEnds) {
  config_.steps = 500;
  config_.log_every = 20;
  config_.eval_every = 0;
  config_.save_every = 0;
  TaskOptions options;
  options.zero_weights = true;  // a loss of 0 / 0 in every step
  const std::string message =
      message_of(ErrorKind::kRuntime, [&] { train(root_ / "run", setup_, config_, options); });
  EXPECT_NE(message.find("up to step 100"), std::string::npos) << message;
}

TEST_F(TrainerRunTest, Bf16NeedsAGpu) {
  config_.precision = "bf16";
  message_of(ErrorKind::kUsage, [&] { train(root_ / "run", setup_, config_); });
  EXPECT_FALSE(fs::exists(root_ / "run"));
  config_.precision = "fp32";
  config_.recompute = true;
  message_of(ErrorKind::kUsage, [&] { train(root_ / "run", setup_, config_); });
}

TEST(TrainerConfigTest, RoundTrip) {
  TrainerConfig config;
  config.lr = 1.0 / 3;
  config.steps = 7;
  config.precision = "bf16";
  config.recompute = true;
  config.seed = 12345678901234567u;
  config.ema_decay = 0.999;
  const auto text = config.to_json().dump();
  EXPECT_EQ(TrainerConfig::from_json(nlohmann::json::parse(text)).to_json(), config.to_json());
  EXPECT_EQ(TrainerConfig::from_json(nlohmann::json::object()).to_json(),
            TrainerConfig{}.to_json());
}

TEST(TrainerConfigTest, ErrorsNameKeyAndValue) {
  struct Case {
    nlohmann::json config;
    std::vector<std::string> parts;
  };
  const Case cases[] = {
      {{{"warmup_step", 3}}, {"warmup_step", "warmup_steps"}},
      {{{"steps", 0}}, {"steps", "0"}},
      {{{"lr", "fast"}}, {"lr", "fast"}},
      {{{"lr", -1}}, {"lr", "-1"}},
      {{{"precision", "fp8"}}, {"precision", "fp8"}},
      {{{"steps", 10}, {"warmup_steps", 11}}, {"warmup_steps", "11", "10"}},
      {{{"lr", 0.1}, {"min_lr", 0.2}}, {"min_lr", "0.2"}},
      {{{"beta1", 1.0}}, {"beta1", "1.0"}},
      {{{"ema_decay", 1.0}}, {"ema_decay", "1.0"}},
      {{{"keep", 0}}, {"keep", "0"}},
  };
  for (const Case& one : cases) {
    const std::string message =
        message_of(ErrorKind::kUsage, [&] { TrainerConfig::from_json(one.config); });
    for (const std::string& part : one.parts)
      EXPECT_NE(message.find(part), std::string::npos) << part << " in: " << message;
  }
}

}  // namespace
}  // namespace strandwave
