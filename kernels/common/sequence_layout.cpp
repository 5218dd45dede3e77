#include "kernels/common/sequence_layout.h"

#include <ATen/ops/tensor.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace strandwave {

SequenceLayout SequenceLayout::from_offsets(std::vector<int64_t> offsets, at::Device device) {
  TORCH_CHECK(!offsets.empty(), "sequence offsets: at least one value is needed, got none");
  TORCH_CHECK(offsets.front() == 0, "sequence offsets must start at 0, got ", offsets.front());
  SequenceLayout layout;
  for (size_t i = 1; i < offsets.size(); ++i) {
    TORCH_CHECK(offsets[i] >= offsets[i - 1], "sequence offsets must not decrease: offset ", i,
                " is ", offsets[i], " after ", offsets[i - 1]);
    layout.max_length_ = std::max(layout.max_length_, offsets[i] - offsets[i - 1]);
  }
  layout.offsets_ = std::move(offsets);
  layout.cu_seqlens_ = at::tensor(layout.offsets_, at::kLong).to(device);
  if (layout.total_length() <= std::numeric_limits<int32_t>::max())
    layout.cu_seqlens_int32_ = layout.cu_seqlens_.to(at::kInt);
  return layout;
}

SequenceLayout SequenceLayout::from_lengths(const std::vector<int64_t>& lengths,
                                            at::Device device) {
  std::vector<int64_t> offsets{0};
  offsets.reserve(lengths.size() + 1);
  for (const int64_t length : lengths) offsets.push_back(offsets.back() + length);
  return from_offsets(std::move(offsets), device);
}

SequenceLayout SequenceLayout::to(at::Device device) const {
  SequenceLayout copy = *this;
  copy.cu_seqlens_ = cu_seqlens_.to(device);
  if (cu_seqlens_int32_.defined()) copy.cu_seqlens_int32_ = cu_seqlens_int32_.to(device);
  return copy;
}

int64_t check_cu_seqlens(const at::Tensor& cu_seqlens, int64_t batch, int64_t length,
                         at::Device device) {
  if (!cu_seqlens.defined()) return batch;
  TORCH_CHECK(cu_seqlens.scalar_type() == at::kLong, "cu_seqlens must be int64, got ",
              cu_seqlens.scalar_type());
  TORCH_CHECK(cu_seqlens.dim() == 1 && cu_seqlens.numel() >= 1,
              "cu_seqlens must have shape (sequences + 1), got ", cu_seqlens.sizes());
  TORCH_CHECK(cu_seqlens.is_contiguous(), "cu_seqlens must be contiguous");
  TORCH_CHECK(cu_seqlens.device() == device, "cu_seqlens must be on ", device, ", got ",
              cu_seqlens.device());
  TORCH_CHECK(batch == 1, "packed sequences need batch 1, got ", batch);
  if (device.is_cpu()) {
    const int64_t* offsets = cu_seqlens.const_data_ptr<int64_t>();
    const int64_t last = cu_seqlens.numel() - 1;
    TORCH_CHECK(offsets[0] == 0, "cu_seqlens must start at 0, got ", offsets[0]);
    for (int64_t i = 1; i <= last; ++i)
      TORCH_CHECK(offsets[i] >= offsets[i - 1], "cu_seqlens must not decrease: entry ", i, " is ",
                  offsets[i], " after ", offsets[i - 1]);
    TORCH_CHECK(offsets[last] == length, "cu_seqlens must end at the length ", length, ", got ",
                offsets[last]);
  }
  return cu_seqlens.numel() - 1;
}

}  // namespace strandwave
