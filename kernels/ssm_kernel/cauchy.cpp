#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/view_as_real.h>
#include <torch/library.h>

#include "kernels/common/operator_glue.h"
#include "kernels/ssm_kernel/ssm_kernel.h"
#include "kernels/ssm_kernel/ssm_kernel_check.h"

namespace strandwave {
namespace {

constexpr const char* kName = "ssm_kernel_cauchy";

// ---- validation and parameters of the raw kernels ----

void check(const at::Tensor& v, const at::Tensor& z, const at::Tensor& w) {
  const at::ScalarType type = w.scalar_type();
  TORCH_CHECK(type == at::kComplexFloat || type == at::kComplexDouble, kName,
              ": w must be complex64 or complex128, got ", type);
  TORCH_CHECK(w.dim() == 2, kName, ": w must have shape (channels, n), got ", w.sizes());
  TORCH_CHECK(v.dim() == 3, kName, ": v must have shape (k, channels, n), got ", v.sizes());
  check_operand(kName, "v", v, {v.size(0), w.size(0), w.size(1)}, type, w);
  TORCH_CHECK(z.dim() == 1, kName, ": z must have shape (nodes), got ", z.sizes());
  TORCH_CHECK(z.scalar_type() == type || z.scalar_type() == at::kComplexDouble, kName,
              ": z must be ", type, " or complex128, got ", z.scalar_type());
  TORCH_CHECK(z.device() == w.device(), kName, ": z must be on ", w.device(), ", got ", z.device());
}

// Real and imaginary parts of the nodes in the type of w, and what the rounding left: (2, 2,
// nodes).
at::Tensor split_nodes(const at::Tensor& z, at::ScalarType real) {
  const at::Tensor exact = at::view_as_real(z.resolve_conj()).t();
  const at::Tensor rounded = exact.to(real);
  return at::stack({rounded, (exact - rounded).to(real)});
}

const void* keep_resolved(const at::Tensor& tensor, std::vector<at::Tensor>& kept) {
  return keep(tensor.resolve_conj(), kept);
}

void fill(kernels::CauchyParams& params, const at::Tensor& v, const at::Tensor& z,
          const at::Tensor& w, std::vector<at::Tensor>& kept) {
  check(v, z, w);
  const at::ScalarType real = c10::toRealValueType(w.scalar_type());
  params.dtype = raw_dtype(real);
  params.repeats = v.size(0);
  params.channels = w.size(0);
  params.n = w.size(1);
  params.nodes = z.size(0);
  params.v = keep_resolved(v, kept);
  params.w = keep_resolved(w, kept);
  params.z = keep(split_nodes(z, real), kept);
}

}  // namespace

CauchyForwardCall prepare_cauchy(const at::Tensor& v, const at::Tensor& z, const at::Tensor& w) {
  CauchyForwardCall call;
  fill(call.params, v, z, w, call.kept);
  call.out = at::empty({v.size(0), w.size(0), z.size(0)}, w.options());
  call.params.out = call.out.mutable_data_ptr();
  return call;
}

CauchyBackwardCall prepare_cauchy_backward(const at::Tensor& dout, const at::Tensor& v,
                                           const at::Tensor& z, const at::Tensor& w) {
  CauchyBackwardCall call;
  fill(call.params, v, z, w, call.kept);
  check_operand(kName, "dout", dout, {v.size(0), w.size(0), z.size(0)}, w.scalar_type(), w);
  call.params.dout = keep_resolved(dout, call.kept);
  call.dv = at::empty(v.sizes(), v.options());
  call.dw = at::empty(w.sizes(), w.options());
  call.params.dv = call.dv.mutable_data_ptr();
  call.params.dw = call.dw.mutable_data_ptr();
  return call;
}

namespace {

// ---- the operators ----

const c10::TypedOperatorHandle<CauchyForwardFunction>& forward_operator() {
  static const auto handle = find_operator<CauchyForwardFunction>("strandwave::ssm_kernel_cauchy");
  return handle;
}

const c10::TypedOperatorHandle<CauchyBackwardFunction>& backward_operator() {
  static const auto handle =
      find_operator<CauchyBackwardFunction>("strandwave::ssm_kernel_cauchy_backward");
  return handle;
}

at::Tensor forward_meta(const at::Tensor& v, const at::Tensor& z, const at::Tensor& w) {
  return at::empty_symint({v.sym_size(0), w.sym_size(0), z.sym_size(0)}, w.options());
}

std::tuple<at::Tensor, at::Tensor> backward_meta(const at::Tensor&, const at::Tensor& v,
                                                 const at::Tensor&, const at::Tensor& w) {
  return {at::empty_symint(v.sym_sizes(), v.options()),
          at::empty_symint(w.sym_sizes(), w.options())};
}

std::tuple<at::Tensor, at::Tensor> backward_autograd(const at::Tensor& dout, const at::Tensor& v,
                                                     const at::Tensor& z, const at::Tensor& w) {
  const std::vector<at::Tensor> inputs{dout, v, z, w};
  const auto gradients = OnceDifferentiable::apply(
      at::TensorList(inputs), std::string(kName), [&]() -> torch::autograd::variable_list {
        auto [dv, dw] = backward_operator().call(dout, v, z, w);
        return {dv, dw};
      });
  return {gradients[0], gradients[1]};
}

class Cauchy : public torch::autograd::Function<Cauchy> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& v,
                            const at::Tensor& z, const at::Tensor& w) {
    TORCH_CHECK(!z.requires_grad(), kName, ": z has no gradient, but requires one");
    const at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({v, z, w});
    return forward_operator().call(v, z, w);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    auto [dv, dw] = backward_operator().call(gradients[0], saved[0], saved[1], saved[2]);
    return {dv, at::Tensor(), dw};
  }
};

at::Tensor forward_autograd(const at::Tensor& v, const at::Tensor& z, const at::Tensor& w) {
  return Cauchy::apply(v, z, w);
}

}  // namespace

at::Tensor ssm_kernel_cauchy(const at::Tensor& v, const at::Tensor& z, const at::Tensor& w) {
  return forward_operator().call(v, z, w);
}

TORCH_LIBRARY_FRAGMENT(strandwave, m) {
  m.def("ssm_kernel_cauchy(Tensor v, Tensor z, Tensor w) -> Tensor");
  m.def(
      "ssm_kernel_cauchy_backward(Tensor dout, Tensor v, Tensor z, Tensor w) -> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(strandwave, Meta, m) {
  m.impl("ssm_kernel_cauchy", &forward_meta);
  m.impl("ssm_kernel_cauchy_backward", &backward_meta);
}

TORCH_LIBRARY_IMPL(strandwave, Autograd, m) {
  m.impl("ssm_kernel_cauchy", &forward_autograd);
  m.impl("ssm_kernel_cauchy_backward", &backward_autograd);
}

}  // namespace strandwave
