#include <utility>

#include "audio/models/sashimi.h"
#include "core/base/error.h"

namespace strandwave::audio {
namespace {

using torch::Tensor;

class SashimiGenerator final : public Generator {
 public:
  explicit SashimiGenerator(std::shared_ptr<Sashimi> model) : model_(std::move(model)) {}

  int64_t vocabulary() const override { return model_->config().vocab_size; }
  torch::Device device() const override { return model_->device(); }

  GeneratorState allocate(int64_t streams, int64_t max_length,
                          const std::vector<int64_t>& classes) const override {
    GeneratorState state = model_->allocate_state(streams, max_length);
    if (!classes.empty()) state.classes = checked(classes, streams).to(device());
    return state;
  }

  Tensor prefill(const Tensor& ids, GeneratorState& state) override {
    const torch::NoGradGuard no_grad;
    SashimiInput input;
    input.classes = state.classes;
    input.initial_state = &state;
    input.want_final_state = true;
    const SashimiOutput out = model_->hidden(ids, input);
    state.copy_from(*out.final_state);
    return model_->logits_of(out.hidden.select(1, ids.size(1) - 1));
  }

  Tensor step(const Tensor& ids, GeneratorState& state) override {
    return model_->step(ids, state);
  }

  int64_t period() const override { return model_->config().pooling(); }

 private:
  Tensor checked(const std::vector<int64_t>& classes, int64_t streams) const {
    const auto known = static_cast<int64_t>(model_->config().classes.size());
    if (known == 0) throw usage_error("this model knows no classes to generate from");
    if (static_cast<int64_t>(classes.size()) != streams)
      throw usage_error(std::to_string(classes.size()) + " classes were given for " +
                        std::to_string(streams) + " streams");
    for (const int64_t one : classes)
      if (one < -1 || one >= known)
        throw usage_error("class " + std::to_string(one) + " is none of this model's " +
                          std::to_string(known));
    return torch::tensor(classes, torch::kLong);
  }

  std::shared_ptr<Sashimi> model_;
};

}  // namespace

std::unique_ptr<Generator> make_generator(std::shared_ptr<Sashimi> model) {
  return std::make_unique<SashimiGenerator>(std::move(model));
}

}  // namespace strandwave::audio
