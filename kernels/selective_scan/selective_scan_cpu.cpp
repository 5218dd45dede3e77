// The CPU key of the selective scan: allocates, cuts the work into tasks, gives them to threads.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <tuple>

#include "kernels/common/operator_glue.h"
#include "kernels/common/parallel.h"
#include "kernels/selective_scan/selective_scan_check.h"
#include "kernels/selective_scan/selective_scan_raw.h"

namespace strandwave {
namespace {

using at::Tensor;
using kernels::SelectiveScanCarries;
using kernels::SelectiveScanDivision;
using kernels::SelectiveScanTask;

// Runs task for every (batch, channel block, segment); with segments 1 for every (batch, block).
template <typename Task>
void for_each_task(const SelectiveScanDivision& division, int64_t batch, int64_t segments,
                   Task&& task) {
  parallel_for(batch * division.channel_blocks * segments, [&](int64_t i) {
    const int64_t segment = i % segments;
    const int64_t block = i / segments % division.channel_blocks;
    task(SelectiveScanTask{i / segments / division.channel_blocks, block, segment});
  });
}

struct CarryBuffers {
  Tensor states, delta_sums;
  SelectiveScanCarries carries;

  CarryBuffers(const SelectiveScanShape& shape, const SelectiveScanDivision& division) {
    states = at::empty({shape.batch, division.segments, shape.state_values(), shape.channels},
                       shape.real_type);
    delta_sums = at::empty(
        {shape.batch, division.segments, shape.complex() ? 2 : 1, shape.channels}, shape.real_type);
    carries = {states.mutable_data_ptr(), delta_sums.mutable_data_ptr()};
  }
};

void run_forward(const SelectiveScanShape& shape,
                 const kernels::SelectiveScanForwardParams& params) {
  const SelectiveScanDivision division = kernels::divide_selective_scan(params);
  if (division.segments == 1) {
    for_each_task(division, shape.batch, 1, [&](const SelectiveScanTask& task) {
      kernels::selective_scan_forward_task(params, division, task, nullptr);
    });
    return;
  }
  const CarryBuffers buffers(shape, division);
  for_each_task(division, shape.batch, division.segments, [&](const SelectiveScanTask& task) {
    kernels::selective_scan_end_states(params, division, task, buffers.carries);
  });
  for_each_task(division, shape.batch, 1, [&](const SelectiveScanTask& task) {
    kernels::selective_scan_enter_states(params, division, task, buffers.carries);
  });
  for_each_task(division, shape.batch, division.segments, [&](const SelectiveScanTask& task) {
    kernels::selective_scan_forward_task(params, division, task, &buffers.carries);
  });
}

Tensor empty_checkpoints(const SelectiveScanShape& shape,
                         const kernels::SelectiveScanParams& params) {
  const int64_t chunks = kernels::divide_selective_scan(params).chunks;
  return at::empty({shape.batch, chunks, shape.state_values(), shape.channels}, shape.real_type);
}

std::tuple<Tensor, Tensor, Tensor> selective_scan_forward_cpu(
    const Tensor& u, const Tensor& delta, const Tensor& A, const Tensor& B, const Tensor& C,
    const OptionalTensor& D, const OptionalTensor& z, const OptionalTensor& delta_bias,
    const OptionalTensor& initial_state, const OptionalTensor& cu_seqlens, bool delta_softplus,
    bool reverse, bool save_checkpoints) {
  SelectiveScanInputs in =
      make_selective_scan_inputs(u, delta, A, B, C, D, z, delta_bias, initial_state, cu_seqlens);
  const SelectiveScanShape shape = check_selective_scan(in);
  kernels::SelectiveScanForwardParams params;
  fill_params(shape, in, delta_softplus, reverse, params);

  const Tensor out = at::empty(u.sizes(), u.options());
  const Tensor final_state =
      at::empty({shape.sequences, shape.channels, shape.d_state}, shape.state_type);
  const Tensor checkpoints =
      save_checkpoints ? empty_checkpoints(shape, params) : at::empty({0}, at::kFloat);
  params.out = make_mutable_rows(out);
  params.final_state = final_state.mutable_data_ptr();
  params.checkpoints = save_checkpoints ? checkpoints.mutable_data_ptr() : nullptr;
  run_forward(shape, params);
  return {out, final_state, checkpoints};
}

// The states at the chunk starts, where the caller has not kept them.
Tensor recompute_checkpoints(const SelectiveScanShape& shape,
                             const kernels::SelectiveScanParams& inputs) {
  kernels::SelectiveScanForwardParams params;
  static_cast<kernels::SelectiveScanParams&>(params) = inputs;
  const Tensor final_state =
      at::empty({shape.sequences, shape.channels, shape.d_state}, shape.state_type);
  Tensor checkpoints = empty_checkpoints(shape, params);
  params.final_state = final_state.mutable_data_ptr();
  params.checkpoints = checkpoints.mutable_data_ptr();
  run_forward(shape, params);
  return checkpoints;
}

void run_backward(const SelectiveScanShape& shape,
                  const kernels::SelectiveScanBackwardParams& params) {
  const SelectiveScanDivision division = kernels::divide_selective_scan(params);
  const int64_t parts = shape.batch * division.segments;
  const Tensor dA = at::empty({parts, shape.state_values(), shape.channels}, shape.real_type);
  const Tensor dD = at::empty({parts, shape.channels}, shape.real_type);
  const Tensor ddelta_bias = at::empty_like(dD);
  const Tensor dB =
      at::empty({division.channel_blocks, shape.batch, shape.length, shape.state_values()},
                shape.real_type);
  const Tensor dC = at::empty_like(dB);
  const kernels::SelectiveScanPartials partials{dA.mutable_data_ptr(), dD.mutable_data_ptr(),
                                                ddelta_bias.mutable_data_ptr(),
                                                dB.mutable_data_ptr(), dC.mutable_data_ptr()};
  if (division.segments == 1) {
    for_each_task(division, shape.batch, 1, [&](const SelectiveScanTask& task) {
      kernels::selective_scan_backward_task(params, division, task, nullptr, partials);
    });
  } else {
    const CarryBuffers buffers(shape, division);
    for_each_task(division, shape.batch, division.segments, [&](const SelectiveScanTask& task) {
      kernels::selective_scan_end_adjoints(params, division, task, buffers.carries);
    });
    for_each_task(division, shape.batch, 1, [&](const SelectiveScanTask& task) {
      kernels::selective_scan_enter_adjoints(params, division, task, buffers.carries);
    });
    for_each_task(division, shape.batch, division.segments, [&](const SelectiveScanTask& task) {
      kernels::selective_scan_backward_task(params, division, task, &buffers.carries, partials);
    });
  }
  parallel_for(division.channel_blocks, [&](int64_t block) {
    kernels::selective_scan_reduce_channels(params, division, block, partials);
  });
  parallel_for(shape.batch * division.chunks, [&](int64_t i) {
    kernels::selective_scan_reduce_rows(params, division, i / division.chunks, i % division.chunks,
                                        partials);
  });
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>
selective_scan_backward_cpu(const Tensor& dout, const OptionalTensor& dfinal_state, const Tensor& u,
                            const Tensor& delta, const Tensor& A, const Tensor& B, const Tensor& C,
                            const OptionalTensor& D, const OptionalTensor& z,
                            const OptionalTensor& delta_bias, const OptionalTensor& initial_state,
                            const OptionalTensor& cu_seqlens, const OptionalTensor& checkpoints,
                            bool delta_softplus, bool reverse) {
  SelectiveScanInputs in =
      make_selective_scan_inputs(u, delta, A, B, C, D, z, delta_bias, initial_state, cu_seqlens);
  const SelectiveScanShape shape = check_selective_scan(in);
  Tensor dout_rows = dout;
  const Tensor dfinal = given(dfinal_state) ? dfinal_state->contiguous() : Tensor();
  check_selective_scan_gradients(shape, in, dout, dfinal);
  kernels::SelectiveScanBackwardParams params;
  fill_params(shape, in, delta_softplus, reverse, params);
  const bool saved = given(checkpoints) && checkpoints->numel() > 0;
  const Tensor starts = saved ? checkpoints->contiguous() : recompute_checkpoints(shape, params);

  const auto like = [](const Tensor& input) {
    return input.defined() ? at::empty(input.sizes(), input.options()) : Tensor();
  };
  const Tensor du = like(in.u), ddelta = like(in.delta), dA = like(in.A), dB = like(in.B),
               dC = like(in.C), dD = like(in.D), dz = like(in.z), dbias = like(in.delta_bias),
               dinitial = like(in.initial_state);
  params.dout = make_rows(dout_rows);
  params.dfinal_state = data_or_null(dfinal);
  params.checkpoints = starts.const_data_ptr();
  params.du = make_mutable_rows(du);
  params.ddelta = make_mutable_rows(ddelta);
  params.dB = make_mutable_rows(dB);
  params.dC = make_mutable_rows(dC);
  if (dz.defined()) params.dz = make_mutable_rows(dz);
  params.dA = mutable_data_or_null(dA);
  params.dD = mutable_data_or_null(dD);
  params.ddelta_bias = mutable_data_or_null(dbias);
  params.dinitial_state = mutable_data_or_null(dinitial);
  run_backward(shape, params);

  const auto or_empty = [](const Tensor& gradient) {
    return gradient.defined() ? gradient : at::empty({0}, at::kFloat);
  };
  return {du, ddelta, dA, dB, dC, or_empty(dD), or_empty(dz), or_empty(dbias), or_empty(dinitial)};
}

TORCH_LIBRARY_IMPL(strandwave, CPU, m) {
  m.impl("selective_scan_forward", &selective_scan_forward_cpu);
  m.impl("selective_scan_backward", &selective_scan_backward_cpu);
}

}  // namespace
}  // namespace strandwave
