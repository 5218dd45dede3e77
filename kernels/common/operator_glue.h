// What the LibTorch side of operators shares: optional tensors, element types, autograd that ends
// at the first derivative, and ATen calls that neither autograd nor autocast sees.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/custom_function.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kernels/common/dtype.h"

namespace strandwave {

using OptionalTensor = std::optional<at::Tensor>;

inline bool given(const OptionalTensor& tensor) { return tensor && tensor->defined(); }

// An undefined tensor is passed on as none: boxed kernels expect it so.
inline OptionalTensor normalised(const OptionalTensor& tensor) {
  return given(tensor) ? tensor : std::nullopt;
}

inline at::Tensor or_undefined(const OptionalTensor& tensor) {
  return tensor.value_or(at::Tensor());
}

inline kernels::Dtype raw_dtype(at::ScalarType type) {
  switch (type) {
    case at::kBFloat16:
      return kernels::Dtype::kBFloat16;
    case at::kHalf:
      return kernels::Dtype::kFloat16;
    case at::kDouble:
      return kernels::Dtype::kFloat64;
    default:
      return kernels::Dtype::kFloat32;
  }
}

// Throws unless `tensor` has a type that operators take for inputs and outputs; returns the type of
// parameters and sums: float32, or float64 with float64.
inline at::ScalarType check_io_type(const char* op, const char* name, const at::Tensor& tensor) {
  const at::ScalarType type = tensor.scalar_type();
  const bool is_double = type == at::kDouble && tensor.is_cpu();
  TORCH_CHECK(is_double || type == at::kFloat || type == at::kBFloat16 || type == at::kHalf, op,
              ": ", name, " must be float32, bfloat16 or float16 (float64 on the CPU), got ", type,
              " on ", tensor.device());
  return is_double ? at::kDouble : at::kFloat;
}

// Throws unless `tensor` has this shape and type and lies on the device of `like`.
inline void check_operand(const char* op, const char* name, const at::Tensor& tensor,
                          at::IntArrayRef shape, at::ScalarType type, const at::Tensor& like) {
  TORCH_CHECK(tensor.sizes() == shape, op, ": ", name, " must have shape ", shape, ", got ",
              tensor.sizes());
  TORCH_CHECK(tensor.scalar_type() == type, op, ": ", name, " must be ", type, ", got ",
              tensor.scalar_type());
  TORCH_CHECK(tensor.device() == like.device(), op, ": ", name, " must be on ", like.device(),
              ", got ", tensor.device());
}

// Contiguous and with data at a multiple of 16 bytes, so that which kernel runs, and so the order
// of its sums, depends on the shape alone.
inline at::Tensor aligned_contiguous(const at::Tensor& tensor) {
  const at::Tensor result = tensor.contiguous();
  const bool aligned = reinterpret_cast<uintptr_t>(result.const_data_ptr()) % 16 == 0;
  return aligned ? result : result.clone();
}

// The data of a tensor that may be undefined.
inline const void* data_or_null(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr() : nullptr;
}
inline void* mutable_data_or_null(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.mutable_data_ptr() : nullptr;
}

// Keeps an aligned contiguous version of a tensor in `kept` and returns its data.
inline const void* keep(const at::Tensor& tensor, std::vector<at::Tensor>& kept) {
  kept.push_back(aligned_contiguous(tensor));
  return kept.back().const_data_ptr();
}

template <typename Function>
c10::TypedOperatorHandle<Function> find_operator(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Function>();
}

// While one lives, ATen calls of this thread are neither recorded nor autocast. Threads of
// parallel_for need one of their own.
struct PlainAten {
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  const c10::impl::ExcludeDispatchKeyGuard no_autocast{c10::autocast_dispatch_keyset};
};

// Runs `compute`, whose tensors are `inputs`, for a backward pass: whoever differentiates the
// results gets a message.
class OnceDifferentiable : public torch::autograd::Function<OnceDifferentiable> {
 public:
  static torch::autograd::variable_list forward(
      torch::autograd::AutogradContext* context, const at::TensorList& /*inputs*/,
      const std::string& op, const std::function<torch::autograd::variable_list()>& compute) {
    context->saved_data["operator"] = op;
    const at::AutoDispatchBelowADInplaceOrView guard;
    return compute();
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list&) {
    TORCH_CHECK(false, context->saved_data["operator"].toStringRef(),
                " can be differentiated once only: its backward pass has no derivative");
  }
};

}  // namespace strandwave
