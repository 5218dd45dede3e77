#include "core/training/task.h"

namespace strandwave {

Batch Batch::to(torch::Device device) const {
  Batch moved = *this;
  for (auto& [name, tensor] : moved.tensors) tensor = tensor.to(device, /*non_blocking=*/true);
  if (layout) moved.layout = layout->to(device);
  return moved;
}

Batch Batch::pinned() const {
  Batch moved = *this;
  for (auto& [name, tensor] : moved.tensors) tensor = tensor.pin_memory();
  return moved;
}

}  // namespace strandwave
