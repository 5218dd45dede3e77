#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>

#include "kernels/common/operator_glue.h"
#include "kernels/common/parallel.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy_check.h"

namespace strandwave {
namespace {

// Matrix products run inside tasks, one thread each: their bits then do not depend on the number of
// threads. The division depends on the shape alone.
struct Division {
  bool small;                      // the head is small enough for a gradient per block of tokens
  int64_t block;                   // tokens of a task
  int64_t chunk;                   // tokens whose logits are held at once in backward
  int64_t vocabulary_block = 512;  // rows of the head of a task
};

Division divide(int64_t vocabulary, int64_t d) {
  if (vocabulary <= 256 && vocabulary * d <= (1 << 18)) return {true, 1024, 32 * 1024};
  return {false, 64, vocabulary <= (1 << 16) ? 256 : 64};
}

// A single task would run outside a parallel region, and its products on all threads.
void run_tasks(int64_t tasks, FunctionRef<void(int64_t)> task) {
  parallel_for(std::max<int64_t>(tasks, 2), [&](int64_t i) {
    const PlainAten plain;
    if (i < tasks) task(i);
  });
}

void check_targets(const LinearCrossEntropyInputs& in) {
  const int64_t* target = in.target.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < in.tokens; ++i)
    TORCH_CHECK(target[i] < in.vocabulary, "linear_cross_entropy: targets must be below ",
                in.vocabulary, ", got ", target[i], " at token ", i);
}

// Tasks of `block` tokens over [begin, end): task(index, first token, tokens).
template <typename Task>
void for_blocks(int64_t begin, int64_t end, int64_t block, const Task& task) {
  run_tasks((end - begin + block - 1) / block, [&](int64_t i) {
    const int64_t first = begin + i * block;
    task(i, first, std::min(block, end - first));
  });
}

std::tuple<at::Tensor, at::Tensor> forward_cpu(const at::Tensor& hidden,
                                               const at::Tensor& head_weight,
                                               const at::Tensor& target,
                                               const OptionalTensor& token_weight,
                                               int64_t valid_vocabulary) {
  const PlainAten plain;
  const auto in =
      check_linear_cross_entropy(hidden, head_weight, target, token_weight, valid_vocabulary);
  check_targets(in);
  const at::Tensor head = in.head_weight.to(in.full_type).t();
  const at::Tensor loss = in.full({in.tokens});
  const at::Tensor logsumexp = in.full({in.tokens});
  const Division division = divide(in.vocabulary, in.d);
  for_blocks(0, in.tokens, division.block, [&](int64_t, int64_t first, int64_t rows) {
    const at::Tensor logits = at::mm(in.hidden.narrow(0, first, rows).to(in.full_type), head);
    kernels::CrossEntropyForwardParams params;
    in.set_rows(params, first, rows);
    params.logits_dtype = raw_dtype(in.full_type);
    params.stride = in.vocabulary;
    params.logits = logits.const_data_ptr();
    params.loss = mutable_row_pointer(loss, first);
    params.logsumexp = mutable_row_pointer(logsumexp, first);
    kernels::cross_entropy_forward_rows(params, 0, rows);
  });
  return {loss, logsumexp};
}

class Backward {
 public:
  Backward(const LinearCrossEntropyInputs& in, const at::Tensor& dloss, const at::Tensor& logsumexp)
      : in_(in),
        dloss_(dloss.contiguous()),
        logsumexp_(logsumexp.contiguous()),
        division_(divide(in.vocabulary, in.d)),
        head_(in.head_weight.to(in.full_type)),
        ignored_(in.ignored().unsqueeze(1)),
        dhidden_(at::empty(in.hidden.sizes(), in.hidden.options())),
        dhead_padded_(at::zeros({in.padded_vocabulary, in.d}, logsumexp.options())),
        dhead_(dhead_padded_.narrow(0, 0, in.vocabulary)) {}

  std::tuple<at::Tensor, at::Tensor> run() {
    for (int64_t begin = 0; begin < in_.tokens; begin += division_.chunk)
      run_chunk(begin, std::min(in_.tokens, begin + division_.chunk));
    return {dhidden_, dhead_padded_.to(in_.hidden.scalar_type())};
  }

 private:
  void run_chunk(int64_t begin, int64_t end) {
    const at::Tensor gradient = in_.full({end - begin, in_.vocabulary});
    const at::Tensor hidden = in_.full({end - begin, in_.d});
    const int64_t blocks = (end - begin + division_.block - 1) / division_.block;
    const at::Tensor parts = in_.full({division_.small ? blocks : 0, in_.vocabulary, in_.d});
    for_blocks(begin, end, division_.block, [&](int64_t i, int64_t first, int64_t rows) {
      at::Tensor block_hidden = hidden.narrow(0, first - begin, rows);
      at::Tensor block_gradient = gradient.narrow(0, first - begin, rows);
      run_block(first, rows, block_hidden, block_gradient);
      if (!division_.small) return;
      at::Tensor part = parts[i];
      at::mm_out(part, block_gradient.t(), block_hidden);
    });
    if (division_.small) {
      for (int64_t i = 0; i < blocks; ++i) dhead_.add_(parts[i]);
    } else {
      add_to_head(gradient, hidden);
    }
  }

  // Hidden rows that count, the gradient of the logits, and that of the hidden rows.
  void run_block(int64_t first, int64_t rows, at::Tensor& hidden, at::Tensor& gradient) {
    hidden.copy_(in_.hidden.narrow(0, first, rows));
    hidden.masked_fill_(ignored_.narrow(0, first, rows), 0);
    at::mm_out(gradient, hidden, head_.t());
    kernels::CrossEntropyBackwardParams params;
    in_.set_rows(params, first, rows);
    params.logits_dtype = params.gradient_dtype = raw_dtype(in_.full_type);
    params.stride = in_.vocabulary;
    params.gradient = gradient.mutable_data_ptr();
    params.logits = params.gradient;
    params.logsumexp = row_pointer(logsumexp_, first);
    params.dloss = row_pointer(dloss_, first);
    kernels::cross_entropy_backward_rows(params, 0, rows);
    dhidden_.narrow(0, first, rows).copy_(at::mm(gradient, head_));
  }

  void add_to_head(const at::Tensor& gradient, const at::Tensor& hidden) {
    for_blocks(0, in_.vocabulary, division_.vocabulary_block,
               [&](int64_t, int64_t first, int64_t rows) {
                 at::Tensor part = dhead_.narrow(0, first, rows);
                 at::addmm_out(part, part, gradient.narrow(1, first, rows).t(), hidden);
               });
  }

  const LinearCrossEntropyInputs& in_;
  const at::Tensor dloss_, logsumexp_;
  const Division division_;
  const at::Tensor head_, ignored_, dhidden_, dhead_padded_, dhead_;
};

std::tuple<at::Tensor, at::Tensor> backward_cpu(const at::Tensor& dloss, const at::Tensor& hidden,
                                                const at::Tensor& head_weight,
                                                const at::Tensor& target,
                                                const OptionalTensor& token_weight,
                                                const at::Tensor& logsumexp,
                                                int64_t valid_vocabulary) {
  const PlainAten plain;
  const auto in =
      check_linear_cross_entropy(hidden, head_weight, target, token_weight, valid_vocabulary);
  check_linear_cross_entropy_gradient(in, dloss, logsumexp);
  check_targets(in);
  return Backward(in, dloss, logsumexp).run();
}

static_assert(std::is_same_v<decltype(forward_cpu), LinearCrossEntropyFunction>);
static_assert(std::is_same_v<decltype(backward_cpu), LinearCrossEntropyBackwardFunction>);

}  // namespace

TORCH_LIBRARY_IMPL(strandwave, CPU, m) {
  m.impl("linear_cross_entropy", &forward_cpu);
  m.impl("linear_cross_entropy_forward", &forward_cpu);
  m.impl("linear_cross_entropy_backward", &backward_cpu);
}

}  // namespace strandwave
