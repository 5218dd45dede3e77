// Memory that runs out, told in terms of what the user can change.
#pragma once

#include <c10/core/Device.h>

#include <exception>
#include <functional>
#include <string>

namespace strandwave {

// Whether the error says that memory ran out: of the host (std::bad_alloc, LibTorch's CPU
// allocator) or of a GPU (caching allocator, driver, cuBLAS).
bool is_out_of_memory(const std::exception& error);

// Runs `work`. Where memory runs out in it, throws Error(kRuntime) that names the device, its size
// and `advice`: which settings to lower.
void explain_out_of_memory(c10::Device device, const std::string& advice,
                           const std::function<void()>& work);

}  // namespace strandwave
