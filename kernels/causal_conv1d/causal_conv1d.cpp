#include "kernels/causal_conv1d/causal_conv1d.h"

#include <ATen/autocast_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <array>
#include <string>
#include <vector>

#include "kernels/causal_conv1d/causal_conv1d_check.h"
#include "kernels/common/operator_glue.h"
#include "kernels/common/sequence_layout.h"

namespace strandwave {
namespace {

constexpr const char* kName = "causal_conv1d";

// ---- validation ----

struct Shape {
  int64_t batch, length, channels, width, sequences;
  at::ScalarType compute_type;

  std::array<int64_t, 3> state() const { return {sequences, width - 1, channels}; }
};

Shape check(const CausalConv1dInputs& in) {
  TORCH_CHECK(in.x.dim() == 3, "causal_conv1d: x must have shape (batch, length, channels), got ",
              in.x.sizes());
  const at::ScalarType compute_type = check_io_type(kName, "x", in.x);
  const int64_t channels = in.x.size(2);
  TORCH_CHECK(channels >= 1, "causal_conv1d: x must have at least one channel, got ", channels);
  TORCH_CHECK(in.weight.dim() == 2, "causal_conv1d: weight must have shape (channels, width), got ",
              in.weight.sizes());
  const int64_t width = in.weight.size(1);
  TORCH_CHECK(width >= 2 && width <= kernels::kConvMaxWidth,
              "causal_conv1d: width must be 2, 3 or 4, got ", width);
  check_operand(kName, "weight", in.weight, {channels, width}, compute_type, in.x);
  if (in.bias.defined()) check_operand(kName, "bias", in.bias, {channels}, compute_type, in.x);
  const int64_t sequences =
      check_cu_seqlens(in.cu_seqlens, in.x.size(0), in.x.size(1), in.x.device());
  const Shape shape{in.x.size(0), in.x.size(1), channels, width, sequences, compute_type};
  if (in.initial_state.defined())
    check_operand(kName, "initial_state", in.initial_state, shape.state(), compute_type, in.x);
  return shape;
}

// ---- parameters of the raw kernels ----

// Keeps a contiguous version of a tensor (may be undefined) and returns its data.
const void* keep_contiguous(const at::Tensor& tensor, std::vector<at::Tensor>& kept) {
  if (!tensor.defined()) return nullptr;
  kept.push_back(tensor.contiguous());
  return kept.back().const_data_ptr();
}

// Rows may be strided; channels must lie side by side.
const at::Tensor& keep_rows(const at::Tensor& tensor, std::vector<at::Tensor>& kept) {
  const bool side_by_side = tensor.stride(2) == 1 || tensor.size(2) == 1;
  kept.push_back(side_by_side ? tensor : tensor.contiguous());
  return kept.back();
}

void fill_params(const Shape& shape, const CausalConv1dInputs& in, std::vector<at::Tensor>& kept,
                 kernels::CausalConv1dParams& params) {
  params.dtype = raw_dtype(in.x.scalar_type());
  params.batch = shape.batch;
  params.length = shape.length;
  params.channels = shape.channels;
  params.width = static_cast<int>(shape.width);
  params.sequences = shape.sequences;
  params.cu_seqlens = static_cast<const int64_t*>(data_or_null(in.cu_seqlens));
  params.silu = in.silu;
  params.reverse = in.reverse;
  const at::Tensor x = keep_rows(in.x, kept);
  params.x = x.const_data_ptr();
  params.x_batch_stride = x.stride(0);
  params.x_row_stride = x.stride(1);
  params.weight = keep_contiguous(in.weight, kept);
  params.bias = keep_contiguous(in.bias, kept);
  params.initial_state = keep_contiguous(in.initial_state, kept);
}

at::Tensor empty_contiguous(const at::Tensor& like) {
  return at::empty(like.sizes(), like.options());
}

}  // namespace

CausalConv1dInputs make_causal_conv1d_inputs(const at::Tensor& x, const at::Tensor& weight,
                                             const OptionalTensor& bias,
                                             const OptionalTensor& initial_state,
                                             const OptionalTensor& cu_seqlens, bool silu,
                                             bool reverse) {
  return {x,    weight, or_undefined(bias), or_undefined(initial_state), or_undefined(cu_seqlens),
          silu, reverse};
}

CausalConv1dForwardCall prepare_causal_conv1d(const CausalConv1dInputs& in) {
  const Shape shape = check(in);
  CausalConv1dForwardCall call;
  fill_params(shape, in, call.kept, call.params);
  call.out = empty_contiguous(in.x);
  call.final_state = at::empty(shape.state(), in.weight.options());
  call.params.out = call.out.mutable_data_ptr();
  call.params.final_state = call.final_state.mutable_data_ptr();
  return call;
}

CausalConv1dBackwardCall prepare_causal_conv1d_backward(const CausalConv1dInputs& in,
                                                        const at::Tensor& dout,
                                                        const OptionalTensor& dfinal_state) {
  const Shape shape = check(in);
  check_operand(kName, "dout", dout, in.x.sizes(), in.x.scalar_type(), in.x);
  const at::Tensor dfinal = or_undefined(dfinal_state);
  if (dfinal.defined())
    check_operand(kName, "dfinal_state", dfinal, shape.state(), shape.compute_type, in.x);
  CausalConv1dBackwardCall call;
  auto& params = call.params;
  fill_params(shape, in, call.kept, params);
  const at::Tensor dout_rows = keep_rows(dout, call.kept);
  params.dout = dout_rows.const_data_ptr();
  params.dout_batch_stride = dout_rows.stride(0);
  params.dout_row_stride = dout_rows.stride(1);
  params.dfinal_state = keep_contiguous(dfinal, call.kept);

  const auto like_or_none = [&](const at::Tensor& tensor) {
    return tensor.defined() ? empty_contiguous(tensor) : at::empty({0}, in.weight.options());
  };
  call.dx = empty_contiguous(in.x);
  call.dweight = empty_contiguous(in.weight);
  call.dbias = like_or_none(in.bias);
  call.dinitial_state = like_or_none(in.initial_state);
  params.dx = call.dx.mutable_data_ptr();
  params.dweight = call.dweight.mutable_data_ptr();
  if (in.bias.defined()) params.dbias = call.dbias.mutable_data_ptr();
  if (in.initial_state.defined()) params.dinitial_state = call.dinitial_state.mutable_data_ptr();
  return call;
}

void allocate_partials(CausalConv1dBackwardCall& call, int64_t partials) {
  const auto& params = call.params;
  call.kept.push_back(
      at::empty({partials, params.width + 1, params.channels}, call.dweight.options()));
  call.params.partials = call.kept.back().mutable_data_ptr();
}

// ---- the operators ----

namespace {

const c10::TypedOperatorHandle<CausalConv1dForwardFunction>& differentiable_operator() {
  static const auto handle =
      find_operator<CausalConv1dForwardFunction>("strandwave::causal_conv1d");
  return handle;
}

const c10::TypedOperatorHandle<CausalConv1dForwardFunction>& forward_operator() {
  static const auto handle =
      find_operator<CausalConv1dForwardFunction>("strandwave::causal_conv1d_forward");
  return handle;
}

const c10::TypedOperatorHandle<CausalConv1dBackwardFunction>& backward_operator() {
  static const auto handle =
      find_operator<CausalConv1dBackwardFunction>("strandwave::causal_conv1d_backward");
  return handle;
}

// ---- shapes without data ----

std::tuple<at::Tensor, at::Tensor> forward_meta(const at::Tensor& x, const at::Tensor& weight,
                                                const OptionalTensor&, const OptionalTensor&,
                                                const OptionalTensor& cu_seqlens, bool, bool) {
  TORCH_CHECK(x.dim() == 3, "causal_conv1d: x must have three dimensions, got ", x.dim());
  TORCH_CHECK(weight.dim() == 2, "causal_conv1d: weight must have two dimensions, got ",
              weight.dim());
  const c10::SymInt sequences = given(cu_seqlens) ? cu_seqlens->sym_size(0) - 1 : x.sym_size(0);
  return {at::empty_symint(x.sym_sizes(), x.options()),
          at::empty_symint({sequences, weight.sym_size(1) - 1, x.sym_size(2)}, weight.options())};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> backward_meta(
    const at::Tensor&, const OptionalTensor&, const at::Tensor& x, const at::Tensor& weight,
    const OptionalTensor& bias, const OptionalTensor& initial_state, const OptionalTensor&, bool,
    bool) {
  const auto like = [&](const OptionalTensor& tensor) {
    return given(tensor) ? at::empty_symint(tensor->sym_sizes(), tensor->options())
                         : at::empty({0}, weight.options());
  };
  return {like(x), like(weight), like(bias), like(initial_state)};
}

// ---- autograd ----

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> backward_autograd(
    const at::Tensor& dout, const OptionalTensor& dfinal_state, const at::Tensor& x,
    const at::Tensor& weight, const OptionalTensor& bias, const OptionalTensor& initial_state,
    const OptionalTensor& cu_seqlens, bool silu, bool reverse) {
  std::vector<at::Tensor> inputs{dout, x, weight};
  for (const OptionalTensor& tensor : {dfinal_state, bias, initial_state})
    if (given(tensor)) inputs.push_back(*tensor);
  const auto gradients = OnceDifferentiable::apply(
      at::TensorList(inputs), std::string(kName), [&]() -> torch::autograd::variable_list {
        auto [dx, dweight, dbias, dinitial_state] = backward_operator().call(
            dout, dfinal_state, x, weight, bias, initial_state, cu_seqlens, silu, reverse);
        return {dx, dweight, dbias, dinitial_state};
      });
  return {gradients[0], gradients[1], gradients[2], gradients[3]};
}

class CausalConv1d : public torch::autograd::Function<CausalConv1d> {
 public:
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                const at::Tensor& x, const at::Tensor& weight,
                                                const OptionalTensor& bias,
                                                const OptionalTensor& initial_state,
                                                const OptionalTensor& cu_seqlens, bool silu,
                                                bool reverse) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    auto [out, final_state] =
        forward_operator().call(x, weight, bias, initial_state, cu_seqlens, silu, reverse);
    context->set_materialize_grads(false);
    context->save_for_backward(
        {x, weight, or_undefined(bias), or_undefined(initial_state), or_undefined(cu_seqlens)});
    context->saved_data["silu"] = silu;
    context->saved_data["reverse"] = reverse;
    return {out, final_state};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    torch::autograd::variable_list result(7);
    at::Tensor dout = gradients[0];
    const at::Tensor& dfinal_state = gradients[1];
    if (!dout.defined() && !dfinal_state.defined()) return result;
    const auto saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    // A loss of the final state alone: one row of zeros stands for all.
    if (!dout.defined())
      dout = at::zeros_symint({x.sym_size(2)}, x.options()).expand_symint(x.sym_sizes());
    auto [dx, dweight, dbias, dinitial_state] = backward_operator().call(
        dout, normalised(dfinal_state), x, saved[1], normalised(saved[2]), normalised(saved[3]),
        normalised(saved[4]), context->saved_data["silu"].toBool(),
        context->saved_data["reverse"].toBool());
    result[0] = dx;
    result[1] = dweight;
    if (saved[2].defined()) result[2] = dbias;
    if (saved[3].defined()) result[3] = dinitial_state;
    return result;
  }
};

std::tuple<at::Tensor, at::Tensor> forward_autograd(const at::Tensor& x, const at::Tensor& weight,
                                                    const OptionalTensor& bias,
                                                    const OptionalTensor& initial_state,
                                                    const OptionalTensor& cu_seqlens, bool silu,
                                                    bool reverse) {
  const auto outputs =
      CausalConv1d::apply(x, weight, bias, initial_state, cu_seqlens, silu, reverse);
  return {outputs[0], outputs[1]};
}

// ---- autocast: x in the reduced type, parameters and states in float32 ----

template <at::DeviceType device>
std::tuple<at::Tensor, at::Tensor> forward_autocast(const at::Tensor& x, const at::Tensor& weight,
                                                    const OptionalTensor& bias,
                                                    const OptionalTensor& initial_state,
                                                    const OptionalTensor& cu_seqlens, bool silu,
                                                    bool reverse) {
  const c10::impl::ExcludeDispatchKeyGuard guard(
      c10::DispatchKeySet(at::autocast::get_autocast_dispatch_key_from_device_type(device)));
  const auto full = [](const OptionalTensor& tensor) {
    return given(tensor) ? OptionalTensor(at::autocast::cached_cast(at::kFloat, *tensor, device))
                         : std::nullopt;
  };
  return differentiable_operator().call(
      at::autocast::cached_cast(at::autocast::get_autocast_dtype(device), x, device), *full(weight),
      full(bias), full(initial_state), cu_seqlens, silu, reverse);
}

}  // namespace

CausalConv1dOutput causal_conv1d(const at::Tensor& x, const at::Tensor& weight,
                                 const OptionalTensor& bias, const OptionalTensor& initial_state,
                                 const OptionalTensor& cu_seqlens, bool silu, bool reverse) {
  auto [out, final_state] =
      differentiable_operator().call(x, weight, normalised(bias), normalised(initial_state),
                                     normalised(cu_seqlens), silu, reverse);
  return {out, final_state};
}

std::tuple<at::Tensor, at::Tensor> causal_conv1d_forward(const at::Tensor& x,
                                                         const at::Tensor& weight,
                                                         const OptionalTensor& bias,
                                                         const OptionalTensor& initial_state,
                                                         const OptionalTensor& cu_seqlens,
                                                         bool silu, bool reverse) {
  const at::AutoDispatchBelowADInplaceOrView guard;
  return forward_operator().call(x, weight, normalised(bias), normalised(initial_state),
                                 normalised(cu_seqlens), silu, reverse);
}

CausalConv1dGradients causal_conv1d_backward(
    const at::Tensor& dout, const OptionalTensor& dfinal_state, const at::Tensor& x,
    const at::Tensor& weight, const OptionalTensor& bias, const OptionalTensor& initial_state,
    const OptionalTensor& cu_seqlens, bool silu, bool reverse) {
  const at::AutoDispatchBelowADInplaceOrView guard;
  auto [dx, dweight, dbias, dinitial_state] =
      backward_operator().call(dout, normalised(dfinal_state), x, weight, normalised(bias),
                               normalised(initial_state), normalised(cu_seqlens), silu, reverse);
  return {dx, dweight, given(bias) ? dbias : at::Tensor(),
          given(initial_state) ? dinitial_state : at::Tensor()};
}

TORCH_LIBRARY_FRAGMENT(strandwave, m) {
  m.def(
      "causal_conv1d(Tensor x, Tensor weight, Tensor? bias, Tensor? initial_state, "
      "Tensor? cu_seqlens, bool silu=True, bool reverse=False) -> (Tensor, Tensor)");
  m.def(
      "causal_conv1d_forward(Tensor x, Tensor weight, Tensor? bias, Tensor? initial_state, "
      "Tensor? cu_seqlens, bool silu=True, bool reverse=False) -> (Tensor, Tensor)");
  m.def(
      "causal_conv1d_backward(Tensor dout, Tensor? dfinal_state, Tensor x, Tensor weight, "
      "Tensor? bias, Tensor? initial_state, Tensor? cu_seqlens, bool silu=True, "
      "bool reverse=False) -> (Tensor, Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(strandwave, Meta, m) {
  m.impl("causal_conv1d", &forward_meta);
  m.impl("causal_conv1d_forward", &forward_meta);
  m.impl("causal_conv1d_backward", &backward_meta);
}

TORCH_LIBRARY_IMPL(strandwave, Autograd, m) {
  m.impl("causal_conv1d", &forward_autograd);
  m.impl("causal_conv1d_forward", &forward_autograd);
  m.impl("causal_conv1d_backward", &backward_autograd);
}

TORCH_LIBRARY_IMPL(strandwave, AutocastCPU, m) {
  m.impl("causal_conv1d", &forward_autocast<at::kCPU>);
}

TORCH_LIBRARY_IMPL(strandwave, AutocastCUDA, m) {
  m.impl("causal_conv1d", &forward_autocast<at::kCUDA>);
}

}  // namespace strandwave
