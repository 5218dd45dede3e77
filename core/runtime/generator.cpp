#include "core/runtime/generator.h"

#include <utility>

#include "core/base/error.h"

namespace strandwave {
namespace {

using torch::Tensor;

std::string layer_prefix(size_t layer) { return "layers." + std::to_string(layer) + "."; }

// Copies `from` into the beginning of `to`, or says that it does not fit.
bool copy_into(const Tensor& from, const Tensor& to) {
  if (from.dim() != to.dim()) return false;
  Tensor part = to;
  for (int64_t i = 0; i < to.dim(); ++i) {
    if (from.size(i) > to.size(i)) return false;
    part = part.narrow(i, 0, from.size(i));
  }
  part.copy_(from);
  return true;
}

class SequenceGenerator final : public Generator {
 public:
  explicit SequenceGenerator(std::shared_ptr<SequenceModel> model) : model_(std::move(model)) {}

  int64_t vocabulary() const override { return model_->config().valid_vocabulary(); }
  torch::Device device() const override { return model_->device(); }

  GeneratorState allocate(int64_t streams, int64_t max_length,
                          const std::vector<int64_t>& classes) const override {
    if (!classes.empty()) throw usage_error("this model knows no classes to generate from");
    return {model_->allocate_state(streams, max_length), {}, 0};
  }

  Tensor prefill(const Tensor& ids, GeneratorState& state) override {
    const torch::NoGradGuard no_grad;
    TORCH_CHECK(ids.dim() == 2 && ids.size(1) > 0, "ids must be (streams, length from 1), got ",
                ids.sizes());
    ModelInput input;
    input.initial_state = &state;
    input.want_final_state = true;
    HiddenOutput out = model_->hidden(ids, input);
    state.copy_from({std::move(*out.final_state), {}, state.position + ids.size(1)});
    return model_->logits(out.hidden.select(1, ids.size(1) - 1));
  }

  Tensor step(const Tensor& ids, GeneratorState& state) override {
    Tensor logits = model_->step(ids, state);
    ++state.position;
    return logits;
  }

 private:
  std::shared_ptr<SequenceModel> model_;
};

}  // namespace

std::map<std::string, torch::Tensor> GeneratorState::tensors() const {
  std::map<std::string, Tensor> named;
  for (size_t i = 0; i < layers.size(); ++i) {
    for (const auto& [name, tensor] : layers[i].tensors) named[layer_prefix(i) + name] = tensor;
    if (layers[i].positions.defined()) named[layer_prefix(i) + "positions"] = layers[i].positions;
  }
  if (classes.defined()) named["classes"] = classes;
  named["position"] = torch::full({1}, position, torch::kLong);
  return named;
}

void GeneratorState::restore(const std::map<std::string, torch::Tensor>& tensors,
                             const std::string& where) {
  const torch::NoGradGuard no_grad;
  const std::map<std::string, Tensor> own = this->tensors();
  for (const auto& [name, tensor] : own) {
    const auto given = tensors.find(name);
    if (given == tensors.end())
      throw input_error(where + ": the state lacks the tensor \"" + name + "\"");
    if (given->second.sizes() != tensor.sizes())
      throw input_error(where + ": the state's tensor \"" + name +
                        "\" has another shape than this model, number of streams and length need");
  }
  for (const auto& [name, tensor] : tensors)
    if (own.count(name) == 0)
      throw input_error(where + ": the state's tensor \"" + name +
                        "\" does not belong to this model");
  for (const auto& [name, tensor] : own) tensor.copy_(tensors.at(name));
  position = tensors.at("position").item<int64_t>();
}

void GeneratorState::copy_from(const GeneratorState& other) {
  const torch::NoGradGuard no_grad;
  TORCH_CHECK(other.layers.size() == layers.size(), "a state of ", other.layers.size(),
              " layers does not fit one of ", layers.size());
  for (size_t i = 0; i < layers.size(); ++i) {
    for (auto& [name, tensor] : layers[i].tensors) {
      const auto from = other.layers[i].tensors.find(name);
      TORCH_CHECK(from != other.layers[i].tensors.end() && copy_into(from->second, tensor),
                  "the state \"", name, "\" of layer ", i, " does not fit");
    }
    if (layers[i].positions.defined() && other.layers[i].positions.defined())
      layers[i].positions.copy_(other.layers[i].positions);
  }
  position = other.position;
}

std::unique_ptr<Generator> make_generator(std::shared_ptr<SequenceModel> model) {
  if (!model->config().predicts_tokens())
    throw usage_error("generation needs a language model; this model has a " +
                      to_string(model->config().head.kind) + " head");
  return std::make_unique<SequenceGenerator>(std::move(model));
}

}  // namespace strandwave
