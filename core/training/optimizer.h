// AdamW on flat buffers.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "core/training/flat_parameters.h"

namespace strandwave {

// The 2-norm of a vector as a scalar on its device, summed in blocks of FlatParameters::kBlock in a
// fixed order: the same bits with any number of threads.
torch::Tensor flat_norm(const torch::Tensor& flat);

struct AdamWConfig {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;
  double clip = 1.0;     // upper bound of the gradient's 2-norm; 0: none
  double ema_decay = 0;  // 0: no average
};

// AdamW (Loshchilov and Hutter 2019), without any synchronisation with the device:
//   g   = gradient / max(1, |gradient| / clip)
//   m   = beta1 m + (1 - beta1) g;   v = beta2 v + (1 - beta2) g^2
//   p  -= lr * weight_decay * p      where the parameter decays
//   p  -= lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
//   ema = ema_decay * ema + (1 - ema_decay) p
// A step whose gradient norm or loss is not finite changes nothing, t included.
class AdamW {
 public:
  AdamW(FlatParameters& parameters, const AdamWConfig& config);

  // One step from parameters.gradients(), which are zero afterwards. loss: scalar on the device.
  void step(double lr, const torch::Tensor& loss);

  // Of the last step, scalars on the device: the norm before clipping; 1 when it was left out, else
  // 0.
  const torch::Tensor& gradient_norm() const { return gradient_norm_; }
  const torch::Tensor& left_out() const { return left_out_; }

  // State, in the order of the parameters: (size), float32; ema undefined when there is none.
  const torch::Tensor& exp_avg() const { return exp_avg_; }
  const torch::Tensor& exp_avg_sq() const { return exp_avg_sq_; }
  const torch::Tensor& ema() const { return ema_; }
  // t, the number of steps taken. The buffers above are restored by copying into them.
  void set_step_count(int64_t count);

 private:
  void update(const std::vector<FlatParameters::Range>& ranges, double lr, double weight_decay,
              const torch::Tensor& gradient_scale);

  FlatParameters& parameters_;
  AdamWConfig config_;
  torch::Tensor exp_avg_, exp_avg_sq_, ema_;
  torch::Tensor step_count_;  // float32, as _fused_adamw_ wants it: exact up to 2^24 steps
  torch::Tensor gradient_norm_, left_out_;
};

}  // namespace strandwave
