#include "kernels/linear_cross_entropy/linear_cross_entropy.h"

#include <ATen/autocast_mode.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "kernels/common/operator_glue.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy_check.h"

namespace strandwave {
namespace {

constexpr const char* kName = "linear_cross_entropy";

}  // namespace

at::Tensor LinearCrossEntropyInputs::full(at::IntArrayRef shape) const {
  return at::empty(shape, hidden.options().dtype(full_type));
}

at::Tensor LinearCrossEntropyInputs::ignored() const {
  const at::Tensor no_target = target.lt(0);
  return token_weight.defined() ? no_target.logical_or(token_weight.eq(0)) : no_target;
}

void LinearCrossEntropyInputs::set_rows(kernels::CrossEntropyParams& params, int64_t begin,
                                        int64_t rows) const {
  params.rows = rows;
  params.vocabulary = vocabulary;
  params.target = target.const_data_ptr<int64_t>() + begin;
  if (token_weight.defined()) params.token_weight = row_pointer(token_weight, begin);
}

const void* row_pointer(const at::Tensor& tensor, int64_t begin) {
  return static_cast<const char*>(tensor.const_data_ptr()) + begin * tensor.element_size();
}

void* mutable_row_pointer(const at::Tensor& tensor, int64_t begin) {
  return static_cast<char*>(tensor.mutable_data_ptr()) + begin * tensor.element_size();
}

LinearCrossEntropyInputs check_linear_cross_entropy(const at::Tensor& hidden,
                                                    const at::Tensor& head_weight,
                                                    const at::Tensor& target,
                                                    const OptionalTensor& token_weight,
                                                    int64_t valid_vocabulary) {
  LinearCrossEntropyInputs in;
  in.full_type = check_io_type(kName, "hidden", hidden);
  TORCH_CHECK(hidden.dim() == 2, kName, ": hidden must have shape (tokens, d), got ",
              hidden.sizes());
  in.tokens = hidden.size(0);
  in.d = hidden.size(1);
  TORCH_CHECK(in.d >= 1, kName, ": d must be at least 1, got ", in.d);
  TORCH_CHECK(head_weight.dim() == 2, kName, ": head_weight must have shape (vocabulary, d), got ",
              head_weight.sizes());
  in.padded_vocabulary = head_weight.size(0);
  TORCH_CHECK(in.padded_vocabulary >= 1, kName, ": the vocabulary must not be empty, got ",
              in.padded_vocabulary);
  check_operand(kName, "head_weight", head_weight, {in.padded_vocabulary, in.d},
                hidden.scalar_type(), hidden);
  TORCH_CHECK(valid_vocabulary >= 0 && valid_vocabulary <= in.padded_vocabulary, kName,
              ": valid_vocabulary must lie in [0, ", in.padded_vocabulary, "], got ",
              valid_vocabulary);
  in.vocabulary = valid_vocabulary == 0 ? in.padded_vocabulary : valid_vocabulary;
  check_operand(kName, "target", target, {in.tokens}, at::kLong, hidden);
  in.hidden = aligned_contiguous(hidden);
  in.head_weight = aligned_contiguous(head_weight).narrow(0, 0, in.vocabulary);
  in.target = target.contiguous();
  if (given(token_weight)) {
    check_operand(kName, "token_weight", *token_weight, {in.tokens}, in.full_type, hidden);
    in.token_weight = token_weight->contiguous();
  }
  return in;
}

void check_linear_cross_entropy_gradient(const LinearCrossEntropyInputs& in,
                                         const at::Tensor& dloss, const at::Tensor& logsumexp) {
  check_operand(kName, "dloss", dloss, {in.tokens}, in.full_type, in.hidden);
  check_operand(kName, "logsumexp", logsumexp, {in.tokens}, in.full_type, in.hidden);
}

namespace {

const c10::TypedOperatorHandle<LinearCrossEntropyFunction>& public_operator() {
  static const auto handle =
      find_operator<LinearCrossEntropyFunction>("strandwave::linear_cross_entropy");
  return handle;
}

const c10::TypedOperatorHandle<LinearCrossEntropyFunction>& forward_operator() {
  static const auto handle =
      find_operator<LinearCrossEntropyFunction>("strandwave::linear_cross_entropy_forward");
  return handle;
}

const c10::TypedOperatorHandle<LinearCrossEntropyBackwardFunction>& backward_operator() {
  static const auto handle = find_operator<LinearCrossEntropyBackwardFunction>(
      "strandwave::linear_cross_entropy_backward");
  return handle;
}

// ---- shapes without data ----

std::tuple<at::Tensor, at::Tensor> forward_meta(const at::Tensor& hidden, const at::Tensor&,
                                                const at::Tensor&, const OptionalTensor&, int64_t) {
  TORCH_CHECK(hidden.dim() == 2, kName, ": hidden must have two dimensions, got ", hidden.dim());
  const auto options =
      hidden.options().dtype(hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  return {at::empty_symint({hidden.sym_size(0)}, options),
          at::empty_symint({hidden.sym_size(0)}, options)};
}

std::tuple<at::Tensor, at::Tensor> backward_meta(const at::Tensor&, const at::Tensor& hidden,
                                                 const at::Tensor& head_weight, const at::Tensor&,
                                                 const OptionalTensor&, const at::Tensor&,
                                                 int64_t) {
  return {at::empty_symint(hidden.sym_sizes(), hidden.options()),
          at::empty_symint(head_weight.sym_sizes(), head_weight.options())};
}

// ---- autograd ----

std::tuple<at::Tensor, at::Tensor> backward_autograd(
    const at::Tensor& dloss, const at::Tensor& hidden, const at::Tensor& head_weight,
    const at::Tensor& target, const OptionalTensor& token_weight, const at::Tensor& logsumexp,
    int64_t valid_vocabulary) {
  const std::vector<at::Tensor> inputs = {dloss, hidden, head_weight};
  const auto results = OnceDifferentiable::apply(
      at::TensorList(inputs), std::string(kName),
      std::function<torch::autograd::variable_list()>([&] {
        auto [dhidden, dhead] = backward_operator().call(dloss, hidden, head_weight, target,
                                                         token_weight, logsumexp, valid_vocabulary);
        return torch::autograd::variable_list{dhidden, dhead};
      }));
  return {results[0], results[1]};
}

class LinearCrossEntropy : public torch::autograd::Function<LinearCrossEntropy> {
 public:
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                const at::Tensor& hidden,
                                                const at::Tensor& head_weight,
                                                const at::Tensor& target,
                                                const OptionalTensor& token_weight,
                                                int64_t valid_vocabulary) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    auto [loss, logsumexp] =
        forward_operator().call(hidden, head_weight, target, token_weight, valid_vocabulary);
    context->set_materialize_grads(false);
    context->save_for_backward(
        {hidden, head_weight, target, or_undefined(token_weight), logsumexp});
    context->saved_data["valid_vocabulary"] = valid_vocabulary;
    context->mark_non_differentiable({logsumexp});
    return {loss, logsumexp};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    torch::autograd::variable_list result(5);
    if (!gradients[0].defined()) return result;
    const auto saved = context->get_saved_variables();
    auto [dhidden, dhead] =
        backward_operator().call(gradients[0], saved[0], saved[1], saved[2], normalised(saved[3]),
                                 saved[4], context->saved_data["valid_vocabulary"].toInt());
    result[0] = dhidden;
    result[1] = dhead;
    return result;
  }
};

std::tuple<at::Tensor, at::Tensor> public_autograd(const at::Tensor& hidden,
                                                   const at::Tensor& head_weight,
                                                   const at::Tensor& target,
                                                   const OptionalTensor& token_weight,
                                                   int64_t valid_vocabulary) {
  const auto outputs =
      LinearCrossEntropy::apply(hidden, head_weight, target, token_weight, valid_vocabulary);
  return {outputs[0], outputs[1]};
}

// ---- autocast: the product in the reduced type, like any linear layer ----

template <at::DeviceType device>
std::tuple<at::Tensor, at::Tensor> public_autocast(const at::Tensor& hidden,
                                                   const at::Tensor& head_weight,
                                                   const at::Tensor& target,
                                                   const OptionalTensor& token_weight,
                                                   int64_t valid_vocabulary) {
  const c10::impl::ExcludeDispatchKeyGuard guard(
      c10::DispatchKeySet(at::autocast::get_autocast_dispatch_key_from_device_type(device)));
  const at::ScalarType type = at::autocast::get_autocast_dtype(device);
  OptionalTensor weights = normalised(token_weight);
  if (weights) weights = at::autocast::cached_cast(at::kFloat, *weights, device);
  return public_operator().call(at::autocast::cached_cast(type, hidden, device),
                                at::autocast::cached_cast(type, head_weight, device), target,
                                weights, valid_vocabulary);
}

}  // namespace

LinearCrossEntropyOutput linear_cross_entropy(const at::Tensor& hidden,
                                              const at::Tensor& head_weight,
                                              const at::Tensor& target,
                                              const OptionalTensor& token_weight,
                                              int64_t valid_vocabulary) {
  auto [loss, logsumexp] = public_operator().call(hidden, head_weight, target,
                                                  normalised(token_weight), valid_vocabulary);
  return {loss, logsumexp};
}

TORCH_LIBRARY_FRAGMENT(strandwave, m) {
  m.def(
      "linear_cross_entropy(Tensor hidden, Tensor head_weight, Tensor target, "
      "Tensor? token_weight=None, int valid_vocabulary=0) -> (Tensor, Tensor)");
  m.def(
      "linear_cross_entropy_forward(Tensor hidden, Tensor head_weight, Tensor target, "
      "Tensor? token_weight=None, int valid_vocabulary=0) -> (Tensor, Tensor)");
  m.def(
      "linear_cross_entropy_backward(Tensor dloss, Tensor hidden, Tensor head_weight, "
      "Tensor target, Tensor? token_weight, Tensor logsumexp, int valid_vocabulary=0) "
      "-> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(strandwave, Meta, m) {
  m.impl("linear_cross_entropy", &forward_meta);
  m.impl("linear_cross_entropy_forward", &forward_meta);
  m.impl("linear_cross_entropy_backward", &backward_meta);
}

TORCH_LIBRARY_IMPL(strandwave, Autograd, m) {
  m.impl("linear_cross_entropy", &public_autograd);
  m.impl("linear_cross_entropy_backward", &backward_autograd);
}

TORCH_LIBRARY_IMPL(strandwave, AutocastCPU, m) {
  m.impl("linear_cross_entropy", &public_autocast<at::kCPU>);
}
TORCH_LIBRARY_IMPL(strandwave, AutocastCUDA, m) {
  m.impl("linear_cross_entropy", &public_autocast<at::kCUDA>);
}

}  // namespace strandwave
