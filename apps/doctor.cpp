#include <ATen/Context.h>
#include <dlfcn.h>

#include <iostream>
#include <memory>
#include <thread>

#include "apps/audio.h"
#include "apps/commands.h"
#include "apps/version.h"
#include "core/base/progress.h"
#include "core/runtime/accelerator.h"
#include "genomics/io/environment.h"
#include "kernels/common/simd_target.h"

namespace strandwave::apps {
namespace {

// The file that LibTorch was loaded from.
std::string torch_path() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&at::globalContext), &info) == 0) return "?";
  return info.dli_fname;
}

std::string cuda_line() {
  if (!built_with_cuda()) return "none: this program was built without it (preset cuda)";
  return cuda_description() + ", kernels for " + cuda_architectures();
}

// One line per GPU.
std::string gpu_lines() {
  if (!built_with_cuda())
    return "none: this program was built without CUDA (preset cuda builds it)";
  if (gpu_count() == 0) return "none: no GPU with a working driver is visible (see nvidia-smi)";
  const std::string new_line = "\n             ";
  std::string lines;
  for (int i = 0; i < gpu_count(); ++i) {
    const c10::Device gpu(c10::kCUDA, static_cast<c10::DeviceIndex>(i));
    const std::string problem = kernel_problem(i);
    lines += (i == 0 ? "" : new_line) + "cuda:" + std::to_string(i) + " " +
             device_description(gpu) +
             (problem.empty() ? "; the kernels run on it" : new_line + "MISSING: " + problem);
  }
  return lines;
}

void report() {
  const c10::Device cpu(c10::kCPU);
  const std::string cache = genome_cache_status();
  std::cout << "strandwave   " STRANDWAVE_VERSION "\n"
            << "LibTorch     " STRANDWAVE_TORCH_VERSION ", " << torch_path() << '\n'
            << "CPU          " << device_description(cpu) << ", "
            << std::thread::hardware_concurrency() << " cores, AVX2 "
            << (__builtin_cpu_supports("avx2") ? "yes" : "no") << ", AVX-512 "
            << (__builtin_cpu_supports("avx512f") ? "yes" : "no") << "; kernels run on "
            << kernels::simd_target_name() << '\n'
            << "memory       " << format_bytes(device_memory(cpu).total_bytes) << '\n'
            << "CUDA         " << cuda_line() << '\n'
            << "GPU          " << gpu_lines() << '\n'
            << "htslib       " << htslib_description() << '\n'
            << "audio        " << audio_support() << '\n'
            << "cache        " << cache << '\n';
}

}  // namespace

void add_doctor(CLI::App& program) {
  program
      .add_subcommand("doctor", "What this machine and this program can do, and what is missing")
      ->callback([] { report(); });
}

}  // namespace strandwave::apps
