#include "core/training/chunked_gradients.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>

#include "core/base/error.h"
#include "core/base/random.h"
#include "core/checkpoint/checkpoint.h"
#include "core/training/trainer.h"
#include "tests/support/temporary_folder.h"

namespace strandwave {
namespace {

using torch::Tensor;
namespace fs = std::filesystem;

ModelConfig small_config() {
  ModelConfig config;
  config.d_model = 24;
  config.stack = "MCM";
  config.layers['M'].options = {{"d_state", 4}};
  config.layers['C'] = {"mamba", {{"d_state", 3}, {"complex", true}}};
  config.vocab_size = 16;
  config.initializer.embedding_std = 1.0;
  return config;
}

// As the Trainer adds, for a step of weight kWeight.
constexpr double kWeight = 7;

class PlainSum : public GradientSum {
 public:
  void add(const Tensor& loss, const std::vector<Tensor>& outputs,
           const std::vector<Tensor>& output_gradients) override {
    torch::autograd::variable_list roots = {loss / kWeight}, gradients = {Tensor()};
    for (size_t i = 0; i < outputs.size(); ++i) {
      roots.push_back(outputs[i]);
      gradients.push_back(output_gradients[i]);
    }
    torch::autograd::backward(roots, gradients);
  }
};

std::string file_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

// Streams of tokens in which a stream's past tells its future: token_t = (start + t * stride) mod
// 16, start and stride drawn anew where a stream restarts.
class StreamTask : public Task {
 public:
  StreamTask(std::shared_ptr<SequenceModel> model, bool forgets)
      : model_(std::move(model)), forgets_(forgets), states_(2) {}

  Batch batch(int64_t step, int64_t micro_batch) const override {
    constexpr int64_t kRows = 3, kLength = 20, kWalk = 5;  // steps of a walk
    Tensor tokens = torch::empty({kRows, kLength + 1}, torch::kInt64);
    Tensor restart = torch::empty({kRows}, torch::kBool);
    for (int64_t row = 0; row < kRows; ++row) {
      const int64_t stream = micro_batch * kRows + row;
      const int64_t at = step + stream;  // streams restart at different steps
      const RandomStream random(5, RandomPurpose::kSynthetic, static_cast<uint64_t>(stream),
                                static_cast<uint64_t>(at / kWalk));
      const auto start = static_cast<int64_t>(random.below(0, 16));
      const auto stride = static_cast<int64_t>(1 + random.below(1, 15));
      restart[row] = step == 0 || at % kWalk == 0;
      tokens[row] =
          (torch::arange(kLength + 1, torch::kInt64) + at % kWalk * kLength) * stride + start;
    }
    tokens.remainder_(16);
    Batch batch;
    batch.tensors = {{"tokens", tokens}, {"restart", restart}};
    batch.weight = static_cast<double>(kRows * kLength);
    batch.tokens = kRows * kLength;
    return batch;
  }

  Tensor loss(const Batch& batch) override {
    const Tensor& tokens = batch.at("tokens");
    return model_->language_model_loss(tokens.slice(1, 0, 20), tokens.slice(1, 1)).loss.sum();
  }

  Tensor accumulate(const Batch& batch, GradientSum& gradients) override {
    micro_batches.insert(batch.micro_batch);
    const auto start = states_.begin(batch.micro_batch, batch.at("restart"));
    const Tensor& tokens = batch.at("tokens");
    ChunkedBatch window;
    window.ids = tokens.slice(1, 0, 20);
    window.targets = tokens.slice(1, 1);
    window.initial_state = start ? &*start : nullptr;
    window.chunk = 8;
    window.want_final_state = true;
    ChunkedLoss result = accumulate_in_chunks(*model_, window, gradients);
    states_.end(batch.micro_batch, std::move(*result.final_state));
    return result.loss;
  }

  std::vector<Metric> evaluate() override { return {}; }
  std::string description() const override { return "streams"; }
  nlohmann::json config() const override { return nlohmann::json::object(); }
  std::map<std::string, Tensor> carried() const override { return states_.tensors(); }
  void restore_carried(const std::map<std::string, Tensor>& tensors) override {
    if (!forgets_) states_.restore(tensors, model_->device());
  }

  std::set<int64_t> micro_batches;

 private:
  std::shared_ptr<SequenceModel> model_;
  bool forgets_;
  CarriedStates states_;
};

class ChunkedGradientsTest : public ::testing::TestWithParam<torch::DeviceType> {
 protected:
  void SetUp() override {
    if (GetParam() == torch::kCUDA && !torch::cuda::is_available())
      GTEST_SKIP() << "no GPU is visible";
    torch::globalContext().setAllowTF32CuBLAS(false);
  }

  std::shared_ptr<SequenceModel> model() const {
    auto made = std::make_shared<SequenceModel>(small_config(), 3);
    made->to(torch::Device(GetParam()));
    return made;
  }

  Tensor random_tokens(int64_t batch, int64_t length, uint64_t seed) const {
    const RandomStream stream(seed, RandomPurpose::kSynthetic);
    Tensor tensor = torch::empty({batch, length}, torch::kLong);
    for (int64_t i = 0; i < tensor.numel(); ++i)
      tensor.data_ptr<int64_t>()[i] =
          static_cast<int64_t>(stream.below(static_cast<uint64_t>(i), 16));
    return tensor.to(torch::Device(GetParam()));
  }

  static std::vector<Tensor> gradients(const SequenceModel& model) {
    std::vector<Tensor> list;
    for (const auto& [name, tensor] : model.named_tensors()) list.push_back(tensor.grad().clone());
    return list;
  }

  // Trains the stream task in `folder` to step 14; with `stop` in two runs that meet at step 7.
  void train(const fs::path& folder, bool stop, bool forgets = false) const {
    TrainerConfig config;
    config.steps = 14;
    config.accumulation = 2;
    config.save_every = 7;
    config.lr = 0.01;
    for (int part = 0; part < (stop ? 2 : 1); ++part) {
      const auto made = std::make_shared<SequenceModel>(small_config(), 3);
      StreamTask task(made, forgets);
      RunOptions options;
      options.directory = folder;
      options.device = GetParam();
      options.quiet = true;
      EXPECT_EQ(Trainer(trainable(made), task, config, options).run().step, 14);
      EXPECT_EQ(task.micro_batches, (std::set<int64_t>{0, 1}));
      if (stop && part == 0) fs::remove_all(checkpoint_path(folder, 14));
    }
  }
};

TEST_P(ChunkedGradientsTest, KeptGradientsAreThoseOfTheWholeWindow) {
  const Tensor ids = random_tokens(2, 70, 1), targets = random_tokens(2, 70, 2);
  const Tensor weight = random_tokens(2, 70, 3).to(torch::kFloat) / 16;
  for (const bool recompute : {false, true}) {
    for (const bool continued : {false, true}) {
      const auto reference = model();
      ModelState start;
      {
        const torch::NoGradGuard no_grad;
        ModelInput input;
        input.want_final_state = true;
        start = *reference->hidden(random_tokens(2, 9, 4), input).final_state;
      }
      ModelInput input;
      if (continued) input.initial_state = &start;
      input.want_final_state = true;
      const LossOutput whole = reference->language_model_loss(ids, targets, weight, input);
      (whole.loss.sum() / kWeight).backward();
      const std::vector<Tensor> expected = gradients(*reference);

      const auto chunked = model();
      if (recompute) chunked->set_recomputation(Recomputation::kLayer);
      ChunkedBatch batch;
      batch.ids = ids;
      batch.targets = targets;
      batch.token_weight = weight;
      batch.initial_state = input.initial_state;
      batch.chunk = 16;
      batch.want_final_state = true;
      PlainSum sum;
      const ChunkedLoss result = accumulate_in_chunks(*chunked, batch, sum);
      const std::vector<Tensor> actual = gradients(*chunked);
      EXPECT_FALSE(result.loss.requires_grad());
      EXPECT_NEAR(result.loss.item<double>(), whole.loss.sum().item<double>(), 1e-3);
      for (size_t i = 0; i < expected.size(); ++i)
        EXPECT_LT((actual[i] - expected[i]).norm().item<double>(),
                  1e-5 + 2e-5 * expected[i].norm().item<double>())
            << chunked->named_tensors()[i].first;
      for (size_t layer = 0; layer < start.layers.size(); ++layer)
        for (const auto& [name, tensor] : result.final_state->layers[layer].tensors) {
          EXPECT_FALSE(tensor.requires_grad());
          EXPECT_TRUE(torch::allclose(tensor, whole.final_state->layers[layer].tensors.at(name),
                                      1e-4, 1e-5));
        }
    }
  }
}

TEST_P(ChunkedGradientsTest, CutGradientsAreThoseOfEachPieceAlone) {
  const Tensor ids = random_tokens(2, 40, 1), targets = random_tokens(2, 40, 2);
  const auto reference = model();
  std::optional<ModelState> state;
  for (int64_t begin = 0; begin < 40; begin += 16) {
    const int64_t end = std::min<int64_t>(begin + 16, 40);
    ModelInput input;
    input.want_final_state = true;
    input.initial_state = state ? &*state : nullptr;
    LossOutput out =
        reference->language_model_loss(ids.slice(1, begin, end).contiguous(),
                                       targets.slice(1, begin, end).contiguous(), {}, input);
    (out.loss.sum() / kWeight).backward();
    for (MixerState& layer : out.final_state->layers)
      for (auto& [name, tensor] : layer.tensors) tensor = tensor.detach();
    state = std::move(out.final_state);
  }
  const auto chunked = model();
  ChunkedBatch batch;
  batch.ids = ids;
  batch.targets = targets;
  batch.chunk = 16;
  batch.gradients = ChunkGradients::kCut;
  PlainSum sum;
  EXPECT_FALSE(accumulate_in_chunks(*chunked, batch, sum).final_state.has_value());
  const std::vector<Tensor> expected = gradients(*reference), actual = gradients(*chunked);
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_TRUE(torch::equal(expected[i], actual[i]));
}

TEST_P(ChunkedGradientsTest, StoppedStreamsContinueBitForBit) {
  const testing::TemporaryFolder folder;
  train(folder.path() / "unbroken", false);
  train(folder.path() / "stopped", true);
  train(folder.path() / "forgotten", true, /*forgets=*/true);
  const auto bytes = [&](const char* run, const char* file) {
    return file_bytes(checkpoint_path(folder.path() / run, 14) / file);
  };
  for (const char* file : {"model.safetensors", "training.safetensors"}) {
    EXPECT_EQ(bytes("stopped", file), bytes("unbroken", file));
    EXPECT_NE(bytes("forgotten", file), bytes("unbroken", file)) << "the state has no effect";
  }
  int64_t carried = 0;
  for (const auto& [name, tensor] :
       load_checkpoint(checkpoint_path(folder.path() / "stopped", 14)).training)
    carried += name.starts_with("task.") ? 1 : 0;
  EXPECT_EQ(carried, 2 * 3 * 3);  // micro-batches, layers, tensors (conv, positions, ssm)
}

TEST_P(ChunkedGradientsTest, CarriedStatesRestartAndAreSaved) {
  const torch::Device device(GetParam());
  const auto made = model();
  ModelState state = made->allocate_state(2, 8);
  for (MixerState& layer : state.layers)
    for (auto& [name, tensor] : layer.tensors) tensor.fill_(3);
  state.layers[1].tensors["ssm"][1][0][0] = std::numeric_limits<float>::quiet_NaN();
  CarriedStates carried(2);
  const Tensor restart = torch::tensor({true, false}).to(device);
  EXPECT_FALSE(carried.begin(1, restart).has_value());
  carried.end(1, state);
  EXPECT_FALSE(carried.begin(0, restart).has_value());

  CarriedStates restored(2);
  restored.restore(carried.tensors(), device);
  EXPECT_EQ(restored.tensors().size(), 9U);
  for (const CarriedStates* states : {&carried, &restored}) {
    const ModelState begun = *states->begin(1, restart);
    ASSERT_EQ(begun.layers.size(), 3U);
    for (const MixerState& layer : begun.layers)
      for (const auto& [name, tensor] : layer.tensors)
        EXPECT_TRUE((tensor[0] == 0).all().item<bool>()) << name;
    EXPECT_TRUE((begun.layers[0].tensors.at("ssm")[1] == 3).all().item<bool>());
    Tensor expected = torch::full_like(begun.layers[1].tensors.at("ssm")[1], 3);
    expected[0][0] = 0;  // was not finite
    EXPECT_TRUE(torch::equal(begun.layers[1].tensors.at("ssm")[1], expected));
  }
  for (const char* name : {"2.0.ssm", "ssm", "0.x.ssm", "0.1"})
    EXPECT_THROW(restored.restore({{name, torch::zeros({1})}}, device), Error) << name;
}

INSTANTIATE_TEST_SUITE_P(Cpu, ChunkedGradientsTest, ::testing::Values(torch::kCPU));
INSTANTIATE_TEST_SUITE_P(Cuda, ChunkedGradientsTest, ::testing::Values(torch::kCUDA));

}  // namespace
}  // namespace strandwave
