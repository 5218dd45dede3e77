// The CUDA key of the selective scan: device, stream, allocations.
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <tuple>

#include "kernels/common/operator_glue.h"
#include "kernels/selective_scan/selective_scan_check.h"
#include "kernels/selective_scan/selective_scan_cuda_raw.h"

namespace strandwave {
namespace {

using at::Tensor;

// float32 on the device of `like`.
Tensor floats(at::IntArrayRef shape, const Tensor& like) {
  return at::empty(shape, like.options().dtype(at::kFloat));
}

std::tuple<Tensor, Tensor, Tensor> forward_cuda(
    const Tensor& u, const Tensor& delta, const Tensor& A, const Tensor& B, const Tensor& C,
    const OptionalTensor& D, const OptionalTensor& z, const OptionalTensor& delta_bias,
    const OptionalTensor& initial_state, const OptionalTensor& cu_seqlens, bool delta_softplus,
    bool reverse, bool save_checkpoints) {
  const c10::cuda::CUDAGuard guard(u.device());
  SelectiveScanInputs in =
      make_selective_scan_inputs(u, delta, A, B, C, D, z, delta_bias, initial_state, cu_seqlens);
  const SelectiveScanShape shape = check_selective_scan(in);
  kernels::SelectiveScanForwardParams params;
  fill_params(shape, in, delta_softplus, reverse, params);

  const Tensor out = at::empty(u.sizes(), u.options());
  const Tensor final_state = at::empty({shape.sequences, shape.channels, shape.d_state},
                                       u.options().dtype(shape.state_type));
  const int64_t saved = save_checkpoints ? kernels::selective_scan_cuda_checkpoints(params) : 0;
  const Tensor checkpoints = floats({saved}, u);
  params.out = make_mutable_rows(out);
  params.final_state = final_state.mutable_data_ptr();
  params.checkpoints = saved > 0 ? checkpoints.mutable_data_ptr() : nullptr;
  const Tensor workspace = floats({kernels::selective_scan_cuda_forward_workspace(params)}, u);
  kernels::selective_scan_cuda_forward(params, workspace.mutable_data_ptr<float>(),
                                       c10::cuda::getCurrentCUDAStream().stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return {out, final_state, checkpoints};
}

// Checkpoints in the form that the kernels wrote; an undefined tensor if none were saved.
Tensor saved_checkpoints(const OptionalTensor& checkpoints,
                         const kernels::SelectiveScanParams& params) {
  if (!given(checkpoints) || checkpoints->numel() == 0) return {};
  const int64_t wanted = kernels::selective_scan_cuda_checkpoints(params);
  TORCH_CHECK(checkpoints->numel() == wanted && checkpoints->scalar_type() == at::kFloat,
              "selective_scan: checkpoints must be ", wanted,
              " float32 values from selective_scan_forward on the same device, got ",
              checkpoints->numel(), " of ", checkpoints->scalar_type());
  return aligned_contiguous(*checkpoints);
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> backward_cuda(
    const Tensor& dout, const OptionalTensor& dfinal_state, const Tensor& u, const Tensor& delta,
    const Tensor& A, const Tensor& B, const Tensor& C, const OptionalTensor& D,
    const OptionalTensor& z, const OptionalTensor& delta_bias, const OptionalTensor& initial_state,
    const OptionalTensor& cu_seqlens, const OptionalTensor& checkpoints, bool delta_softplus,
    bool reverse) {
  const c10::cuda::CUDAGuard guard(u.device());
  SelectiveScanInputs in =
      make_selective_scan_inputs(u, delta, A, B, C, D, z, delta_bias, initial_state, cu_seqlens);
  const SelectiveScanShape shape = check_selective_scan(in);
  Tensor dout_rows = dout;
  const Tensor dfinal = given(dfinal_state) ? dfinal_state->contiguous() : Tensor();
  check_selective_scan_gradients(shape, in, dout, dfinal);
  kernels::SelectiveScanBackwardParams params;
  fill_params(shape, in, delta_softplus, reverse, params);
  const Tensor starts = saved_checkpoints(checkpoints, params);

  const auto like = [](const Tensor& input) {
    return input.defined() ? at::empty(input.sizes(), input.options()) : Tensor();
  };
  const Tensor du = like(in.u), ddelta = like(in.delta), dA = like(in.A), dB = like(in.B),
               dC = like(in.C), dD = like(in.D), dz = like(in.z), dbias = like(in.delta_bias),
               dinitial = like(in.initial_state);
  params.dout = make_rows(dout_rows);
  params.dfinal_state = data_or_null(dfinal);
  params.checkpoints = data_or_null(starts);
  params.du = make_mutable_rows(du);
  params.ddelta = make_mutable_rows(ddelta);
  params.dB = make_mutable_rows(dB);
  params.dC = make_mutable_rows(dC);
  if (dz.defined()) params.dz = make_mutable_rows(dz);
  params.dA = mutable_data_or_null(dA);
  params.dD = mutable_data_or_null(dD);
  params.ddelta_bias = mutable_data_or_null(dbias);
  params.dinitial_state = mutable_data_or_null(dinitial);
  const Tensor workspace = floats({kernels::selective_scan_cuda_backward_workspace(params)}, u);
  kernels::selective_scan_cuda_backward(params, workspace.mutable_data_ptr<float>(),
                                        c10::cuda::getCurrentCUDAStream().stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();

  const auto or_empty = [&](const Tensor& gradient) {
    return gradient.defined() ? gradient : floats({0}, u);
  };
  return {du, ddelta, dA, dB, dC, or_empty(dD), or_empty(dz), or_empty(dbias), or_empty(dinitial)};
}

TORCH_LIBRARY_IMPL(strandwave, CUDA, m) {
  m.impl("selective_scan_forward", &forward_cuda);
  m.impl("selective_scan_backward", &backward_cuda);
}

}  // namespace
}  // namespace strandwave
