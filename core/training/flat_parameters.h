// All parameters of a model in one buffer, and their gradients in another.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace strandwave {

// Moves the parameters of a module into one contiguous float32 buffer, the masters, and gives each
// parameter a gradient that is a view into a second one: the optimizer, the norm and a later
// reduction over GPUs then are a few calls on long vectors.
//
// When lowering, parameters for which lowered() is true become views into a third buffer, in bf16,
// which refresh() fills from the masters after every change; their bf16 gradients are added to
// the float32 ones by collect_gradients(), once per micro-batch, so that accumulation is in
// float32.
//
// The order depends on the module and the two predicates only:
//   | lowered, no decay | lowered, decay | decay | no decay |
// so that what is lowered and what decays are one range each. Every parameter starts at a multiple
// of kAlignment elements and the size is one of kBlock; the gaps are zero and stay zero.
//
// Frozen parameters (requires_grad off) are in none of the buffers: they keep their values unless the
// module itself changes them in place (running statistics), have no gradient and no optimizer state.
// Where they are lowered, the float32 values are kept beside.
class FlatParameters {
 public:
  using Predicate = std::function<bool(const std::string& name, const torch::Tensor& parameter)>;
  static constexpr int64_t kAlignment = 64;
  static constexpr int64_t kBlock = 1024;

  struct Entry {
    std::string name;
    std::vector<int64_t> shape;
    int64_t offset = 0;  // elements
    int64_t size = 0;
    bool decays = false;
    bool lowered = false;
  };
  struct Range {
    int64_t begin = 0;
    int64_t end = 0;
  };

  // The parameters keep their values; they move to `device`. Throws c10::Error for a parameter that
  // is not floating point or is registered twice, when all are frozen, and for a module with
  // buffers (which a checkpoint would not hold).
  FlatParameters(std::shared_ptr<torch::nn::Module> module, const Predicate& decays,
                 const Predicate& lowered, bool lower, torch::Device device);

  const std::vector<Entry>& entries() const { return entries_; }
  // Name and float32 value of each frozen parameter: what a checkpoint holds beside the entries.
  const std::vector<std::pair<std::string, torch::Tensor>>& frozen() const { return frozen_; }
  int64_t size() const { return masters_.numel(); }
  int64_t parameter_count() const;  // without the gaps and what is frozen
  torch::Device device() const { return masters_.device(); }

  const torch::Tensor& masters() const { return masters_; }      // (size), float32
  const torch::Tensor& gradients() const { return gradients_; }  // (size), float32
  std::vector<Range> decaying() const;
  std::vector<Range> not_decaying() const;

  void collect_gradients();  // after each backward
  void zero_gradients();
  void refresh();  // after the masters have changed

  // The part of a buffer of this size that belongs to an entry, in the entry's shape.
  static torch::Tensor view(const torch::Tensor& flat, const Entry& entry);

 private:
  void lay_out(const Predicate& decays, const Predicate& lowered, bool lower);
  void take_over(bool lower);
  void freeze(const std::string& name, torch::Tensor parameter, bool lower);

  std::shared_ptr<torch::nn::Module> module_;
  std::vector<Entry> entries_;
  std::vector<torch::Tensor> parameters_;  // in the order of the entries
  std::vector<std::pair<std::string, torch::Tensor>> frozen_;
  Range decaying_;
  torch::Tensor masters_, gradients_;
  torch::Tensor lowered_, lowered_gradients_;  // undefined when nothing is lowered
};

}  // namespace strandwave
