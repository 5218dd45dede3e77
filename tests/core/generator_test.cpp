#include "core/runtime/generator.h"

#include <gtest/gtest.h>

#include <functional>

#include "core/base/error.h"

namespace strandwave {
namespace {

using torch::Tensor;

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// Mamba and attention: a state of fixed size, and a cache with room.
ModelConfig small_config() {
  ModelConfig config;
  config.d_model = 16;
  config.stack = "MAM";
  config.layers['M'].options = {{"d_state", 4}};
  config.layers['A'] = {"attention", {{"heads", 2}, {"rope", true}}};
  config.vocab_size = 13;
  config.valid_vocab_size = 11;
  return config;
}

class GeneratorTest : public ::testing::Test {
 protected:
  GeneratorTest() {
    model_->to(torch::kDouble);
    generator_ = make_generator(model_);
  }
  Tensor ids(int64_t streams, int64_t length) const {
    return torch::arange(streams * length, torch::kLong)
        .mul(7)
        .remainder(11)
        .view({streams, length});
  }

  std::shared_ptr<SequenceModel> model_ = std::make_shared<SequenceModel>(small_config(), 3);
  std::unique_ptr<Generator> generator_;
};

TEST_F(GeneratorTest, PrefillsAndStepsGiveTheLogitsOfTheWhole) {
  const torch::NoGradGuard no_grad;
  const Tensor all = ids(3, 17);
  const Tensor whole = model_->logits(model_->hidden(all).hidden);
  EXPECT_EQ(generator_->vocabulary(), 11);
  for (const std::vector<int64_t>& parts : {std::vector<int64_t>{17}, {1, 16}, {5, 1, 1, 7, 3}}) {
    GeneratorState state = generator_->allocate(3, 17);
    const void* address = state.layers[0].tensors.at("ssm").data_ptr();
    int64_t position = 0;
    for (const int64_t part : parts) {
      const Tensor logits = part == 1 ? generator_->step(all.select(1, position), state)
                                      : generator_->prefill(all.narrow(1, position, part), state);
      position += part;
      EXPECT_EQ(state.position, position);
      EXPECT_LT((logits - whole.select(1, position - 1)).abs().max().item<double>(), 1e-10);
    }
    EXPECT_EQ(state.layers[0].tensors.at("ssm").data_ptr(), address);
  }
}

TEST_F(GeneratorTest, ARestoredStateContinuesWithTheSameBits) {
  const Tensor all = ids(2, 12);
  GeneratorState state = generator_->allocate(2, 12);
  generator_->prefill(all.narrow(1, 0, 5), state);
  std::map<std::string, Tensor> saved;
  for (const auto& [name, tensor] : state.tensors()) saved[name] = tensor.clone();
  GeneratorState restored = generator_->allocate(2, 12);
  restored.restore(saved, "file");
  for (int64_t t = 5; t < 12; ++t)
    EXPECT_TRUE(torch::equal(generator_->step(all.select(1, t), state),
                             generator_->step(all.select(1, t), restored)));
}

TEST_F(GeneratorTest, ErrorsSayWhatDoesNotFit) {
  EXPECT_NE(message_of([&] { generator_->allocate(1, 4, {0}); }).find("knows no classes"),
            std::string::npos);
  GeneratorState state = generator_->allocate(2, 4);
  std::map<std::string, Tensor> tensors = state.tensors();
  tensors["layers.9.ssm"] = torch::zeros({1});
  EXPECT_NE(message_of([&] {
              state.restore(tensors, "f.safetensors");
            }).find("f.safetensors: the state's tensor \"layers.9.ssm\" does not belong"),
            std::string::npos);
  ModelConfig config = small_config();
  config.head.kind = HeadConfig::Kind::kClassifier;
  config.head.classes = {"a", "b"};
  EXPECT_NE(message_of([&] {
              make_generator(std::make_shared<SequenceModel>(config, 1));
            }).find("needs a language model"),
            std::string::npos);
}

}  // namespace
}  // namespace strandwave
