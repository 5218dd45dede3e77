#include <torch/torch.h>

#include <string>
#include <utility>
#include <vector>

#include "kernels/common/benchmark.h"
#include "kernels/selective_scan/selective_scan.h"

namespace strandwave {
namespace {

constexpr int64_t kState = 16;

struct Size {
  int64_t batch, length, channels;
  bool complex = false;

  std::string text() const {
    return "batch " + std::to_string(batch) + ", length " + std::to_string(length) + ", channels " +
           std::to_string(channels) + ", d_state " + std::to_string(kState) +
           (complex ? " complex" : "");
  }
  int64_t state_values() const { return complex ? 2 * kState : kState; }
  double positions() const { return static_cast<double>(batch) * static_cast<double>(length); }
};

struct Inputs {
  at::Tensor u, delta, A, B, C, D, z, delta_bias;

  std::vector<at::Tensor> tensors() const { return {u, delta, A, B, C, D, z, delta_bias}; }
};

Inputs make_inputs(const Size& size, at::ScalarType type, c10::Device device) {
  const auto options = at::TensorOptions(device);
  const auto rows = [&](int64_t n) {
    return at::randn({size.batch, size.length, n}, options.dtype(type));
  };
  Inputs in;
  in.u = rows(size.channels);
  in.delta = rows(size.channels) - 3;  // about 0.05 after the softplus, as after Mamba's init
  in.A = -at::arange(1, kState + 1, options.dtype(at::kFloat)).repeat({size.channels, 1});
  if (size.complex) in.A = at::complex(at::full_like(in.A, -0.5), -in.A);
  in.B = rows(size.state_values());
  in.C = rows(size.state_values());
  in.D = at::ones({size.channels}, options);
  in.z = rows(size.channels);
  in.delta_bias = at::zeros({size.channels}, options);
  return in;
}

// What one writes first: all decays and inputs at once, then a loop over time.
at::Tensor loop_over_time(const Inputs& in) {
  const bool complex = in.A.is_complex();
  const auto states = [&](const at::Tensor& rows) {
    return complex ? at::view_as_complex(rows.unflatten(2, {kState, 2})) : rows;
  };
  const at::Tensor delta = at::softplus(in.delta + in.delta_bias);
  const auto decay = at::exp(delta.unsqueeze(-1) * in.A).unbind(1);
  const auto input = ((delta * in.u).unsqueeze(-1) * states(in.B).unsqueeze(2)).unbind(1);
  const auto C = states(in.C).unsqueeze(-1).unbind(1);
  at::Tensor h = at::zeros_like(decay[0]);
  std::vector<at::Tensor> rows;
  rows.reserve(decay.size());
  for (size_t t = 0; t < decay.size(); ++t) {
    h = at::addcmul(input[t], decay[t], h);
    rows.push_back(at::matmul(h, C[t]).squeeze(-1));
  }
  at::Tensor y = at::stack(rows, 1);
  if (complex) y = 2 * at::real(y);
  return (y + in.D * in.u) * at::silu(in.z);
}

benchmark::Work forward_work(const Size& size, at::ScalarType type, c10::Device device) {
  const Inputs in = make_inputs(size, type, device);
  benchmark::Work work;
  work.run = [in] {
    selective_scan_forward(in.u, in.delta, in.A, in.B, in.C, in.D, in.z, in.delta_bias, {}, {},
                           true, false, /*save_checkpoints=*/true);
  };
  if (device.is_cpu()) {
    work.reference = [in] {
      const at::NoGradGuard no_grad;
      loop_over_time(in);
    };
  }
  return work;
}

benchmark::Work backward_work(const Size& size, at::ScalarType type, c10::Device device) {
  const Inputs in = make_inputs(size, type, device);
  const at::Tensor dout = at::randn_like(in.u);
  const at::Tensor checkpoints = std::get<2>(selective_scan_forward(
      in.u, in.delta, in.A, in.B, in.C, in.D, in.z, in.delta_bias, {}, {}, true, false, true));
  benchmark::Work work;
  work.run = [in, dout, checkpoints] {
    selective_scan_backward(dout, {}, in.u, in.delta, in.A, in.B, in.C, in.D, in.z, in.delta_bias,
                            {}, {}, checkpoints, true, false);
  };
  if (device.is_cpu()) {
    for (at::Tensor tensor : in.tensors()) tensor.requires_grad_();
    const at::Tensor out = loop_over_time(in);
    work.reference = [in, out, dout] {
      torch::autograd::grad({out}, in.tensors(), {dout}, /*retain_graph=*/true);
    };
    const auto run = work.run;
    work.run = [run] {
      const at::NoGradGuard no_grad;
      run();
    };
  }
  return work;
}

// The exponential is the scan's floor on a CPU: one per position, channel and state.
benchmark::Work exponential_work(const Size& size, c10::Device device) {
  const Inputs in = make_inputs(size, at::kFloat, device);
  const at::Tensor x = -at::rand({size.channels * kState}, at::TensorOptions(device)).repeat({256});
  at::Tensor result = at::empty_like(x);
  const int64_t repeats = size.batch * size.length / 256;
  return {[in] {
            selective_scan_forward(in.u, in.delta, in.A, in.B, in.C, in.D, in.z, in.delta_bias, {},
                                   {}, true, false, true);
          },
          [x, result, repeats]() mutable {
            for (int64_t i = 0; i < repeats; ++i) at::exp_out(result, x);
          }};
}

std::vector<benchmark::Case> cases(c10::Device device) {
  const bool cuda = device.is_cuda();
  const std::vector<Size> sizes =
      cuda ? std::vector<Size>{{64, 1024, 1536},  {8, 8192, 1536},        {1, 131072, 512},
                               {1, 1048576, 512}, {64, 1024, 1536, true}, {1, 131072, 512, true}}
           : std::vector<Size>{{1, 8192, 512}, {1, 2048, 512, true}};
  std::vector<std::pair<std::string, at::ScalarType>> types{{"fp32", at::kFloat}};
  if (cuda) types.insert(types.begin(), {"bf16", at::kBFloat16});
  std::vector<benchmark::Case> result;
  for (const Size& size : sizes) {
    for (const auto& [dtype, type] : types) {
      const double element = static_cast<double>(at::elementSize(type));
      const double channel_rows = size.positions() * static_cast<double>(size.channels) * element;
      const double state_rows =
          size.positions() * static_cast<double>(size.state_values()) * element;
      const std::string reference = cuda ? "" : "loop over time in ATen";
      // u, delta, z, out and B, C; then u, delta, z, dout, du, ddelta, dz and B, C, dB, dC.
      result.push_back({"forward", size.text(), dtype, 4 * channel_rows + 2 * state_rows, 0,
                        reference, [=, type = type] { return forward_work(size, type, device); }});
      result.push_back({"backward", size.text(), dtype, 7 * channel_rows + 4 * state_rows, 0,
                        reference, [=, type = type] { return backward_work(size, type, device); }});
      if (!cuda && !size.complex)
        result.push_back({"forward_exponentials", size.text(), dtype, 0, 0,
                          "as many exponentials in ATen",
                          [=] { return exponential_work(size, device); }});
    }
  }
  return result;
}

const benchmark::StaticRegistration registration("selective_scan", cases);

}  // namespace
}  // namespace strandwave
