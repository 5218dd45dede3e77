// Raw CPU kernels of the causal convolution. A task is one (batch entry, tile of positions, block
// of channels); it walks the positions with the last inputs in a ring of rows, converted once.
#include <algorithm>
#include <cstdint>

#include "kernels/causal_conv1d/causal_conv1d_params.h"

// Baseline, AVX2 and AVX-512 are enough; every further target costs compile time.
#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#endif
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/causal_conv1d/causal_conv1d_simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/common/simd_io-inl.h"
#include "kernels/common/simd_math-inl.h"

#ifndef STRANDWAVE_CAUSAL_CONV1D_ONCE
#define STRANDWAVE_CAUSAL_CONV1D_ONCE
namespace strandwave::kernels {

constexpr int64_t kConvCpuTile = 256;   // positions
constexpr int64_t kConvCpuBlock = 256;  // channels

// Long sums are taken in three levels of so many terms: rounding errors then hardly grow with
// length.
constexpr int64_t kConvCpuFold = 8;
constexpr int kConvCpuLevels = 3;

inline int64_t conv_blocks(const CausalConv1dParams& p) {
  return (p.channels + kConvCpuBlock - 1) / kConvCpuBlock;
}
inline int64_t conv_tiles(const CausalConv1dParams& p) {
  return (p.length + kConvCpuTile - 1) / kConvCpuTile;
}

}  // namespace strandwave::kernels
#endif  // STRANDWAVE_CAUSAL_CONV1D_ONCE

HWY_BEFORE_NAMESPACE();
namespace strandwave::kernels::HWY_NAMESPACE {
namespace {

// One block of channels of one batch entry.
template <typename Io>
class Block {
 public:
  using T = Compute<Io>;
  using D = hn::ScalableTag<T>;

  Block(const CausalConv1dParams& p, int64_t batch, int64_t block)
      : p_(p),
        batch_(batch),
        first_(block * kConvCpuBlock),
        count_(std::min(kConvCpuBlock, p.channels - first_)) {
    const auto* weight = static_cast<const T*>(p.weight) + first_ * p.width;
    const auto* bias = static_cast<const T*>(p.bias);
    for (int j = 0; j < p.width; ++j) {
      std::fill_n(taps_[j], kConvCpuBlock, T{0});
      for (int64_t c = 0; c < count_; ++c) taps_[j][c] = weight[c * p.width + p.width - 1 - j];
    }
    std::fill_n(bias_, kConvCpuBlock, T{0});
    if (bias != nullptr) std::copy_n(bias + first_, count_, bias_);
  }

  int64_t first() const { return first_; }
  int64_t count() const { return count_; }

  // Fills the ring with the inputs before logical position s.begin.
  void enter(const ConvSegment& s) {
    for (int j = 1; j < p_.width; ++j) {
      const int64_t q = s.begin - j;
      T* to = ring(inputs_, q);
      if (q >= s.sequence_begin) {
        convert(x_row(q), to);
      } else {
        copy_state(p_.initial_state, s, q - s.sequence_begin, to);
      }
    }
  }

  void forward_row(int64_t q, Io* HWY_RESTRICT out) {
    const D d;
    const Io* x = x_row(q);
    for (int64_t c = 0; c < count_; c += lanes()) {
      auto p = activation_input(q, x, c);
      if (p_.silu) p = hn::Mul(p, sigmoid(d, p));
      store_io_some(d, p, out + c, count_ - c);
    }
  }

  // Adds the sums of one level to those of the next.
  void fold_sums(int level) {
    for (int j = 0; j <= p_.width; ++j) {
      for (int64_t c = 0; c < count_; ++c) sums_[level + 1][j][c] += sums_[level][j][c];
      std::fill_n(sums_[level][j], kConvCpuBlock, T{0});
    }
  }

  void clear_sums() {
    for (auto& level : sums_)
      for (T* row : level) std::fill_n(row, kConvCpuBlock, T{0});
  }

  // Before a segment no output depends on its inputs.
  void clear_slopes() {
    for (T* row : slopes_) std::fill_n(row, kConvCpuBlock, T{0});
  }
  void clear_slope(int64_t q) { std::fill_n(ring(slopes_, q), kConvCpuBlock, T{0}); }

  // The gradient of the pre-activation at q; with `sum` it enters the parameters' gradients.
  void slope_row(int64_t q, const Io* HWY_RESTRICT dout, bool sum) {
    const D d;
    const Io* x = x_row(q);
    T* slopes = ring(slopes_, q);
    for (int64_t c = 0; c < count_; c += lanes()) {
      const auto p = activation_input(q, x, c);
      auto slope = load_io_some(d, dout + c, count_ - c);
      if (p_.silu) {
        const auto one = hn::Set(d, 1);
        const auto s = sigmoid(d, p);
        slope = hn::Mul(slope, hn::Mul(s, hn::MulAdd(p, hn::Sub(one, s), one)));
      }
      hn::Store(slope, d, slopes + c);
      if (!sum) continue;
      T* dbias = sums_[0][p_.width] + c;
      hn::Store(hn::Add(hn::Load(d, dbias), slope), d, dbias);
      for (int j = 0; j < p_.width; ++j) {
        T* to = sums_[0][j] + c;
        hn::Store(hn::MulAdd(slope, hn::Load(d, ring(inputs_, q - j) + c), hn::Load(d, to)), d, to);
      }
    }
    if (!sum || ++summed_ % kConvCpuFold != 0) return;
    fold_sums(0);
    if (summed_ % (kConvCpuFold * kConvCpuFold) == 0) fold_sums(1);
  }

  // The gradient of the input at q from the slopes at q .. q + width - 1, plus `extra` (or null).
  template <typename Out>
  void input_gradient_row(int64_t q, const T* HWY_RESTRICT extra, Out* HWY_RESTRICT to) {
    const D d;
    for (int64_t c = 0; c < count_; c += lanes()) {
      auto sum = extra == nullptr ? hn::Zero(d) : load_io_some(d, extra + c, count_ - c);
      for (int j = 0; j < p_.width; ++j)
        sum = hn::MulAdd(hn::Load(d, taps_[j] + c), hn::Load(d, ring(slopes_, q + j) + c), sum);
      store_io_some(d, sum, to + c, count_ - c);
    }
  }

  void store_sums(T* HWY_RESTRICT partial) {
    fold_sums(0);
    fold_sums(1);
    const auto& totals = sums_[kConvCpuLevels - 1];
    for (int k = 0; k < p_.width; ++k)
      std::copy_n(totals[p_.width - 1 - k], count_, partial + k * p_.channels + first_);
    std::copy_n(totals[p_.width], count_, partial + p_.width * p_.channels + first_);
  }

  // Row `row` (< 0: counted back from the sequence's start) of a state, or zeros.
  void copy_state(const void* state, const ConvSegment& s, int64_t row, T* HWY_RESTRICT to) const {
    if (state == nullptr) {
      std::fill_n(to, count_, T{0});
    } else {
      std::copy_n(static_cast<const T*>(state) + state_offset(s.order, p_.width - 1 + row), count_,
                  to);
    }
  }

  int64_t state_offset(int64_t order, int64_t row) const {
    return (conv_state_index(p_, batch_, order) * (p_.width - 1) + row) * p_.channels + first_;
  }

  void convert(const Io* HWY_RESTRICT from, T* HWY_RESTRICT to) const {
    const D d;
    for (int64_t c = 0; c < count_; c += lanes())
      store_io_some(d, load_io_some(d, from + c, count_ - c), to + c, count_ - c);
  }

  const Io* x_row(int64_t q) const {
    return static_cast<const Io*>(p_.x) + first_ +
           conv_row_offset(p_, p_.x_batch_stride, p_.x_row_stride, batch_, q);
  }

  int64_t contiguous_offset(int64_t q) const {
    return first_ + conv_row_offset(p_, p_.length * p_.channels, p_.channels, batch_, q);
  }

 private:
  static int64_t lanes() { return static_cast<int64_t>(hn::Lanes(D())); }

  static T* ring(T (&rows)[kConvMaxWidth][kConvCpuBlock], int64_t q) {
    return rows[q & (kConvMaxWidth - 1)];
  }

  // Converts x at q, keeps it in the ring and returns the pre-activation.
  HWY_INLINE hn::Vec<D> activation_input(int64_t q, const Io* HWY_RESTRICT x, int64_t c) {
    const D d;
    const auto now = load_io_some(d, x + c, count_ - c);
    hn::Store(now, d, ring(inputs_, q) + c);
    auto p = hn::Load(d, bias_ + c);
    for (int j = p_.width - 1; j > 0; --j)
      p = hn::MulAdd(hn::Load(d, taps_[j] + c), hn::Load(d, ring(inputs_, q - j) + c), p);
    return hn::MulAdd(hn::Load(d, taps_[0] + c), now, p);
  }

  const CausalConv1dParams& p_;
  int64_t batch_;
  int64_t first_;
  int64_t count_;
  HWY_ALIGN T taps_[kConvMaxWidth][kConvCpuBlock];  // taps_[j] meets the input j positions back
  HWY_ALIGN T bias_[kConvCpuBlock];
  HWY_ALIGN T inputs_[kConvMaxWidth][kConvCpuBlock] = {};  // rings: position q lies at q mod 4
  HWY_ALIGN T slopes_[kConvMaxWidth][kConvCpuBlock];
  int64_t summed_ = 0;                                                  // rows
  HWY_ALIGN T sums_[kConvCpuLevels][kConvMaxWidth + 1][kConvCpuBlock];  // by tap, then the bias
};

struct Tile {
  int64_t batch, index, begin, end, block;
};

Tile tile_of(const CausalConv1dParams& p, int64_t task) {
  const int64_t block = task % conv_blocks(p);
  const int64_t index = task / conv_blocks(p) % conv_tiles(p);
  const int64_t begin = index * kConvCpuTile;
  return {task / conv_blocks(p) / conv_tiles(p), index, begin,
          std::min(begin + kConvCpuTile, p.length), block};
}

template <typename Io>
void forward_tile(const CausalConv1dForwardParams& p, int64_t task) {
  const Tile tile = tile_of(p, task);
  Block<Io> block(p, tile.batch, tile.block);
  auto* out = static_cast<Io*>(p.out);
  for (auto s = conv_first_segment(p, tile.begin, tile.end); s.begin < tile.end;
       s = conv_next_segment(p, s, tile.end)) {
    block.enter(s);
    for (int64_t q = s.begin; q < s.end; ++q)
      block.forward_row(q, out + block.contiguous_offset(q));
  }
}

// Input gradients of one segment. Those of position q are complete once the slopes of the next
// width - 1 positions are known, so they trail behind.
template <typename Io>
void backward_segment(const CausalConv1dBackwardParams& p, const Tile& tile, const ConvSegment& s,
                      Block<Io>& block) {
  using T = Compute<Io>;
  const int64_t lag = p.width - 1;
  const int64_t first_final = s.sequence_end - lag;  // position of the final state's first row
  const bool enters_initial = s.begin == s.sequence_begin && p.dinitial_state != nullptr;
  const auto* dout = static_cast<const Io*>(p.dout) + block.first();
  auto* dinitial = static_cast<T*>(p.dinitial_state);
  block.enter(s);
  block.clear_slopes();
  for (int64_t q = s.begin; q < s.end + lag; ++q) {
    if (q < s.sequence_end) {
      const int64_t row = conv_row_offset(p, p.dout_batch_stride, p.dout_row_stride, tile.batch, q);
      block.slope_row(q, dout + row, q < s.end);
    } else {
      block.clear_slope(q);
    }
    const int64_t done = q - lag;
    const T* extra = nullptr;
    if (p.dfinal_state != nullptr && done >= first_final)
      extra =
          static_cast<const T*>(p.dfinal_state) + block.state_offset(s.order, done - first_final);
    if (done >= s.begin) {
      block.input_gradient_row(done, extra, static_cast<Io*>(p.dx) + block.contiguous_offset(done));
    } else if (enters_initial) {
      block.input_gradient_row(done, extra,
                               dinitial + block.state_offset(s.order, lag + done - s.begin));
    }
  }
}

template <typename Io>
void backward_tile(const CausalConv1dBackwardParams& p, int64_t task) {
  using T = Compute<Io>;
  const Tile tile = tile_of(p, task);
  Block<Io> block(p, tile.batch, tile.block);
  block.clear_sums();
  for (auto s = conv_first_segment(p, tile.begin, tile.end); s.begin < tile.end;
       s = conv_next_segment(p, s, tile.end))
    backward_segment(p, tile, s, block);
  const int64_t partial = tile.batch * conv_tiles(p) + tile.index;
  block.store_sums(static_cast<T*>(p.partials) + partial * (p.width + 1) * p.channels);
}

int64_t state_batch(const CausalConv1dParams& p, int64_t order) {
  return p.cu_seqlens == nullptr ? order : 0;
}

// The sequence of a state task as a segment, which may be empty.
ConvSegment whole_sequence(const CausalConv1dParams& p, int64_t order) {
  if (p.cu_seqlens == nullptr) return {0, 0, p.length, 0, p.length};
  const int64_t begin = conv_border(p, order);
  const int64_t end = conv_border(p, order + 1);
  return {order, begin, end, begin, end};
}

template <typename Io>
void forward_state(const CausalConv1dForwardParams& p, int64_t task) {
  using T = Compute<Io>;
  const int64_t order = task / conv_blocks(p);
  const ConvSegment s = whole_sequence(p, order);
  const Block<Io> block(p, state_batch(p, order), task % conv_blocks(p));
  for (int row = 0; row < p.width - 1; ++row) {
    T* to = static_cast<T*>(p.final_state) + block.state_offset(s.order, row);
    const int64_t q = s.end - (p.width - 1) + row;
    if (q >= s.begin) {
      block.convert(block.x_row(q), to);
    } else {
      block.copy_state(p.initial_state, s, q - s.begin, to);
    }
  }
}

// An empty sequence passes the gradient of its final state on; tiles see the others.
template <typename Io>
void backward_state(const CausalConv1dBackwardParams& p, int64_t task) {
  using T = Compute<Io>;
  if (p.dinitial_state == nullptr) return;
  const int64_t order = task / conv_blocks(p);
  const ConvSegment s = whole_sequence(p, order);
  if (s.begin < s.end) return;
  const Block<Io> block(p, state_batch(p, order), task % conv_blocks(p));
  for (int row = 0; row < p.width - 1; ++row)
    block.copy_state(p.dfinal_state, s, row - (p.width - 1),
                     static_cast<T*>(p.dinitial_state) + block.state_offset(s.order, row));
}

template <typename T>
void backward_sum(const CausalConv1dBackwardParams& p, int64_t task) {
  const int64_t first = task * kConvCpuBlock;
  const int64_t count = std::min(kConvCpuBlock, p.channels - first);
  const int64_t partials = causal_conv1d_cpu_partials(p);
  for (int k = 0; k <= p.width; ++k) {
    if (k == p.width && p.dbias == nullptr) break;
    T totals[kConvCpuBlock] = {};
    for (int64_t begin = 0; begin < partials; begin += kConvCpuFold) {
      T sums[kConvCpuBlock] = {};
      for (int64_t i = begin; i < std::min(begin + kConvCpuFold, partials); ++i) {
        const T* row =
            static_cast<const T*>(p.partials) + (i * (p.width + 1) + k) * p.channels + first;
        for (int64_t c = 0; c < count; ++c) sums[c] += row[c];
      }
      for (int64_t c = 0; c < count; ++c) totals[c] += sums[c];
    }
    for (int64_t c = 0; c < count; ++c) {
      if (k == p.width) {
        static_cast<T*>(p.dbias)[first + c] = totals[c];
      } else {
        static_cast<T*>(p.dweight)[(first + c) * p.width + k] = totals[c];
      }
    }
  }
}

#define STRANDWAVE_CONV_BY_DTYPE(function) \
  switch (p.dtype) {                       \
    case Dtype::kFloat32:                  \
      return function<float>(p, task);     \
    case Dtype::kBFloat16:                 \
      return function<BFloat16>(p, task);  \
    case Dtype::kFloat16:                  \
      return function<Float16>(p, task);   \
    case Dtype::kFloat64:                  \
      return function<double>(p, task);    \
  }

void ForwardTile(const CausalConv1dForwardParams& p, int64_t task) {
  STRANDWAVE_CONV_BY_DTYPE(forward_tile)
}
void ForwardState(const CausalConv1dForwardParams& p, int64_t task) {
  STRANDWAVE_CONV_BY_DTYPE(forward_state)
}
void BackwardTile(const CausalConv1dBackwardParams& p, int64_t task) {
  STRANDWAVE_CONV_BY_DTYPE(backward_tile)
}
void BackwardState(const CausalConv1dBackwardParams& p, int64_t task) {
  STRANDWAVE_CONV_BY_DTYPE(backward_state)
}
void BackwardSum(const CausalConv1dBackwardParams& p, int64_t task) {
  if (p.dtype == Dtype::kFloat64) return backward_sum<double>(p, task);
  return backward_sum<float>(p, task);
}

#undef STRANDWAVE_CONV_BY_DTYPE

}  // namespace
}  // namespace strandwave::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace strandwave::kernels {
namespace {

HWY_EXPORT(ForwardTile);
HWY_EXPORT(ForwardState);
HWY_EXPORT(BackwardTile);
HWY_EXPORT(BackwardState);
HWY_EXPORT(BackwardSum);

}  // namespace

int64_t causal_conv1d_tile_tasks(const CausalConv1dParams& params) {
  return params.batch * conv_tiles(params) * conv_blocks(params);
}
int64_t causal_conv1d_state_tasks(const CausalConv1dParams& params) {
  return params.sequences * conv_blocks(params);
}
int64_t causal_conv1d_sum_tasks(const CausalConv1dParams& params) { return conv_blocks(params); }
int64_t causal_conv1d_cpu_partials(const CausalConv1dParams& params) {
  return params.batch * conv_tiles(params);
}

void causal_conv1d_forward_tile(const CausalConv1dForwardParams& params, int64_t task) {
  HWY_DYNAMIC_DISPATCH(ForwardTile)(params, task);
}
void causal_conv1d_forward_state(const CausalConv1dForwardParams& params, int64_t task) {
  HWY_DYNAMIC_DISPATCH(ForwardState)(params, task);
}
void causal_conv1d_backward_tile(const CausalConv1dBackwardParams& params, int64_t task) {
  HWY_DYNAMIC_DISPATCH(BackwardTile)(params, task);
}
void causal_conv1d_backward_state(const CausalConv1dBackwardParams& params, int64_t task) {
  HWY_DYNAMIC_DISPATCH(BackwardState)(params, task);
}
void causal_conv1d_backward_sum(const CausalConv1dBackwardParams& params, int64_t task) {
  HWY_DYNAMIC_DISPATCH(BackwardSum)(params, task);
}

}  // namespace strandwave::kernels
#endif  // HWY_ONCE
