#include "kernels/selective_scan/selective_scan.h"

#include <ATen/autocast_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/zeros.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <tuple>

#include "kernels/common/operator_glue.h"
#include "kernels/common/sequence_layout.h"
#include "kernels/selective_scan/selective_scan_check.h"

namespace strandwave {

using at::Tensor;

// -------------------------------------------------------------------------------------- validation

namespace {

constexpr const char* kName = "selective_scan";

void check_optional(const char* name, const Tensor& tensor, at::IntArrayRef shape,
                    at::ScalarType type, const Tensor& like) {
  if (tensor.defined()) check_operand(kName, name, tensor, shape, type, like);
}

}  // namespace

SelectiveScanInputs make_selective_scan_inputs(const Tensor& u, const Tensor& delta,
                                               const Tensor& A, const Tensor& B, const Tensor& C,
                                               const OptionalTensor& D, const OptionalTensor& z,
                                               const OptionalTensor& delta_bias,
                                               const OptionalTensor& initial_state,
                                               const OptionalTensor& cu_seqlens) {
  return {u,
          delta,
          A,
          B,
          C,
          or_undefined(D),
          or_undefined(z),
          or_undefined(delta_bias),
          or_undefined(initial_state),
          or_undefined(cu_seqlens)};
}

SelectiveScanShape check_selective_scan(const SelectiveScanInputs& in) {
  TORCH_CHECK(in.u.dim() == 3, "selective_scan: u must have shape (batch, length, channels), got ",
              in.u.sizes());
  SelectiveScanShape shape;
  shape.batch = in.u.size(0);
  shape.length = in.u.size(1);
  shape.channels = in.u.size(2);
  shape.io_type = in.u.scalar_type();
  shape.real_type = check_io_type(kName, "u", in.u);

  TORCH_CHECK(in.A.dim() == 2, "selective_scan: A must have shape (channels, d_state), got ",
              in.A.sizes());
  shape.d_state = in.A.size(1);
  TORCH_CHECK(shape.d_state >= 1 && shape.d_state <= 256,
              "selective_scan: d_state must be 1..256, got ", shape.d_state);
  shape.state_type = in.A.is_complex() ? at::toComplexType(shape.real_type) : shape.real_type;
  check_operand(kName, "A", in.A, {shape.channels, shape.d_state}, shape.state_type, in.u);
  check_operand(kName, "delta", in.delta, in.u.sizes(), shape.io_type, in.u);
  const int64_t row_sizes[] = {shape.batch, shape.length, shape.state_values()};
  check_operand(kName, "B", in.B, row_sizes, shape.io_type, in.u);
  check_operand(kName, "C", in.C, row_sizes, shape.io_type, in.u);
  check_optional("z", in.z, in.u.sizes(), shape.io_type, in.u);
  check_optional("D", in.D, {shape.channels}, shape.real_type, in.u);
  check_optional("delta_bias", in.delta_bias, {shape.channels}, shape.real_type, in.u);
  shape.sequences = check_cu_seqlens(in.cu_seqlens, shape.batch, shape.length, in.u.device());
  check_optional("initial_state", in.initial_state,
                 {shape.sequences, shape.channels, shape.d_state}, shape.state_type, in.u);
  return shape;
}

void check_selective_scan_gradients(const SelectiveScanShape& shape, const SelectiveScanInputs& in,
                                    const Tensor& dout, const Tensor& dfinal_state) {
  check_operand(kName, "dout", dout, in.u.sizes(), shape.io_type, in.u);
  check_optional("dfinal_state", dfinal_state, {shape.sequences, shape.channels, shape.d_state},
                 shape.state_type, in.u);
}

kernels::Rows make_rows(Tensor& tensor) {
  if (!tensor.defined()) return {};
  if (tensor.size(2) > 1 && tensor.stride(2) != 1) tensor = tensor.contiguous();
  return {tensor.const_data_ptr(), tensor.stride(0), tensor.stride(1)};
}

kernels::MutableRows make_mutable_rows(const Tensor& tensor) {
  return {tensor.mutable_data_ptr(), tensor.stride(0), tensor.stride(1)};
}

void fill_params(const SelectiveScanShape& shape, SelectiveScanInputs& in, bool delta_softplus,
                 bool reverse, kernels::SelectiveScanParams& params) {
  const auto contiguous = [](Tensor& tensor) -> const void* {
    if (!tensor.defined()) return nullptr;
    tensor = tensor.contiguous();
    return tensor.const_data_ptr();
  };
  params.dtype = raw_dtype(shape.io_type);
  params.batch = shape.batch;
  params.length = shape.length;
  params.channels = shape.channels;
  params.d_state = shape.state_values();
  params.complex = shape.complex();
  params.sequences = shape.sequences;
  params.cu_seqlens = static_cast<const int64_t*>(contiguous(in.cu_seqlens));
  params.delta_softplus = delta_softplus;
  params.reverse = reverse;
  params.u = make_rows(in.u);
  params.delta = make_rows(in.delta);
  params.B = make_rows(in.B);
  params.C = make_rows(in.C);
  params.z = make_rows(in.z);
  params.A = contiguous(in.A);
  params.D = contiguous(in.D);
  params.delta_bias = contiguous(in.delta_bias);
  params.initial_state = contiguous(in.initial_state);
}

// ----------------------------------------------------------------------------------------- schemas

namespace {

using Gradients =
    std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

TORCH_LIBRARY_FRAGMENT(strandwave, m) {
  m.def(
      "selective_scan(Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? z, "
      "Tensor? delta_bias, Tensor? initial_state, Tensor? cu_seqlens, bool delta_softplus=True, "
      "bool reverse=False) -> (Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "selective_scan_forward(Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, "
      "Tensor? z, Tensor? delta_bias, Tensor? initial_state, Tensor? cu_seqlens, "
      "bool delta_softplus, bool reverse, bool save_checkpoints) -> (Tensor, Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "selective_scan_backward(Tensor dout, Tensor? dfinal_state, Tensor u, Tensor delta, Tensor "
      "A, "
      "Tensor B, Tensor C, Tensor? D, Tensor? z, Tensor? delta_bias, Tensor? initial_state, "
      "Tensor? cu_seqlens, Tensor? checkpoints, bool delta_softplus, bool reverse) -> "
      "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag});
}

using ScanSignature = std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&,
                                                 const Tensor&, const Tensor&,
                                                 const OptionalTensor&, const OptionalTensor&,
                                                 const OptionalTensor&, const OptionalTensor&,
                                                 const OptionalTensor&, bool, bool);
using ForwardSignature = std::tuple<Tensor, Tensor, Tensor>(
    const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
    const OptionalTensor&, const OptionalTensor&, const OptionalTensor&, const OptionalTensor&,
    const OptionalTensor&, bool, bool, bool);
using BackwardSignature = Gradients(const Tensor&, const OptionalTensor&, const Tensor&,
                                    const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                                    const OptionalTensor&, const OptionalTensor&,
                                    const OptionalTensor&, const OptionalTensor&,
                                    const OptionalTensor&, const OptionalTensor&, bool, bool);

const auto& scan_operator() {
  static const auto op = find_operator<ScanSignature>("strandwave::selective_scan");
  return op;
}

const auto& forward_operator() {
  static const auto op = find_operator<ForwardSignature>("strandwave::selective_scan_forward");
  return op;
}

const auto& backward_operator() {
  static const auto op = find_operator<BackwardSignature>("strandwave::selective_scan_backward");
  return op;
}

// Every device: the public operator is the forward pass that keeps nothing.
std::tuple<Tensor, Tensor> scan_without_autograd(const Tensor& u, const Tensor& delta,
                                                 const Tensor& A, const Tensor& B, const Tensor& C,
                                                 const OptionalTensor& D, const OptionalTensor& z,
                                                 const OptionalTensor& delta_bias,
                                                 const OptionalTensor& initial_state,
                                                 const OptionalTensor& cu_seqlens,
                                                 bool delta_softplus, bool reverse) {
  auto [out, final_state, checkpoints] =
      forward_operator().call(u, delta, A, B, C, D, z, delta_bias, initial_state, cu_seqlens,
                              delta_softplus, reverse, /*save_checkpoints=*/false);
  return {out, final_state};
}

TORCH_LIBRARY_IMPL(strandwave, CompositeExplicitAutograd, m) {
  m.impl("selective_scan", &scan_without_autograd);
}

// -------------------------------------------------------------------------------------------- meta

c10::SymInt sequences_of(const Tensor& u, const OptionalTensor& cu_seqlens) {
  return given(cu_seqlens) ? cu_seqlens->sym_numel() - 1 : u.sym_size(0);
}

std::tuple<Tensor, Tensor, Tensor> forward_meta(const Tensor& u, const Tensor&, const Tensor& A,
                                                const Tensor&, const Tensor&, const OptionalTensor&,
                                                const OptionalTensor&, const OptionalTensor&,
                                                const OptionalTensor&,
                                                const OptionalTensor& cu_seqlens, bool, bool,
                                                bool save_checkpoints) {
  TORCH_CHECK(!save_checkpoints,
              "selective_scan_forward: the shape of checkpoints depends on the device, so they "
              "cannot be saved on the meta device; the backward pass recomputes them");
  Tensor out = at::empty_symint(u.sym_sizes(), u.options());
  Tensor final_state =
      at::empty_symint({sequences_of(u, cu_seqlens), u.sym_size(2), A.sym_size(1)}, A.options());
  return {out, final_state, at::empty({0}, u.options().dtype(at::kFloat))};
}

Gradients backward_meta(const Tensor&, const OptionalTensor&, const Tensor& u, const Tensor& delta,
                        const Tensor& A, const Tensor& B, const Tensor& C, const OptionalTensor& D,
                        const OptionalTensor& z, const OptionalTensor& delta_bias,
                        const OptionalTensor& initial_state, const OptionalTensor&,
                        const OptionalTensor&, bool, bool) {
  const auto like = [](const Tensor& input) {
    return at::empty_symint(input.sym_sizes(), input.options());
  };
  const auto like_or_empty = [&](const OptionalTensor& input) {
    if (given(input)) return like(*input);
    return at::empty({0}, u.options().dtype(at::kFloat));
  };
  return {like(u),
          like(delta),
          like(A),
          like(B),
          like(C),
          like_or_empty(D),
          like_or_empty(z),
          like_or_empty(delta_bias),
          like_or_empty(initial_state)};
}

TORCH_LIBRARY_IMPL(strandwave, Meta, m) {
  m.impl("selective_scan_forward", &forward_meta);
  m.impl("selective_scan_backward", &backward_meta);
}

// ---------------------------------------------------------------------------------------- autograd

// Checkpoints cost 4 d_state / 64 bytes per position and channel on the CPU, more than the inputs
// themselves beyond this, and 4 d_state / 8 on CUDA, always more. While a tracer runs they have no
// shape (see forward_meta).
bool worth_saving_checkpoints(const Tensor& A) {
  constexpr int64_t kMaxState = 64;
  const int64_t values = A.is_complex() ? 2 * A.size(1) : A.size(1);
  return A.is_cpu() && !c10::impl::TorchDispatchModeTLS::any_modes_set() && values <= kMaxState;
}

Gradients backward_autograd(const Tensor& dout, const OptionalTensor& dfinal_state, const Tensor& u,
                            const Tensor& delta, const Tensor& A, const Tensor& B, const Tensor& C,
                            const OptionalTensor& D, const OptionalTensor& z,
                            const OptionalTensor& delta_bias, const OptionalTensor& initial_state,
                            const OptionalTensor& cu_seqlens, const OptionalTensor& checkpoints,
                            bool delta_softplus, bool reverse) {
  std::vector<Tensor> inputs{dout, u, delta, A, B, C};
  for (const OptionalTensor& tensor : {dfinal_state, D, z, delta_bias, initial_state})
    if (given(tensor)) inputs.push_back(*tensor);
  const auto g = OnceDifferentiable::apply(
      at::TensorList(inputs), std::string(kName),
      std::function<torch::autograd::variable_list()>([&]() -> torch::autograd::variable_list {
        const auto [du, ddelta, dA, dB, dC, dD, dz, dbias, dinitial] = backward_operator().call(
            dout, dfinal_state, u, delta, A, B, C, D, z, delta_bias, initial_state, cu_seqlens,
            checkpoints, delta_softplus, reverse);
        return {du, ddelta, dA, dB, dC, dD, dz, dbias, dinitial};
      }));
  return {g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8]};
}

class SelectiveScanFunction : public torch::autograd::Function<SelectiveScanFunction> {
 public:
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                const Tensor& u, const Tensor& delta,
                                                const Tensor& A, const Tensor& B, const Tensor& C,
                                                const OptionalTensor& D, const OptionalTensor& z,
                                                const OptionalTensor& delta_bias,
                                                const OptionalTensor& initial_state,
                                                const OptionalTensor& cu_seqlens,
                                                bool delta_softplus, bool reverse) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    const auto [out, final_state, checkpoints] =
        forward_operator().call(u, delta, A, B, C, D, z, delta_bias, initial_state, cu_seqlens,
                                delta_softplus, reverse, worth_saving_checkpoints(A));
    context->set_materialize_grads(false);
    context->save_for_backward({u, delta, A, B, C, or_undefined(D), or_undefined(z),
                                or_undefined(delta_bias), or_undefined(initial_state),
                                or_undefined(cu_seqlens), checkpoints});
    context->saved_data["delta_softplus"] = delta_softplus;
    context->saved_data["reverse"] = reverse;
    return {out, final_state};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    torch::autograd::variable_list result(12);
    Tensor dout = gradients[0];
    const Tensor& dfinal_state = gradients[1];
    if (!dout.defined() && !dfinal_state.defined()) return result;
    const auto saved = context->get_saved_variables();
    const Tensor& u = saved[0];
    // One row of zeros stands for all: its row stride is 0.
    if (!dout.defined())
      dout = at::zeros_symint({u.sym_size(2)}, u.options()).expand_symint(u.sym_sizes());
    const bool checkpointed = saved[10].defined() && saved[10].sym_numel() > 0;
    auto [du, ddelta, dA, dB, dC, dD, dz, dbias, dinitial] = backward_operator().call(
        dout, normalised(dfinal_state), u, saved[1], saved[2], saved[3], saved[4],
        normalised(saved[5]), normalised(saved[6]), normalised(saved[7]), normalised(saved[8]),
        normalised(saved[9]), checkpointed ? normalised(saved[10]) : OptionalTensor(),
        context->saved_data["delta_softplus"].toBool(), context->saved_data["reverse"].toBool());
    result = {du, ddelta, dA, dB, dC, dD, dz, dbias, dinitial, Tensor(), Tensor(), Tensor()};
    for (const size_t i : {5, 6, 7, 8})
      if (!saved[i].defined()) result[i] = Tensor();
    return result;
  }
};

bool any_requires_grad(std::initializer_list<const Tensor*> tensors,
                       std::initializer_list<const OptionalTensor*> optionals) {
  if (!at::GradMode::is_enabled()) return false;
  for (const Tensor* tensor : tensors)
    if (tensor->requires_grad()) return true;
  for (const OptionalTensor* tensor : optionals)
    if (given(*tensor) && (*tensor)->requires_grad()) return true;
  return false;
}

std::tuple<Tensor, Tensor> scan_autograd(const Tensor& u, const Tensor& delta, const Tensor& A,
                                         const Tensor& B, const Tensor& C, const OptionalTensor& D,
                                         const OptionalTensor& z, const OptionalTensor& delta_bias,
                                         const OptionalTensor& initial_state,
                                         const OptionalTensor& cu_seqlens, bool delta_softplus,
                                         bool reverse) {
  if (!any_requires_grad({&u, &delta, &A, &B, &C}, {&D, &z, &delta_bias, &initial_state})) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    return scan_operator().call(u, delta, A, B, C, D, z, delta_bias, initial_state, cu_seqlens,
                                delta_softplus, reverse);
  }
  const auto result = SelectiveScanFunction::apply(
      u, delta, A, B, C, D, z, delta_bias, initial_state, cu_seqlens, delta_softplus, reverse);
  return {result[0], result[1]};
}

TORCH_LIBRARY_IMPL(strandwave, Autograd, m) {
  m.impl("selective_scan", &scan_autograd);
  m.impl("selective_scan_backward", &backward_autograd);
}

// ---------------------------------------------------------------------------------------- autocast

template <c10::DeviceType kDevice, c10::DispatchKey kKey>
std::tuple<Tensor, Tensor> scan_autocast(const Tensor& u, const Tensor& delta, const Tensor& A,
                                         const Tensor& B, const Tensor& C, const OptionalTensor& D,
                                         const OptionalTensor& z, const OptionalTensor& delta_bias,
                                         const OptionalTensor& initial_state,
                                         const OptionalTensor& cu_seqlens, bool delta_softplus,
                                         bool reverse) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(kKey);
  const at::ScalarType type = at::autocast::get_autocast_dtype(kDevice);
  const auto to_io = [&](const auto& t) { return at::autocast::cached_cast(type, t, kDevice); };
  const auto to_float = [&](const auto& t) {
    return at::autocast::cached_cast(at::kFloat, t, kDevice);
  };
  return scan_operator().call(to_io(u), to_io(delta), to_float(A), to_io(B), to_io(C), to_float(D),
                              to_io(z), to_float(delta_bias), to_float(initial_state), cu_seqlens,
                              delta_softplus, reverse);
}

TORCH_LIBRARY_IMPL(strandwave, Autocast, m) {
  m.impl("selective_scan", &scan_autocast<at::kCUDA, c10::DispatchKey::AutocastCUDA>);
}

TORCH_LIBRARY_IMPL(strandwave, AutocastCPU, m) {
  m.impl("selective_scan", &scan_autocast<at::kCPU, c10::DispatchKey::AutocastCPU>);
}

}  // namespace

// ------------------------------------------------------------------------------------- C++ entries

SelectiveScanOutput selective_scan(const Tensor& u, const Tensor& delta, const Tensor& A,
                                   const Tensor& B, const Tensor& C, const OptionalTensor& D,
                                   const OptionalTensor& z, const OptionalTensor& delta_bias,
                                   const OptionalTensor& initial_state,
                                   const OptionalTensor& cu_seqlens, bool delta_softplus,
                                   bool reverse) {
  auto [out, final_state] = scan_operator().call(u, delta, A, B, C, D, z, delta_bias, initial_state,
                                                 cu_seqlens, delta_softplus, reverse);
  return {out, final_state};
}

std::tuple<Tensor, Tensor, Tensor> selective_scan_forward(
    const Tensor& u, const Tensor& delta, const Tensor& A, const Tensor& B, const Tensor& C,
    const OptionalTensor& D, const OptionalTensor& z, const OptionalTensor& delta_bias,
    const OptionalTensor& initial_state, const OptionalTensor& cu_seqlens, bool delta_softplus,
    bool reverse, bool save_checkpoints) {
  const at::AutoDispatchBelowADInplaceOrView guard;
  return forward_operator().call(u, delta, A, B, C, D, z, delta_bias, initial_state, cu_seqlens,
                                 delta_softplus, reverse, save_checkpoints);
}

SelectiveScanGradients selective_scan_backward(
    const Tensor& dout, const OptionalTensor& dfinal_state, const Tensor& u, const Tensor& delta,
    const Tensor& A, const Tensor& B, const Tensor& C, const OptionalTensor& D,
    const OptionalTensor& z, const OptionalTensor& delta_bias, const OptionalTensor& initial_state,
    const OptionalTensor& cu_seqlens, const OptionalTensor& checkpoints, bool delta_softplus,
    bool reverse) {
  const auto [du, ddelta, dA, dB, dC, dD, dz, dbias, dinitial] =
      backward_operator().call(dout, dfinal_state, u, delta, A, B, C, D, z, delta_bias,
                               initial_state, cu_seqlens, checkpoints, delta_softplus, reverse);
  const auto if_given = [](const OptionalTensor& input, const Tensor& gradient) {
    return given(input) ? gradient : Tensor();
  };
  return {du,
          ddelta,
          dA,
          dB,
          dC,
          if_given(D, dD),
          if_given(z, dz),
          if_given(delta_bias, dbias),
          if_given(initial_state, dinitial)};
}

namespace {

Tensor sum_of_deltas(const Tensor& delta, at::ScalarType type, const OptionalTensor& delta_bias,
                     const OptionalTensor& cu_seqlens, bool delta_softplus, bool reverse) {
  const bool packed = given(cu_seqlens);
  if (!packed) {
    Tensor sum = delta.to(type);
    if (given(delta_bias)) sum = sum + *delta_bias;
    if (delta_softplus) sum = at::softplus(sum);
    return sum.sum(1);
  }
  // Per sequence the sum is a scan that forgets nothing: A = 0 and u = B = 1.
  const Tensor ones = at::ones({1, 1, 1}, delta.options());
  const Tensor rows = ones.expand({delta.size(0), delta.size(1), 1});
  const Tensor u = at::ones({delta.size(2)}, delta.options()).expand(delta.sizes());
  const Tensor A = at::zeros({delta.size(2), 1}, delta.options().dtype(type));
  return selective_scan(u, delta, A, rows, rows, {}, {}, delta_bias, {}, cu_seqlens, delta_softplus,
                        reverse)
      .final_state.squeeze(2);
}

}  // namespace

std::tuple<Tensor, Tensor> selective_scan_state(const Tensor& u, const Tensor& delta,
                                                const Tensor& A, const Tensor& B,
                                                const OptionalTensor& delta_bias,
                                                const OptionalTensor& cu_seqlens,
                                                bool delta_softplus, bool reverse) {
  // C only shapes an output that nobody reads.
  const Tensor end_state = selective_scan(u, delta, A, B, B.detach(), {}, {}, delta_bias, {},
                                          cu_seqlens, delta_softplus, reverse)
                               .final_state;
  const Tensor delta_sum = sum_of_deltas(delta, c10::toRealValueType(A.scalar_type()), delta_bias,
                                         cu_seqlens, delta_softplus, reverse);
  return {delta_sum, end_state};
}

}  // namespace strandwave
