// Tensors in and out of safetensors files.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <map>
#include <string>

#include "core/base/safetensors.h"
#include "core/models/named_tensors.h"

namespace strandwave {

// A copy on the CPU.
torch::Tensor to_tensor(const SafetensorsEntry& entry);

// Copies on the CPU, in the types of the file, in the order of the names.
NamedTensors read_tensors(const std::filesystem::path& path);

// Tensors may be on any device; non-contiguous ones are copied. Throws Error(kUsage) for a type
// that the format lacks (complex128).
void write_tensors(const std::filesystem::path& path, const NamedTensors& tensors,
                   const std::map<std::string, std::string>& metadata = {});

}  // namespace strandwave
