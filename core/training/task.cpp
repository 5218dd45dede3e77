#include "core/training/task.h"

#include <cstdio>
#include <numbers>

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

torch::Tensor Task::accumulate(const Batch& batch, GradientSum& gradients) {
  const torch::Tensor sum = loss(batch);
  TORCH_CHECK(sum.dim() == 0, "Task::loss must return a scalar, not shape ", sum.sizes());
  gradients.add(sum);
  return sum.detach();
}

std::string Task::loss_text(double nats) const {
  char text[64];
  std::snprintf(text, sizeof text, "%.4f bits/", nats / std::numbers::ln2);
  return text + token_name();
}

}  // namespace strandwave
