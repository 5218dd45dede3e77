#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <torch/library.h>

#include <algorithm>

#include "kernels/common/operator_glue.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy_check.h"

namespace strandwave {
namespace {

// Logits of vocabularies up to here are float32 whatever the inputs are: they cost little.
constexpr int64_t kExactVocabulary = 1024;
// Vocabularies up to here leave a GEMM of all tokens into the head's gradient too few tiles to fill
// a device: the tokens are cut into pieces of kPiece, one product each, summed afterwards.
constexpr int64_t kPiecesVocabulary = 256;
constexpr int64_t kPiece = 2048;

// How the tokens are cut, a function of shape and dtype.
struct Division {
  int64_t stride;  // elements of a row of logits
  int64_t chunk;   // tokens
  at::ScalarType logits_type;
};

Division divide(const LinearCrossEntropyInputs& in) {
  constexpr int64_t kMostLogits = int64_t{1} << 26;
  constexpr int64_t kMostHidden = int64_t{1} << 25;
  constexpr int64_t kGranularity = 128;
  Division division;
  division.stride = (in.vocabulary + 7) / 8 * 8;
  const int64_t most = std::min(kMostLogits / division.stride, kMostHidden / in.d);
  division.chunk = std::max<int64_t>(most / kGranularity, 1) * kGranularity;
  division.logits_type = in.vocabulary <= kExactVocabulary ? at::kFloat : in.hidden.scalar_type();
  return division;
}

// out = a b, rounded to the type of out.
void multiply(at::Tensor out, const at::Tensor& a, const at::Tensor& b) {
  if (out.scalar_type() == a.scalar_type()) {
    at::mm_out(out, a, b);
  } else {
    at::mm_out(out, a, b, out.scalar_type());
  }
}

// sum += a b, with sum in float32.
void add_product(at::Tensor sum, const at::Tensor& a, const at::Tensor& b) {
  if (a.scalar_type() == at::kFloat) {
    at::addmm_out(sum, sum, a, b);
  } else {
    at::addmm_out(sum, sum, a, b, at::kFloat);
  }
}

at::Tensor batched_product(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == at::kFloat ? at::bmm(a, b) : at::bmm(a, b, at::kFloat);
}

// sum += gradient^T hidden over the rows of a chunk. gradient (rows, vocabulary) may be strided.
void add_head_gradient(const at::Tensor& sum, const at::Tensor& gradient,
                       const at::Tensor& hidden) {
  const int64_t rows = gradient.size(0);
  const int64_t vocabulary = gradient.size(1);
  const int64_t pieces = vocabulary <= kPiecesVocabulary ? rows / kPiece : 0;
  const int64_t in_pieces = pieces > 1 ? pieces * kPiece : 0;
  if (in_pieces > 0) {
    const int64_t stride = gradient.stride(0);
    const at::Tensor a =
        gradient.as_strided({pieces, kPiece, vocabulary}, {kPiece * stride, stride, 1});
    const at::Tensor b = hidden.narrow(0, 0, in_pieces).view({pieces, kPiece, hidden.size(1)});
    sum.add_(batched_product(a.transpose(1, 2), b).sum(0));
  }
  if (in_pieces < rows)
    add_product(sum, gradient.narrow(0, in_pieces, rows - in_pieces).t(),
                hidden.narrow(0, in_pieces, rows - in_pieces));
}

std::tuple<at::Tensor, at::Tensor> forward_cuda(const at::Tensor& hidden,
                                                const at::Tensor& head_weight,
                                                const at::Tensor& target,
                                                const OptionalTensor& token_weight,
                                                int64_t valid_vocabulary) {
  const c10::cuda::CUDAGuard guard(hidden.device());
  const PlainAten plain;
  const auto in =
      check_linear_cross_entropy(hidden, head_weight, target, token_weight, valid_vocabulary);
  const Division division = divide(in);
  const at::Tensor loss = in.full({in.tokens});
  const at::Tensor logsumexp = in.full({in.tokens});
  const at::Tensor buffer = at::empty({std::min(division.chunk, in.tokens), division.stride},
                                      hidden.options().dtype(division.logits_type));
  for (int64_t begin = 0; begin < in.tokens; begin += division.chunk) {
    const int64_t rows = std::min(division.chunk, in.tokens - begin);
    const at::Tensor logits = buffer.narrow(0, 0, rows).narrow(1, 0, in.vocabulary);
    multiply(logits, in.hidden.narrow(0, begin, rows), in.head_weight.t());
    kernels::CrossEntropyForwardParams params;
    in.set_rows(params, begin, rows);
    params.logits_dtype = raw_dtype(division.logits_type);
    params.stride = division.stride;
    params.logits = logits.const_data_ptr();
    params.loss = mutable_row_pointer(loss, begin);
    params.logsumexp = mutable_row_pointer(logsumexp, begin);
    kernels::cross_entropy_forward_cuda(params, at::cuda::getCurrentCUDAStream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }
  return {loss, logsumexp};
}

std::tuple<at::Tensor, at::Tensor> backward_cuda(const at::Tensor& dloss, const at::Tensor& hidden,
                                                 const at::Tensor& head_weight,
                                                 const at::Tensor& target,
                                                 const OptionalTensor& token_weight,
                                                 const at::Tensor& logsumexp,
                                                 int64_t valid_vocabulary) {
  const c10::cuda::CUDAGuard guard(hidden.device());
  const PlainAten plain;
  const auto in =
      check_linear_cross_entropy(hidden, head_weight, target, token_weight, valid_vocabulary);
  check_linear_cross_entropy_gradient(in, dloss, logsumexp);
  const Division division = divide(in);
  const at::Tensor dense_dloss = dloss.contiguous();
  const at::Tensor dense_logsumexp = logsumexp.contiguous();
  const at::Tensor ignored = in.ignored().unsqueeze(1);
  const at::Tensor dhidden = at::empty(in.hidden.sizes(), in.hidden.options());
  const at::Tensor dhead = at::zeros({in.padded_vocabulary, in.d}, logsumexp.options());
  const at::Tensor used_dhead = dhead.narrow(0, 0, in.vocabulary);

  const int64_t buffer_rows = std::min(division.chunk, in.tokens);
  const auto make_buffer = [&](at::ScalarType type) {
    return at::empty({buffer_rows, division.stride}, hidden.options().dtype(type));
  };
  const at::Tensor logits_buffer = make_buffer(division.logits_type);
  const at::Tensor gradient_buffer = division.logits_type == hidden.scalar_type()
                                         ? logits_buffer
                                         : make_buffer(hidden.scalar_type());
  const at::Tensor zero = at::zeros({}, hidden.options());
  for (int64_t begin = 0; begin < in.tokens; begin += division.chunk) {
    const int64_t rows = std::min(division.chunk, in.tokens - begin);
    const at::Tensor logits = logits_buffer.narrow(0, 0, rows).narrow(1, 0, in.vocabulary);
    const at::Tensor gradient = gradient_buffer.narrow(0, 0, rows).narrow(1, 0, in.vocabulary);
    // Rows that do not count must not even meet a zero gradient: they may hold NaN.
    const at::Tensor counting =
        at::where(ignored.narrow(0, begin, rows), zero, in.hidden.narrow(0, begin, rows));
    multiply(logits, counting, in.head_weight.t());
    kernels::CrossEntropyBackwardParams params;
    in.set_rows(params, begin, rows);
    params.logits_dtype = raw_dtype(division.logits_type);
    params.stride = division.stride;
    params.logits = logits.const_data_ptr();
    params.logsumexp = row_pointer(dense_logsumexp, begin);
    params.dloss = row_pointer(dense_dloss, begin);
    params.gradient_dtype = raw_dtype(hidden.scalar_type());
    params.gradient = gradient.mutable_data_ptr();
    kernels::cross_entropy_backward_cuda(params, at::cuda::getCurrentCUDAStream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    multiply(dhidden.narrow(0, begin, rows), gradient, in.head_weight);
    add_head_gradient(used_dhead, gradient, counting);
  }
  return {dhidden, dhead.to(hidden.scalar_type())};
}

static_assert(std::is_same_v<decltype(forward_cuda), LinearCrossEntropyFunction>);
static_assert(std::is_same_v<decltype(backward_cuda), LinearCrossEntropyBackwardFunction>);

}  // namespace

TORCH_LIBRARY_IMPL(strandwave, CUDA, m) {
  m.impl("linear_cross_entropy", &forward_cuda);
  m.impl("linear_cross_entropy_forward", &forward_cuda);
  m.impl("linear_cross_entropy_backward", &backward_cuda);
}

}  // namespace strandwave
