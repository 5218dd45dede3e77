#include "kernels/norm/rms_norm.h"

#include <ATen/autocast_mode.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "kernels/common/operator_glue.h"
#include "kernels/norm/rms_norm_check.h"

namespace strandwave {
namespace {

constexpr const char* kName = "add_rms_norm";

// ---- validation and parameters of the raw kernels ----

// Of x itself or of the full type; says which.
bool check_sum_type(const char* name, const at::Tensor& tensor, at::ScalarType type,
                    at::ScalarType full) {
  TORCH_CHECK(tensor.scalar_type() == full || tensor.scalar_type() == type, kName, ": ", name,
              " must be ", full, " or ", type, ", got ", tensor.scalar_type());
  return tensor.scalar_type() == full;
}

int64_t check_width(const char* name, const at::Tensor& x) {
  TORCH_CHECK(x.dim() >= 1, kName, ": ", name, " must have at least one dimension, got none");
  TORCH_CHECK(x.size(-1) >= 1, kName, ": the last dimension of ", name, " must be at least 1, got ",
              x.size(-1));
  return x.size(-1);
}

at::Tensor empty_like_in(const at::Tensor& tensor, at::ScalarType type) {
  return at::empty(tensor.sizes(), tensor.options().dtype(type));
}

}  // namespace

AddRmsNormCall prepare_add_rms_norm(const at::Tensor& x, const OptionalTensor& residual,
                                    const at::Tensor& weight, double eps, bool residual_in_fp32) {
  const at::ScalarType full = check_io_type(kName, "x", x);
  const int64_t d = check_width("x", x);
  TORCH_CHECK(eps >= 0, kName, ": eps must not be negative, got ", eps);
  check_operand(kName, "weight", weight, {d}, full, x);
  AddRmsNormCall call;
  auto& params = call.params;
  params.dtype = raw_dtype(x.scalar_type());
  params.rows = x.numel() / d;
  params.d = d;
  params.eps = eps;
  if (given(residual)) {
    params.residual_full = check_sum_type("residual", *residual, x.scalar_type(), full);
    check_operand(kName, "residual", *residual, x.sizes(), residual->scalar_type(), x);
    params.residual = keep(*residual, call.kept);
  }
  params.x = keep(x, call.kept);
  params.weight = keep(weight, call.kept);

  params.sum_full = residual_in_fp32 || full == x.scalar_type();
  call.y = empty_like_in(x, x.scalar_type());
  call.sum = empty_like_in(x, params.sum_full ? full : x.scalar_type());
  call.rstd = at::empty(x.sizes().slice(0, x.dim() - 1), weight.options());
  params.y = call.y.mutable_data_ptr();
  params.sum = call.sum.mutable_data_ptr();
  params.rstd = call.rstd.mutable_data_ptr();
  return call;
}

AddRmsNormBackwardCall prepare_add_rms_norm_backward(const at::Tensor& dy,
                                                     const OptionalTensor& dsum,
                                                     const at::Tensor& sum,
                                                     const at::Tensor& weight,
                                                     const at::Tensor& rstd, bool full_gradient) {
  const at::ScalarType full = check_io_type(kName, "dy", dy);
  const int64_t d = check_width("dy", dy);
  AddRmsNormBackwardCall call;
  auto& params = call.params;
  params.dtype = raw_dtype(dy.scalar_type());
  params.rows = dy.numel() / d;
  params.d = d;
  params.sum_full = check_sum_type("the saved sum", sum, dy.scalar_type(), full);
  check_operand(kName, "the saved sum", sum, dy.sizes(), sum.scalar_type(), dy);
  check_operand(kName, "weight", weight, {d}, full, dy);
  check_operand(kName, "rstd", rstd, dy.sizes().slice(0, dy.dim() - 1), full, dy);
  if (given(dsum)) {
    check_operand(kName, "the gradient of residual", *dsum, dy.sizes(), sum.scalar_type(), dy);
    params.dsum = keep(*dsum, call.kept);
  }
  params.dy = keep(dy, call.kept);
  params.sum = keep(sum, call.kept);
  params.weight = keep(weight, call.kept);
  params.rstd = keep(rstd, call.kept);

  call.dx = empty_like_in(dy, dy.scalar_type());
  call.dx_full = full_gradient ? empty_like_in(dy, full) : at::empty({0}, weight.options());
  call.dweight = empty_like_in(weight, full);
  params.dx = call.dx.mutable_data_ptr();
  if (full_gradient) params.dx_full = call.dx_full.mutable_data_ptr();
  params.dweight = call.dweight.mutable_data_ptr();
  return call;
}

void divide_rows(AddRmsNormBackwardCall& call, int64_t rows_per_partial) {
  auto& params = call.params;
  params.rows_per_partial = rows_per_partial;
  params.partial_count = (params.rows + rows_per_partial - 1) / rows_per_partial;
  call.kept.push_back(at::empty({params.partial_count, params.d}, call.dweight.options()));
  params.partials = call.kept.back().mutable_data_ptr();
}

namespace {

// ---- the operators ----

using PublicFunction = std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, const OptionalTensor&,
                                                          const at::Tensor&, double, bool);

const c10::TypedOperatorHandle<PublicFunction>& public_operator() {
  static const auto handle = find_operator<PublicFunction>("strandwave::add_rms_norm");
  return handle;
}

const c10::TypedOperatorHandle<AddRmsNormForwardFunction>& forward_operator() {
  static const auto handle =
      find_operator<AddRmsNormForwardFunction>("strandwave::add_rms_norm_forward");
  return handle;
}

const c10::TypedOperatorHandle<AddRmsNormBackwardFunction>& backward_operator() {
  static const auto handle =
      find_operator<AddRmsNormBackwardFunction>("strandwave::add_rms_norm_backward");
  return handle;
}

std::tuple<at::Tensor, at::Tensor> public_plain(const at::Tensor& x, const OptionalTensor& residual,
                                                const at::Tensor& weight, double eps,
                                                bool residual_in_fp32) {
  auto [y, sum, rstd] = forward_operator().call(x, residual, weight, eps, residual_in_fp32);
  return {y, sum};
}

// ---- shapes without data ----

at::ScalarType full_type(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> forward_meta(const at::Tensor& x,
                                                            const OptionalTensor&,
                                                            const at::Tensor& weight, double,
                                                            bool residual_in_fp32) {
  TORCH_CHECK(x.dim() >= 1, kName, ": x must have at least one dimension, got none");
  const auto sizes = x.sym_sizes();
  const at::ScalarType sum_type = residual_in_fp32 ? full_type(x) : x.scalar_type();
  return {at::empty_symint(sizes, x.options()),
          at::empty_symint(sizes, x.options().dtype(sum_type)),
          at::empty_symint(sizes.slice(0, sizes.size() - 1), weight.options())};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward_meta(
    const at::Tensor& dy, const OptionalTensor&, const at::Tensor&, const at::Tensor& weight,
    const at::Tensor&, bool full_gradient) {
  const auto full = dy.options().dtype(full_type(dy));
  return {at::empty_symint(dy.sym_sizes(), dy.options()),
          full_gradient ? at::empty_symint(dy.sym_sizes(), full) : at::empty({0}, full),
          at::empty_symint(weight.sym_sizes(), weight.options())};
}

// ---- autograd ----

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward_autograd(
    const at::Tensor& dy, const OptionalTensor& dsum, const at::Tensor& sum,
    const at::Tensor& weight, const at::Tensor& rstd, bool full_gradient) {
  std::vector<at::Tensor> inputs = {dy, sum, weight, rstd};
  if (given(dsum)) inputs.push_back(*dsum);
  const auto results =
      OnceDifferentiable::apply(at::TensorList(inputs), std::string(kName),
                                std::function<torch::autograd::variable_list()>([&] {
                                  auto [dx, dx_full, dweight] = backward_operator().call(
                                      dy, dsum, sum, weight, rstd, full_gradient);
                                  return torch::autograd::variable_list{dx, dx_full, dweight};
                                }));
  return {results[0], results[1], results[2]};
}

class AddRmsNorm : public torch::autograd::Function<AddRmsNorm> {
 public:
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                const at::Tensor& x, const OptionalTensor& residual,
                                                const at::Tensor& weight, double eps,
                                                bool residual_in_fp32) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    auto [y, sum, rstd] = forward_operator().call(x, residual, weight, eps, residual_in_fp32);
    context->set_materialize_grads(false);
    context->save_for_backward({sum, weight, rstd});
    context->saved_data["x"] = static_cast<int64_t>(x.scalar_type());
    context->saved_data["residual"] =
        given(residual) ? static_cast<int64_t>(residual->scalar_type()) : int64_t{-1};
    return {y, sum};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const at::Tensor& dy = gradients[0];
    const at::Tensor& dsum = gradients[1];
    torch::autograd::variable_list result(5);
    const auto x_type = static_cast<at::ScalarType>(context->saved_data["x"].toInt());
    const int64_t residual = context->saved_data["residual"].toInt();
    const auto residual_type = residual < 0 ? x_type : static_cast<at::ScalarType>(residual);
    if (!dy.defined() && !dsum.defined()) return result;
    if (!dy.defined()) {
      result[0] = dsum.to(x_type);
      if (residual >= 0) result[1] = dsum.to(residual_type);
      return result;
    }
    const auto saved = context->get_saved_variables();
    const bool full_gradient = residual_type != x_type;
    auto [dx, dx_full, dweight] =
        backward_operator().call(dy, normalised(dsum), saved[0], saved[1], saved[2], full_gradient);
    result[0] = dx;
    if (residual >= 0) result[1] = full_gradient ? dx_full : dx;
    result[2] = dweight;
    return result;
  }
};

std::tuple<at::Tensor, at::Tensor> public_autograd(const at::Tensor& x,
                                                   const OptionalTensor& residual,
                                                   const at::Tensor& weight, double eps,
                                                   bool residual_in_fp32) {
  const auto outputs = AddRmsNorm::apply(x, residual, weight, eps, residual_in_fp32);
  return {outputs[0], outputs[1]};
}

// ---- autocast: x in the reduced type, weight in float32, a float32 residual as it is ----

template <at::DeviceType device>
std::tuple<at::Tensor, at::Tensor> public_autocast(const at::Tensor& x,
                                                   const OptionalTensor& residual,
                                                   const at::Tensor& weight, double eps,
                                                   bool residual_in_fp32) {
  const c10::impl::ExcludeDispatchKeyGuard guard(
      c10::DispatchKeySet(at::autocast::get_autocast_dispatch_key_from_device_type(device)));
  const at::ScalarType type = at::autocast::get_autocast_dtype(device);
  OptionalTensor sum = normalised(residual);
  if (sum && sum->scalar_type() != at::kFloat) sum = at::autocast::cached_cast(type, *sum, device);
  return public_operator().call(at::autocast::cached_cast(type, x, device), sum,
                                at::autocast::cached_cast(at::kFloat, weight, device), eps,
                                residual_in_fp32);
}

}  // namespace

AddRmsNormOutput add_rms_norm(const at::Tensor& x, const OptionalTensor& residual,
                              const at::Tensor& weight, double eps, bool residual_in_fp32) {
  auto [y, sum] = public_operator().call(x, normalised(residual), weight, eps, residual_in_fp32);
  return {y, sum};
}

TORCH_LIBRARY_FRAGMENT(strandwave, m) {
  m.def(
      "add_rms_norm(Tensor x, Tensor? residual, Tensor weight, float eps=1e-5, "
      "bool residual_in_fp32=True) -> (Tensor, Tensor)");
  m.def(
      "add_rms_norm_forward(Tensor x, Tensor? residual, Tensor weight, float eps=1e-5, "
      "bool residual_in_fp32=True) -> (Tensor, Tensor, Tensor)");
  m.def(
      "add_rms_norm_backward(Tensor dy, Tensor? dresidual, Tensor residual, Tensor weight, "
      "Tensor rstd, bool full_gradient=False) -> (Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(strandwave, CPU, m) { m.impl("add_rms_norm", &public_plain); }
TORCH_LIBRARY_IMPL(strandwave, CUDA, m) { m.impl("add_rms_norm", &public_plain); }

TORCH_LIBRARY_IMPL(strandwave, Meta, m) {
  m.impl("add_rms_norm", &public_plain);
  m.impl("add_rms_norm_forward", &forward_meta);
  m.impl("add_rms_norm_backward", &backward_meta);
}

TORCH_LIBRARY_IMPL(strandwave, Autograd, m) {
  m.impl("add_rms_norm", &public_autograd);
  m.impl("add_rms_norm_backward", &backward_autograd);
}

TORCH_LIBRARY_IMPL(strandwave, AutocastCPU, m) {
  m.impl("add_rms_norm", &public_autocast<at::kCPU>);
}
TORCH_LIBRARY_IMPL(strandwave, AutocastCUDA, m) {
  m.impl("add_rms_norm", &public_autocast<at::kCUDA>);
}

}  // namespace strandwave
