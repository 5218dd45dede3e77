// Both products with a Vandermonde matrix and their derivatives come from two device operators,
// with E[c, n, t] = exp(delta_A[c, n] t):
//   vandermonde_product  out[k, c, t] = Re sum_n coefficient[k, c, n] E[c, n, t]
//   vandermonde_moments  moments[o, k, c, n] = sum_t t^o signal[k, c, t] E[c, n, t]
// With `reverse`, position t is place length - 1 - t of out and signal.
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "kernels/common/operator_glue.h"
#include "kernels/ssm_kernel/ssm_kernel.h"
#include "kernels/ssm_kernel/ssm_kernel_check.h"

namespace strandwave {
namespace {

// ---- validation and parameters of the raw kernels ----

// Returns the real type that belongs to delta_A.
at::ScalarType check_delta_A(const char* op, const at::Tensor& delta_A) {
  TORCH_CHECK(delta_A.dim() == 2, op, ": delta_A must have shape (channels, n), got ",
              delta_A.sizes());
  const at::ScalarType type = delta_A.scalar_type();
  TORCH_CHECK(type == at::kComplexFloat || type == at::kComplexDouble, op,
              ": delta_A must be complex64 or complex128, got ", type);
  return c10::toRealValueType(type);
}

const void* keep_resolved(const at::Tensor& tensor, std::vector<at::Tensor>& kept) {
  return keep(tensor.resolve_conj().resolve_neg(), kept);
}

void fill(kernels::VandermondeParams& params, int64_t repeats, const at::Tensor& delta_A,
          int64_t length, bool reverse, std::vector<at::Tensor>& kept) {
  params.dtype = raw_dtype(c10::toRealValueType(delta_A.scalar_type()));
  params.repeats = repeats;
  params.channels = delta_A.size(0);
  params.n = delta_A.size(1);
  params.length = length;
  params.reverse = reverse;
  params.delta_A = keep_resolved(delta_A, kept);
}

}  // namespace

VandermondeProductCall prepare_vandermonde_product(const at::Tensor& coefficient,
                                                   const at::Tensor& delta_A, int64_t length,
                                                   bool reverse) {
  constexpr const char* kOp = "vandermonde_product";
  const at::ScalarType real = check_delta_A(kOp, delta_A);
  TORCH_CHECK(coefficient.dim() == 3, kOp, ": coefficient must have shape (repeats, channels, n), ",
              "got ", coefficient.sizes());
  check_operand(kOp, "coefficient", coefficient,
                {coefficient.size(0), delta_A.size(0), delta_A.size(1)}, delta_A.scalar_type(),
                delta_A);
  TORCH_CHECK(length >= 0, kOp, ": length must not be negative, got ", length);
  VandermondeProductCall call;
  fill(call.params, coefficient.size(0), delta_A, length, reverse, call.kept);
  call.params.coefficient = keep_resolved(coefficient, call.kept);
  call.out =
      at::empty({coefficient.size(0), delta_A.size(0), length}, delta_A.options().dtype(real));
  call.params.out = call.out.mutable_data_ptr();
  return call;
}

VandermondeMomentsCall prepare_vandermonde_moments(const at::Tensor& signal,
                                                   const at::Tensor& delta_A, int64_t orders,
                                                   bool reverse) {
  constexpr const char* kOp = "vandermonde_moments";
  const at::ScalarType real = check_delta_A(kOp, delta_A);
  TORCH_CHECK(signal.dim() == 3, kOp, ": signal must have shape (repeats, channels, length), got ",
              signal.sizes());
  check_operand(kOp, "signal", signal, {signal.size(0), delta_A.size(0), signal.size(2)}, real,
                delta_A);
  TORCH_CHECK(orders == 1 || orders == 2, kOp, ": orders must be 1 or 2, got ", orders);
  VandermondeMomentsCall call;
  fill(call.params, signal.size(0), delta_A, signal.size(2), reverse, call.kept);
  call.params.signal = keep_resolved(signal, call.kept);
  call.params.orders = static_cast<int>(orders);
  call.moments =
      at::empty({orders, signal.size(0), delta_A.size(0), delta_A.size(1)}, delta_A.options());
  call.params.moments = call.moments.mutable_data_ptr();
  return call;
}

namespace {

// Not at::conj_physical, which meta tensors lack in C++.
at::Tensor conjugate(const at::Tensor& tensor) { return tensor.conj().resolve_conj(); }

// ---- the device operators ----

at::Tensor product(const at::Tensor& coefficient, const at::Tensor& delta_A,
                   const c10::SymInt& length, bool reverse) {
  static const auto handle =
      find_operator<at::Tensor(const at::Tensor&, const at::Tensor&, c10::SymInt, bool)>(
          "strandwave::vandermonde_product");
  return handle.call(coefficient, delta_A, length, reverse);
}

at::Tensor moments(const at::Tensor& signal, const at::Tensor& delta_A, int64_t orders,
                   bool reverse) {
  static const auto handle =
      find_operator<VandermondeMomentsFunction>("strandwave::vandermonde_moments");
  return handle.call(signal, delta_A, orders, reverse);
}

at::Tensor product_meta(const at::Tensor& coefficient, const at::Tensor& delta_A,
                        c10::SymInt length, bool) {
  const auto real = delta_A.options().dtype(c10::toRealValueType(delta_A.scalar_type()));
  return at::empty_symint({coefficient.sym_size(0), delta_A.sym_size(0), std::move(length)}, real);
}

at::Tensor moments_meta(const at::Tensor& signal, const at::Tensor& delta_A, int64_t orders, bool) {
  return at::empty_symint({orders, signal.sym_size(0), delta_A.sym_size(0), delta_A.sym_size(1)},
                          delta_A.options());
}

at::Tensor product_autograd(const at::Tensor& coefficient, const at::Tensor& delta_A,
                            c10::SymInt length, bool reverse) {
  return OnceDifferentiable::apply(at::TensorList({coefficient, delta_A}),
                                   std::string("vandermonde_product"),
                                   [&]() -> torch::autograd::variable_list {
                                     return {product(coefficient, delta_A, length, reverse)};
                                   })
      .at(0);
}

at::Tensor moments_autograd(const at::Tensor& signal, const at::Tensor& delta_A, int64_t orders,
                            bool reverse) {
  return OnceDifferentiable::apply(at::TensorList({signal, delta_A}),
                                   std::string("vandermonde_moments"),
                                   [&]() -> torch::autograd::variable_list {
                                     return {moments(signal, delta_A, orders, reverse)};
                                   })
      .at(0);
}

// ---- the kernel ----

void check_kernel(const at::Tensor& coefficient, const at::Tensor& delta_A) {
  constexpr const char* kOp = "ssm_kernel_vandermonde";
  check_delta_A(kOp, delta_A);
  TORCH_CHECK(coefficient.dim() == 2 && coefficient.sym_sizes() == delta_A.sym_sizes(), kOp,
              ": coefficient must have the shape of delta_A, ", delta_A.sym_sizes(), ", got ",
              coefficient.sym_sizes());
}

at::Tensor kernel_plain(const at::Tensor& coefficient, const at::Tensor& delta_A,
                        c10::SymInt length) {
  check_kernel(coefficient, delta_A);
  return product((coefficient * 2).unsqueeze(0), delta_A, length, false).squeeze(0);
}

class Kernel : public torch::autograd::Function<Kernel> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context,
                            const at::Tensor& coefficient, const at::Tensor& delta_A,
                            c10::SymInt length) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({coefficient, delta_A});
    return kernel_plain(coefficient, delta_A, std::move(length));
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    auto result = OnceDifferentiable::apply(
        at::TensorList({gradients[0], saved[0], saved[1]}), std::string("ssm_kernel_vandermonde"),
        [&]() -> torch::autograd::variable_list {
          const auto sums = moments(gradients[0].unsqueeze(0), saved[1], 2, false);
          return {conjugate(sums[0][0]) * 2, conjugate(sums[1][0] * saved[0]) * 2};
        });
    result.emplace_back();
    return result;
  }
};

at::Tensor kernel_autograd(const at::Tensor& coefficient, const at::Tensor& delta_A,
                           c10::SymInt length) {
  return Kernel::apply(coefficient, delta_A, std::move(length));
}

// ---- the state ----

void check_state(const at::Tensor& u, const at::Tensor& delta_A) {
  constexpr const char* kOp = "ssm_state_vandermonde";
  const at::ScalarType real = check_delta_A(kOp, delta_A);
  TORCH_CHECK(u.dim() == 3, kOp, ": u must have shape (batch, length, channels), got ",
              u.sym_sizes());
  TORCH_CHECK(u.sym_size(2) == delta_A.sym_size(0), kOp, ": u has ", u.sym_size(2),
              " channels, delta_A has ", delta_A.sym_size(0));
  const bool half = u.scalar_type() == at::kHalf || u.scalar_type() == at::kBFloat16;
  TORCH_CHECK(u.scalar_type() == real || (half && real == at::kFloat), kOp, ": u must be ", real,
              real == at::kFloat ? ", float16 or bfloat16" : "", " with ", delta_A.scalar_type(),
              ", got ", u.scalar_type());
  TORCH_CHECK(u.device() == delta_A.device(), kOp, ": u must be on ", delta_A.device(), ", got ",
              u.device());
}

// (a, b, c) -> (a, c, b) of another type, always a copy.
at::Tensor transposed(const at::Tensor& x, at::ScalarType type) {
  at::Tensor result =
      at::empty_symint({x.sym_size(0), x.sym_size(2), x.sym_size(1)}, x.options().dtype(type));
  return result.copy_(x.transpose(1, 2));
}

// (batch, channels, length) in full precision.
at::Tensor as_signal(const at::Tensor& u, const at::Tensor& delta_A) {
  return transposed(u, c10::toRealValueType(delta_A.scalar_type()));
}

at::Tensor state_plain(const at::Tensor& u, const at::Tensor& delta_A) {
  check_state(u, delta_A);
  return moments(as_signal(u, delta_A), delta_A, 1, true).squeeze(0);
}

class State : public torch::autograd::Function<State> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& u,
                            const at::Tensor& delta_A) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({u, delta_A});
    return state_plain(u, delta_A);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor& u = saved[0];
    const at::Tensor& delta_A = saved[1];
    return OnceDifferentiable::apply(
        at::TensorList({gradients[0], u, delta_A}), std::string("ssm_state_vandermonde"),
        [&]() -> torch::autograd::variable_list {
          const auto du = product(conjugate(gradients[0]), delta_A, u.sym_size(1), true);
          const auto sums = moments(as_signal(u, delta_A), delta_A, 2, true);
          return {transposed(du, u.scalar_type()), (conjugate(sums[1]) * gradients[0]).sum(0)};
        });
  }
};

at::Tensor state_autograd(const at::Tensor& u, const at::Tensor& delta_A) {
  return State::apply(u, delta_A);
}

}  // namespace

at::Tensor ssm_kernel_vandermonde(const at::Tensor& coefficient, const at::Tensor& delta_A,
                                  int64_t length) {
  static const auto handle =
      find_operator<at::Tensor(const at::Tensor&, const at::Tensor&, c10::SymInt)>(
          "strandwave::ssm_kernel_vandermonde");
  return handle.call(coefficient, delta_A, length);
}

at::Tensor ssm_state_vandermonde(const at::Tensor& u, const at::Tensor& delta_A) {
  static const auto handle = find_operator<at::Tensor(const at::Tensor&, const at::Tensor&)>(
      "strandwave::ssm_state_vandermonde");
  return handle.call(u, delta_A);
}

TORCH_LIBRARY_FRAGMENT(strandwave, m) {
  m.def(
      "vandermonde_product(Tensor coefficient, Tensor delta_A, SymInt length, bool reverse) -> "
      "Tensor");
  m.def("vandermonde_moments(Tensor signal, Tensor delta_A, int orders, bool reverse) -> Tensor");
  m.def("ssm_kernel_vandermonde(Tensor coefficient, Tensor delta_A, SymInt length) -> Tensor");
  m.def("ssm_state_vandermonde(Tensor u, Tensor delta_A) -> Tensor");
}

TORCH_LIBRARY_IMPL(strandwave, Meta, m) {
  m.impl("vandermonde_product", &product_meta);
  m.impl("vandermonde_moments", &moments_meta);
}

TORCH_LIBRARY_IMPL(strandwave, CompositeExplicitAutograd, m) {
  m.impl("ssm_kernel_vandermonde", &kernel_plain);
  m.impl("ssm_state_vandermonde", &state_plain);
}

TORCH_LIBRARY_IMPL(strandwave, Autograd, m) {
  m.impl("vandermonde_product", &product_autograd);
  m.impl("vandermonde_moments", &moments_autograd);
  m.impl("ssm_kernel_vandermonde", &kernel_autograd);
  m.impl("ssm_state_vandermonde", &state_autograd);
}

}  // namespace strandwave
