#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>

#include <cstdio>
#include <fstream>

#include "core/runtime/accelerator_common.h"
#include "core/runtime/cuda_architectures.h"

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

int gpu_count() { return at::cuda::is_available() ? c10::cuda::device_count() : 0; }

std::string cuda_description() {
  const auto dotted = [](int version) {
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
  };
  int driver = 0, runtime = 0;
  if (cudaRuntimeGetVersion(&runtime) != cudaSuccess) runtime = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
  std::string name;
  std::ifstream("/sys/module/nvidia/version") >> name;
  std::string text = driver == 0 ? "no driver" : "driver " + (name.empty() ? "" : name + " ");
  if (driver > 0) text += "(CUDA " + dotted(driver) + ")";
  return text + ", runtime " + dotted(runtime);
}

std::string cuda_architectures() { return STRANDWAVE_CUDA_ARCHITECTURES; }

std::string kernel_problem(int gpu) {
  const cudaDeviceProp& properties =
      *at::cuda::getDeviceProperties(static_cast<c10::DeviceIndex>(gpu));
  return kernel_problem(cuda_architectures(), gpu, properties.name, properties.major,
                        properties.minor);
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
