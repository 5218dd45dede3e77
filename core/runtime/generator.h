// Generation, token by token: one interface for every model that predicts the next token.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/models/sequence_model.h"

namespace strandwave {

// What a model remembers of S streams after some positions: the states of its layers (and pools),
// in its order, and what else it needs. All streams are at the same position.
struct GeneratorState : ModelState {
  torch::Tensor classes;  // (S) int64 on the device, -1: none; undefined: no classes
  int64_t position = 0;   // tokens seen

  // All of it by name, "layers.3.ssm", "classes", "position": handles, not copies.
  // What a file of a state holds.
  std::map<std::string, torch::Tensor> tensors() const;
  // Copies such tensors into this state (of the same model, number of streams and length), which
  // keeps its addresses. Throws Error(kInput) naming `where` and the tensor that is missing,
  // unknown or of another shape.
  void restore(const std::map<std::string, torch::Tensor>& tensors, const std::string& where);
  // As restore() from another state: shapes agree, except that a dimension here may be longer (a
  // cache with room); the rest of it keeps its values.
  void copy_from(const GeneratorState& other);
};

// No gradients flow. Step and prefill update the state in place at fixed addresses. What prefill
// of a sequence gives equals what its steps give, within rounding.
class Generator {
 public:
  virtual ~Generator() = default;

  virtual int64_t vocabulary() const = 0;
  virtual torch::Device device() const = 0;

  // A state before the first token. max_length: tokens it will see at most (caches). classes: one
  // per stream, -1 for none; empty: none. Throws Error(kUsage) for a class the model lacks, and for
  // classes given to a model without.
  virtual GeneratorState allocate(int64_t streams, int64_t max_length,
                                  const std::vector<int64_t>& classes = {}) const = 0;

  // ids (S, length) int64, length >= 1, after what the state has seen -> (S, vocabulary) float32
  // (float64 of a float64 model): logits of the token that follows.
  virtual torch::Tensor prefill(const torch::Tensor& ids, GeneratorState& state) = 0;

  // ids (S) int64 -> (S, vocabulary), the same for one token.
  virtual torch::Tensor step(const torch::Tensor& ids, GeneratorState& state) = 0;

  // Steps after which a step launches the same work again: what a step does depends on the host
  // only through the state's position modulo this. On a GPU a step waits for nothing, so that a
  // period of steps can be recorded (core/runtime/device_graph.h).
  virtual int64_t period() const { return 1; }
};

// Throws Error(kUsage) when the model predicts no tokens. A layer without a step says so when used.
std::unique_ptr<Generator> make_generator(std::shared_ptr<SequenceModel> model);

}  // namespace strandwave
