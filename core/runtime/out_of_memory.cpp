#include "core/runtime/out_of_memory.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <new>
#include <string_view>

#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/runtime/accelerator.h"

namespace strandwave {

bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
      dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr)
    return true;
  const auto* of_torch = dynamic_cast<const c10::Error*>(&error);
  if (of_torch == nullptr) return false;
  // The CPU allocator, the driver and cuBLAS have no types of their own for it.
  constexpr std::array<std::string_view, 3> kSigns = {"can't allocate memory", "out of memory",
                                                      "CUBLAS_STATUS_ALLOC_FAILED"};
  const std::string text = of_torch->what_without_backtrace();
  return std::any_of(kSigns.begin(), kSigns.end(),
                     [&](std::string_view sign) { return text.find(sign) != std::string::npos; });
}

void explain_out_of_memory(c10::Device device, const std::string& advice,
                           const std::function<void()>& work) {
  try {
    work();
  } catch (const std::exception& error) {
    if (!is_out_of_memory(error)) throw;
    throw runtime_failure("out of memory on " + device.str() + " (" +
                          format_bytes(device_memory(device).total_bytes) + "): " + advice);
  }
}

}  // namespace strandwave
