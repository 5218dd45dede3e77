// The little of CUDA that core needs; accelerator_cuda.cpp or accelerator_none.cpp, chosen by
// CMake.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>

namespace strandwave {

// True when this build has the CUDA kernels and a GPU can be used.
bool cuda_available();
// True when this program was built with the CUDA kernels.
bool built_with_cuda();
// "auto", "cpu", "cuda", "cuda:1" -> device. Throws Error(kRuntime) when a GPU is asked for and
// absent or cannot run the kernels (saying why), Error(kUsage) when the text is none of these.
c10::Device parse_device(const std::string& text);

struct DeviceMemory {
  int64_t peak_bytes = 0;  // CUDA: most bytes allocated at once since the last reset; CPU: peak RSS
  int64_t total_bytes = 0;  // of the device
};
DeviceMemory device_memory(c10::Device device);
void reset_peak_memory(c10::Device device);
void synchronize(c10::Device device);
// "NVIDIA H200, compute capability 9.0, 139.8 GiB" or the CPU's model name.
std::string device_description(c10::Device device);

// GPUs that can be used; 0 without CUDA.
int gpu_count();
// "driver 580.65.06 (CUDA 13.0), runtime 13.0" or what is missing; empty in a build without CUDA.
std::string cuda_description();
// What the kernels were built for, by CMake's names: "75-real,90a-real"; empty without CUDA.
std::string cuda_architectures();
// Why the kernels cannot run on GPU number `gpu` and what to do; empty when they can.
std::string kernel_problem(int gpu);

// Deterministic algorithms, cuBLAS workspace fixed, cuDNN benchmark off, TF32 off. Call before the
// first CUDA use.
void make_deterministic();

}  // namespace strandwave
