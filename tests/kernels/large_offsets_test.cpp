// Tensors of more than 2^31 elements: whatever counts elements in 32 bits goes wrong near their
// ends. The CPU runs the same checks on small tensors.
#include <c10/core/CachingDeviceAllocator.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "kernels/causal_conv1d/causal_conv1d.h"
#include "kernels/embedding/embedding.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy.h"
#include "kernels/norm/rms_norm.h"
#include "kernels/selective_scan/selective_scan.h"
#include "tests/reference/causal_conv1d_reference.h"
#include "tests/reference/linear_cross_entropy_reference.h"
#include "tests/reference/rms_norm_reference.h"
#include "tests/reference/selective_scan_reference.h"
#include "tests/support/operator_testing.h"

namespace strandwave {
namespace {

using at::Tensor;
using testing::relatively_close;
using testing::to_reference;

constexpr double kTolerance = 4.0 / 512;  // four roundings of bfloat16

struct Size {
  at::Device device;
  int64_t length, channels;
};

class LargeOffsets : public ::testing::TestWithParam<Size> {
 protected:
  void SetUp() override {
    STRANDWAVE_SKIP_WITHOUT_DEVICE(device());
    torch::manual_seed(3);
    if (!device().is_cuda()) return;
    ASSERT_GT(length() * channels(), int64_t{1} << 31);
    constexpr size_t kNeeded = size_t{40} << 30;
    at::getDeviceAllocator(at::kCUDA)->emptyCache();
    const size_t free = at::getDeviceAllocator(at::kCUDA)->getMemoryInfo(0).first;
    if (free < kNeeded)
      GTEST_SKIP() << "needs 40 GiB of free GPU memory, has " << (free >> 30) << " GiB";
  }

  at::Device device() const { return GetParam().device; }
  int64_t length() const { return GetParam().length; }
  int64_t channels() const { return GetParam().channels; }

  // Filled in place: a temporary in float32 would be twice as large.
  Tensor uniform(at::IntArrayRef shape, at::ScalarType type = at::kBFloat16) const {
    return at::empty(shape, at::TensorOptions(device()).dtype(type)).uniform_(-1, 1);
  }

  // The last `rows` positions and `columns` channels of (1, length, channels), in float64.
  static Tensor corner(const Tensor& x, int64_t rows, int64_t columns) {
    return to_reference(x.slice(1, x.size(1) - rows).slice(2, x.size(2) - columns));
  }
};

// After 100 positions with decays below exp(-0.3) nothing is left of the state before.
TEST_P(LargeOffsets, SelectiveScan) {
  constexpr int64_t kRows = 200, kKept = 100, kColumns = 32, kState = 4;
  const Tensor u = uniform({1, length(), channels()});
  const Tensor delta = uniform({1, length(), channels()});
  const Tensor B = uniform({1, length(), kState}), C = uniform({1, length(), kState});
  const Tensor A = uniform({channels(), kState}, at::kFloat) - 2;

  testing::ScanArguments a;
  a.u = corner(u, kRows, kColumns).requires_grad_();
  a.delta = corner(delta, kRows, kColumns).requires_grad_();
  a.B = corner(B, kRows, kState);
  a.C = corner(C, kRows, kState);
  a.A = to_reference(A.slice(0, channels() - kColumns));
  const auto [out, final_state] = testing::selective_scan_reference(a, at::kDouble);
  const auto exact = torch::autograd::grad({(out * a.u.detach()).sum()}, {a.u, a.delta});
  {
    const auto ours = selective_scan(u, delta, A, B, C);
    EXPECT_TRUE(relatively_close(corner(ours.out, kKept, kColumns), corner(out, kKept, kColumns),
                                 kTolerance));
    EXPECT_TRUE(
        relatively_close(ours.final_state.slice(1, channels() - kColumns), final_state, 1e-5));
  }
  const auto ours = selective_scan_backward(u, {}, u, delta, A, B, C, {}, {}, {}, {}, {}, {},
                                            /*delta_softplus=*/true, /*reverse=*/false);
  EXPECT_TRUE(relatively_close(corner(ours.u, kKept, kColumns), corner(exact[0], kKept, kColumns),
                               kTolerance));
  EXPECT_TRUE(relatively_close(corner(ours.delta, kKept, kColumns),
                               corner(exact[1], kKept, kColumns), kTolerance));
}

TEST_P(LargeOffsets, CausalConv1d) {
  constexpr int64_t kRows = 40, kKept = 32, kColumns = 32;
  const Tensor x = uniform({1, length(), channels()});
  const Tensor weight = uniform({channels(), 4}, at::kFloat);

  reference::CausalConv1dArguments a;
  a.x = corner(x, kRows, kColumns).requires_grad_();
  a.weight = to_reference(weight.slice(0, channels() - kColumns));
  const Tensor out = reference::causal_conv1d(a).first;
  const Tensor exact = torch::autograd::grad({(out * a.x.detach()).sum()}, {a.x})[0];
  EXPECT_TRUE(relatively_close(corner(causal_conv1d(x, weight).out, kKept, kColumns),
                               corner(out, kKept, kColumns), kTolerance));
  const Tensor dx = causal_conv1d_backward(x, {}, x, weight, {}, {}, {}, true, false).x;
  EXPECT_TRUE(
      relatively_close(corner(dx, kKept, kColumns), corner(exact, kKept, kColumns), kTolerance));
}

TEST_P(LargeOffsets, AddRmsNorm) {
  constexpr int64_t kRows = 8;
  const Tensor x = uniform({1, length(), channels()}).requires_grad_();
  const Tensor weight = uniform({channels()}, at::kFloat);
  const auto ours = add_rms_norm(x, {}, weight);
  const Tensor dx = torch::autograd::grad({ours.y}, {x}, {x.detach()})[0];

  const Tensor rows = corner(x, kRows, channels()).requires_grad_();
  const Tensor y = reference::add_rms_norm(rows, {}, to_reference(weight), 1e-5, at::kDouble).first;
  const Tensor exact = torch::autograd::grad({y}, {rows}, {rows.detach()})[0];
  EXPECT_TRUE(relatively_close(corner(ours.y, kRows, channels()), y, kTolerance));
  EXPECT_TRUE(relatively_close(corner(ours.residual, kRows, channels()), rows, 0));
  EXPECT_TRUE(relatively_close(corner(dx, kRows, channels()), exact, kTolerance));
}

// The last id occurs at the last positions only.
TEST_P(LargeOffsets, Embedding) {
  constexpr int64_t kRows = 1000, kVocabulary = 16;
  const Tensor weight = uniform({kVocabulary, channels()}).requires_grad_();
  Tensor ids = torch::randint(kVocabulary - 1, {1, length()}, torch::dtype(at::kLong));
  ids.slice(1, length() - kRows).fill_(kVocabulary - 1);
  const Tensor out = strandwave::embedding(ids.to(device()), weight);
  const Tensor last = weight.detach()[kVocabulary - 1];
  EXPECT_TRUE(
      at::equal(out.detach().slice(1, length() - kRows), last.expand({1, kRows, channels()})));
  const Tensor dweight = torch::autograd::grad({out}, {weight}, {out.detach()})[0];
  EXPECT_TRUE(relatively_close(dweight[kVocabulary - 1], kRows * to_reference(last), kTolerance));
}

TEST_P(LargeOffsets, LinearCrossEntropy) {
  constexpr int64_t kRows = 64, kVocabulary = 16;
  const Tensor hidden = uniform({length(), channels()}).requires_grad_();
  const Tensor head = uniform({kVocabulary, channels()}) * 0.1;
  const Tensor target = torch::randint(kVocabulary, {length()}, torch::dtype(at::kLong));
  const Tensor loss = linear_cross_entropy(hidden, head, target.to(device())).loss;
  const Tensor dhidden = torch::autograd::grad({loss.sum()}, {hidden})[0];

  const Tensor rows = to_reference(hidden.slice(0, length() - kRows)).requires_grad_();
  const Tensor exact = reference::linear_cross_entropy(rows, to_reference(head),
                                                       target.slice(0, length() - kRows), {}, 0)
                           .first;
  EXPECT_TRUE(relatively_close(loss.slice(0, length() - kRows), exact, kTolerance));
  EXPECT_TRUE(relatively_close(dhidden.slice(0, length() - kRows),
                               torch::autograd::grad({exact.sum()}, {rows})[0], kTolerance));
}

INSTANTIATE_TEST_SUITE_P(Cpu, LargeOffsets,
                         ::testing::Values(Size{testing::cpu_device(), 3000, 64}));
INSTANTIATE_TEST_SUITE_P(Cuda, LargeOffsets,
                         ::testing::Values(Size{testing::cuda_device(), 1'100'000, 2048}));

}  // namespace
}  // namespace strandwave
