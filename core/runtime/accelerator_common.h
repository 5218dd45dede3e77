// Shared by accelerator_cuda.cpp and accelerator_none.cpp.
#pragma once

#include "core/runtime/accelerator.h"

namespace strandwave {

DeviceMemory host_memory();
std::string host_description();

}  // namespace strandwave
