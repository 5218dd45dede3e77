// Files that torch.save wrote.
#pragma once

#include <filesystem>

#include "core/models/named_tensors.h"

namespace strandwave {

// The tensors of a state dict (copies on the CPU, in the types of the file, in its order): a
// dictionary, or one under "state_dict" or "model_state_dict" of it. All else in the file is passed
// over, and nothing in it is ever run. Throws Error(kInput) with what to do: not a zip file of
// torch.save (those of PyTorch before 1.6 and whole pickled modules need Python once), cut off,
// damaged, a tensor of an unknown type.
NamedTensors read_torch_file(const std::filesystem::path& path);

}  // namespace strandwave
