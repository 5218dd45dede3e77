#include "genomics/packed_sequences.h"

#include <algorithm>

#include "genomics/io/tokenizer.h"

namespace strandwave {

PackedSequences pack_sequences(const std::vector<std::span<const uint8_t>>& sequences,
                               torch::Device device) {
  std::vector<int64_t> lengths;
  int64_t total = 0;
  for (const auto& sequence : sequences) {
    lengths.push_back(static_cast<int64_t>(sequence.size()));
    total += lengths.back();
  }
  PackedSequences packed;
  packed.ids = torch::empty({1, total}, torch::kUInt8);
  uint8_t* to = packed.ids.data_ptr<uint8_t>();
  for (const auto& sequence : sequences) to = std::copy(sequence.begin(), sequence.end(), to);
  packed.ids = packed.ids.to(device);
  const bool equal =
      !lengths.empty() && lengths[0] > 0 &&
      std::all_of(lengths.begin(), lengths.end(), [&](int64_t n) { return n == lengths[0]; });
  if (equal)
    packed.ids = packed.ids.view({static_cast<int64_t>(lengths.size()), lengths[0]});
  else
    packed.layout = SequenceLayout::from_lengths(lengths, device);
  return packed;
}

torch::Tensor next_base_targets(const PackedSequences& packed) {
  const torch::Tensor& ids = packed.ids;
  torch::Tensor targets = torch::full_like(ids, -1, ids.options().dtype(torch::kLong));
  const int64_t length = ids.size(1);
  if (length < 2) return targets;
  targets.narrow(1, 0, length - 1).copy_(ids.narrow(1, 1, length - 1));
  targets.masked_fill_((targets < dna::kA) | (targets > dna::kT), -1);
  if (!packed.layout) return targets;
  std::vector<int64_t> last;  // position of each sequence
  const std::vector<int64_t>& offsets = packed.layout->offsets();
  for (size_t i = 1; i < offsets.size(); ++i)
    if (offsets[i] > offsets[i - 1]) last.push_back(offsets[i] - 1);
  return targets.index_fill_(1, torch::tensor(last, torch::kLong).to(ids.device()), -1);
}

}  // namespace strandwave
