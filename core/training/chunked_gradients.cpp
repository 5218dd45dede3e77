#include "core/training/chunked_gradients.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <utility>

#include "core/base/error.h"

namespace strandwave {
namespace {

using torch::Tensor;

constexpr const char* kPositions = "positions";  // MixerState::positions among the named tensors

// A copy of the state with each tensor replaced by change(tensor).
ModelState changed(const ModelState& state, const std::function<Tensor(const Tensor&)>& change) {
  ModelState result = state;
  for (MixerState& layer : result.layers) {
    for (auto& [name, tensor] : layer.tensors) tensor = change(tensor);
    if (layer.positions.defined()) layer.positions = change(layer.positions);
  }
  return result;
}

ModelState detached(const ModelState& state) {
  return changed(state, [](const Tensor& tensor) { return tensor.detach(); });
}

// Zero where the tensor is not finite.
Tensor finite(const Tensor& tensor) {
  if (tensor.is_complex()) return torch::view_as_complex(finite(torch::view_as_real(tensor)));
  return tensor.is_floating_point() ? torch::nan_to_num(tensor, 0.0, 0.0, 0.0) : tensor;
}

// The tensors that gradients flow through.
std::vector<Tensor> differentiable(const ModelState& state) {
  std::vector<Tensor> list;
  for (const MixerState& layer : state.layers)
    for (const auto& [name, tensor] : layer.tensors)
      if (tensor.is_floating_point() || tensor.is_complex()) list.push_back(tensor);
  return list;
}

struct Piece {
  Tensor loss;  // scalar
  std::optional<ModelState> final_state;
};

class ChunkedWindow {
 public:
  ChunkedWindow(SequenceModel& model, const ChunkedBatch& batch)
      : model_(model),
        batch_(batch),
        length_(batch.ids.size(1)),
        chunk_(batch.chunk > 0 ? std::min(batch.chunk, std::max<int64_t>(length_, 1))
                               : std::max<int64_t>(length_, 1)) {}

  int64_t pieces() const { return std::max<int64_t>(1, (length_ + chunk_ - 1) / chunk_); }

  Piece run(int64_t piece, const ModelState* state) {
    const int64_t begin = piece * chunk_;
    const int64_t end = std::min(begin + chunk_, length_);
    const auto part = [&](const Tensor& whole) { return whole.slice(1, begin, end).contiguous(); };
    std::optional<Tensor> weight;
    if (batch_.token_weight) weight = part(*batch_.token_weight);
    ModelInput input;
    input.initial_state = state;
    input.want_final_state = batch_.want_final_state || piece + 1 < pieces();
    LossOutput out =
        model_.language_model_loss(part(batch_.ids), part(batch_.targets), weight, input);
    return {out.loss.sum(), std::move(out.final_state)};
  }

 private:
  SequenceModel& model_;
  const ChunkedBatch& batch_;
  int64_t length_, chunk_;
};

ChunkedLoss with_gradients_cut(ChunkedWindow& window, const ModelState* initial,
                               GradientSum& gradients) {
  ChunkedLoss result;
  for (int64_t i = 0; i < window.pieces(); ++i) {
    const Piece piece = window.run(i, i == 0 ? initial : &*result.final_state);
    gradients.add(piece.loss);
    const Tensor loss = piece.loss.detach();
    result.loss = i == 0 ? loss : result.loss + loss;
    if (piece.final_state) result.final_state = detached(*piece.final_state);
  }
  return result;
}

ChunkedLoss with_gradients_kept(ChunkedWindow& window, const ModelState* initial,
                                GradientSum& gradients) {
  const auto last = static_cast<size_t>(window.pieces() - 1);
  std::vector<ModelState> starts(last + 1);  // of each piece but the first
  {
    const torch::NoGradGuard no_grad;
    for (size_t i = 0; i < last; ++i)
      starts[i + 1] =
          *window.run(static_cast<int64_t>(i), i == 0 ? initial : &starts[i]).final_state;
  }
  ChunkedLoss result;
  std::vector<Tensor> end_gradients;  // of the loss behind a piece, by its final state
  for (size_t i = last + 1; i-- > 0;) {
    ModelState& start = starts[i];
    const std::vector<Tensor> leaves = differentiable(start);
    for (const Tensor& leaf : leaves) leaf.requires_grad_(true);
    const Piece piece = window.run(static_cast<int64_t>(i), i == 0 ? initial : &start);
    if (i == last) {
      gradients.add(piece.loss);
      if (piece.final_state) result.final_state = detached(*piece.final_state);
    } else {
      gradients.add(piece.loss, differentiable(*piece.final_state), end_gradients);
    }
    const Tensor loss = piece.loss.detach();
    result.loss = i == last ? loss : result.loss + loss;
    end_gradients.clear();
    for (const Tensor& leaf : leaves) end_gradients.push_back(leaf.grad());
    start = {};
  }
  return result;
}

// "2.0.ssm" -> 2, 0, "ssm"
struct CarriedName {
  size_t micro_batch, layer;
  std::string tensor;
};

CarriedName parse_name(const std::string& name, size_t micro_batches) {
  CarriedName parsed{};
  const char* end = name.data() + name.size();
  const auto number = [&](const char* from, size_t& value) {
    const auto [rest, error] = std::from_chars(from, end, value);
    return error == std::errc() && rest != end && *rest == '.' ? rest + 1 : nullptr;
  };
  const char* rest = number(name.data(), parsed.micro_batch);
  if (rest != nullptr) rest = number(rest, parsed.layer);
  constexpr size_t kMostLayers = 1 << 20;
  if (rest == nullptr || parsed.micro_batch >= micro_batches || parsed.layer >= kMostLayers)
    throw input_error("the checkpoint's carried tensor \"" + name + "\" is not one of " +
                      std::to_string(micro_batches) +
                      " micro-batches: <micro-batch>.<layer>.<tensor>");
  parsed.tensor.assign(rest, end);
  return parsed;
}

}  // namespace

ChunkedLoss accumulate_in_chunks(SequenceModel& model, const ChunkedBatch& batch,
                                 GradientSum& gradients) {
  ChunkedWindow window(model, batch);
  ChunkedLoss result = batch.gradients == ChunkGradients::kCut
                           ? with_gradients_cut(window, batch.initial_state, gradients)
                           : with_gradients_kept(window, batch.initial_state, gradients);
  if (!batch.want_final_state) result.final_state.reset();
  return result;
}

std::optional<ModelState> CarriedStates::begin(int64_t micro_batch,
                                               const torch::Tensor& restart) const {
  const ModelState& state = states_.at(static_cast<size_t>(micro_batch));
  if (state.layers.empty()) return std::nullopt;
  return changed(state, [&](const Tensor& tensor) {
    std::vector<int64_t> shape(static_cast<size_t>(tensor.dim()), 1);
    shape[0] = -1;
    return torch::where(restart.view(shape), torch::zeros_like(tensor), tensor);
  });
}

void CarriedStates::end(int64_t micro_batch, ModelState state) {
  states_.at(static_cast<size_t>(micro_batch)) = changed(state, finite);
}

std::map<std::string, torch::Tensor> CarriedStates::tensors() const {
  std::map<std::string, torch::Tensor> result;
  for (size_t m = 0; m < states_.size(); ++m) {
    for (size_t i = 0; i < states_[m].layers.size(); ++i) {
      const MixerState& layer = states_[m].layers[i];
      const std::string prefix = std::to_string(m) + '.' + std::to_string(i) + '.';
      for (const auto& [name, tensor] : layer.tensors) result.emplace(prefix + name, tensor);
      if (layer.positions.defined()) result.emplace(prefix + kPositions, layer.positions);
    }
  }
  return result;
}

void CarriedStates::restore(const std::map<std::string, torch::Tensor>& tensors,
                            torch::Device device) {
  std::fill(states_.begin(), states_.end(), ModelState{});
  for (const auto& [name, tensor] : tensors) {
    const CarriedName parsed = parse_name(name, states_.size());
    std::vector<MixerState>& layers = states_[parsed.micro_batch].layers;
    if (layers.size() <= parsed.layer) layers.resize(parsed.layer + 1);
    MixerState& layer = layers[parsed.layer];
    (parsed.tensor == kPositions ? layer.positions : layer.tensors[parsed.tensor]) =
        tensor.to(device);
  }
}

}  // namespace strandwave
