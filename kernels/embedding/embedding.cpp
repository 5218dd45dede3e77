#include "kernels/embedding/embedding.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "kernels/common/operator_glue.h"
#include "kernels/embedding/embedding_check.h"

namespace strandwave {
namespace {

constexpr const char* kName = "embedding";

void check_id_type(const at::Tensor& ids, const at::Tensor& like) {
  TORCH_CHECK(ids.scalar_type() == at::kLong || ids.scalar_type() == at::kByte, kName,
              ": ids must be int64 or uint8, got ", ids.scalar_type());
  TORCH_CHECK(ids.device() == like.device(), kName, ": ids must be on ", like.device(), ", got ",
              ids.device());
}

}  // namespace

EmbeddingCall prepare_embedding(const at::Tensor& ids, const at::Tensor& weight) {
  TORCH_CHECK(weight.dim() == 2, kName, ": weight must have shape (vocabulary, d), got ",
              weight.sizes());
  check_io_type(kName, "weight", weight);
  check_id_type(ids, weight);
  EmbeddingCall call;
  auto& params = call.params;
  params.dtype = raw_dtype(weight.scalar_type());
  params.byte_ids = ids.scalar_type() == at::kByte;
  params.positions = ids.numel();
  params.vocabulary = weight.size(0);
  params.d = weight.size(1);
  params.ids = keep(ids, call.kept);
  params.weight = keep(weight, call.kept);
  std::vector<int64_t> shape = ids.sizes().vec();
  shape.push_back(params.d);
  call.out = at::empty(shape, weight.options());
  params.out = call.out.mutable_data_ptr();
  return call;
}

EmbeddingBackwardCall prepare_embedding_backward(const at::Tensor& dout, const at::Tensor& ids,
                                                 int64_t vocabulary) {
  check_io_type(kName, "dout", dout);
  check_id_type(ids, dout);
  TORCH_CHECK(vocabulary >= 0, kName, ": vocabulary must not be negative, got ", vocabulary);
  TORCH_CHECK(dout.dim() == ids.dim() + 1 &&
                  dout.sizes().slice(0, static_cast<size_t>(ids.dim())) == ids.sizes(),
              kName, ": dout must have the shape of ids, ", ids.sizes(), ", and one more, got ",
              dout.sizes());
  EmbeddingBackwardCall call;
  auto& params = call.params;
  params.dtype = raw_dtype(dout.scalar_type());
  params.byte_ids = ids.scalar_type() == at::kByte;
  params.positions = ids.numel();
  params.vocabulary = vocabulary;
  params.d = dout.size(-1);
  params.ids = keep(ids, call.kept);
  call.ids = call.kept.back().reshape({-1});
  params.dout = keep(dout, call.kept);
  return call;
}

namespace {

using ForwardFunction = at::Tensor(const at::Tensor&, const at::Tensor&);
using BackwardFunction = at::Tensor(const at::Tensor&, const at::Tensor&, c10::SymInt);

const c10::TypedOperatorHandle<ForwardFunction>& forward_operator() {
  static const auto handle = find_operator<ForwardFunction>("strandwave::embedding");
  return handle;
}

const c10::TypedOperatorHandle<BackwardFunction>& backward_operator() {
  static const auto handle = find_operator<BackwardFunction>("strandwave::embedding_backward");
  return handle;
}

// ---- shapes without data ----

at::Tensor forward_meta(const at::Tensor& ids, const at::Tensor& weight) {
  TORCH_CHECK(weight.dim() == 2, kName, ": weight must have two dimensions, got ", weight.dim());
  c10::SymDimVector shape(ids.sym_sizes().begin(), ids.sym_sizes().end());
  shape.push_back(weight.sym_size(1));
  return at::empty_symint(shape, weight.options());
}

at::Tensor backward_meta(const at::Tensor& dout, const at::Tensor&, c10::SymInt vocabulary) {
  return at::empty_symint({std::move(vocabulary), dout.sym_size(-1)}, dout.options());
}

// ---- autograd ----

at::Tensor backward_autograd(const at::Tensor& dout, const at::Tensor& ids,
                             c10::SymInt vocabulary) {
  const std::vector<at::Tensor> inputs = {dout};
  return OnceDifferentiable::apply(
      at::TensorList(inputs), std::string(kName),
      std::function<torch::autograd::variable_list()>([&] {
        return torch::autograd::variable_list{backward_operator().call(dout, ids, vocabulary)};
      }))[0];
}

class Embedding : public torch::autograd::Function<Embedding> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& ids,
                            const at::Tensor& weight) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    context->set_materialize_grads(false);
    context->save_for_backward({ids});
    context->saved_data["vocabulary"] = weight.sym_size(0);
    return forward_operator().call(ids, weight);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    torch::autograd::variable_list result(2);
    if (!gradients[0].defined()) return result;
    result[1] = backward_operator().call(gradients[0], context->get_saved_variables()[0],
                                         context->saved_data["vocabulary"].toSymInt());
    return result;
  }
};

at::Tensor forward_autograd(const at::Tensor& ids, const at::Tensor& weight) {
  return Embedding::apply(ids, weight);
}

}  // namespace

at::Tensor embedding(const at::Tensor& ids, const at::Tensor& weight) {
  return forward_operator().call(ids, weight);
}

// Autocast leaves it alone: the table comes out in its own type.
TORCH_LIBRARY_FRAGMENT(strandwave, m) {
  m.def("embedding(Tensor ids, Tensor weight) -> Tensor");
  m.def("embedding_backward(Tensor dout, Tensor ids, SymInt vocabulary) -> Tensor");
}

TORCH_LIBRARY_IMPL(strandwave, Meta, m) {
  m.impl("embedding", &forward_meta);
  m.impl("embedding_backward", &backward_meta);
}

TORCH_LIBRARY_IMPL(strandwave, Autograd, m) {
  m.impl("embedding", &forward_autograd);
  m.impl("embedding_backward", &backward_autograd);
}

}  // namespace strandwave
