// Helpers of the operator tests: random tensors, the error rule, derivatives along a direction.
#pragma once

#include <gtest/gtest.h>
#include <torch/cuda.h>
#include <torch/torch.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

namespace strandwave::testing {

// Skips a test that is parametrised over devices where there is no GPU.
#define STRANDWAVE_SKIP_WITHOUT_DEVICE(device)              \
  if ((device).is_cuda() && !torch::cuda::is_available()) { \
    GTEST_SKIP() << "no CUDA device is available";          \
  }                                                         \
  static_assert(true, "")

inline at::Device cpu_device() { return at::Device(at::kCPU); }
inline at::Device cuda_device() { return at::Device(at::kCUDA, 0); }

// For tests whose parameter is the kind of device.
inline std::vector<c10::DeviceType> devices() { return {at::kCPU, at::kCUDA}; }
inline at::Device device_of(c10::DeviceType type) {
  return type == at::kCPU ? cpu_device() : cuda_device();
}

// For the names of parametrised tests.
inline std::string dtype_name(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return "fp32";
    case at::kDouble:
      return "fp64";
    case at::kBFloat16:
      return "bf16";
    case at::kHalf:
      return "fp16";
    default:
      return c10::toString(type);
  }
}

// Normally distributed values, the same on every device and in every run.
class RandomTensors {
 public:
  explicit RandomTensors(uint64_t seed) : engine_(seed) {}

  at::Tensor normal(at::IntArrayRef sizes, at::TensorOptions options, double scale = 1,
                    double mean = 0) {
    const at::Tensor values = at::empty(sizes, at::kDouble);
    std::normal_distribution<double> distribution(mean, scale);
    double* data = values.mutable_data_ptr<double>();
    for (int64_t i = 0; i < values.numel(); ++i) data[i] = distribution(engine_);
    return values.to(options);
  }

  at::Tensor uniform(at::IntArrayRef sizes, at::TensorOptions options, double low, double high) {
    const at::Tensor values = at::empty(sizes, at::kDouble);
    std::uniform_real_distribution<double> distribution(low, high);
    double* data = values.mutable_data_ptr<double>();
    for (int64_t i = 0; i < values.numel(); ++i) data[i] = distribution(engine_);
    return values.to(options);
  }

 private:
  std::mt19937_64 engine_;
};

// Largest relative error of one rounding to `type`, complex or not.
inline double rounding(at::ScalarType type) {
  switch (c10::toRealValueType(type)) {
    case at::kBFloat16:
      return std::ldexp(1.0, -9);
    case at::kHalf:
      return std::ldexp(1.0, -11);
    case at::kFloat:
      return std::ldexp(1.0, -24);
    default:
      return std::ldexp(1.0, -53);
  }
}

// Complex numbers become pairs.
inline at::Tensor to_reference(const at::Tensor& tensor) {
  const at::Tensor values = tensor.detach().cpu();
  return (values.is_complex() ? at::view_as_real(values.resolve_conj()) : values).to(at::kDouble);
}

// max |a - b|, 0 for empty tensors. NaN where either has one.
inline double max_error(const at::Tensor& a, const at::Tensor& b) {
  if (a.numel() == 0) return 0;
  return (to_reference(a) - to_reference(b)).abs().max().item<double>();
}

inline double max_magnitude(const at::Tensor& a) {
  return a.numel() == 0 ? 0 : to_reference(a).abs().max().item<double>();
}

// The error rule: the baseline is the same computation in ATen with fp32 inside and rounded I/O;
// our error must not exceed twice the baseline's plus one rounding of the reference. It is applied
// to the root mean square; the largest error, a matter of luck where values are few, may have three
// roundings of max |reference|.
// Where tensors are small, add several draws.
//
// cuda_roundings: what float32 results on CUDA may have in both, for operators that measurably need
// more: the scan (ex2.approx and rcp.approx are off by up to 2 ulp, and it sums over positions in
// the order of the sequence, where ATen sums pairwise) and cross entropy (products over pieces of
// tokens). cpu_roundings: the same on the CPU.
class ErrorRule {
 public:
  explicit ErrorRule(double cuda_roundings = 0, double cpu_roundings = 0)
      : cuda_roundings_(cuda_roundings), cpu_roundings_(cpu_roundings) {}

  void add(const at::Tensor& ours, const at::Tensor& baseline, const at::Tensor& reference) {
    if (ours.sizes() != reference.sizes() || ours.scalar_type() != baseline.scalar_type()) {
      std::ostringstream text;
      text << ours.scalar_type() << ours.sizes() << " instead of " << baseline.scalar_type()
           << reference.sizes();
      mismatch_ = text.str();
      return;
    }
    type_ = ours.scalar_type();
    more_ = ours.is_cuda() ? cuda_roundings_ : cpu_roundings_;
    if (c10::toRealValueType(type_) != at::kFloat) more_ = 0;
    if (ours.numel() == 0) return;
    const at::Tensor expected = to_reference(reference);
    ours_.add(to_reference(ours) - expected);
    baseline_.add(to_reference(baseline) - expected);
    reference_.add(expected);
  }

  ::testing::AssertionResult holds() const {
    if (!mismatch_.empty()) return ::testing::AssertionFailure() << mismatch_;
    // Written so that NaN fails.
    const double rms_bound =
        2 * baseline_.rms() + std::max(1.0, more_) * rounding(type_) * reference_.rms();
    if (!(ours_.rms() <= rms_bound))
      return ::testing::AssertionFailure()
             << "root mean square error " << ours_.rms() << " exceeds " << rms_bound
             << " (baseline " << baseline_.rms() << ", reference " << reference_.rms() << ")";
    const double largest_bound =
        2 * baseline_.largest + std::max(3.0, more_) * rounding(type_) * reference_.largest;
    if (!(ours_.largest <= largest_bound))
      return ::testing::AssertionFailure()
             << "largest error " << ours_.largest << " exceeds " << largest_bound << " (baseline "
             << baseline_.largest << ", max |reference| " << reference_.largest << ")";
    return ::testing::AssertionSuccess();
  }

 private:
  struct Size {
    double squares = 0, count = 0, largest = 0;

    void add(const at::Tensor& values) {
      squares += values.square().sum().item<double>();
      count += static_cast<double>(values.numel());
      const double here = values.abs().max().item<double>();
      if (!(here <= largest)) largest = here;  // keeps NaN
    }
    double rms() const { return count == 0 ? 0 : std::sqrt(squares / count); }
  };

  std::string mismatch_;
  at::ScalarType type_ = at::kFloat;
  double cuda_roundings_, cpu_roundings_;
  double more_ = 0;
  Size ours_, baseline_, reference_;
};

inline ::testing::AssertionResult follows_error_rule(const at::Tensor& ours,
                                                     const at::Tensor& baseline,
                                                     const at::Tensor& reference,
                                                     double cuda_roundings = 0) {
  ErrorRule rule(cuda_roundings);
  rule.add(ours, baseline, reference);
  return rule.holds();
}

// max |a - b| <= tolerance max |b|.
inline ::testing::AssertionResult relatively_close(const at::Tensor& a, const at::Tensor& b,
                                                   double tolerance) {
  if (a.sizes() != b.sizes())
    return ::testing::AssertionFailure() << "shape " << a.sizes() << " instead of " << b.sizes();
  const double error = max_error(a, b);
  const double bound = tolerance * max_magnitude(b);
  if (error <= bound) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "error " << error << " exceeds " << bound;
}

// Equal bit for bit (NaN equals NaN of the same bits).
inline ::testing::AssertionResult same_bits(const at::Tensor& a, const at::Tensor& b) {
  if (a.defined() != b.defined())
    return ::testing::AssertionFailure() << "one of the two is undefined";
  if (!a.defined()) return ::testing::AssertionSuccess();
  if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type())
    return ::testing::AssertionFailure() << "shapes or types differ";
  const at::Tensor x = a.detach().cpu().contiguous(), y = b.detach().cpu().contiguous();
  const size_t bytes = static_cast<size_t>(x.numel()) * x.element_size();
  if (bytes == 0 || std::memcmp(x.const_data_ptr(), y.const_data_ptr(), bytes) == 0)
    return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "bits differ; largest difference " << max_error(a, b);
}

// (f(x + h v) - f(x - h v)) / 2h with x, v lists of fp64 tensors: the derivative along v, to h^2.
inline double directional_derivative(
    const std::function<at::Tensor(const std::vector<at::Tensor>&)>& f,
    const std::vector<at::Tensor>& at_point, const std::vector<at::Tensor>& direction,
    double step = 1e-5) {
  const at::NoGradGuard no_grad;
  const auto moved = [&](double by) {
    std::vector<at::Tensor> point;
    for (size_t i = 0; i < at_point.size(); ++i)
      point.push_back(at_point[i].detach() + by * direction[i]);
    return f(point).item<double>();
  };
  return (moved(step) - moved(-step)) / (2 * step);
}

// Along random directions, one input after the other, `gradients` are the derivatives of `loss` at
// `point`: fp64 tensors, as `loss` computes. The tolerance is relative to a gradient's norm.
inline void expect_directional_derivatives(
    const std::function<at::Tensor(const std::vector<at::Tensor>&)>& loss,
    const std::vector<at::Tensor>& point, const std::vector<at::Tensor>& gradients,
    double tolerance) {
  RandomTensors random(3);
  for (int trial = 0; trial < 3; ++trial) {
    for (size_t moved = 0; moved < point.size(); ++moved) {
      std::vector<at::Tensor> direction;
      for (size_t i = 0; i < point.size(); ++i)
        direction.push_back(i == moved ? random.normal(point[i].sizes(), at::kDouble)
                                       : at::zeros_like(point[i]));
      const at::Tensor gradient = to_reference(gradients[moved]);
      EXPECT_NEAR((gradient * direction[moved]).sum().item<double>(),
                  directional_derivative(loss, point, direction),
                  tolerance * gradient.norm().item<double>())
          << "gradient of input " << moved;
    }
  }
}

// Throws what `call` throws; its message must contain `part`.
inline void expect_error(const std::function<void()>& call, const std::string& part) {
  try {
    call();
    ADD_FAILURE() << "no error was reported; expected: " << part;
  } catch (const c10::Error& error) {
    EXPECT_NE(std::string(error.what_without_backtrace()).find(part), std::string::npos)
        << "message: " << error.what_without_backtrace() << "\nexpected: " << part;
  }
}

}  // namespace strandwave::testing
