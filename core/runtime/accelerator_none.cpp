#include "core/runtime/accelerator_common.h"

namespace strandwave {

bool cuda_available() { return false; }
bool built_with_cuda() { return false; }
DeviceMemory device_memory(c10::Device) { return host_memory(); }
void reset_peak_memory(c10::Device) {}
void synchronize(c10::Device) {}
int gpu_count() { return 0; }
std::string cuda_description() { return {}; }
std::string cuda_architectures() { return {}; }
std::string kernel_problem(int) { return {}; }
std::string device_description(c10::Device) { return host_description(); }

}  // namespace strandwave
