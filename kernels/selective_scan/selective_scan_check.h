// What the CPU and the CUDA implementation of the selective scan share: validation of the tensors,
// and the plain parameters that the raw kernels take.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "kernels/selective_scan/selective_scan_params.h"

namespace strandwave {

// The tensors of a selective scan (see selective_scan.h); an input that was not given is undefined.
struct SelectiveScanInputs {
  at::Tensor u, delta, A, B, C, D, z, delta_bias, initial_state, cu_seqlens;
};

SelectiveScanInputs make_selective_scan_inputs(
    const at::Tensor& u, const at::Tensor& delta, const at::Tensor& A, const at::Tensor& B,
    const at::Tensor& C, const std::optional<at::Tensor>& D, const std::optional<at::Tensor>& z,
    const std::optional<at::Tensor>& delta_bias, const std::optional<at::Tensor>& initial_state,
    const std::optional<at::Tensor>& cu_seqlens);

struct SelectiveScanShape {
  int64_t batch = 0;
  int64_t length = 0;
  int64_t channels = 0;
  int64_t d_state = 0;                     // complex numbers where A is complex
  int64_t sequences = 0;                   // batch, or the packed sequences
  at::ScalarType io_type = at::kFloat;     // of u, delta, B, C, z, out
  at::ScalarType real_type = at::kFloat;   // of D, delta_bias: double for double I/O
  at::ScalarType state_type = at::kFloat;  // of A and states: real_type or complex numbers of it

  bool complex() const { return at::isComplexType(state_type); }
  // Real numbers of a channel's state, or of a row of B.
  int64_t state_values() const { return complex() ? 2 * d_state : d_state; }
};

// Throws c10::Error naming the violated fact and the actual value. Does not synchronise a device.
SelectiveScanShape check_selective_scan(const SelectiveScanInputs& in);
// The gradients that enter the backward pass; dfinal_state may be undefined.
void check_selective_scan_gradients(const SelectiveScanShape& shape, const SelectiveScanInputs& in,
                                    const at::Tensor& dout, const at::Tensor& dfinal_state);

// Sets everything that `params` has in common for both passes. Tensors whose last dimension is not
// contiguous are replaced in `in` by contiguous copies: `in` owns what the pointers point to and
// must live until the kernels have been launched (CUDA: on the current stream) or have run (CPU).
void fill_params(const SelectiveScanShape& shape, SelectiveScanInputs& in, bool delta_softplus,
                 bool reverse, kernels::SelectiveScanParams& params);

// (batch, length, n) as rows; `tensor` is replaced by a contiguous copy unless its last dimension
// is contiguous. An undefined tensor gives null.
kernels::Rows make_rows(at::Tensor& tensor);
// The tensor's last dimension must be contiguous (outputs, which we allocate).
kernels::MutableRows make_mutable_rows(const at::Tensor& tensor);

}  // namespace strandwave
