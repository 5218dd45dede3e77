#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>

#include <cstdio>

#include "core/runtime/accelerator_common.h"

namespace strandwave {
namespace {

// A device without a number ("cuda") means the current one.
c10::DeviceIndex index_of(c10::Device device) {
  return device.has_index() ? device.index() : c10::cuda::current_device();
}

}  // namespace

bool cuda_available() { return at::cuda::is_available(); }
bool built_with_cuda() { return true; }

DeviceMemory device_memory(c10::Device device) {
  if (!device.is_cuda()) return host_memory();
  const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(index_of(device));
  const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return {stats.allocated_bytes[all].peak,
          static_cast<int64_t>(at::cuda::getDeviceProperties(index_of(device))->totalGlobalMem)};
}

void reset_peak_memory(c10::Device device) {
  if (device.is_cuda()) c10::cuda::CUDACachingAllocator::resetPeakStats(index_of(device));
}

void synchronize(c10::Device device) {
  if (device.is_cuda()) c10::cuda::device_synchronize();
}

std::string device_description(c10::Device device) {
  if (!device.is_cuda()) return host_description();
  const cudaDeviceProp& properties = *at::cuda::getDeviceProperties(index_of(device));
  char text[400];
  std::snprintf(text, sizeof text, "%s, compute capability %d.%d, %.1f GiB", properties.name,
                properties.major, properties.minor,
                static_cast<double>(properties.totalGlobalMem) / (1024.0 * 1024.0 * 1024.0));
  return text;
}

}  // namespace strandwave
