#include <iostream>
#include <memory>
#include <thread>

#include "apps/commands.h"
#include "apps/version.h"
#include "core/base/progress.h"
#include "core/runtime/accelerator.h"
#include "genomics/io/environment.h"
#include "kernels/common/simd_target.h"

namespace strandwave::apps {
namespace {

std::string gpu_line() {
  if (!built_with_cuda())
    return "none: this program was built without CUDA (preset cuda builds it)";
  if (!cuda_available()) return "none: no GPU with a working driver is visible (see nvidia-smi)";
  return device_description(c10::Device(c10::kCUDA, 0));
}

void report() {
  const c10::Device cpu(c10::kCPU);
  const std::string cache = genome_cache_status();
  std::cout << "strandwave   " STRANDWAVE_VERSION "\n"
            << "LibTorch     " STRANDWAVE_TORCH_VERSION "\n"
            << "CPU          " << device_description(cpu) << ", "
            << std::thread::hardware_concurrency() << " cores, AVX2 "
            << (__builtin_cpu_supports("avx2") ? "yes" : "no") << ", AVX-512 "
            << (__builtin_cpu_supports("avx512f") ? "yes" : "no") << "; kernels run on "
            << kernels::simd_target_name() << '\n'
            << "memory       " << format_bytes(device_memory(cpu).total_bytes) << '\n'
            << "GPU          " << gpu_line() << '\n'
            << "htslib       " << htslib_description() << '\n'
            << "cache        " << cache << '\n';
}

}  // namespace

void add_doctor(CLI::App& program) {
  program
      .add_subcommand("doctor", "What this machine and this program can do, and what is missing")
      ->callback([] { report(); });
}

}  // namespace strandwave::apps
