// Where the sequences of a packed batch begin and end.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace strandwave {

// S sequences laid one behind the other along the length of a batch of one: sequence s holds the
// positions [offsets[s], offsets[s + 1]). Sequences may be empty. Built once per batch on the host,
// where the borders are validated; operators then need no synchronisation with the device.
class SequenceLayout {
 public:
  // offsets: S + 1 values, the first 0, not decreasing; throws c10::Error naming the offending one.
  static SequenceLayout from_offsets(std::vector<int64_t> offsets, at::Device device);
  // From lengths, each >= 0.
  static SequenceLayout from_lengths(const std::vector<int64_t>& lengths, at::Device device);

  int64_t sequences() const { return static_cast<int64_t>(offsets_.size()) - 1; }
  int64_t total_length() const { return offsets_.back(); }
  int64_t max_length() const { return max_length_; }
  const std::vector<int64_t>& offsets() const { return offsets_; }

  // The offsets on the device, (S + 1): int64 for our operators, int32 for flash attention
  // (undefined when a border exceeds 2^31 - 1).
  const at::Tensor& cu_seqlens() const { return cu_seqlens_; }
  const at::Tensor& cu_seqlens_int32() const { return cu_seqlens_int32_; }

  SequenceLayout to(at::Device device) const;

 private:
  std::vector<int64_t> offsets_;
  int64_t max_length_ = 0;
  at::Tensor cu_seqlens_;
  at::Tensor cu_seqlens_int32_;
};

// Throws unless `cu_seqlens` (may be undefined) fits an input of `batch` x `length`: int64, one
// dimension, on `device`, batch 1, and, where reading it costs no synchronisation (CPU), first 0,
// last `length`, not decreasing. Returns the number of sequences (batch when undefined).
int64_t check_cu_seqlens(const at::Tensor& cu_seqlens, int64_t batch, int64_t length,
                         at::Device device);

}  // namespace strandwave
