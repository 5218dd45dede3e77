#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>

#include <cstdio>

#include "core/runtime/accelerator_common.h"

namespace strandwave {

bool cuda_available() { return at::cuda::is_available(); }
bool built_with_cuda() { return true; }

DeviceMemory device_memory(c10::Device device) {
  if (!device.is_cuda()) return host_memory();
  const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(device.index());
  const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return {stats.allocated_bytes[all].peak,
          static_cast<int64_t>(at::cuda::getDeviceProperties(device.index())->totalGlobalMem)};
}

void reset_peak_memory(c10::Device device) {
  if (device.is_cuda()) c10::cuda::CUDACachingAllocator::resetPeakStats(device.index());
}

void synchronize(c10::Device device) {
  if (device.is_cuda()) c10::cuda::device_synchronize();
}

std::string device_description(c10::Device device) {
  if (!device.is_cuda()) return host_description();
  const cudaDeviceProp& properties = *at::cuda::getDeviceProperties(device.index());
  char text[400];
  std::snprintf(text, sizeof text, "%s, compute capability %d.%d, %.1f GiB", properties.name,
                properties.major, properties.minor,
                static_cast<double>(properties.totalGlobalMem) / (1024.0 * 1024.0 * 1024.0));
  return text;
}

}  // namespace strandwave
